/**
 * Blames that took long, so that the next one of the same key begins where the last one ended. A file says which version
 * wrote each line, by number: it has no text and no key. When it is lost, damaged or of another history, everything is read
 * again.
 * @module
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { errnoOf } from "../core/errors.ts";
import type { Version } from "../core/version.ts";

/** Who wrote each line of what version `at` held; versions are numbered from the key's first one on. */
export interface KnownBlame {
  readonly at: number;
  readonly authors: Int32Array;
  /** 1: the line was moved. */
  readonly moved: Uint8Array;
}

export interface KnownBlames {
  /** What is known of the first ones of a key's versions. */
  find(all: readonly Version[]): KnownBlame | undefined;
  /** Never fails: what cannot be kept is found out again. */
  keep(all: readonly Version[], blame: KnownBlame): void;
}

/** As it lies in the file. */
interface Told {
  readonly versions: number;
  readonly authors: readonly number[];
  /** Numbers of lines. */
  readonly moved: readonly number[];
}

/** Changes when the same history would be given other authors. */
const FORMAT = 1;

/** Of the blame and of the history that it is of: a line's `sum` stands for every line before it. */
const checkOf = ({ versions, authors, moved }: Told, { version, sum }: Version): string =>
  createHash("sha256")
    .update(JSON.stringify([FORMAT, version, sum, versions, authors, moved]))
    .digest("hex");

/** Erased lines have the same sums as before, and other content. */
const isWhole = (all: readonly Version[]) => all.every(({ commitment }) => commitment === null);

export function createKnownBlames(folder: string): KnownBlames {
  const pathOf = (all: readonly Version[]) => join(folder, all[0]?.version ?? "");
  return {
    find(all) {
      if (!isWhole(all)) return undefined;
      try {
        const read: unknown = JSON.parse(readFileSync(pathOf(all), "utf8"));
        const [told, check] = (Array.isArray(read) ? read : []) as [(Told | null)?, string?];
        const last = all[(told?.versions ?? 0) - 1];
        if (!told || !last || checkOf(told, last) !== check) return undefined;
        const moved = new Uint8Array(told.authors.length);
        for (const line of told.moved) moved[line] = 1;
        return { at: told.versions - 1, authors: Int32Array.from(told.authors), moved };
      } catch (error) {
        if (errnoOf(error) === "" && !(error instanceof SyntaxError)) throw error;
        return undefined;
      }
    },
    keep(all, { at, authors, moved }) {
      const last = all[at];
      if (!last || !isWhole(all)) return;
      const told: Told = {
        versions: at + 1,
        authors: [...authors],
        moved: Array.from(moved.keys()).filter((line) => moved[line] === 1),
      };
      try {
        mkdirSync(folder, { recursive: true, mode: 0o700 });
        // cut off half way, it is damaged like any other
        writeFileSync(pathOf(all), JSON.stringify([told, checkOf(told, last)]), { mode: 0o600 });
      } catch (error) {
        if (errnoOf(error) === "") throw error;
      }
    },
  };
}

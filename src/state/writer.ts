/**
 * Who writes: each copy of a memory root's state is a writer of its own at every target. The id lies in a file beside
 * the state file, so that it outlives a state that is set aside and rebuilt (docs/decisions/segments.md).
 * @module
 */
import { randomBytes } from "node:crypto";
import { closeSync, fstatSync, fsyncSync, openSync, readFileSync, renameSync, statSync, writeSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { asAftersaveError, errnoOf } from "../core/errors.ts";
import type { Claims } from "./claims.ts";

export interface Writer {
  /** Names this writer's folder below `.aftersave/` at a target. */
  readonly id: string;
  /** The machine's name when the id was made: a hint for people. */
  readonly host: string;
}

const FILE = "writer.json";

interface Kept extends Writer {
  /** The file's own number: a copy of it has another one. */
  readonly ino: string;
}

function read(path: string): (Kept & { readonly found: string }) | undefined {
  try {
    const found = String(statSync(path, { bigint: true }).ino);
    const value = JSON.parse(readFileSync(path, "utf8")) as Partial<Kept> | null;
    const { id, host, ino } = value ?? {};
    if (typeof id !== "string" || !/^[0-9a-f]{20}$/.test(id) || typeof host !== "string" || typeof ino !== "string")
      return undefined;
    return { id, host, ino, found };
  } catch (error) {
    if (errnoOf(error) === "ENOENT" || error instanceof SyntaxError) return undefined;
    throw asAftersaveError(error, `reading ${path}`);
  }
}

/** Neither the name of a machine nor a file's number alone says that it is a copy: containers change the one, some file systems the other. */
const isCopy = ({ host, ino, found }: Kept & { found: string }) => host !== hostname() && ino !== found;

function make(path: string): Writer {
  const writer: Writer = { id: randomBytes(10).toString("hex"), host: hostname() };
  const made = `${path}.new`;
  try {
    const file = openSync(made, "w", 0o600);
    try {
      const kept: Kept = { ...writer, ino: String(fstatSync(file, { bigint: true }).ino) };
      writeSync(file, `${JSON.stringify(kept)}\n`);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(made, path);
  } catch (error) {
    throw asAftersaveError(error, `writing ${path}`);
  }
  return writer;
}

export interface Writers {
  /** This state's writer, made on first use. A state that was copied to another machine gets one of its own there. */
  writer(): Promise<Writer>;
  /** Another id than `id`, for good: someone else writes under it. */
  renewWriter(id: string): Promise<Writer>;
}

export function createWriters(directory: string, claims: Claims): Writers {
  const path = join(directory, FILE);
  const sound = (not?: string): Writer | undefined => {
    const kept = read(path);
    return kept && kept.id !== not && !isCopy(kept) ? { id: kept.id, host: kept.host } : undefined;
  };
  const made = async (not?: string): Promise<Writer> => {
    const release = await claims.take("setup", "writer");
    try {
      return sound(not) ?? make(path);
    } finally {
      release();
    }
  };
  return {
    writer: async () => sound() ?? made(),
    renewWriter: (id) => made(id),
  };
}

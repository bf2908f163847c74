/**
 * Settling what the guard held. Each held version is settled by itself, in any order; what stands in a file already goes to
 * the targets when the last one of its key is settled.
 * @module
 */
import { AftersaveError } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import type { Source } from "../core/target.ts";
import type { Details, Meta, Version } from "../core/version.ts";
import type { Decisions, HeldVersion } from "../state/decisions.ts";
import type { Guarding } from "../state/guarding.ts";
import type { Head, Saves } from "../state/saves.ts";
import { heldSave, type HeldSave } from "./guard.ts";
import type { Heads } from "./heads.ts";
import type { Receipt } from "./receipt.ts";
import type { Ruling, SaveManager } from "./save-manager.ts";
import { threeWay } from "./three-way.ts";
import type { Versions } from "./versions.ts";

export interface SettleOptions {
  /** Also where the file was saved since, and the two cannot be brought together: what it holds then becomes an archive copy. */
  readonly anyway?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What became of a held version. */
export interface Settled {
  readonly version: string;
  readonly file: Key;
  readonly decision: "accepted" | "rejected";
  /** It was decided before; nothing was done now. */
  readonly already: boolean;
  /** The line that says so; null when it was decided before. */
  readonly by: string | null;
  /** The file was saved since, and both changes were brought together. */
  readonly merged: boolean;
  /** Of what was done to the file; null when it was not changed. */
  readonly receipt: Receipt | null;
  /** Versions of this file that still wait. */
  readonly waiting: readonly string[];
}

export interface Holding {
  /** What waits for a decision, oldest first. */
  held(): Promise<HeldSave[]>;
  /**
   * Lets a held version be: one that was kept aside becomes what the file holds, one that stands in the file goes to the targets.
   * `version` is an id or its end. Throws `E_VERSION` when it is none that was held, `E_STALE` when the file was saved since and
   * both cannot be brought together by line, `E_USAGE` when it was rejected.
   */
  accept(version: string, meta?: Meta, options?: SettleOptions): Promise<Settled>;
  /** Turns a held version down: one that stands in the file makes way for what was there before it. Throws as `accept` does. */
  reject(version: string, meta?: Meta, options?: SettleOptions): Promise<Settled>;
}

export interface HoldingParts {
  readonly saves: Saves;
  readonly decisions: Decisions;
  readonly guarding: Guarding;
  readonly heads: Heads;
  readonly manager: SaveManager;
  readonly versions: Versions;
}

const WORD = { accept: "accepted", reject: "rejected" } as const;

/** Thrown when someone else has settled it meanwhile. */
class Decided extends Error {}

export function createHolding({ saves, decisions, guarding, heads, manager, versions }: HoldingParts): Holding {
  const lineOf = async ({ version }: HeldVersion): Promise<Version> => versions.named(version);

  const named = async (text: string): Promise<HeldVersion> => {
    const open = (await decisions.held("open")).filter(({ version }) => version.endsWith(text.toUpperCase()));
    const [only] = open;
    if (only && open.length === 1 && text.length >= 4) return only;
    const { version, file } = await versions.named(text);
    const held = await decisions.heldVersion(version);
    if (held) return held;
    throw new AftersaveError("E_VERSION", `the version ${version} of ${file || "an erased file"} was never held`, {
      hint: "`aftersave history --held` lists what waits for a decision.",
    });
  };

  const contentOf = async (version: Version): Promise<Source | null> => (await versions.content(version)) ?? null;

  /** `wanted` in place of `from`, with whatever came after `from`. */
  const onto = async (from: Source | null, wanted: Source | null, head: Head | undefined, anyway: boolean) => {
    const merged = from && wanted && head && (await threeWay(from, wanted, heads.source(head)));
    if (merged)
      return {
        async *open() {
          yield merged;
        },
      };
    return anyway ? undefined : null;
  };

  const stale = (line: Version, op: "accept" | "reject", head: Head | undefined) =>
    new AftersaveError("E_STALE", `${line.file} was saved since, and the two cannot be brought together by line`, {
      hint: `Look at both (\`aftersave diff\`). \`aftersave ${op} ${line.version} --anyway\` does it all the same; what the file holds now is archived.`,
      details: { sha256: head?.sha256 ?? null },
    });

  /** What makes a version that was kept aside the content. */
  const accepting = async (line: Version, head: Head | undefined, anyway: boolean): Promise<Ruling> => {
    const details: Details = { applies: line.details?.applies ?? "replace", settles: line.version };
    const base = line.prev_sha256;
    const content = await contentOf(line);
    if ([base, line.sha256].includes(head?.sha256 ?? null)) return { details, content };
    const before = base === null ? undefined : await guarding.versionWith(line.file, base);
    const from = before ? await contentOf(before) : null;
    const merged = await onto(from, content, head, anyway);
    if (merged === null) throw stale(line, "accept", head);
    return merged ? { details: { ...details, ...(base !== null && { merges: base }) }, content: merged } : { details, content };
  };

  /** What takes back a version that stands in the file. */
  const rejecting = async (line: Version, head: Head | undefined, anyway: boolean): Promise<Ruling> => {
    const before = await versions.before(line);
    const content = before ? await contentOf(before) : null;
    const details: Details = { applies: "restore", settles: line.version, restores: before?.version ?? null };
    if (head?.version === line.version || (head?.sha256 ?? null) === line.sha256) return { details, content };
    const merged = await onto(await contentOf(line), content, head, anyway);
    if (merged === null) throw stale(line, "reject", head);
    return merged
      ? { details: { ...details, ...(line.sha256 !== null && { merges: line.sha256 }) }, content: merged }
      : { details, content };
  };

  const waiting = async (key: Key) =>
    (await decisions.held("open")).filter((one) => one.key === key).map(({ version }) => version);

  const decided = async ({ version, key, state }: HeldVersion, op: "accept" | "reject"): Promise<Settled> => {
    if (state === WORD[op]) {
      const nothing = { already: true, by: null, merged: false, receipt: null };
      return { version, file: key, decision: state, ...nothing, waiting: await waiting(key) };
    }
    throw new AftersaveError("E_USAGE", `the version ${version} of ${key} was ${state} already`, {
      hint: `\`aftersave history ${key}\` shows by whom; \`aftersave restore ${key}@${version}\` brings its content.`,
    });
  };

  const settle = async (op: "accept" | "reject", text: string, meta: Meta, options: SettleOptions): Promise<Settled> => {
    const { anyway = false, signal } = options;
    const held = await named(text);
    if (held.state !== "open") return decided(held, op);
    const line = await lineOf(held);
    const { version, key } = held;
    let merged = false;
    const decide = async (head: Head | undefined): Promise<Ruling> => {
      if ((await decisions.heldVersion(version))?.state !== "open") throw new Decided();
      if (op === "accept" ? held.applied : !held.applied) return { details: { settles: version } };
      const ruling = await (op === "accept" ? accepting : rejecting)(line, head, anyway);
      merged = ruling.details.merges !== undefined;
      return ruling;
    };
    try {
      const { version: by, receipt } = await manager.settle(op, key, meta, { signal }, decide);
      return { version, file: key, decision: WORD[op], already: false, by, merged, receipt, waiting: await waiting(key) };
    } catch (error) {
      const now = await decisions.heldVersion(version);
      if (!(error instanceof AftersaveError && error.cause instanceof Decided) || !now) throw error;
      return decided(now, op);
    }
  };

  return {
    async held() {
      const lines: HeldSave[] = [];
      for (const one of await decisions.held("open")) {
        const line = await saves.version(one.version);
        if (line) lines.push(heldSave(line));
      }
      return lines;
    },
    accept: (version, meta = {}, options = {}) => settle("accept", version, meta, options),
    reject: (version, meta = {}, options = {}) => settle("reject", version, meta, options),
  };
}

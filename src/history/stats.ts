/**
 * How much a version changed.
 * @module
 */
import { AftersaveError } from "../core/errors.ts";
import type { Version } from "../core/version.ts";
import type { Heads } from "../memory/heads.ts";
import type { Places } from "../memory/places.ts";
import type { Versions } from "../memory/versions.ts";
import type { Saves, Whereabouts } from "../state/saves.ts";
import { countChange, isText } from "../text/lines.ts";
import { readNow } from "./read.ts";

/** Lines that came and went, a changed one counted as both, the end of the last one not at all; null where they cannot be told: not text, too long, or gone. */
export interface Change {
  readonly added: number | null;
  readonly removed: number | null;
  /** By how many bytes the file grew. */
  readonly bytes: number;
}

export interface StatsParts {
  readonly saves: Saves;
  readonly versions: Versions;
  readonly heads: Heads;
  readonly places: Places;
}

/** Longer content is not read to count its lines. */
const MOST_BYTES = 4 << 20;
/** A comparison that takes longer is given up: then what differs counts as a whole. */
const TIMEOUT_MS = 200;
const NEWLINE = 0x0a;
const RETURN = 0x0d;

const NOBODY_KNOWS = { added: null, removed: null };

/** The bytes [from, to) of what begins with a base, where this machine has it. */
function pieceOf({ heads, places }: StatsParts, where: Whereabouts, from: number, to: number): Buffer | undefined {
  const { content, inHead, copy } = where;
  const head = inHead ? readNow(heads.path(content.base), from, to) : undefined;
  return (head ?? (copy && !copy.pruned ? readNow(places.pathOf(copy.key), from, to) : undefined))?.subarray(0, to - from);
}

const linesIn = (bytes: Uint8Array): number => {
  let lines = bytes.length > 0 && bytes.at(-1) !== NEWLINE ? 1 : 0;
  for (const byte of bytes) if (byte === NEWLINE) lines++;
  return lines;
};

/** How many bytes at the beginning only end the line before. */
const endsLine = (bytes: Uint8Array): number => (bytes[0] === NEWLINE ? 1 : bytes[0] === RETURN && bytes[1] === NEWLINE ? 2 : 0);

/** The last line is the same one whether it has an end or not. */
const closed = (bytes: Buffer) =>
  bytes.length > 0 && bytes.at(-1) !== NEWLINE ? Buffer.concat([bytes, Buffer.of(NEWLINE)]) : bytes;

async function wholeOf({ versions }: StatsParts, version: Version | undefined): Promise<Buffer | undefined> {
  const source = version && (await versions.content(version));
  const pieces: Uint8Array[] = [];
  if (source) for await (const piece of source.open()) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function linesOf(
  parts: StatsParts,
  before: Version | undefined,
  after: Version,
): Promise<Pick<Change, "added" | "removed">> {
  if ((before?.sha256 ?? null) === after.sha256) return { added: 0, removed: 0 };
  const [from, to] = [before?.size ?? 0, after.size ?? 0];
  const [old, now] = [before && (await parts.saves.whereabouts(before.version)), await parts.saves.whereabouts(after.version)];
  const grew = from === 0 || (old !== undefined && old.content.base === now?.content.base && to >= from);
  if (now && grew) {
    if (to - from > MOST_BYTES) return NOBODY_KNOWS;
    const start = Math.max(0, from - 1);
    const tail = pieceOf(parts, now, start, to);
    if (tail) {
      const added = tail.subarray(from - start);
      if (added.includes(0)) return NOBODY_KNOWS;
      const isOpen = from > 0 && tail[0] !== NEWLINE;
      const ends = isOpen ? endsLine(added) : 0;
      return { added: linesIn(added.subarray(ends)), removed: isOpen && ends === 0 && added.length > 0 ? 1 : 0 };
    }
  }
  if (Math.max(from, to) > MOST_BYTES) return NOBODY_KNOWS;
  const [a, b] = [await wholeOf(parts, before), await wholeOf(parts, after)];
  if (!a || !b || !isText(a) || !isText(b)) return NOBODY_KNOWS;
  return (await countChange(closed(a), closed(b), { timeoutMs: TIMEOUT_MS })) ?? NOBODY_KNOWS;
}

/** What changed from `before` (undefined: there was nothing) to `after`. Of an append only what it added is read. */
export async function changeBetween(parts: StatsParts, before: Version | undefined, after: Version): Promise<Change> {
  const bytes = (after.size ?? 0) - (before?.size ?? 0);
  try {
    return { ...(await linesOf(parts, before, after)), bytes };
  } catch (error) {
    if (!(error instanceof AftersaveError) || error.code !== "E_CONTENT_GONE") throw error;
    return { ...NOBODY_KNOWS, bytes };
  }
}

/** Several changes as one. What cannot be told of one of them cannot be told of all. */
export function sumOf(changes: readonly Change[]): Change {
  const all = (of: (change: Change) => number | null) =>
    changes.reduce<number | null>((sum, change) => {
      const n = of(change);
      return sum === null || n === null ? null : sum + n;
    }, 0);
  return {
    added: all(({ added }) => added),
    removed: all(({ removed }) => removed),
    bytes: changes.reduce((sum, change) => sum + change.bytes, 0),
  };
}

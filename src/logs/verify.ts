/**
 * Whether the changelog is the one that was written: pure over lines that were already read. Loads zod, so import it when needed.
 * @module
 */
import { z } from "zod";
import type { Key } from "../core/key.ts";
import {
  ALARM_RULES,
  changelogLine,
  erased,
  isWhole,
  NO_KEY,
  OPS,
  ORIGINS,
  SAVE_OPS,
  type Details,
  type Version,
} from "../core/version.ts";

const hash = z.string().regex(/^[0-9a-f]{64}$/);
const key = z.string().min(1);

const decides = {
  held: z.literal(true).optional(),
  applies: z.enum(SAVE_OPS).optional(),
  settles: z.ulid().optional(),
  restores: z.ulid().nullable().optional(),
  undoes: z.array(z.ulid()).optional(),
  about: z.array(z.ulid()).optional(),
};

const details = z.strictObject({
  ...decides,
  alarms: z.array(z.strictObject({ rule: z.enum(ALARM_RULES), says: z.string() })).optional(),
  merges: hash.optional(),
  prunes: z.strictObject({ copies: z.array(key), from: z.string() }).optional(),
  redacts: z
    .array(
      z.strictObject({
        version: z.ulid(),
        file: key,
        sha256: hash.nullable(),
        size: z.int().nonnegative().nullable(),
        base: z.ulid().optional(),
        archived_as: key.optional(),
        details: z.strictObject(decides).optional(),
      }),
    )
    .optional(),
});

/** Strict, as a field that no sum covers could say anything. */
const lineShape = z.strictObject({
  timestamp: z.iso.datetime(),
  place: z.int().positive(),
  version: z.ulid(),
  op: z.enum(OPS),
  file: key.nullable(),
  sha256: hash.nullable(),
  size: z.int().nonnegative().nullable(),
  prev_sha256: hash.nullable(),
  archived_as: key.nullable(),
  chat_name: z.string(),
  context_tags: z.array(z.string()),
  model: z.string().nullable(),
  session_id: z.string().nullable(),
  tool: z.string().nullable(),
  reason: z.string().nullable(),
  origin: z.enum(ORIGINS).nullable(),
  details: details.nullable().default(null),
  commitment: hash.nullable().default(null),
  salt: z
    .string()
    .regex(/^[0-9a-f]{32}$/)
    .nullable(),
  sum: hash,
  prev: hash.nullable(),
});

/** The version that a changelog line describes; `undefined` when it is not one of ours, or not whole. Does not check its sum. */
export function parseChangelogLine(value: unknown): Version | undefined {
  const { data } = lineShape.safeParse(value);
  if (!data || (data.salt === null) !== (data.commitment !== null)) return undefined;
  const version: Version = {
    ...data,
    file: (data.file as Key | null) ?? NO_KEY,
    archived_as: data.archived_as as Key | null,
    details: data.details as Details | null,
  };
  return data.commitment === null || isBlank(version) ? version : undefined;
}

/** What an erased line commits to is not in it: whatever stands there instead is nobody's word. */
function isBlank(v: Version): boolean {
  const blank = erased(v);
  return Object.entries(blank).every(([name, value]) => JSON.stringify(value) === JSON.stringify(v[name as keyof Version]));
}

/** The line is, byte for byte, what is written of its version: parsing does not tell of a key that stands in it twice. */
export const isAsWritten = (version: Version, text: string | undefined): boolean => text === changelogLine(version);

/** A link of the chain: what the next line builds upon. */
export interface Link {
  readonly place: number;
  readonly sum: string;
}

export interface Break {
  /**
   * `altered`: this line does not match its sum, or the line after it does not build upon it. `removed`: lines from
   * `place` on are gone. `inserted`: a line for a place that was already taken, or before the first.
   */
  readonly what: "altered" | "removed" | "inserted";
  readonly place: number;
  /** Position of the line that gave it away among all lines read, from 1; one more than there are when the end is gone. */
  readonly line: number;
}

export interface ChainReport {
  /** Lines of the chain that were checked and hold. */
  readonly verified: number;
  /** Lines without a place: the original system's, passed over. */
  readonly foreign: number;
  readonly last: Link | null;
  /** The first break; null when the chain holds. */
  readonly broken: Break | null;
}

/**
 * Recomputes every sum and link, and names the first line that was altered, removed or inserted. `values` are parsed
 * log lines in file order. A chain with its end cut off, or its last line forged with a fresh sum, is seen only with
 * `last`, the newest link as the state knows it.
 */
export async function verifyChain(values: AsyncIterable<unknown> | Iterable<unknown>, last?: Link | null): Promise<ChainReport> {
  let before: Link | null = null;
  let verified = 0;
  let foreign = 0;
  let line = 0;
  const report = (broken: Break | null): ChainReport => ({ verified, foreign, last: before, broken });
  for await (const value of values) {
    line += 1;
    if (typeof value !== "object" || value === null || !("place" in value)) {
      foreign += 1;
      continue;
    }
    const due: number = (before?.place ?? 0) + 1;
    const version = parseChangelogLine(value);
    if (version === undefined) return report({ what: "altered", place: due, line });
    const { place, prev, sum } = version;
    if (place > due) return report({ what: "removed", place: due, line });
    if (place < due) return report({ what: "inserted", place, line });
    if (!isWhole(version)) return report({ what: "altered", place, line });
    if (prev !== (before?.sum ?? null)) return report({ what: "altered", place: Math.max(1, place - 1), line });
    before = { place, sum };
    verified += 1;
  }
  const place: number = before?.place ?? 0;
  if (last === undefined || last === null) return report(null);
  if (place < last.place) return report({ what: "removed", place: place + 1, line: line + 1 });
  if (place > last.place) return report({ what: "inserted", place: last.place + 1, line });
  return report(before?.sum === last.sum ? null : { what: "altered", place, line });
}

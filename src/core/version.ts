/**
 * A version is the immutable record of a save; the changelog is the list of versions, each chained to the one before.
 * @module
 */
import { createHash } from "node:crypto";
import { AftersaveError } from "./errors.ts";
import type { Key } from "./key.ts";

/** Saves, and what was noticed: each of them says what the key holds from then on. */
export const SAVE_OPS = ["append", "replace", "archive", "restore", "external"] as const;
export type SaveOp = (typeof SAVE_OPS)[number];

/** Decisions about versions. `accept` and `reject` may also change the file: then `details.applies` says how. */
const DECISION_OPS = ["hold", "accept", "reject", "pin", "unpin", "erase", "prune"] as const;

export const OPS = [...SAVE_OPS, ...DECISION_OPS] as const;
export type Op = (typeof OPS)[number];

export const ORIGINS = ["agent", "human", "import", "consolidation", "unattributed"] as const;
export type Origin = (typeof ORIGINS)[number];

/** Who did it: stamped by the caller, never parsed from content. Absent parts are null. */
export interface Actor {
  readonly chat_name: string;
  readonly context_tags: readonly string[];
  readonly model: string | null;
  readonly session_id: string | null;
  readonly tool: string | null;
  readonly reason: string | null;
  readonly origin: Origin | null;
}

/** What a caller may say of a save. `tags` is the original's word for `context_tags`. */
export interface Meta {
  readonly chat_name?: string | undefined;
  readonly context_tags?: readonly string[] | undefined;
  readonly tags?: readonly string[] | undefined;
  readonly model?: string | undefined;
  readonly session_id?: string | undefined;
  readonly tool?: string | undefined;
  readonly reason?: string | undefined;
  readonly origin?: Origin | undefined;
}

/** Bytes that an actor may have as JSON: it stands in every log line of the save. */
const MAX_ACTOR = 64 * 1024;

const isText = (value: unknown) => value === undefined || value === null || typeof value === "string";
const isTags = (value: unknown) => value === undefined || (Array.isArray(value) && value.every((tag) => typeof tag === "string"));

/** Refuses metadata that a log line could not hold, with `E_USAGE`. */
function checkMeta(meta: Meta): void {
  const wrong = (what: string, expected: string) =>
    new AftersaveError("E_USAGE", `${what} of a save is not ${expected}`, { hint: "Correct it and save again." });
  for (const name of ["chat_name", "model", "session_id", "tool", "reason"] as const)
    if (!isText(meta[name])) throw wrong(name, "text");
  for (const name of ["context_tags", "tags"] as const) if (!isTags(meta[name])) throw wrong(name, "a list of texts");
  if (meta.origin !== undefined && meta.origin !== null && !ORIGINS.includes(meta.origin))
    throw wrong("origin", `one of ${ORIGINS.join(", ")}`);
  if (JSON.stringify(meta).length > MAX_ACTOR) throw wrong("the metadata", "shorter than 64 KiB");
}

/** The actor that `meta` describes, defaults filled in (CONTRACT section 3). Throws `E_USAGE` for what a log line cannot hold. */
export function actorOf(meta: Meta = {}, origin: Origin | null = null): Actor {
  checkMeta(meta);
  return {
    chat_name: meta.chat_name ?? "UNKNOWN",
    context_tags: meta.context_tags ?? meta.tags ?? [],
    model: meta.model ?? null,
    session_id: meta.session_id ?? null,
    tool: meta.tool ?? null,
    reason: meta.reason ?? null,
    origin: meta.origin ?? origin,
  };
}

/** The actor's fields of something that has more. */
export function actorIn({ chat_name, context_tags, model, session_id, tool, reason, origin }: Actor): Actor {
  return { chat_name, context_tags, model, session_id, tool, reason, origin };
}

/** Ops that can say what a key holds from then on. */
export type HeadOp = SaveOp | "accept" | "reject";

/** Why the guard took a save for damage. Names what was measured, never content. */
export interface Alarm {
  readonly rule: AlarmRule;
  /** One sentence for people. */
  readonly says: string;
}

export const ALARM_RULES = [
  "shrink",
  "lines",
  "headings",
  "items",
  "empty",
  "invalid",
  "spree",
  "stale",
  "merge",
  "erased",
] as const;
export type AlarmRule = (typeof ALARM_RULES)[number];

/** A version whose content an erasure rewrote: what is shown under its id from then on. */
export interface Redacted {
  readonly version: string;
  readonly file: Key;
  /** Both null when nothing of the content is kept. */
  readonly sha256: string | null;
  readonly size: number | null;
  /** The version that began the growing copy; left out: it began itself, or there is none. */
  readonly base?: string;
  /** Key of the archive copy that this save made. */
  readonly archived_as?: Key;
  /** What of its details decides something, and is not content. */
  readonly details?: Pick<Details, "held" | "applies" | "settles" | "restores" | "undoes" | "about">;
}

/** What a line says beyond the fields that every line has. Only what applies is there. */
export interface Details {
  /** Of a save or a hold: what the guard said of it. */
  readonly alarms?: readonly Alarm[];
  /** Of a save with alarms: it stands in the file, and is kept from the targets until someone settles it. */
  readonly held?: true;
  /** Of a hold, what the save would do; of an `accept` or `reject` that changes the file, what it does to it. */
  readonly applies?: SaveOp;
  /** Of `accept` and `reject`: the version that was held. */
  readonly settles?: string;
  /** Of a save that brings something back: the version whose content it is, null when the key held nothing then. */
  readonly restores?: string | null;
  /** Of an undo: the versions that it takes back. */
  readonly undoes?: readonly string[];
  /** Of a save that was merged: the sha256 of the content that it was computed from. */
  readonly merges?: string;
  /** Of `pin`, `unpin` and `erase`: the versions; of a save with alarms: the version before it, which it pins. */
  readonly about?: readonly string[];
  /** Of `prune`: keys of the archive copies that were removed, and where: `here`, or the name of a target. */
  readonly prunes?: { readonly copies: readonly Key[]; readonly from: string };
  /** Of `erase`: what the erased versions that still hold something hold now. */
  readonly redacts?: readonly Redacted[];
}

/** The key of a line that speaks of no key or of several, or whose key was erased; null in the file. */
export const NO_KEY = "" as Key;

/** What a line says of content when it has none. */
export const NO_CONTENT = { sha256: null, size: null, prev_sha256: null, archived_as: null } as const;

/** The facts of a version, before it has a place in the chain. */
export interface VersionFacts extends Actor {
  /** ULID. */
  readonly version: string;
  readonly op: Op;
  /** `NO_KEY` where there is none. */
  readonly file: Key;
  /** Null when the key holds nothing after this version: an archive, or a removal by others. */
  readonly sha256: string | null;
  readonly size: number | null;
  readonly prev_sha256: string | null;
  /** Key of the archive copy that this save made of what was there before. */
  readonly archived_as: Key | null;
  /** UTC, ISO 8601 with milliseconds. */
  readonly timestamp: string;
  readonly details: Details | null;
}

/** A version in its place: one line of the changelog. */
export interface Version extends VersionFacts {
  /** 1, 2, 3 … The order of history is this, never a clock. */
  readonly place: number;
  /** Null on an erased line. */
  readonly salt: string | null;
  /** Of an erased line, which has lost the fields that it commits to; null on every other. */
  readonly commitment: string | null;
  /** See `sumOf`. */
  readonly sum: string;
  /** The `sum` of the line before, null on the first. */
  readonly prev: string | null;
}

const sha256 = (text: string) => createHash("sha256").update(text, "utf8").digest("hex");

/** The same details with their parts in the order that lines and sums have them in. */
export function inOrder({ alarms, held, applies, settles, restores, undoes, merges, about, prunes, redacts }: Details): Details {
  return {
    ...(alarms && { alarms: alarms.map(({ rule, says }) => ({ rule, says })) }),
    ...(held && { held }),
    ...(applies && { applies }),
    ...(settles !== undefined && { settles }),
    ...(restores !== undefined && { restores }),
    ...(undoes && { undoes }),
    ...(merges !== undefined && { merges }),
    ...(about && { about }),
    ...(prunes && { prunes: { copies: prunes.copies, from: prunes.from } }),
    ...(redacts && {
      redacts: redacts.map(({ version, file, sha256: hash, size, base, archived_as, details }) => ({
        version,
        file,
        sha256: hash,
        size,
        ...(base !== undefined && { base }),
        ...(archived_as !== undefined && { archived_as }),
        ...(details && { details: inOrder(details) }),
      })),
    }),
  };
}

/** Whether a line says what its key holds from then on. */
export function movesHead({ op, details }: Pick<VersionFacts, "op" | "details">): boolean {
  return (SAVE_OPS as readonly string[]).includes(op) || (op !== "hold" && details?.applies !== undefined);
}

/**
 * The salted commitment to every field that an erasure would blank. Its exact form stands in docs/cli-json.md: `details`
 * takes part only where there are any, so that lines written before there were details keep their sums.
 */
export function commitmentOf(facts: VersionFacts, salt: string): string {
  const { file, sha256: hash, size, prev_sha256, archived_as, chat_name, context_tags } = facts;
  const { model, session_id, tool, reason, origin, details } = facts;
  const fields = [
    file || null,
    hash,
    size,
    prev_sha256,
    archived_as,
    chat_name,
    context_tags,
    model,
    session_id,
    tool,
    reason,
    origin,
    ...(details === null ? [] : [inOrder(details)]),
  ];
  return sha256(`${salt}\n${JSON.stringify(fields)}`);
}

type Link = Pick<Version, "place" | "prev" | "version" | "op" | "timestamp">;

const sumWith = ({ prev, place, version, op, timestamp }: Link, commitment: string): string =>
  sha256(JSON.stringify([prev, place, version, op, timestamp, commitment]));

/** The `sum` that a line must have: a sha256 over `prev`, `place`, `version`, `op`, `timestamp` and the commitment. */
export function sumOf(v: Omit<Version, "sum">): string {
  return sumWith(v, v.commitment ?? commitmentOf(v, v.salt ?? ""));
}

/** Whether a line is one that was written as it stands. */
export const isWhole = (v: Version): boolean => sumOf(v) === v.sum;

/** Puts `facts` behind the line whose `sum` is `prev`. `salt` is 16 random bytes in hex. */
export function chain(facts: VersionFacts, place: number, prev: string | null, salt: string): Version {
  const line = { ...facts, place, salt, commitment: null, prev };
  return { ...line, sum: sumOf(line) };
}

/** The line after its erasure: it proves its place, and says nothing of what it said. */
export function erased(v: Version): Version {
  return {
    version: v.version,
    op: v.op,
    timestamp: v.timestamp,
    place: v.place,
    sum: v.sum,
    prev: v.prev,
    commitment: v.commitment ?? commitmentOf(v, v.salt ?? ""),
    salt: null,
    file: NO_KEY,
    ...NO_CONTENT,
    details: null,
    ...actorOf(),
  };
}

/** The changelog line of a version, without the line end. Field order is part of the format. */
export function changelogLine(version: Version): string {
  const v = version.commitment === null ? version : erased(version);
  return JSON.stringify({
    timestamp: v.timestamp,
    place: v.place,
    version: v.version,
    op: v.op,
    file: v.file || null,
    sha256: v.sha256,
    size: v.size,
    prev_sha256: v.prev_sha256,
    archived_as: v.archived_as,
    chat_name: v.chat_name,
    context_tags: v.context_tags,
    model: v.model,
    session_id: v.session_id,
    tool: v.tool,
    reason: v.reason,
    origin: v.origin,
    ...(v.details === null ? {} : { details: inOrder(v.details) }),
    ...(v.commitment === null ? {} : { commitment: v.commitment }),
    salt: v.salt,
    sum: v.sum,
    prev: v.prev,
  });
}

/** The archive log line of an archive copy. `inputHash` is the sha256 of what was archived. */
export function archiveLine(v: VersionFacts, archivedAs: Key, inputHash: string): string {
  return JSON.stringify({
    timestamp: v.timestamp,
    file: v.file,
    archived_as: archivedAs,
    input_hash: inputHash,
    reason: v.reason ?? v.op,
    version: v.version,
  });
}

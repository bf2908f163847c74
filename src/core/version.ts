/**
 * A version is the immutable record of a save; the changelog is the list of versions, each chained to the one before.
 * @module
 */
import { createHash } from "node:crypto";
import { AftersaveError } from "./errors.ts";
import type { Key } from "./key.ts";

/** Saves, and what was noticed. Issues to come add `hold accept reject pin unpin erase prune`. */
export type Op = "append" | "replace" | "archive" | "restore" | "external";

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

/** The facts of a version, before it has a place in the chain. */
export interface VersionFacts extends Actor {
  /** ULID. */
  readonly version: string;
  readonly op: Op;
  readonly file: Key;
  /** Null when the key holds nothing after this version: an archive, or a removal by others. */
  readonly sha256: string | null;
  readonly size: number | null;
  readonly prev_sha256: string | null;
  /** Key of the archive copy that this save made of what was there before. */
  readonly archived_as: Key | null;
  /** UTC, ISO 8601 with milliseconds. */
  readonly timestamp: string;
}

/** A version in its place: one line of the changelog. */
export interface Version extends VersionFacts {
  /** 1, 2, 3 … The order of history is this, never a clock. */
  readonly place: number;
  readonly salt: string;
  /** See `sumOf`. */
  readonly sum: string;
  /** The `sum` of the line before, null on the first. */
  readonly prev: string | null;
}

const sha256 = (text: string) => createHash("sha256").update(text, "utf8").digest("hex");

/** The salted commitment to every field that an erasure would blank. Its exact form stands in docs/cli-json.md. */
export function commitmentOf(facts: VersionFacts, salt: string): string {
  const { file, sha256: hash, size, prev_sha256, archived_as, chat_name, context_tags } = facts;
  const { model, session_id, tool, reason, origin } = facts;
  const fields = [file, hash, size, prev_sha256, archived_as, chat_name, context_tags, model, session_id, tool, reason, origin];
  return sha256(`${salt}\n${JSON.stringify(fields)}`);
}

/** The `sum` of a line: a sha256 over `prev`, `place`, `version`, `op`, `timestamp` and the commitment. */
export function sumOf(facts: VersionFacts, place: number, prev: string | null, salt: string): string {
  return sha256(JSON.stringify([prev, place, facts.version, facts.op, facts.timestamp, commitmentOf(facts, salt)]));
}

/** Puts `facts` behind the line whose `sum` is `prev`. `salt` is 16 random bytes in hex. */
export function chain(facts: VersionFacts, place: number, prev: string | null, salt: string): Version {
  return { ...facts, place, salt, sum: sumOf(facts, place, prev, salt), prev };
}

/** The changelog line of a version, without the line end. Field order is part of the format. */
export function changelogLine(v: Version): string {
  return JSON.stringify({
    timestamp: v.timestamp,
    place: v.place,
    version: v.version,
    op: v.op,
    file: v.file,
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

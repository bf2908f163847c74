/**
 * One key's part of an erasure: what its versions hold that is to go, which lines go with it, and what is put in their place.
 * Reads only.
 * @module
 */
import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { AftersaveError, errnoOf, type ErrorCode } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import { inOrder, movesHead, type Redacted, type Version } from "../core/version.ts";
import type { Heads } from "../memory/heads.ts";
import type { Places } from "../memory/places.ts";
import type { Versions } from "../memory/versions.ts";
import type { KeyLine, Unread } from "../state/erasure.ts";
import type { ArchiveCopy, Head } from "../state/saves.ts";
import type { State } from "../state/state.ts";
import { linesIn, merged, redact, type Range, type Redaction } from "./redact.ts";
import type { Finder } from "./tombstone.ts";

export interface KeyParts {
  readonly state: State;
  readonly heads: Heads;
  readonly places: Places;
  /** What is kept here, and at the targets that were seen to be ours. */
  readonly reach: () => Promise<Reach>;
  /** Those that a key is routed to. */
  readonly targetsFor: (key: Key) => readonly string[];
}

/** Where contents can be looked for just now. */
export interface Reach {
  readonly versions: Pick<Versions, "content">;
  /** Enabled targets that were seen to be ours. */
  readonly seen: readonly string[];
  /** Why a target cannot be looked at; undefined when it can. */
  why(target: string): ErrorCode | undefined;
}

/** A content that is kept: of a base, or an archive copy of which nobody knows the base. */
export interface Kept {
  readonly base: string | null;
  readonly kind: "head" | "archive" | "held";
  readonly bytes: Buffer;
  readonly redaction: Redaction;
  readonly size: number;
  readonly copies: readonly ArchiveCopy[];
}

export interface KeyErasure {
  readonly key: Key;
  readonly head: Head | undefined;
  readonly copies: readonly ArchiveCopy[];
  readonly lines: readonly KeyLine[];
  /** Contents that change. */
  readonly kept: readonly Kept[];
  /** Lines that are erased, oldest first. */
  readonly about: readonly Version[];
  readonly redacts: readonly Redacted[];
  /** How many of them hold another content than before. */
  readonly changed: number;
  /** Versions whose content is kept nowhere. */
  readonly gone: readonly Version[];
  /** Those whose content may lie where it cannot be looked at now: none of their lines is erased for it. */
  readonly waiting: readonly Waiting[];
}

/** A version with the places that may have what it held. */
export interface Waiting {
  readonly version: Version;
  readonly at: readonly Unread[];
}

/** Above it a file is not looked through. */
const MOST = 1 << 30;

const sha256Of = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** Hashes of the beginnings of a content. */
function hashesOf(bytes: Buffer, sizes: Iterable<number>): Map<number, string> {
  const state = createHash("sha256");
  const found = new Map<number, string>();
  let at = 0;
  for (const size of [...new Set(sizes)].toSorted((a, b) => a - b)) {
    state.update(bytes.subarray(at, size));
    at = size;
    found.set(size, state.copy().digest("hex"));
  }
  return found;
}

async function readWhole(path: string, size: number): Promise<Buffer | undefined> {
  try {
    if ((await stat(path)).size > MOST) return undefined;
    const bytes = await readFile(path);
    return bytes.length < size ? undefined : bytes.subarray(0, size);
  } catch (error) {
    if (errnoOf(error) === "") throw error;
    return undefined; // unreadable is not there
  }
}

/** The contents of a key's bases, each read once. */
function reader(
  { state, heads, places, reach, targetsFor }: KeyParts,
  key: Key,
  lines: readonly KeyLine[],
  copies: readonly ArchiveCopy[],
) {
  const newest = new Map<string, Version>();
  for (const { version, base } of lines)
    if (base !== null && version.sha256 !== null && (version.size ?? 0) >= (newest.get(base)?.size ?? 0))
      newest.set(base, version);
  const read = new Map<string, Promise<Loaded>>();

  /** The key under which a target may have it. */
  const nameAt = async (target: string, base: string, size: number): Promise<Key | undefined> => {
    const own = copies.filter((copy) => copy.base === base).map((copy) => copy.key);
    for (const name of [...own, key]) {
      if (await state.copies.prunedAt(target, name)) continue;
      const there = await state.ledger.mirrored(target, name);
      if (there ? there.size >= size : targetsFor(name).includes(target)) return name;
    }
    return undefined;
  };

  /** Where it may lie: where nobody could look, or where looking failed with `fault`. */
  const unreadOf = async (base: string, size: number, fault: ErrorCode | undefined): Promise<Unread[]> => {
    const { seen, why } = await reach();
    const found: Unread[] = [];
    const names = [key, ...copies.filter((copy) => copy.base === base).map((copy) => copy.key)];
    const targets = await Promise.all(names.map((name) => state.erasure.targetsOf(name)));
    for (const target of new Set([...targets.flat(), ...names.flatMap(targetsFor)])) {
      const code = why(target) ?? (seen.includes(target) ? fault : undefined);
      const name = code && (await nameAt(target, base, size));
      if (code && name) found.push({ target, key: name, code });
    }
    return found;
  };

  const load = async (base: string): Promise<Loaded> => {
    const last = newest.get(base);
    if (!last || last.size === null) return NOWHERE;
    const paths = [heads.path(base), ...copies.filter((copy) => copy.base === base).map(({ key }) => places.pathOf(key))];
    for (const path of paths) {
      const bytes = await readWhole(path, last.size);
      if (bytes && sha256Of(bytes) === last.sha256) return { bytes, unread: [] };
    }
    if (last.size > MOST) return NOWHERE;
    try {
      const pieces: Uint8Array[] = [];
      const { versions } = await reach();
      for await (const piece of (await versions.content(last))?.open() ?? []) pieces.push(piece);
      return { bytes: Buffer.concat(pieces), unread: [] };
    } catch (error) {
      if (!(error instanceof AftersaveError)) throw error;
      const fault = error.code === "E_CONTENT_GONE" ? undefined : error.code;
      return { bytes: undefined, unread: await unreadOf(base, last.size, fault) };
    }
  };
  const look = (base: string): Promise<Loaded> => {
    const known = read.get(base) ?? load(base);
    read.set(base, known);
    return known;
  };
  return {
    bases: newest,
    bytes: async (base: string): Promise<Buffer | undefined> => (await look(base)).bytes,
    unread: async (base: string | null | undefined): Promise<readonly Unread[]> =>
      typeof base === "string" ? (await look(base)).unread : [],
  };
}

interface Loaded {
  readonly bytes: Buffer | undefined;
  /** Where it may lie, when there are no bytes; nowhere: it is gone. */
  readonly unread: readonly Unread[];
}

const NOWHERE: Loaded = { bytes: undefined, unread: [] };

const BRINGS = new Set(["append", "replace", "external", "hold"]);
const isBinary = (bytes: Buffer) => bytes.includes(0);

const priorOf = (version: Version, lines: readonly KeyLine[]) =>
  lines.findLast((line) => line.version.place < version.place && movesHead(line.version));

/**
 * What a version brought, as places of its base: what it appended, or the lines that the version before did not have. A
 * version that only brings back what others wrote brings nothing.
 */
async function broughtBy(
  { version, base }: KeyLine,
  lines: readonly KeyLine[],
  bytes: (base: string) => Promise<Buffer | undefined>,
): Promise<Range[]> {
  const whole = base === null ? undefined : await bytes(base);
  if (!whole || version.size === null || !BRINGS.has(version.op)) return [];
  const end = version.size;
  const prior = priorOf(version, lines);
  if (prior?.base === base && prior.version.size !== null && prior.version.size <= end)
    return ended(whole, prior.version.size, end);
  const before = prior?.base ? (await bytes(prior.base))?.subarray(0, prior.version.size ?? 0) : undefined;
  const own = whole.subarray(0, end);
  if (!before || isBinary(own) || isBinary(before)) return ended(whole, 0, end);
  const known = new Set([...linesIn(before)].map((line) => before.toString("latin1", line.start, line.end)));
  return [...linesIn(own)].filter((line) => !known.has(own.toString("latin1", line.start, line.end)));
}

/** A range without the line end that closes it. */
function ended(bytes: Buffer, start: number, end: number): Range[] {
  let to = end;
  if (to > start && bytes[to - 1] === 0x0a) to--;
  if (to > start && bytes[to - 1] === 0x0d) to--;
  return [{ start, end: to }];
}

/** What a key holds, and what its picked versions brought, base by base. */
export async function lookInto(parts: KeyParts, key: Key, picked: ReadonlySet<string>) {
  const lines = await parts.state.erasure.linesOf(key);
  const copies = await parts.state.erasure.copiesOf(key);
  const { bases, bytes, unread } = reader(parts, key, lines, copies);
  const brought = new Map<string, Range[]>();
  const waiting: Waiting[] = [];
  for (const line of lines) {
    const { version, base } = line;
    if (!picked.has(version.version) || base === null || version.commitment !== null) continue;
    const at = [...(await unread(base)), ...(BRINGS.has(version.op) ? await unread(priorOf(version, lines)?.base) : [])];
    if (at.length > 0) {
      waiting.push({ version, at });
      continue;
    }
    brought.set(base, [...(brought.get(base) ?? []), ...(await broughtBy(line, lines, bytes))]);
  }
  return { lines, copies, bases, bytes, unread, brought, waiting };
}

/** Works out what an erasure does to a key: all that `finder` finds in it, and what its `picked` versions brought. */
export async function eraseIn(parts: KeyParts, key: Key, finder: Finder, picked: ReadonlySet<string>): Promise<KeyErasure> {
  const { lines, copies, bases, bytes, unread, brought, waiting } = await lookInto(parts, key, picked);
  const head = await parts.state.saves.head(key);
  const kept: Kept[] = [];
  const gone: Version[] = [];
  const now = new Map<string, { sha256: string; size: number }>(); // by version
  const hashes = new Map<string, string>(); // old → new
  for (const [base, last] of bases) {
    const whole = await bytes(base);
    if (!whole) {
      const at = await unread(base);
      if (at.length === 0) gone.push(last);
      else if (!waiting.some(({ version }) => version.version === last.version)) waiting.push({ version: last, at });
      continue;
    }
    const ranges = merged([...finder.find(whole, key), ...(brought.get(base) ?? [])]);
    if (ranges.length === 0) continue;
    const redaction = redact(whole, ranges);
    if (redaction.content.equals(whole)) continue; // an earlier erasure left just that
    const here = lines.filter((line) => line.base === base && line.version.sha256 !== null);
    const after = hashesOf(
      redaction.content,
      here.map(({ version }) => redaction.sizeOf(version.size ?? 0)),
    );
    for (const { version } of here) {
      const size = redaction.sizeOf(version.size ?? 0);
      const sha256 = after.get(size) ?? "";
      if (sha256 === version.sha256) continue;
      now.set(version.version, { sha256, size });
      hashes.set(version.sha256 ?? "", sha256);
    }
    const own = copies.filter((copy) => copy.base === base);
    const kind = head?.base === base ? "head" : own.length > 0 ? "archive" : "held";
    kept.push({ base, kind, bytes: whole, redaction, size: whole.length, copies: own });
  }
  for (const copy of copies) {
    if (copy.base !== null || copy.pruned) continue;
    const whole = await readWhole(parts.places.pathOf(copy.key), 0);
    const ranges = whole ? finder.find(whole, key) : [];
    const again = whole && hashes.has(copy.sha256); // the same bytes as those of a version
    if (!whole || (ranges.length === 0 && !again)) continue;
    const redaction = redact(whole, ranges);
    hashes.set(copy.sha256, sha256Of(redaction.content));
    kept.push({ base: null, kind: "archive", bytes: whole, redaction, size: whole.length, copies: [copy] });
  }

  const speaks = (v: Version) => {
    const said = [
      v.chat_name,
      ...v.context_tags,
      v.model,
      v.session_id,
      v.tool,
      v.reason,
      ...(v.details?.alarms ?? []).map(({ says }) => says),
    ];
    return said.some((text) => text !== null && finder.find(Buffer.from(text), null).length > 0);
  };
  const goes = (v: Version) =>
    now.has(v.version) ||
    (picked.has(v.version) && v.commitment === null) ||
    [v.sha256, v.prev_sha256, v.details?.merges].some((hash) => typeof hash === "string" && hashes.has(hash)) ||
    speaks(v);
  const first = new Set(lines.filter(({ version }) => goes(version)).map(({ version }) => version.version));
  // an earlier erasure's line that tells the hash of what changes now goes too; what it was about is said anew
  for (const { version: v } of lines) {
    if (v.op !== "erase" || !v.details?.redacts?.some(({ version, sha256 }) => now.has(version) || hashes.has(sha256 ?? "")))
      continue;
    for (const id of [v.version, ...(v.details.about ?? [])]) first.add(id);
  }
  for (const { version } of waiting) if (picked.has(version.version)) first.delete(version.version);
  const going = lines.filter(({ version }) => first.has(version.version));
  const redacts = going.map(({ version: v, base }): Redacted => {
    const left = now.get(v.version) ?? {
      sha256: v.sha256 && (hashes.get(v.sha256) ?? v.sha256),
      size: v.size,
    };
    const { alarms, held, merges: _, redacts: __, prunes: ___, ...said } = v.details ?? {};
    // it was held for the text alone that goes now
    const isOver = now.has(v.version) && alarms?.every(({ rule }) => rule === "erased");
    const decides = v.op === "erase" ? {} : { ...said, ...(held !== undefined && !isOver && { held }) };
    return {
      version: v.version,
      file: key,
      ...left,
      ...(base !== null && base !== v.version && { base }),
      ...(v.archived_as !== null && { archived_as: v.archived_as }),
      ...(Object.keys(decides).length > 0 && { details: inOrder(decides) }),
    };
  });
  return {
    key,
    head,
    copies,
    lines,
    kept,
    about: going.map(({ version }) => version),
    redacts,
    changed: now.size,
    gone,
    waiting,
  };
}

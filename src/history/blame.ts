/**
 * Who wrote each line of what a key holds. Walks the versions once, oldest first: appends only say where their bytes
 * begin, so that a whole run of them costs one read; other saves are compared with what was there before.
 * @module
 */
import { setImmediate as turn } from "node:timers/promises";
import { AftersaveError } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import { movesHead, type Actor, type Op, type Version } from "../core/version.ts";
import type { Heads } from "../memory/heads.ts";
import type { Places } from "../memory/places.ts";
import type { Versions } from "../memory/versions.ts";
import type { Saves } from "../state/saves.ts";
import { isText } from "../text/lines.ts";
import { NOTHING, replaced, startsOf, type Attributed } from "./attribution.ts";
import { createDigests } from "./digests.ts";
import type { KnownBlame, KnownBlames } from "./known-blames.ts";
import { readNow } from "./read.ts";

export interface BlameOptions {
  /** What the key held at this version: an id, the end of one, or `-N`. Default: what it holds now. */
  readonly version?: string | undefined;
}

/** One line, and the save that wrote it. */
export interface BlameLine extends Pick<Actor, "chat_name" | "context_tags" | "model" | "session_id" | "tool" | "origin"> {
  /** 1, 2, 3 … */
  readonly line: number;
  /** Without the line end. */
  readonly text: string;
  readonly version: string;
  readonly op: Op;
  readonly timestamp: string;
  /** It stood elsewhere in the file when it was written. */
  readonly moved?: true;
}

export interface Blame {
  readonly file: Key;
  /** Of which version the lines are. */
  readonly version: string;
  readonly sha256: string;
  readonly timestamp: string;
  readonly lines: readonly BlameLine[];
  /** Versions whose content is kept nowhere any more: their lines count as written by the version after them. */
  readonly missing: readonly string[];
}

export interface BlameParts {
  readonly saves: Saves;
  readonly versions: Versions;
  readonly heads: Heads;
  readonly places: Places;
  readonly known: KnownBlames;
}

/** A blame that read so many bytes is kept for the next one. */
const LONG = 1 << 25;
/** Content longer than this is not taken apart: more than Node holds in one piece of memory on every system. */
const MOST_BYTES = 1 << 30;
const NEWLINE = 0x0a;
const RETURN = 0x0d;
/** How many reads are made before other work of the process has its turn. */
const READS_A_TURN = 32;

/** Versions whose contents are beginnings of the last one's. */
interface Run {
  readonly first: number;
  readonly last: number;
}

/** A line's author and whether it was moved, as they were at a version that something was brought back from later. */
type Kept = Pick<Attributed, "authors" | "moved">;

/**
 * Names for each line of `key` the version that wrote it. Lines that were moved within the file keep their author; so do
 * lines that an undo, a restore or a reject brings back; what was held and then accepted is the work of who saved it, not
 * of who accepted it. Line ends do not count as a change. Throws `E_VERSION`, `E_NOT_FOUND` when the key held nothing then,
 * `E_NOT_TEXT`, and `E_CONTENT_GONE` when that version's own content is gone.
 */
export async function blame(parts: BlameParts, key: Key, { version }: BlameOptions = {}): Promise<Blame> {
  const { saves, versions } = parts;
  const asked = version === undefined ? undefined : await versions.named(version, key);
  const all: Version[] = [];
  const before = asked && asked.place + 1;
  for await (const each of saves.select({ file: key, before })) if (movesHead(each)) all.push(each);
  const last = all.at(-1);
  if (!last || last.sha256 === null || (asked && asked !== last && asked.version !== last.version))
    throw holdsNothing(key, asked);
  const { content, missing, authors, read } = await walked(parts, all);
  if (!isText(content.bytes))
    throw new AftersaveError("E_NOT_TEXT", `${key} is not text: it has no lines that could be told apart`, {
      hint: "`aftersave history KEY` says who changed it.",
    });
  if (!asked && read > LONG && missing.length === 0) parts.known.keep(all, { at: all.length - 1, ...content });
  return {
    file: key,
    version: last.version,
    sha256: last.sha256,
    timestamp: last.timestamp,
    lines: linesOf(content, authors),
    missing,
  };
}

const holdsNothing = (key: Key, at: Version | undefined) =>
  new AftersaveError("E_NOT_FOUND", at ? `${key} held nothing at ${at.version}` : `${key} holds nothing`, {
    hint: "`aftersave history KEY` lists what it held; name a version as KEY@VERSION.",
  });

function linesOf({ bytes, starts, authors, moved }: Attributed, versions: readonly Version[]): BlameLine[] {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return Array.from(authors, (author, n) => {
    const by = versions[author] as Version;
    const [start, end] = [starts[n] as number, (starts[n + 1] as number) - 1];
    return {
      line: n + 1,
      text: buffer.toString("utf8", start, end > start && bytes[end - 1] === RETURN ? end - 1 : end),
      version: by.version,
      op: by.op,
      timestamp: by.timestamp,
      chat_name: by.chat_name,
      context_tags: by.context_tags,
      model: by.model,
      session_id: by.session_id,
      tool: by.tool,
      origin: by.origin,
      ...(moved[n] === 1 ? { moved: true as const } : {}),
    };
  });
}

/** Whether `next` only added to what `prior` held, as far as the lines say. */
const grows = (prior: Version, next: Version) =>
  next.archived_as === null &&
  next.details?.restores === undefined &&
  prior.size !== null &&
  next.size !== null &&
  next.size >= prior.size;

function runsOf(all: readonly Version[], from: number): Run[] {
  const runs: Run[] = [];
  for (let first = from; first < all.length;) {
    let last = first;
    while (last + 1 < all.length && grows(all[last] as Version, all[last + 1] as Version)) last++;
    runs.push({ first, last });
    first = last + 1;
  }
  return runs;
}

/** The version that wrote what an accepted hold brought: the hold itself. */
async function authorsOf(saves: Saves, all: readonly Version[]): Promise<Version[]> {
  const authors = [...all];
  for (const [n, { op, details }] of all.entries())
    if (op === "accept" && details?.settles !== undefined)
      authors[n] = (await saves.version(details.settles)) ?? (all[n] as Version);
  return authors;
}

/** For each version that brings something back: the earlier ones that its lines may come from, as numbers in `all`. */
function originsOf(all: readonly Version[]): Map<number, number[]> {
  const numbers = new Map(all.map(({ version }, n) => [version, n]));
  const byContent = new Map<string, number>();
  const origins = new Map<number, number[]>();
  for (const [n, { op, details, sha256 }] of all.entries()) {
    const named = [
      ...(typeof details?.restores === "string" ? [numbers.get(details.restores)] : []),
      ...(details?.undoes ?? []).map((undone) => (numbers.get(undone) ?? 0) - 1),
      ...(op === "restore" || op === "reject" ? [byContent.get(sha256 ?? "")] : []),
    ];
    const known = [...new Set(named)].filter((at): at is number => at !== undefined && at >= 0 && at < n);
    if (known.length > 0) origins.set(n, known);
    if (sha256 !== null) byContent.set(sha256, n);
  }
  return origins;
}

interface Walked {
  readonly content: Attributed;
  /** What the author numbers stand for. */
  readonly authors: readonly Version[];
  readonly missing: readonly string[];
  /** How many bytes. */
  readonly read: number;
}

/** Goes on from what is known, unless what came later brings older things back, or what it goes on from is gone. */
async function walked(parts: BlameParts, all: readonly Version[]): Promise<Walked> {
  const origins = originsOf(all);
  const known = parts.known.find(all);
  if (known && [...origins].every(([n, from]) => n <= known.at || from.every((origin) => origin >= known.at))) {
    const further = await walk(parts, all, origins, known);
    if (further.missing.length === 0) return further;
  }
  return walk(parts, all, origins);
}

async function walk(
  parts: BlameParts,
  all: readonly Version[],
  origins: ReadonlyMap<number, readonly number[]>,
  known?: KnownBlame,
): Promise<Walked> {
  const wanted = new Set([...origins.values()].flat());
  const kept = new Map<number, Kept>();
  const missing: string[] = [];
  const reader = createReader(parts);
  let now = NOTHING;
  /** Where `now` lies, and what nothing lies in any more: new memory for each content would cost more than reading it. */
  let [taken, spare]: (Buffer | undefined)[] = [];

  const keep = (n: number, { authors, moved }: Kept, lines: number) => {
    if (wanted.has(n)) kept.set(n, { authors: authors.slice(0, lines), moved: moved.slice(0, lines) });
  };

  /** What version `n` made of what was there before. */
  const take = async (n: number, bytes: Uint8Array): Promise<Attributed> => {
    if (n === known?.at) return { bytes, starts: startsOf(bytes), authors: known.authors, moved: known.moved };
    const from = (origins.get(n) ?? []).filter((origin) => kept.has(origin));
    const same = from.find((origin) => all[origin]?.sha256 === all[n]?.sha256);
    if (same !== undefined) return { bytes, starts: startsOf(bytes), ...(kept.get(same) as Kept) };
    const next = replaced(now, bytes, n);
    for (const origin of from) {
      if (!next.authors.includes(n)) break;
      const old = await reader.read([all[origin] as Version]);
      if (!old) continue;
      const held = closed(old.bytes, all[origin]?.size ?? 0);
      bringBack(next, replaced({ bytes: held, starts: startsOf(held), ...(kept.get(origin) as Kept) }, bytes, n), n);
    }
    return next;
  };

  const process = async ({ first, last }: Run): Promise<void> => {
    const into = spare;
    spare = undefined;
    const found = await reader.read(all.slice(first, last + 1), { must: last === all.length - 1, into });
    if (!found) {
      spare = into;
      missing.push((all[last] as Version).version);
      if (last > first) await process({ first, last: last - 1 });
      return;
    }
    const { bytes, strangers } = found;
    if (strangers > 0) await process({ first, last: first + strangers - 1 });
    const start = first + strangers;
    now = await take(start, closed(bytes, sizeAt(all, start)));
    keep(start, now, now.authors.length);
    if (last > start) now = grown(now, bytes, all, start, last, keep);
    [taken, spare] = [bytes, taken];
  };

  for (const run of runsOf(all, known?.at ?? 0)) {
    if (all[run.first]?.sha256 === null) now = NOTHING;
    else await process(run);
  }
  return { content: now, authors: await authorsOf(parts.saves, all), missing, read: reader.bytes() };
}

const sizeAt = (all: readonly Version[], n: number) => all[n]?.size ?? 0;

/** The first `size` bytes, with a line end behind them where they have none. `bytes` have a line end behind the content. */
function closed(bytes: Uint8Array, size: number): Uint8Array {
  if (size === 0 || bytes[size - 1] === NEWLINE) return bytes.subarray(0, size);
  return bytes[size] === NEWLINE ? bytes.subarray(0, size + 1) : Buffer.concat([bytes.subarray(0, size), Buffer.of(NEWLINE)]);
}

/** Lines that `next` has from `author` alone, and `other` from someone before, are that one's. Both are of the same bytes. */
function bringBack(next: Attributed, other: Attributed, author: number): void {
  for (const [n, by] of other.authors.entries()) {
    if (next.authors[n] !== author || by === author) continue;
    next.authors[n] = by;
    next.moved[n] = other.moved[n] as number;
  }
}

/** The content of version `last`, which versions `start` + 1 to `last` appended to that of `start`. */
function grown(
  now: Attributed,
  bytes: Uint8Array,
  all: readonly Version[],
  start: number,
  last: number,
  keep: (n: number, so: Kept, lines: number) => void,
): Attributed {
  const isOpen = (size: number) => size > 0 && bytes[size - 1] !== NEWLINE;
  let line = now.authors.length;
  const whole = closed(bytes, sizeAt(all, last));
  const starts = startsOf(whole, isOpen(sizeAt(all, start)) ? now.starts.subarray(0, line) : now.starts);
  const authors = new Int32Array(starts.length - 1);
  const moved = new Uint8Array(starts.length - 1);
  authors.set(now.authors);
  moved.set(now.moved);
  for (let n = start + 1; n <= last; n++) {
    const [from, to] = [sizeAt(all, n - 1), sizeAt(all, n)];
    const endsLine = bytes[from] === NEWLINE || (bytes[from] === RETURN && bytes[from + 1] === NEWLINE);
    if (to > from && isOpen(from) && !endsLine) {
      authors[line - 1] = n;
      moved[line - 1] = 0;
    }
    for (; line < authors.length && (starts[line] as number) < to; line++) authors[line] = n;
    keep(n, { authors, moved }, line);
  }
  return { bytes: whole, starts, authors, moved };
}

interface Found {
  /** Begins with what the last version held, and one line end behind it. The caller's alone. */
  readonly bytes: Buffer;
  /** How many of the first versions are not all beginnings of it. */
  readonly strangers: number;
}

interface Wish {
  /** It must be had. */
  readonly must?: boolean;
  /** Memory that may be used for it. */
  readonly into?: Buffer | undefined;
}

interface Reader {
  /** The content of the last of `versions`, checked. Undefined when it is gone; throws `E_CONTENT_GONE` then when it must be had. */
  read(versions: readonly Version[], wish?: Wish): Promise<Found | undefined>;
  /** How many were read so far. */
  bytes(): number;
}

/** Room for `size` bytes and one more, and for a few more the next time. */
const roomFor = (size: number, into: Buffer | undefined) =>
  into && into.length > size ? into : Buffer.allocUnsafe(size + 1 + (size >> 3));

function createReader({ saves, versions, heads, places }: BlameParts): Reader {
  const digests = createDigests();
  let [reads, bytes] = [0, 0];

  /** How many of the first of `asked` are not beginnings of `bytes`; undefined when the last one is not. */
  const strangersIn = (asked: readonly Version[], bytes: Buffer): number | undefined => {
    const found = digests.of(
      bytes,
      asked.map(({ size }) => size ?? 0),
    );
    const strangers = asked.findLastIndex(({ sha256 }, n) => sha256 !== found[n]) + 1;
    return strangers === asked.length ? undefined : strangers;
  };

  const here = async (asked: readonly Version[], into: Buffer | undefined): Promise<Found | undefined> => {
    const last = asked.at(-1) as Version;
    const kept = await saves.whereabouts(last.version);
    if (!kept) return undefined;
    const { base, size } = kept.content;
    const room = roomFor(size, into);
    for (const path of [...(kept.copy && !kept.copy.pruned ? [places.pathOf(kept.copy.key)] : []), heads.path(base)]) {
      digests.overwrites(room);
      const bytes = readNow(path, 0, size, room);
      const strangers = bytes && strangersIn(asked, bytes);
      if (!bytes || strangers === undefined) continue;
      bytes[size] = NEWLINE;
      return { bytes, strangers };
    }
    return undefined;
  };

  const elsewhere = async (asked: readonly Version[]): Promise<Found | undefined> => {
    const source = await versions.content(asked.at(-1) as Version);
    if (!source) return undefined;
    const pieces: Uint8Array[] = [];
    for await (const piece of source.open()) pieces.push(piece);
    const bytes = Buffer.concat([...pieces, Buffer.of(NEWLINE)]);
    return { bytes, strangers: strangersIn(asked, bytes) ?? asked.length - 1 };
  };

  return {
    bytes: () => bytes,
    async read(asked, { must = false, into } = {}) {
      if (++reads % READS_A_TURN === 0) await turn();
      const last = asked.at(-1) as Version;
      bytes += last.size ?? 0;
      if ((last.size ?? 0) > MOST_BYTES)
        throw new AftersaveError("E_NOT_TEXT", `${last.file} is longer than can be taken apart into lines`, {
          hint: "`aftersave history KEY` says who changed it.",
        });
      try {
        return (await here(asked, into)) ?? (await elsewhere(asked));
      } catch (error) {
        if (must || !(error instanceof AftersaveError) || error.code !== "E_CONTENT_GONE") throw error;
        return undefined;
      }
    },
  };
}

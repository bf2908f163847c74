/**
 * What a key held: now, at a moment, or in a version.
 * @module
 */
import { AftersaveError } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import type { Chunks, Source } from "../core/target.ts";
import { movesHead, NO_KEY, type Op, type Version } from "../core/version.ts";
import type { Places } from "../memory/places.ts";
import type { Versions } from "../memory/versions.ts";
import type { Saves } from "../state/saves.ts";

export interface ShowQuery {
  /** An id, a unique ending of at least four characters, or `-N`: the Nth before what the key holds now. */
  readonly version?: string | undefined;
  /** What the key held then: a `Date`, or ISO 8601. */
  readonly at?: Date | string | undefined;
}

export interface Shown {
  readonly file: Key;
  /** The line that says so. */
  readonly version: Version;
  readonly sha256: string;
  readonly size: number;
  /** An erasure took something out of it: the bytes are not those that were saved. */
  readonly redacted: boolean;
  /** The bytes, checked before the first one is given; can be opened again. */
  open(): Chunks;
}

/** A version with what it holds by now: the line itself, or what an erasure left of it. */
export interface Found {
  readonly version: Version;
  readonly redacted: boolean;
}

export interface FinderParts {
  readonly saves: Saves;
  readonly versions: Versions;
  readonly places: Places;
}

/** Finds versions of a key, and what they held. */
export interface Finder {
  /** The version of `file` that a text means. Throws `E_VERSION`, and `E_CONTENT_GONE` when it was erased. */
  named(file: Key, text: string): Promise<Found>;
  /** What says what `file` holds now. Throws `E_NOT_FOUND` when nothing was ever saved under it, `E_VERSION` when it is a saved key with `@` and what names no version. */
  now(file: Key): Promise<Found>;
  /** What says what `file` held at an ISO time. Throws `E_NOT_FOUND` when its history begins later. */
  at(file: Key, time: string): Promise<Found>;
  /** The newest version before it that says what its key held. */
  before(version: Version): Promise<Version | undefined>;
  /** The bytes; undefined when the version held nothing. Throws `E_CONTENT_GONE`. */
  content(version: Version): Promise<Source | undefined>;
}

/** A time as lines have it. Throws `E_USAGE`. */
export function isoOf(time: Date | string): string {
  const date = new Date(time);
  if (!Number.isNaN(date.getTime())) return date.toISOString();
  throw new AftersaveError("E_USAGE", `not a time: ${JSON.stringify(String(time))}`, { hint: "Say it as 2026-04-13T18:00:00Z." });
}

const whole = (version: Version): Found => ({ version, redacted: false });

export function createFinder({ saves, versions, places }: FinderParts): Finder {
  const headAt = (file: Key, place: number) => saves.headAt(file, place);

  /** What an erasure left of a version whose line it blanked. */
  const leftOf = async (line: Version, file: Key): Promise<Found> => {
    for await (const { details } of saves.select({ op: "erase", after: line.place, order: "newest" })) {
      const left = details?.redacts?.find(({ version }) => version === line.version);
      if (left?.file === file && left.sha256 !== null)
        return { version: { ...line, file, sha256: left.sha256, size: left.size }, redacted: true };
    }
    throw new AftersaveError("E_CONTENT_GONE", `the version ${line.version} was erased`, {
      hint: "Its line proves that there was one, and says no more.",
    });
  };

  const unknown = async (file: Key): Promise<AftersaveError> => {
    const [name, version] = [file.slice(0, file.lastIndexOf("@")), file.slice(file.lastIndexOf("@") + 1)];
    if (name !== file && name !== "" && (await headAt(name as Key, Number.MAX_SAFE_INTEGER)))
      return new AftersaveError("E_VERSION", `${JSON.stringify(version)} names no version of ${name}`, {
        hint: `A version is an id, the last four or more of its characters, or -N; \`aftersave history ${name}\` lists them.`,
      });
    const copy = await saves.archiveCopy(file);
    const saved = copy && (await saves.version(copy.version));
    const held = saved && (await versions.before(saved));
    const none = (hint: string) => new AftersaveError("E_NOT_FOUND", `nothing was ever saved as ${file}`, { hint });
    if (copy && held) return none(`It is an archive copy: what ${copy.file}@${held.version} held.`);
    const real = places.place(file);
    if (real.key !== file) return none(`It is a link: ask for ${real.key}.`);
    if (real.stats) return none("The file is there: `aftersave sweep` makes what it holds a version.");
    return none("`aftersave history` lists what was saved.");
  };

  return {
    async named(file, text) {
      const version = await versions.named(text, file);
      return version.commitment === null ? whole(version) : leftOf(version, file);
    },
    async now(file) {
      const version = await headAt(file, Number.MAX_SAFE_INTEGER);
      if (version) return whole(version);
      throw await unknown(file);
    },
    async at(file, time) {
      const version = await headAt(file, await saves.lastPlaceAt(time));
      if (version) return whole(version);
      for await (const first of saves.select({ file }))
        if (movesHead(first))
          throw new AftersaveError("E_NOT_FOUND", `${file} held nothing at ${time}: its history begins at ${first.timestamp}`, {
            hint: `\`aftersave show ${file}@${first.version}\` shows its first version.`,
            details: { first: first.version },
          });
      throw await unknown(file);
    },
    before: (version) => versions.before(version),
    content: (version) => versions.content(version),
  };
}

const GONE: Partial<Record<Op, string>> = { archive: "it was archived", external: "someone removed it" };

/** Why there are no bytes to show. */
async function nothing(finder: Finder, { version }: Found, when: string): Promise<AftersaveError> {
  const { file, op, timestamp, details } = version;
  if (file === NO_KEY || (!movesHead(version) && op !== "hold")) {
    const about = details?.settles ?? details?.about?.[0];
    return new AftersaveError("E_VERSION", `${version.version} is a decision (${op}) and holds nothing`, {
      hint: about === undefined ? "`aftersave history KEY` lists versions." : `It is about the version ${about}.`,
    });
  }
  let last = await finder.before(version);
  while (last?.sha256 === null) last = await finder.before(last);
  const why = GONE[op] ?? `its content was taken back (${op})`;
  return new AftersaveError("E_NOT_FOUND", `${file} ${when}: ${why} at ${timestamp} (version ${version.version})`, {
    hint: last
      ? `\`aftersave show ${file}@${last.version}\` shows what it held before.`
      : "`aftersave history` lists what was saved.",
    details: { version: version.version, before: last?.version ?? null },
  });
}

/**
 * What `file` holds as last accepted, or held as `query` says. Throws `E_VERSION`, `E_USAGE`, `E_CONTENT_GONE`, and `E_NOT_FOUND`
 * when it held nothing: since when, and which version to show, stand in the message.
 */
export async function show(finder: Finder, file: Key, { version: text, at }: ShowQuery = {}): Promise<Shown> {
  if (text !== undefined && at !== undefined)
    throw new AftersaveError("E_USAGE", "a version and a time both say which content is meant", { hint: "Give one of them." });
  const [found, when] =
    text !== undefined
      ? [await finder.named(file, text), "held nothing then"]
      : at !== undefined
        ? [await finder.at(file, isoOf(at)), `held nothing at ${isoOf(at)}`]
        : [await finder.now(file), "holds nothing now"];
  const source = await finder.content(found.version);
  if (!source) throw await nothing(finder, found, when);
  const { version, redacted } = found;
  return { file, version, redacted, sha256: source.sha256, size: source.size, open: () => source.open() };
}

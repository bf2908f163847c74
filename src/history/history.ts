/**
 * The history: what was saved and decided, by whom, how much it changed, and where it stands.
 * @module
 */
import { AftersaveError } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import { movesHead, NO_KEY, type Actor, type Alarm, type Details, type Op, type Origin, type Version } from "../core/version.ts";
import type { VersionQuery } from "../state/saves.ts";
import { belongs, burstsOf, MOST_VERSIONS, type Burst } from "./bursts.ts";
import type { LookingParts } from "./parts.ts";
import { isoOf } from "./show.ts";
import { standingsOf, worst, type Standing } from "./standing.ts";
import { changeBetween, sumOf, type Change } from "./stats.ts";

/** Which versions; all parts must hold. */
export interface HistoryQuery {
  /** A memory file (key or path). */
  readonly key?: string | undefined;
  /** Keys that begin so. */
  readonly prefix?: string | undefined;
  readonly chat?: string | undefined;
  readonly tag?: string | undefined;
  readonly model?: string | undefined;
  readonly session?: string | undefined;
  readonly origin?: Origin | undefined;
  /** From then on, up to and with then: a `Date`, or ISO 8601. */
  readonly since?: Date | string | undefined;
  readonly until?: Date | string | undefined;
  /** How many entries at most (20). */
  readonly limit?: number | undefined;
  /** Only what is older than this version: the `next` of the page before. */
  readonly before?: string | undefined;
  /** One entry for one actor's burst (true), or for each version. */
  readonly grouped?: boolean | undefined;
  /** Show the versions of every entry (true), or of the one entry that this version belongs to, and no other. */
  readonly open?: boolean | string | undefined;
  /** Only what waits for `accept` or `reject`. */
  readonly held?: boolean | undefined;
}

/** What waits for a person. */
export type HeldState = "open" | "accepted" | "rejected";

type Who = Pick<Actor, "chat_name" | "model" | "session_id" | "tool" | "origin">;

/** One version of an opened entry. */
export interface HistoryVersion extends Actor, Change {
  readonly version: string;
  readonly place: number;
  readonly op: Op;
  /** Null where a line speaks of no file, or was erased. */
  readonly file: Key | null;
  readonly timestamp: string;
  readonly sha256: string | null;
  readonly size: number | null;
  readonly prev_sha256: string | null;
  readonly archived_as: Key | null;
  readonly details: Details | null;
  /** Null: it was never held. */
  readonly held: HeldState | null;
  readonly pinned: boolean;
  /** The line lost its fields; `redacted`: what is left of its content is still there. */
  readonly erased: boolean;
  readonly redacted: boolean;
  readonly targets: Readonly<Record<string, Standing>>;
}

/** One entry: a decision, a single save, or one actor's burst of saves. */
export interface HistoryEntry extends Who, Change {
  /** The oldest and the newest version, and how many there are. */
  readonly first: string;
  readonly last: string;
  readonly count: number;
  /** The times of those two. */
  readonly from: string;
  readonly until: string;
  readonly ops: Partial<Readonly<Record<Op, number>>>;
  /** Newest first. */
  readonly files: readonly Key[];
  readonly context_tags: readonly string[];
  readonly reasons: readonly string[];
  /** What the guard said. */
  readonly alarms: readonly (Alarm & { readonly version: string })[];
  /** Versions that wait for a person. */
  readonly held: readonly string[];
  readonly pinned: readonly string[];
  /** How many lines were erased, and of how many of them a redacted content is left. */
  readonly erased: number;
  readonly redacted: number;
  /** What a decision settles, or is about; what a save brings back or takes back. */
  readonly about: readonly string[];
  /** For each target the worst of what the entry left there: every content that no later version of it begins with. */
  readonly targets: Readonly<Record<string, Standing>>;
  /** Newest first; only of an opened entry. */
  readonly versions?: readonly HistoryVersion[];
}

export interface History {
  /** Newest first. */
  readonly entries: readonly HistoryEntry[];
  /** What to give as `before` for the next page; null on the last one. */
  readonly next: string | null;
}

const isFiltered = ({ chat, tag, model, session, origin, since, until, before, held }: HistoryQuery) =>
  [chat, tag, model, session, origin, since, until, before].some((part) => part !== undefined) || held === true;

async function versionQueryOf({ keyOf, versions }: LookingParts, query: HistoryQuery): Promise<VersionQuery> {
  return {
    file: query.key === undefined ? undefined : keyOf(query.key),
    prefix: query.prefix,
    chat_name: query.chat,
    tag: query.tag,
    model: query.model,
    session_id: query.session,
    origin: query.origin,
    since: query.since === undefined ? undefined : isoOf(query.since),
    until: query.until === undefined ? undefined : isoOf(query.until),
    before: query.before === undefined ? undefined : (await versions.named(query.before)).place,
    order: "newest",
  };
}

/** Whether a version is one that the query speaks of. */
const matches = (q: VersionQuery, v: Version): boolean =>
  (q.file === undefined || v.file === q.file) &&
  (q.prefix === undefined || v.file.startsWith(q.prefix)) &&
  (q.chat_name === undefined || v.chat_name === q.chat_name) &&
  (q.tag === undefined || v.context_tags.includes(q.tag)) &&
  (q.model === undefined || v.model === q.model) &&
  (q.session_id === undefined || v.session_id === q.session_id) &&
  (q.origin === undefined || v.origin === q.origin) &&
  (q.since === undefined || v.timestamp >= q.since) &&
  (q.until === undefined || v.timestamp <= q.until) &&
  (q.before === undefined || v.place < q.before);

async function* heldVersions({ decisions, saves }: LookingParts, query: VersionQuery): AsyncGenerator<Version> {
  for (const { version: id } of (await decisions.held("open")).toReversed()) {
    const version = await saves.version(id);
    if (version && matches(query, version)) yield version;
  }
}

/** The burst that `version` belongs to, in the listing of `query`. */
async function burstAround({ saves }: LookingParts, query: VersionQuery, version: Version): Promise<Burst> {
  if (!matches({ ...query, before: undefined }, version))
    throw new AftersaveError("E_VERSION", `the version ${version.version} is not in this history`, {
      hint: "Ask for the history of its file, or leave the filters out.",
    });
  const newer: Version[] = [version];
  for await (const next of saves.select({ ...query, before: undefined, after: version.place, order: "oldest" }))
    if (!belongs(next, newer.at(-1) as Version) || newer.push(next) >= MOST_VERSIONS) break;
  const around = burstsOf(
    (async function* () {
      yield* newer.toReversed();
      yield* saves.select({ ...query, before: version.place, order: "newest" });
    })(),
    true,
  );
  for await (const burst of around) return burst;
  return { versions: [version], more: false };
}

/** Content by content what a file held before the entry and after it; more than one where others saved in between. */
function stretchesOf(versions: readonly Version[]): (readonly [first: Version, last: Version])[] {
  const stretches: [Version, Version][] = [];
  const open = new Map<Key, [Version, Version]>();
  for (const version of versions.toReversed()) {
    if (version.file === NO_KEY || !(movesHead(version) || version.op === "hold")) continue;
    const known = open.get(version.file);
    if (known && known[1].sha256 === version.prev_sha256) known[1] = version;
    else {
      const stretch: [Version, Version] = [version, version];
      stretches.push(stretch);
      open.set(version.file, stretch);
    }
  }
  return stretches;
}

/** Versions of an entry whose content no later one of it begins with. */
function endsOf(versions: readonly Version[]): Version[] {
  const later = new Map<Key, Version>();
  return versions.filter((version) => {
    const next = later.get(version.file);
    if (movesHead(version)) later.set(version.file, version);
    return next === undefined || next.archived_as !== null || next.prev_sha256 !== version.sha256;
  });
}

const aboutOf = ({ details }: Version): string[] => [
  ...(details?.settles === undefined ? [] : [details.settles]),
  ...(typeof details?.restores === "string" ? [details.restores] : []),
  ...(details?.undoes ?? []),
  ...(details?.about ?? []),
];

const unique = <T>(values: readonly T[]): T[] => [...new Set(values)];

function counted(ops: readonly Op[]): HistoryEntry["ops"] {
  const counts: Partial<Record<Op, number>> = {};
  for (const op of ops) counts[op] = (counts[op] ?? 0) + 1;
  return counts;
}

async function changeOf(parts: LookingParts, versions: readonly Version[]): Promise<Change> {
  const changes: Change[] = [];
  for (const [first, last] of stretchesOf(versions))
    changes.push(await changeBetween(parts, await parts.versions.before(first), last));
  return sumOf(changes);
}

async function targetsOf(parts: LookingParts, versions: readonly Version[]): Promise<HistoryEntry["targets"]> {
  const found: Record<string, Standing[]> = {};
  for (const version of endsOf(versions))
    for (const [target, standing] of Object.entries(await standingsOf(parts, version))) (found[target] ??= []).push(standing);
  return Object.fromEntries(Object.entries(found).map(([target, standings]) => [target, worst(standings)]));
}

const isErased = ({ commitment }: Version) => commitment !== null;
const isRedacted = (version: Version) => isErased(version) && version.sha256 !== null;

async function versionOf(parts: LookingParts, v: Version): Promise<HistoryVersion> {
  return {
    version: v.version,
    place: v.place,
    op: v.op,
    file: v.file === NO_KEY ? null : v.file,
    timestamp: v.timestamp,
    sha256: v.sha256,
    size: v.size,
    prev_sha256: v.prev_sha256,
    archived_as: v.archived_as,
    ...(await changeOf(parts, [v])),
    chat_name: v.chat_name,
    context_tags: v.context_tags,
    model: v.model,
    session_id: v.session_id,
    tool: v.tool,
    reason: v.reason,
    origin: v.origin,
    details: v.details,
    held: (await parts.decisions.heldVersion(v.version))?.state ?? null,
    pinned: await parts.decisions.pinned(v.version),
    erased: isErased(v),
    redacted: isRedacted(v),
    targets: await standingsOf(parts, v),
  };
}

async function filtered(versions: readonly Version[], test: (version: string) => Promise<boolean>): Promise<string[]> {
  const found: string[] = [];
  for (const { version } of versions) if (await test(version)) found.push(version);
  return found;
}

async function entryOf(parts: LookingParts, { versions }: Burst, open: boolean): Promise<HistoryEntry> {
  const [newest] = versions;
  const oldest = versions.at(-1) as Version;
  const { decisions } = parts;
  const opened: HistoryVersion[] = [];
  if (open) for (const version of versions) opened.push(await versionOf(parts, version));
  return {
    first: oldest.version,
    last: newest.version,
    count: versions.length,
    from: oldest.timestamp,
    until: newest.timestamp,
    ops: counted(versions.map(({ op }) => op)),
    files: unique(versions.map(({ file }) => file)).filter((file) => file !== NO_KEY),
    ...(await changeOf(parts, versions)),
    chat_name: newest.chat_name,
    context_tags: unique(versions.flatMap(({ context_tags }) => context_tags)),
    model: newest.model,
    session_id: newest.session_id,
    tool: newest.tool,
    origin: newest.origin,
    reasons: unique(versions.map(({ reason }) => reason)).filter((reason): reason is string => reason !== null),
    alarms: versions.flatMap(({ version, details }) => (details?.alarms ?? []).map((alarm) => ({ ...alarm, version }))),
    held: await filtered(versions, async (version) => (await decisions.heldVersion(version))?.state === "open"),
    pinned: await filtered(versions, (version) => decisions.pinned(version)),
    erased: versions.filter(isErased).length,
    redacted: versions.filter(isRedacted).length,
    about: unique(versions.flatMap(aboutOf)),
    targets: await targetsOf(parts, versions),
    ...(open ? { versions: opened } : {}),
  };
}

/** Nothing was ever said of the key: then it was probably misspelt. */
async function assertKnown({ saves }: LookingParts, { file }: VersionQuery): Promise<void> {
  if (file === undefined) return;
  for await (const _ of saves.select({ file, order: "newest" })) return;
  throw new AftersaveError("E_NOT_FOUND", `${file} has no history`, {
    hint: "Check the key: `aftersave history` lists every file. What others wrote is noticed by `aftersave sweep`.",
  });
}

/** See `Looking.history`. */
export async function history(parts: LookingParts, query: HistoryQuery): Promise<History> {
  const { limit = 20, grouped = true, open = false } = query;
  if (!Number.isInteger(limit) || limit < 1)
    throw new AftersaveError("E_USAGE", `limit is not a number of entries: ${String(limit)}`, {
      hint: "Use a whole number from 1.",
    });
  const where = await versionQueryOf(parts, query);
  if (typeof open === "string") {
    const burst = await burstAround(parts, where, await parts.versions.named(open, where.file));
    return { entries: [await entryOf(parts, burst, true)], next: null };
  }
  const listed = query.held ? heldVersions(parts, where) : parts.saves.select(where);
  const entries: HistoryEntry[] = [];
  for await (const burst of burstsOf(listed, grouped)) {
    const entry = await entryOf(parts, burst, open);
    entries.push(entry);
    if (entries.length === limit) return { entries, next: burst.more ? entry.first : null };
  }
  if (entries.length === 0 && !isFiltered(query)) await assertKnown(parts, where);
  return { entries, next: null };
}

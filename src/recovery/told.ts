/**
 * What a target tells of a memory root's history, read without any state of ours: the segments of all its writers, put
 * together by the sums that link their lines (docs/decisions/segments.md).
 * @module
 */
import { AftersaveError } from "../core/errors.ts";
import { OWN_FOLDER, type ArchiveFolder, type Key } from "../core/key.ts";
import type { Call, Target } from "../core/target.ts";
import { isWhole, NO_KEY, type Version } from "../core/version.ts";
import { parseChangelogLine } from "../logs/verify.ts";
import { MOST, ownParts, writerAt } from "../mirror/joined.ts";
import { ownerOf } from "../mirror/owner.ts";
import { fieldsOf, kindOf, readText } from "../mirror/place.ts";
import type { Range } from "../state/segments.ts";
import { couldBeOurs } from "./believed.ts";
import { inParallel } from "./fetch.ts";

/** A writer's folder at a target, and what was read there. */
export interface ToldWriter {
  readonly writer: string;
  readonly host: string | null;
  /** Null: it does not say. */
  readonly memory_root: string | null;
  /** Whole lines. */
  readonly lines: number;
}

/** A memory root that writes there. */
export interface ToldMemory {
  /** Its id: the one of its first version. */
  readonly memory_root: string;
  /** Whether the place's marker names it. */
  readonly owner: boolean;
  /** Of its writers, as far as they say. */
  readonly hosts: readonly string[];
  /** Whole lines of its history, and the time of the newest. */
  readonly lines: number;
  readonly until: string | null;
}

/** A line of a segment that is not what was written. */
export interface BadLine {
  readonly segment: Key;
  /** From 1. */
  readonly line: number;
  readonly why: "not readable" | "altered" | "names a file that cannot be memory";
}

export interface Told {
  readonly memoryRoot: string;
  /** The history, in the order of places. */
  readonly lines: readonly Version[];
  /** Places between them that no whole line tells. */
  readonly gaps: readonly Range[];
  /** Writers of this memory root. */
  readonly writers: readonly ToldWriter[];
  /** All memory roots that write there, this one among them. */
  readonly memories: readonly ToldMemory[];
  /** Keys that the others' histories name, and whose they are. */
  readonly foreign: ReadonlyMap<Key, string>;
  /** Whole lines of this memory root that are not in `lines`: of a machine that went on by itself. */
  readonly beside: readonly Version[];
  readonly bad: readonly BadLine[];
}

export interface TellOptions {
  /** Whose history; left out: that of the memory root whose place it is. */
  readonly memoryRoot?: string | undefined;
  /** The same as a person says it: an id, or a unique ending of at least four characters. */
  readonly memory?: string | undefined;
  /** Only what this writer tells. */
  readonly writer?: string | undefined;
  readonly archive: ArchiveFolder;
  readonly concurrency: number;
  readonly call?: Call | undefined;
}

interface Segment {
  readonly key: Key;
  readonly writer: string;
}

interface Read {
  readonly version: Version;
  readonly writers: Set<string>;
}

const noHistory = (target: Target, what: string, hint?: string) =>
  new AftersaveError("E_HISTORY", `${target.pathOf(`${OWN_FOLDER}/` as Key)} ${what}`, {
    hint:
      hint ?? "Check the target's `root` in paths.json. Files that lie there without a history can be copied by hand and saved.",
  });

/**
 * The history of one memory root at a target. Throws `E_HISTORY` when the place tells none, `E_USAGE` when none or several
 * there are meant by `memory`, and what the target throws.
 * Lines that are not whole are left out and named; so is a line that names a file which no save could have had.
 */
export async function readTold(
  target: Target,
  { memoryRoot, memory, writer, archive, concurrency, call = {} }: TellOptions,
): Promise<Told> {
  const segments: Segment[] = [];
  const folders = new Set<string>();
  for await (const { key, size } of target.list(`${OWN_FOLDER}/`, call)) {
    const [, writer, , segment] = ownParts.exec(key) ?? [];
    if (writer === undefined) continue;
    folders.add(writer);
    if (segment !== undefined && size <= MOST) segments.push({ key, writer });
  }
  if (segments.length === 0) throw noHistory(target, "holds no history");

  const lines = new Map<string, Read>();
  const bad: BadLine[] = [];
  const take = (text: string, { key, writer }: Segment) => {
    for (const [at, line] of text.split("\n").entries()) {
      if (line === "") continue;
      const version = parseChangelogLine(fieldsOf(line));
      const why = !version
        ? "not readable"
        : !isWhole(version)
          ? "altered"
          : couldBeOurs(version, archive)
            ? undefined
            : "names a file that cannot be memory";
      if (!version || why !== undefined) {
        bad.push({ segment: key, line: at + 1, why: why ?? "not readable" });
        continue;
      }
      const known = lines.get(version.sum);
      // of a line that was erased in one place and not yet in the other, the erased one counts
      const kept = known && version.commitment === null ? known.version : version;
      lines.set(version.sum, { version: kept, writers: (known?.writers ?? new Set()).add(writer) });
    }
  };
  await inParallel(segments, concurrency, async (segment) => {
    take((await readText(target, segment.key, MOST, call)) ?? "", segment);
  });

  const firsts = new Map<string, Set<string>>(); // writer → ids of first lines
  for (const { version, writers } of lines.values())
    if (version.place === 1)
      for (const writer of writers) firsts.set(writer, (firsts.get(writer) ?? new Set()).add(version.version));
  const writers: ToldWriter[] = [];
  await inParallel([...folders], concurrency, async (writer) => {
    const said = await writerAt(target, writer, call).catch((error: unknown) => {
      if (kindOf(error) !== "not-found") throw error;
      return undefined; // its lines speak for it
    });
    const [first] = firsts.get(writer) ?? [];
    let n = 0;
    for (const read of lines.values()) if (read.writers.has(writer)) n++;
    writers.push({ writer, host: said?.host ?? null, memory_root: said?.memory_root ?? first ?? null, lines: n });
  });
  writers.sort((a, b) => (a.writer < b.writer ? -1 : 1));

  const owner = await ownerOf({ target }, call);
  const memories = memoriesOf(writers, [...lines.values()], owner);
  const wanted = memory === undefined ? (memoryRoot ?? rootAt(target, memories, owner)) : chosenOf(memories, memory);
  const mine = writers.filter((one) => one.memory_root === wanted && (writer === undefined || one.writer === writer));
  const names = new Set(mine.map(({ writer }) => writer));
  const told = [...lines.values()].filter((read) => [...read.writers].some((name) => names.has(name)));
  if (told.length === 0)
    throw noHistory(target, `holds no history of ${writer === undefined ? "" : "this machine for "}the memory root ${wanted}`);
  const { chosen, gaps } = choose(told, wanted);
  const sums = new Set(chosen.map(({ sum }) => sum));
  const rootOf = new Map(writers.map(({ writer: name, memory_root }) => [name, memory_root]));
  const foreign = new Map<Key, string>();
  for (const { version, writers: tellers } of lines.values())
    for (const name of tellers) {
      const root = rootOf.get(name) ?? null;
      if (root !== null && root !== wanted && version.file !== NO_KEY) foreign.set(version.file, root);
    }
  return {
    memoryRoot: wanted,
    lines: chosen,
    gaps,
    writers: mine,
    memories,
    foreign,
    beside: told.map(({ version }) => version).filter(({ sum }) => !sums.has(sum)),
    bad: bad.filter(({ segment }) => names.has(ownParts.exec(segment)?.[1] ?? "")),
  };
}

function memoriesOf(writers: readonly ToldWriter[], lines: readonly Read[], owner: string | null | undefined): ToldMemory[] {
  const roots = new Set(writers.map(({ memory_root }) => memory_root).filter((root) => root !== null));
  return [...roots].map((root) => {
    const mine = writers.filter(({ memory_root }) => memory_root === root);
    const names = new Set(mine.map(({ writer }) => writer));
    const told = lines.filter((read) => [...read.writers].some((name) => names.has(name)));
    const times = told.map(({ version }) => version.timestamp).toSorted();
    const hosts = [...new Set(mine.map(({ host }) => host).filter((host) => host !== null))];
    return { memory_root: root, owner: root === owner, hosts, lines: told.length, until: times.at(-1) ?? null };
  });
}

const listOf = (memories: readonly ToldMemory[]) => memories.map(({ memory_root }) => memory_root).join(", ");

/** The memory root that a person means. */
function chosenOf(memories: readonly ToldMemory[], text: string): string {
  const ending = text.trim().toUpperCase();
  const found = memories.filter(
    ({ memory_root: root }) => root === text.trim() || (ending.length >= 4 && root.toUpperCase().endsWith(ending)),
  );
  const [only] = found;
  if (only && found.length === 1) return only.memory_root;
  const what = only ? `is the end of ${found.length} ids` : "is none";
  throw new AftersaveError("E_USAGE", `${JSON.stringify(text)} ${what} of a memory that writes there`, {
    hint: `Give an id, or its last four or more characters, of one of these: ${listOf(memories)}.`,
  });
}

/** Whose place it is: the marker says so, else the one memory root that writes there. */
function rootAt(target: Target, memories: readonly ToldMemory[], owner: string | null | undefined): string {
  if (typeof owner === "string") return owner;
  const [only] = memories;
  if (only && memories.length === 1) return only.memory_root;
  throw noHistory(
    target,
    "does not say which memory root is mirrored there",
    memories.length > 1 ? `Say which with \`--memory ID\`: ${listOf(memories)}.` : undefined,
  );
}

/**
 * The longest history: back from each end along the links; where a link is missing, on with the nearest earlier line of the
 * same writer. Of two that are as long, the one with fewer gaps, then the newer one.
 */
function choose(told: readonly Read[], root: string): { chosen: Version[]; gaps: Range[] } {
  const bySum = new Map(told.map((read) => [read.version.sum, read]));
  const linked = new Set(told.map(({ version }) => version.prev));
  const ends = told.filter(({ version }) => !linked.has(version.sum));
  const begins = ({ version }: Read) => version.place === 1 && version.prev === null && version.version === root;
  const before = (read: Read): Read | undefined => {
    const { prev, place } = read.version;
    const linkedTo = prev === null ? undefined : bySum.get(prev);
    if (linkedTo?.version.place === place - 1) return linkedTo;
    let nearest: Read | undefined;
    for (const other of told)
      if (
        other.version.place < place - 1 && // one in the very place before is another one than this line builds upon
        other.version.place > (nearest?.version.place ?? 0) &&
        [...other.writers].some((writer) => read.writers.has(writer))
      )
        nearest = other;
    return nearest;
  };
  const walk = (end: Read) => {
    const chosen: Version[] = [];
    const gaps: Range[] = [];
    for (let at: Read | undefined = end; at !== undefined;) {
      chosen.push(at.version);
      if (begins(at)) break;
      const next: Read | undefined = before(at);
      const from = (next?.version.place ?? 0) + 1;
      if (from < at.version.place) gaps.push({ first: from, last: at.version.place - 1 });
      at = next;
    }
    return { chosen: chosen.toReversed(), gaps: gaps.toReversed() };
  };
  const last = ({ chosen }: { chosen: readonly Version[] }) => chosen.at(-1)?.timestamp ?? "";
  const [best] = ends
    .map(walk)
    .toSorted((a, b) => b.chosen.length - a.chosen.length || a.gaps.length - b.gaps.length || (last(a) < last(b) ? 1 : -1));
  return best ?? { chosen: [], gaps: [] };
}

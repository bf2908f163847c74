/**
 * What follows from a history about files: what each key holds, which archive copies there are, and the beginning of
 * which of them each version is.
 * @module
 */
import type { Key } from "../core/key.ts";
import { movesHead, NO_KEY, type Redacted, type Version } from "../core/version.ts";
import { PRUNED_HERE } from "../state/decisions.ts";
import type { Content } from "../state/saves.ts";

/** What a key holds, or an archive copy is. */
export interface Holding extends Content {
  readonly key: Key;
  readonly version: string;
}

export interface CopyHolding extends Holding {
  /** Removed on purpose: from the machine that tells the history, and from which targets. */
  readonly prunedFrom: readonly string[];
}

export interface Holdings {
  /** What the lines say by now: without what was erased. */
  readonly lines: readonly Version[];
  readonly files: ReadonlyMap<Key, Holding>;
  /** Those of which the history does not say how long they are are left out. */
  readonly copies: ReadonlyMap<Key, CopyHolding>;
  /** Keys whose content was kept from the targets: nobody has settled it yet. */
  readonly keptBack: ReadonlySet<Key>;
  /** Content that was held aside, and never sent. */
  readonly heldAside: readonly Version[];
  /** Under which keys bytes lie that begin with those. */
  placesOf(content: Content): Key[];
  /** What the keys held after the last of these lines. */
  at(time: string): ReadonlyMap<Key, Holding>;
}

export const isPrunedHere = ({ prunedFrom }: CopyHolding): boolean => prunedFrom.includes(PRUNED_HERE);

/** A line as it counts by now: what an erasure left of it says what it holds, and what began its copy. */
interface Counted extends Version {
  readonly base?: string | undefined;
}

/** The lines without what was erased of them, also where one of them was told before it was. */
function countedOf(lines: readonly Version[]): Counted[] {
  const erased = new Set<string>();
  const left = new Map<string, Redacted>();
  for (const { op, details } of lines) {
    if (op !== "erase") continue;
    for (const id of details?.about ?? []) {
      erased.add(id);
      left.delete(id);
    }
    for (const redacted of details?.redacts ?? []) left.set(redacted.version, redacted);
  }
  return lines.flatMap((line): Counted[] => {
    if (!erased.has(line.version)) return [line];
    const redacted = left.get(line.version);
    if (!redacted) return [];
    const { file, sha256, size, base = line.version, archived_as = null, details = null } = redacted;
    return [{ ...line, file, sha256, size, prev_sha256: null, archived_as, details, base }];
  });
}

export const holdingsOf = (lines: readonly Version[]): Holdings => holdingsAfter(countedOf(lines));

function holdingsAfter(lines: readonly Counted[]): Holdings {
  const known = new Map<Key, Holding | undefined>();
  const copies = new Map<Key, CopyHolding>();
  const held = new Map<string, Version>();
  const where = new Map<string, Set<Key>>(); // base, or sha256 → keys
  const lie = (name: string, key: Key) => where.set(name, (where.get(name) ?? new Set()).add(key));

  const move = (line: Counted) => {
    const { file, sha256, size, version, archived_as, prev_sha256 } = line;
    const before = known.get(file);
    const was = line.base !== undefined || before?.sha256 === prev_sha256 ? before : undefined;
    const there = archived_as === null ? undefined : copies.get(archived_as);
    // a second line that names a copy which is there already is not believed: no copy is ever written over
    if (archived_as !== null && was && (!there || isPrunedHere(there)))
      copies.set(archived_as, { ...was, key: archived_as, version, prunedFrom: [] });
    const base = line.base ?? (was && archived_as === null ? was.base : version);
    known.set(file, sha256 === null || size === null ? undefined : { key: file, version, base, sha256, size });
  };
  for (const line of lines) {
    const { details } = line;
    if (movesHead(line) && line.file !== NO_KEY) move(line);
    if (line.op === "hold" || details?.held) held.set(line.version, line);
    if (details?.settles !== undefined) held.delete(details.settles);
    for (const key of details?.prunes?.copies ?? []) {
      const copy = copies.get(key);
      if (copy) copies.set(key, { ...copy, prunedFrom: [...copy.prunedFrom, details?.prunes?.from ?? PRUNED_HERE] });
    }
  }
  const files = new Map([...known].filter((entry): entry is [Key, Holding] => entry[1] !== undefined));
  for (const { key, base, sha256 } of [...files.values(), ...copies.values()]) {
    lie(base, key);
    lie(sha256, key);
  }
  const open = [...held.values()];
  return {
    lines,
    files,
    copies,
    keptBack: new Set(open.filter(({ op }) => op !== "hold").map(({ file }) => file)),
    heldAside: open.filter(({ op }) => op === "hold"),
    placesOf: ({ base, sha256 }: Content) => [...new Set([...(where.get(sha256) ?? []), ...(where.get(base) ?? [])])],
    at(time) {
      const last = lines.findLastIndex(({ timestamp }) => timestamp <= time);
      return holdingsAfter(lines.slice(0, last + 1)).files;
    },
  };
}

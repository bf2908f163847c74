/**
 * What follows from a history about files: what each key holds, which archive copies there are, and the beginning of
 * which of them each version is.
 * @module
 */
import type { Key } from "../core/key.ts";
import { movesHead, NO_KEY, type Redacted, type Version } from "../core/version.ts";
import { PRUNED_HERE } from "../state/decisions.ts";
import type { Content } from "../state/saves.ts";
import type { Wanted } from "./fetch.ts";

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

export function holdingsOf(lines: readonly Version[]): Holdings {
  const known = new Map<Key, Holding | undefined>();
  const ids = new Map<string, number>(lines.map((line, at) => [line.version, at]));
  const copies = new Map<Key, CopyHolding>();
  const held = new Map<string, Version>();
  const where = new Map<string, Set<Key>>(); // base, or sha256 → keys
  const lie = (name: string, key: Key) => where.set(name, (where.get(name) ?? new Set()).add(key));

  const move = (line: Version) => {
    const { file, sha256, size, version, archived_as, prev_sha256 } = line;
    const before = known.get(file);
    const was = before?.sha256 === prev_sha256 ? before : undefined;
    if (archived_as !== null && was) {
      copies.set(archived_as, { ...was, key: archived_as, version, prunedFrom: [] });
      lie(was.base, archived_as);
      lie(was.sha256, archived_as);
    }
    const base = was && archived_as === null ? was.base : version;
    known.set(file, sha256 === null || size === null ? undefined : { key: file, version, base, sha256, size });
  };
  /** An erasure left something of a version: it stands under the same id. */
  const redact = ({ version, file, sha256, size }: Redacted) => {
    const now = known.get(file);
    if (now && (ids.get(now.version) ?? 0) > (ids.get(version) ?? 0)) return;
    known.set(file, sha256 === null || size === null ? undefined : { key: file, version, base: version, sha256, size });
  };
  const follow = (line: Version) => {
    const { details } = line;
    if (movesHead(line) && line.file !== NO_KEY) move(line);
    for (const redacted of details?.redacts ?? []) redact(redacted);
    if (line.op === "hold" || details?.held) held.set(line.version, line);
    if (details?.settles !== undefined) held.delete(details.settles);
    for (const key of details?.prunes?.copies ?? []) {
      const copy = copies.get(key);
      if (copy) copies.set(key, { ...copy, prunedFrom: [...copy.prunedFrom, details?.prunes?.from ?? PRUNED_HERE] });
    }
  };
  const present = () => new Map([...known].filter((entry): entry is [Key, Holding] => entry[1] !== undefined));

  lines.forEach(follow);
  const files = present();
  for (const { key, base, sha256 } of files.values()) {
    lie(base, key);
    lie(sha256, key);
  }
  const open = [...held.values()];
  return {
    files,
    copies,
    keptBack: new Set(open.filter(({ op }) => op !== "hold").map(({ file }) => file)),
    heldAside: open.filter(({ op }) => op === "hold"),
    placesOf: ({ base, sha256 }: Content) => [...new Set([...(where.get(sha256) ?? []), ...(where.get(base) ?? [])])],
    at(time) {
      const last = lines.findLastIndex(({ timestamp }) => timestamp <= time);
      return holdingsOf(lines.slice(0, last + 1)).files;
    },
  };
}

/** A version as something to be fetched; undefined when it held nothing. */
export const wantedOf = ({ sha256, size }: Version): Wanted | undefined =>
  sha256 === null || size === null ? undefined : { sha256, size };

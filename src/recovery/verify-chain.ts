/**
 * Whether a history is the one that was written, and if not, which line was altered, removed, put in or moved: pure over
 * lines that were read. More is known than a chain alone says when other copies of it are at hand.
 * @module
 */
import { isWhole, type Version } from "../core/version.ts";
import { isAsWritten, parseChangelogLine } from "../logs/verify.ts";

/** What the chain needs to know of a line. */
export interface ChainLine {
  readonly version: string;
  readonly place: number;
  readonly sum: string;
  readonly prev: string | null;
  /** It is blank: an erasure took what it said. */
  readonly erased: boolean;
  /** Versions whose lines it erased. */
  readonly erases: readonly string[];
}

/** A line as it stands in some file. */
export interface SeenLine {
  /** The file, or the key of a segment. */
  readonly path: string;
  /** 1, 2, 3 … in that file. */
  readonly line: number;
  /** Undefined: it cannot be read as a line of a changelog. */
  readonly of: ChainLine | undefined;
  readonly whole: boolean;
}

export const chainLine = ({ version, place, sum, prev, commitment, op, details }: Version): ChainLine => ({
  version,
  place,
  sum,
  prev,
  erased: commitment !== null,
  erases: op === "erase" ? (details?.about ?? []) : [],
});

/** `text`: the line as it stands in the file; what its parsed `value` does not tell, such as a key that stands in it twice, is nobody's word. */
export function seenLine(path: string, line: number, value: unknown, text: string | undefined): SeenLine {
  const version = parseChangelogLine(value);
  const whole = version !== undefined && isWhole(version) && isAsWritten(version, text);
  return { path, line, of: version && chainLine(version), whole };
}

/** Of one line, what another copy of the history has in its place. */
export interface KnownLine {
  readonly sum: string;
  readonly erased: boolean;
}

export interface Tampering {
  /**
   * `altered`: the line of `place` says something else than what was written. `removed`: lines from `place` to `until` are gone.
   * `inserted`: a line that nobody wrote. `moved`: the line of `place` stands further behind. `unerased`: it was erased, and says again
   * what it said. `forged`: it is blank, and nothing erased it.
   */
  readonly what: "altered" | "removed" | "inserted" | "moved" | "unerased" | "forged";
  readonly place: number;
  readonly until?: number | undefined;
  /** Where it shows; null: behind the last line. */
  readonly at: Pick<SeenLine, "path" | "line"> | null;
  readonly version: string | null;
}

export interface ChainFacts {
  /** Lines of other copies, as far as they can be trusted. */
  readonly known?: ((place: number) => KnownLine | undefined) | undefined;
  /** The history begins here; 1 when left out. */
  readonly first?: number | undefined;
  /** Lines up to here must be there. */
  readonly last?: number | undefined;
  /** No line behind this place can be. */
  readonly newest?: number | undefined;
  /** Versions that another copy of the history says were erased. */
  readonly erased?: ReadonlySet<string> | undefined;
}

/** The first thing that is wrong with a history, and every blank line that nothing erased. Empty when it is the one that was written. */
export function tampering(lines: readonly SeenLine[], facts: ChainFacts = {}): Tampering[] {
  const broken = firstBreak(lines, facts);
  return [...(broken ? [broken] : []), ...unexplained(lines, facts)];
}

function firstBreak(lines: readonly SeenLine[], { known, first = 1, last, newest }: ChainFacts): Tampering | undefined {
  let before: ChainLine | undefined;
  const due = () => (before?.place ?? first - 1) + 1;
  /** Whether a line builds upon the one before it, as far as that one is known. */
  const links = ({ prev }: ChainLine) => {
    const prior = before?.sum ?? (first === 1 ? null : known?.(first - 1)?.sum);
    return prior === undefined || prev === prior;
  };
  const isOther = ({ place, sum }: ChainLine) => {
    const expected = known?.(place);
    return expected !== undefined && expected.sum !== sum;
  };
  const rightful = ({ of, whole }: SeenLine) => of !== undefined && whole && of.place === due() && links(of) && !isOther(of);
  for (const [index, seen] of lines.entries()) {
    const { of, whole } = seen;
    if (of && rightful(seen)) {
      before = of;
      continue;
    }
    const place = due();
    const version = of?.version ?? null;
    const comes = lines.slice(index + 1).findIndex(rightful); // the line that should stand here
    if (!of || !whole)
      return comes === 0 ? { what: "inserted", place, at: seen, version } : { what: "altered", place, at: seen, version };
    if (of.place < place || (newest !== undefined && of.place > newest))
      return { what: "inserted", place: of.place, at: seen, version };
    if (of.place > place)
      return comes >= 0
        ? { what: "moved", place, at: seen, version }
        : { what: "removed", place, until: of.place - 1, at: seen, version: null };
    if (comes >= 0) return { what: "inserted", place, at: seen, version };
    // it is the line that others have too, or nothing speaks against it: then the one before was written anew, with a fresh sum
    if (!links(of) && before && !isOther(of))
      return { what: "altered", place: before.place, at: lines[index - 1] ?? seen, version: before.version };
    return { what: "altered", place, at: seen, version };
  }
  const end = due() - 1;
  if (last !== undefined && end < last) return { what: "removed", place: end + 1, until: last, at: null, version: null };
  if (newest === undefined || end <= newest) return undefined;
  const at = lines.find(({ of }) => of !== undefined && of.place > newest) ?? null;
  return { what: "inserted", place: newest + 1, at, version: at?.of?.version ?? null };
}

/** Blank lines that no `erase` names, and lines that say again what another copy has lost. */
function unexplained(lines: readonly SeenLine[], { known, erased }: ChainFacts): Tampering[] {
  const named = new Set(erased);
  for (const { of } of lines) for (const id of of?.erases ?? []) named.add(id);
  return lines.flatMap((at): Tampering[] => {
    const { of, whole } = at;
    if (!of || !whole) return [];
    const { place, version, sum } = of;
    if (of.erased) return named.has(version) ? [] : [{ what: "forged", place, version, at }];
    const other = known?.(place);
    return other?.erased === true && other.sum === sum ? [{ what: "unerased", place, version, at }] : [];
  });
}

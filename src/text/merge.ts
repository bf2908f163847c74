/**
 * Three-way merge by line.
 * @module
 */
import { diffLines } from "./lines.ts";
import { linesOf } from "./split.ts";

/** What became of two changes to one text. */
export interface Merged {
  readonly text: string;
  /** Places where both changed the same lines differently; `text` then has both there, between markers. */
  readonly conflicts: number;
}

/** Labels of the two sides where they conflict. */
export interface Labels {
  readonly ours: string;
  readonly theirs: string;
}

/** How long to look for what each side left as it was. After that, what differs conflicts as a whole. */
const TIMEOUT_MS = 2000;

const endOf = (lines: readonly string[]) => (lines.length === 0 || lines.at(-1)?.endsWith("\n") ? "" : "\n");
const isSame = (a: readonly string[], b: readonly string[]) => a.length === b.length && a.every((line, at) => line === b[at]);

/** For each line of `base` its place in `side`; -1 where it is gone. */
async function placesIn(side: string, base: string, lines: number): Promise<Int32Array> {
  const places = new Int32Array(lines).fill(-1);
  let [from, to] = [0, 0];
  for (const { kind, lines: some } of await diffLines(base, side, { timeoutMs: TIMEOUT_MS })) {
    if (kind === "same") for (let n = 0; n < some.length; n++) places[from + n] = to + n;
    if (kind !== "added") from += some.length;
    if (kind !== "removed") to += some.length;
  }
  return places;
}

/**
 * Applies to `ours` what changed from `base` to `theirs`. Where both appended at the end, both are kept: theirs first,
 * since it was there first.
 */
export async function mergeLines(
  base: string,
  ours: string,
  theirs: string,
  labels: Labels = { ours: "ours", theirs: "theirs" },
): Promise<Merged> {
  if (ours.startsWith(base) && theirs.startsWith(base) && (base === "" || base.endsWith("\n"))) {
    const [mine, added] = [ours.slice(base.length), theirs.slice(base.length)];
    if (mine === added || mine === "") return { text: theirs, conflicts: 0 };
    return { text: theirs + (added === "" || added.endsWith("\n") ? "" : "\n") + mine, conflicts: 0 };
  }
  const [was, a, b] = [linesOf(base), linesOf(ours), linesOf(theirs)];
  const [inA, inB] = [await placesIn(ours, base, was.length), await placesIn(theirs, base, was.length)];
  const text: string[] = [];
  let conflicts = 0;
  const settle = (before: readonly string[], mine: readonly string[], other: readonly string[]) => {
    if (isSame(mine, before) || isSame(mine, other)) return text.push(other.join(""));
    if (isSame(other, before)) return text.push(mine.join(""));
    conflicts++;
    return text.push(
      `<<<<<<< ${labels.ours}\n${mine.join("")}${endOf(mine)}`,
      `=======\n${other.join("")}${endOf(other)}>>>>>>> ${labels.theirs}\n`,
    );
  };
  for (let [at, i, j] = [0, 0, 0]; ;) {
    for (; at < was.length && inA[at] === i && inB[at] === j; at++, i++, j++) text.push(was[at] ?? "");
    let next = at; // up to the next line that both left as it was
    while (next < was.length && ((inA[next] ?? -1) < 0 || (inB[next] ?? -1) < 0)) next++;
    const [toA, toB] = next < was.length ? [inA[next] ?? 0, inB[next] ?? 0] : [a.length, b.length];
    if (at === next && i === toA && j === toB) return { text: text.join(""), conflicts };
    settle(was.slice(at, next), a.slice(i, toA), b.slice(j, toB));
    [at, i, j] = [next, toA, toB];
  }
}

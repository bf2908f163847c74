/**
 * Three-way merge by line.
 * @module
 */

/** What became of two changes to one text. */
export interface Merged {
  readonly text: string;
  /** Places where both changed the same lines differently; `text` then has both there, between markers. */
  readonly conflicts: number;
}

/** Lines with their ends, so that joining them gives the text again. */
export const linesOf = (text: string): string[] => text.match(/[^\n]*\n|[^\n]+$/g) ?? [];

/** Labels of the two sides where they conflict. */
export interface Labels {
  readonly ours: string;
  readonly theirs: string;
}

const endOf = (lines: readonly string[]) => (lines.length === 0 || lines.at(-1)?.endsWith("\n") ? "" : "\n");

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
    const added = theirs.slice(base.length);
    return { text: theirs + (added === "" || added.endsWith("\n") ? "" : "\n") + ours.slice(base.length), conflicts: 0 };
  }
  const { diff3Merge } = await import("node-diff3");
  let conflicts = 0;
  const regions = diff3Merge(linesOf(ours), linesOf(base), linesOf(theirs), { excludeFalseConflicts: true });
  const text = regions.flatMap((region) => {
    if (region.ok) return region.ok;
    if (!region.conflict) return [];
    conflicts++;
    const { a, b } = region.conflict;
    return [`<<<<<<< ${labels.ours}\n`, ...a, endOf(a), "=======\n", ...b, endOf(b), `>>>>>>> ${labels.theirs}\n`];
  });
  return { text: text.join(""), conflicts };
}

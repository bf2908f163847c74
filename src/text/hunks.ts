/**
 * The places where two texts differ, with the lines around them.
 * @module
 */
import type { LineChange } from "./lines.ts";
import { diffWords, joined, type Part } from "./words.ts";

/** One place. Lines are counted from 1; of no line at all, the place is that of the line before it. */
export interface Hunk {
  readonly from_line: number;
  readonly from_lines: number;
  readonly to_line: number;
  readonly to_lines: number;
  /** In order; by line, each is one line with its end. */
  readonly parts: readonly Part[];
}

interface Group {
  readonly from: number;
  readonly to: number;
  readonly changes: LineChange[];
}

const lineOf = (before: number, lines: number) => (lines === 0 ? before : before + 1);
const counted = (changes: readonly LineChange[], without: LineChange["kind"]) =>
  changes.reduce((sum, { kind, lines }) => sum + (kind === without ? 0 : lines.length), 0);

function hunkOf({ from, to, changes }: Group, parts: readonly Part[]): Hunk {
  const [fromLines, toLines] = [counted(changes, "added"), counted(changes, "removed")];
  return { from_line: lineOf(from, fromLines), from_lines: fromLines, to_line: lineOf(to, toLines), to_lines: toLines, parts };
}

/** Changes that stand close to each other, with up to `context` lines before and behind them. */
function groupsOf(changes: readonly LineChange[], context: number): Group[] {
  const groups: Group[] = [];
  let open: Group | undefined;
  let lead: readonly string[] = [];
  let [from, to] = [0, 0];
  for (const [at, change] of changes.entries()) {
    const { kind, lines } = change;
    if (kind !== "same") {
      if (!open) {
        open = {
          from: from - lead.length,
          to: to - lead.length,
          changes: lead.length === 0 ? [] : [{ kind: "same", lines: lead }],
        };
        groups.push(open);
      }
      open.changes.push(change);
    } else if (open && lines.length <= 2 * context && at < changes.length - 1) open.changes.push(change);
    else {
      const behind = lines.slice(0, context);
      if (behind.length > 0) open?.changes.push({ kind, lines: behind });
      open = undefined;
      lead = context === 0 ? [] : lines.slice(-context);
    }
    if (kind !== "added") from += lines.length;
    if (kind !== "removed") to += lines.length;
  }
  return groups;
}

/** Hunks by line. */
export function hunksByLine(changes: readonly LineChange[], context: number): Hunk[] {
  return groupsOf(changes, context).map((group) =>
    hunkOf(
      group,
      group.changes.flatMap(({ kind, lines }) => lines.map((text) => ({ kind, text }))),
    ),
  );
}

/** Hunks with the words that changed in them. */
export async function hunksByWord(changes: readonly LineChange[], context: number): Promise<Hunk[]> {
  const hunks: Hunk[] = [];
  for (const group of groupsOf(changes, context)) {
    const parts: Part[] = [];
    const changed = { removed: "", added: "" };
    const flush = async () => {
      for (const part of await diffWords(changed.removed, changed.added)) parts.push(part);
      changed.removed = changed.added = "";
    };
    for (const { kind, lines } of group.changes) {
      if (kind !== "same") changed[kind] += lines.join("");
      else {
        await flush();
        parts.push({ kind, text: lines.join("") });
      }
    }
    await flush();
    hunks.push(hunkOf(group, joined(parts)));
  }
  return hunks;
}

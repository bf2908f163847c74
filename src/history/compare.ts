/**
 * Two contents beside each other: by word for prose, by path for JSON, else by line.
 * @module
 */
import { extname } from "node:path";
import { AftersaveError } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import type { Source } from "../core/target.ts";
import { hunksByLine, hunksByWord, type Hunk } from "../text/hunks.ts";
import { diffJson, jsonOf, type PathChange } from "../text/json.ts";
import { countOf, diffLines, isText, MAX_COMPARED } from "../text/lines.ts";

export const DIFF_WAYS = ["word", "path", "line"] as const;
export type DiffWay = (typeof DIFF_WAYS)[number];

/** What is different. `added` and `removed` count lines; by path, values. */
export type Difference =
  | {
      readonly by: "word" | "line";
      readonly added: number;
      readonly removed: number;
      readonly hunks: readonly Hunk[];
      /** The contents are too different to be compared in time: they are told as replaced as a whole. */
      readonly coarse: boolean;
    }
  | { readonly by: "path"; readonly added: number; readonly removed: number; readonly changes: readonly PathChange[] }
  | { readonly by: "none"; readonly added: null; readonly removed: null; readonly why: "binary" | "large" };

export interface CompareOptions {
  /** Left out: by word for prose, by path for JSON, else by line. */
  readonly by?: DiffWay | undefined;
  /** Lines that are shown around a change (3). */
  readonly context?: number | undefined;
}

const PROSE = new Set([".md", ".markdown", ".txt", ".text", ".rst", ".org", ".adoc"]);
const WORD = /(?:^|\s)["'(]*\p{L}[\p{L}\p{M}'’-]*[.,;:!?"')]*(?=\s|$)/gu;

/** Whether most lines that say something have four words or more. */
function readsLikeProse(text: string): boolean {
  const lines = text
    .slice(0, 1 << 16)
    .split("\n", 200)
    .filter((line) => line.trim() !== "");
  return lines.filter((line) => (line.match(WORD) ?? []).length >= 4).length > lines.length / 2;
}

const isProse = (file: Key, text: string): boolean => {
  const extension = extname(file).toLowerCase();
  return extension === "" ? readsLikeProse(text) : PROSE.has(extension);
};

/** The bytes of a content; none for none. Undefined when they are too many. */
export async function bytesOf(source: Source | undefined): Promise<Buffer | undefined> {
  if (!source) return Buffer.alloc(0);
  if (source.size > MAX_COMPARED) return undefined;
  const pieces: Uint8Array[] = [];
  for await (const piece of source.open()) pieces.push(piece);
  return Buffer.concat(pieces);
}

type ByPath = Extract<Difference, { readonly by: "path" }>;

/** By path, when both sides are JSON; a side that holds nothing goes with any other. */
async function byPath(a: string | undefined, b: string | undefined): Promise<ByPath | undefined> {
  const [from, to] = [a === undefined ? undefined : jsonOf(a), b === undefined ? undefined : jsonOf(b)];
  if ((a !== undefined && from === undefined) || (b !== undefined && to === undefined)) return undefined;
  const changes: PathChange[] =
    from !== undefined && to !== undefined
      ? await diffJson(from, to)
      : to !== undefined
        ? [{ path: "", op: "add", after: to }]
        : from !== undefined
          ? [{ path: "", op: "remove", before: from }]
          : [];
  const count = (without: PathChange["op"]) => changes.filter(({ op }) => op !== without).length;
  return { by: "path", added: count("remove"), removed: count("add"), changes };
}

/** What is different between two contents of `file`; undefined: it held nothing. Throws `E_USAGE` when `by` cannot be. */
export async function compare(
  file: Key,
  a: Source | undefined,
  b: Source | undefined,
  { by, context = 3 }: CompareOptions = {},
): Promise<Difference> {
  const [before, after] = [await bytesOf(a), await bytesOf(b)];
  if (!before || !after) return { by: "none", added: null, removed: null, why: "large" };
  if (!isText(before) || !isText(after)) return { by: "none", added: null, removed: null, why: "binary" };
  const [from, to] = [before.toString("utf8"), after.toString("utf8")];
  if (by === "path" || (by === undefined && extname(file).toLowerCase() === ".json")) {
    const paths = await byPath(a && from, b && to);
    // the same values, written in another way: only the lines can tell what
    if (paths && (by === "path" || from === to || paths.changes.length > 0)) return paths;
    if (by === "path")
      throw new AftersaveError("E_USAGE", `${file} cannot be compared by path: it is not JSON in both versions`, {
        hint: "Compare it with --by line. Numbers of 16 digits and more, and values nested 500 deep, count as no JSON here.",
      });
  }
  const changes = await diffLines(from, to);
  const way = by ?? (isProse(file, to === "" ? from : to) ? "word" : "line");
  return {
    by: way === "word" ? "word" : "line",
    ...countOf(changes),
    hunks: way === "word" ? await hunksByWord(changes, context) : hunksByLine(changes, context),
    coarse: changes.some(({ coarse }) => coarse === true),
  };
}

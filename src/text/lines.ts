/**
 * What changed between two texts, line by line.
 * @module
 */
import { isUtf8 } from "node:buffer";
import { linesOf } from "./split.ts";

/** Lines that stand next to each other in both texts, or in one of them; each with its end. */
export interface LineChange {
  readonly kind: "same" | "added" | "removed";
  readonly lines: readonly string[];
  /** The texts are too different to be compared in time: what differs is given as removed and added as a whole. */
  readonly coarse?: true;
}

export interface LineOptions {
  /** How long to look for lines in common, in milliseconds (1,000). */
  readonly timeoutMs?: number | undefined;
}

/** Two texts taken apart: what both begin and end with, in whole lines, and what each has in between. */
export interface Trimmed {
  readonly head: string;
  readonly a: string;
  readonly b: string;
  readonly tail: string;
}

/** Content of more bytes is not compared. */
export const MAX_COMPARED = 64 << 20;

/** Whether bytes can be read as text: UTF-8 without a NUL. */
export const isText = (bytes: Uint8Array): boolean => isUtf8(bytes) && !bytes.includes(0);

/** The greatest `n` up to `most` for which `alike(from, to)` holds from 0 to `n`. Compares each part about once. */
function longest(most: number, alike: (from: number, to: number) => boolean): number {
  let [low, high] = [0, most];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (alike(low, middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Takes off the whole lines that both texts begin and end with. */
export function trim(a: string, b: string): Trimmed {
  if (a === b) return { head: a, a: "", b: "", tail: "" };
  const shorter = Math.min(a.length, b.length);
  const head = longest(shorter, (from, to) => a.slice(from, to) === b.slice(from, to));
  const start = head === 0 ? 0 : a.lastIndexOf("\n", head - 1) + 1;
  const tail = longest(
    shorter - start,
    (from, to) => a.slice(a.length - to, a.length - from) === b.slice(b.length - to, b.length - from),
  );
  const startsLine = (text: string, at: number) => at === start || text[at - 1] === "\n";
  const at = a.length - tail;
  const end = startsLine(a, at) && startsLine(b, b.length - tail) ? at : a.indexOf("\n", at) + 1 || a.length;
  return {
    head: a.slice(0, start),
    a: a.slice(start, end),
    b: b.slice(start, b.length - (a.length - end)),
    tail: a.slice(end),
  };
}

type Pair = readonly [number, number];

/** Positions of tokens that stay, in order. Undefined when the time is over. */
async function pairsOf(a: readonly string[], b: readonly string[], timeout: number): Promise<Pair[] | undefined> {
  // what only one side has cannot stay: without it, two texts that share little are compared at once
  const [inA, inB] = [new Set(a), new Set(b)];
  const [keptA, keptB] = [positions(a, inB), positions(b, inA)];
  if (keptA.length === 0 || keptB.length === 0) return [];
  const { diffArrays } = await import("diff");
  const changes = diffArrays(
    keptA.map((at) => a[at]),
    keptB.map((at) => b[at]),
    { timeout },
  );
  if (!changes) return undefined;
  const pairs: Pair[] = [];
  let [i, j] = [0, 0];
  for (const { added, removed, count } of changes) {
    if (!added && !removed) for (let n = 0; n < count; n++) pairs.push([keptA[i + n] ?? 0, keptB[j + n] ?? 0]);
    if (!added) i += count;
    if (!removed) j += count;
  }
  return pairs;
}

const positions = (tokens: readonly string[], among: ReadonlySet<string>): number[] =>
  tokens.flatMap((token, at) => (among.has(token) ? [at] : []));

/** Tokens that stand next to each other in both lists, or in one of them. */
export interface TokenChange {
  readonly kind: LineChange["kind"];
  readonly tokens: readonly string[];
}

/** What changed between two lists of tokens, removed before added. Undefined when the time is over, in milliseconds. */
export async function diffTokens(
  a: readonly string[],
  b: readonly string[],
  timeoutMs: number,
): Promise<TokenChange[] | undefined> {
  const pairs = await pairsOf(a, b, timeoutMs);
  if (!pairs) return undefined;
  const changes: TokenChange[] = [];
  const add = (kind: TokenChange["kind"], tokens: readonly string[]) => {
    if (tokens.length > 0) changes.push({ kind, tokens });
  };
  let [i, j] = [0, 0];
  for (let at = 0; at <= pairs.length;) {
    const [toA, toB] = pairs[at] ?? [a.length, b.length];
    add("removed", a.slice(i, toA));
    add("added", b.slice(j, toB));
    let run = 0;
    while (pairs[at + run]?.[0] === toA + run && pairs[at + run]?.[1] === toB + run) run++;
    add("same", a.slice(toA, toA + run));
    [i, j, at] = [toA + run, toB + run, at + Math.max(1, run)];
  }
  return changes;
}

async function between(a: string, b: string, timeoutMs = 1000): Promise<LineChange[]> {
  const [linesA, linesB] = [linesOf(a), linesOf(b)];
  const changes = await diffTokens(linesA, linesB, timeoutMs);
  if (changes) return changes.map(({ kind, tokens }) => ({ kind, lines: tokens }));
  return [
    { kind: "removed", lines: linesA, coarse: true },
    { kind: "added", lines: linesB, coarse: true },
  ];
}

/**
 * What changed from `a` to `b`, in order, removed before added: `same` and `removed` lines joined are `a`, `same` and `added`
 * lines are `b`. A line without an end is another line than the same one with it.
 */
export async function diffLines(a: string, b: string, { timeoutMs }: LineOptions = {}): Promise<LineChange[]> {
  const trimmed = trim(a, b);
  const same = (text: string): LineChange[] => (text === "" ? [] : [{ kind: "same", lines: linesOf(text) }]);
  return [...same(trimmed.head), ...(await between(trimmed.a, trimmed.b, timeoutMs)), ...same(trimmed.tail)];
}

/** How many lines came and went. */
export interface LineCount {
  readonly added: number;
  readonly removed: number;
}

const asBytes = (content: Uint8Array | string) => (typeof content === "string" ? Buffer.from(content) : content);
const asLatin1 = ({ buffer, byteOffset, length }: Uint8Array) => Buffer.from(buffer, byteOffset, length).toString("latin1");

/** How many lines came and went from `a` to `b`; null when one of them is no text, or longer than `MAX_COMPARED`. */
export async function countChange(
  a: Uint8Array | string,
  b: Uint8Array | string,
  { timeoutMs }: LineOptions = {},
): Promise<LineCount | null> {
  const [before, after] = [asBytes(a), asBytes(b)];
  if (Math.max(before.length, after.length) > MAX_COMPARED || !isText(before) || !isText(after)) return null;
  // lines are alike when their bytes are
  const trimmed = trim(asLatin1(before), asLatin1(after));
  return countOf(await between(trimmed.a, trimmed.b, timeoutMs));
}

/** How many lines came and went in all. */
export function countOf(changes: readonly LineChange[]): LineCount {
  const count = (kind: LineChange["kind"]) =>
    changes.reduce((sum, change) => sum + (change.kind === kind ? change.lines.length : 0), 0);
  return { added: count("added"), removed: count("removed") };
}

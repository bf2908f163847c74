/**
 * How much of a content is still there in the one that replaces it. Lines count wherever they stand by now, so that
 * moving them is no loss; white space around them, a checked box and a new number of a list item are none either.
 * @module
 */
import { isUtf8 } from "node:buffer";
import type { Amounts, Measured } from "../core/guard.ts";
import type { Chunks } from "../core/target.ts";

/** A content: in memory, or somewhere to be read from. */
export interface Measurable {
  readonly size: number;
  readonly bytes?: Uint8Array | undefined;
  open(): Chunks;
}

/** Up to here a content is compared piece by piece, and JSON is read. */
export const COMPARED = 4 << 20;
/** Up to here lines are counted; of more, only the bytes. */
export const COUNTED = 64 << 20;

/** A longer line counts by its sentences, as far as a text in one line has any. */
const LONG = 200;
const SENTENCE = /(?<=[.!?;,{}[\]。！？；，])/;
const HEADING = /^#{1,6}\s+\S/;
const ITEM = /^(?:[-*+]|\d{1,9}[.)])\s+(?:\[[ xX]\]\s+)?(?=\S)/;
/** Of a line that has no end in sight. */
const MOST_LINE = 1 << 20;

type Kind = "line" | "heading" | "item";
type See = (kind: Kind, piece: string) => void;

function seeLine(text: string, see: See): void {
  const line = text.trim();
  if (line === "") return;
  if (HEADING.test(line)) return see("heading", line);
  const marker = ITEM.exec(line)?.[0];
  if (marker !== undefined) return see("item", line.slice(marker.length));
  if (line.length <= LONG) return see("line", line);
  for (const sentence of line.split(SENTENCE)) if (sentence.trim() !== "") see("line", sentence.trim());
}

/** A value of JSON by what it says: its leaves, each with its name. How it is laid out says nothing. */
function seeJson(value: unknown, name: string, see: See): void {
  if (Array.isArray(value)) for (const one of value) seeJson(one, name, see);
  else if (typeof value === "object" && value !== null) for (const [key, one] of Object.entries(value)) seeJson(one, key, see);
  else see("line", `${name}: ${JSON.stringify(value)}`);
}

const textOf = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8");

async function* linesIn(pieces: Chunks): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let held = "";
  for await (const piece of pieces) {
    const lines = (held + decoder.decode(piece, { stream: true })).split("\n");
    held = lines.pop() ?? "";
    yield* lines;
    if (held.length <= MOST_LINE) continue;
    yield held;
    held = "";
  }
  yield held + decoder.decode();
}

async function bytesOf({ bytes, open }: Measurable): Promise<Uint8Array> {
  if (bytes) return bytes;
  const pieces: Uint8Array[] = [];
  for await (const piece of open()) pieces.push(Buffer.from(piece)); // some hand out one buffer again and again; `slice` of a Buffer copies nothing
  return Buffer.concat(pieces);
}

const NONE: Amounts = { bytes: 0, lines: 0, headings: 0, items: 0 };

/** Counts pieces; every one is a line too. */
function counter() {
  const counts = { lines: 0, headings: 0, items: 0 };
  const add = (kind: Kind) => {
    counts.lines++;
    if (kind === "heading") counts.headings++;
    if (kind === "item") counts.items++;
  };
  return { counts, add };
}

/** Pieces of one content that the other has too. */
function bag() {
  const held = new Map<string, number>();
  const had = counter();
  const kept = counter();
  return {
    had: had.counts,
    kept: kept.counts,
    put(kind: Kind, piece: string) {
      had.add(kind);
      held.set(piece, (held.get(piece) ?? 0) + 1);
    },
    take(kind: Kind, piece: string) {
      const left = held.get(piece) ?? 0;
      if (left === 0) return;
      held.set(piece, left - 1);
      kept.add(kind);
    },
  };
}

const parsed = (text: string): { readonly value: unknown } | undefined => {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined; // it is no JSON, and need not be
  }
};

/** JSON as one value; without `only`, a list or an object, since any word of a text may be a value by itself. */
function jsonOf(bytes: Uint8Array, only: boolean): { readonly value: unknown } | undefined {
  if (!isUtf8(bytes)) return undefined;
  const text = textOf(bytes);
  return only || /^\s*[{[]/.test(text) ? parsed(text) : undefined;
}

const areJsonLines = (text: string) => text.split("\n").every((line) => line.trim() === "" || parsed(line) !== undefined);

async function compare(before: Uint8Array, after: Measurable, name: string): Promise<Measured> {
  const named = /\.json$/i.test(name);
  const { had, kept, put, take } = bag();
  const json = jsonOf(before, named);
  const now = json && after.size <= COMPARED ? await bytesOf(after) : after.bytes;
  const jsonNow = json && now && jsonOf(now, named);
  if (json && jsonNow) {
    let [size, left] = [0, 0];
    seeJson(json.value, "", (kind, piece) => {
      size += piece.length;
      put(kind, piece);
    });
    seeJson(jsonNow.value, "", (kind, piece) => {
      left += piece.length;
      take(kind, piece);
    });
    return {
      before: { bytes: size, ...had },
      kept: { bytes: Math.min(size, left), ...kept },
      empties: had.lines > 0 && left === 0,
      breaks: false,
    };
  }
  for (const line of textOf(before).split("\n")) seeLine(line, put);
  let blank = true;
  const see: See = (kind, piece) => {
    blank = false;
    take(kind, piece);
  };
  if (now) for (const line of textOf(now).split("\n")) seeLine(line, see);
  else for await (const line of linesIn(after.open())) seeLine(line, see);
  return {
    before: { bytes: before.length, ...had },
    kept: { bytes: Math.min(before.length, after.size), ...kept },
    empties: had.lines > 0 && blank,
    breaks: json !== undefined && now !== undefined && (named || !isUtf8(now) || !areJsonLines(textOf(now))),
  };
}

async function count({ size, open }: Measurable): Promise<Amounts> {
  const { counts, add } = counter();
  for await (const line of linesIn(open())) seeLine(line, add);
  return { bytes: size, ...counts };
}

const least = (a: Amounts, b: Amounts): Amounts => ({
  bytes: Math.min(a.bytes, b.bytes),
  lines: Math.min(a.lines, b.lines),
  headings: Math.min(a.headings, b.headings),
  items: Math.min(a.items, b.items),
});

/**
 * Measures how much of `before` is still there in `after`, the content of a file called `name`. Memory stays bounded: up to
 * 4 MiB piece by piece, up to 64 MiB by how many there are, above that by bytes alone.
 */
export async function measure(before: Measurable, after: Measurable, name: string): Promise<Measured> {
  if (before.size <= COMPARED) {
    const was = await bytesOf(before);
    const { bytes } = after;
    const grew = bytes !== undefined && bytes.length >= was.length && Buffer.compare(bytes.subarray(0, was.length), was) === 0;
    if (!grew || /^\s*[{[]/.test(textOf(was.subarray(0, 64))) || /\.json$/i.test(name)) return compare(was, after, name);
    const all = { ...NONE, bytes: was.length };
    return { before: all, kept: all, empties: false, breaks: false };
  }
  const countable = Math.max(before.size, after.size) <= COUNTED;
  const [had, has] = countable
    ? [await count(before), await count(after)]
    : [
        { ...NONE, bytes: before.size },
        { ...NONE, bytes: after.size },
      ];
  const empties = after.size === 0 || (countable && had.lines > 0 && has.lines === 0);
  return { before: had, kept: least(had, has), empties, breaks: false };
}

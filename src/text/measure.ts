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

/** A place in a value of JSON: an object has one for each name, a list one for all that it holds, since moving in it is no loss. */
interface Place {
  /** Values there that hold no others. */
  leaves: number;
  readonly inside: Map<string | null, Place>;
}

/** Goes through a value of JSON, however deep it is: `see` gets every value in it with its place, `step` leads to the next one. */
function walk<P>(
  root: unknown,
  top: P,
  step: (place: P, name: string | null) => P,
  see: (value: unknown, place: P) => void,
): void {
  const open: { readonly value: object; readonly place: P }[] = [];
  const enter = (value: unknown, place: P) => {
    see(value, place);
    if (typeof value === "object" && value !== null) open.push({ value, place });
  };
  enter(root, top);
  for (let at = open.pop(); at; at = open.pop()) {
    const { value, place } = at;
    if (Array.isArray(value)) {
      const inner = step(place, null);
      for (const one of value) enter(one, inner);
    } else for (const [name, one] of Object.entries(value)) enter(one, step(place, name));
  }
}

const isLeaf = (value: unknown) => typeof value !== "object" || value === null;

/** How many leaves there are, and how many of them come again under the same name with the same value, wherever that is by now. */
function keptValues(before: unknown, after: unknown): number {
  const { kept, put, take } = bag();
  const name = (of: string, inner: string | null) => inner ?? of;
  walk(before, "", name, (value, of) => isLeaf(value) && put("line", `${of}: ${JSON.stringify(value)}`));
  walk(after, "", name, (value, of) => isLeaf(value) && take("line", `${of}: ${JSON.stringify(value)}`));
  return kept.lines;
}

/**
 * How much of a value of JSON is kept: leaves in whose place something stands, whatever its value is by now. Where those are
 * fewer than there were, leaves that come again elsewhere count as well. Bytes are those of the names and leaves.
 */
function compareJson(before: unknown, after: unknown): Measured {
  const top: Place = { leaves: 0, inside: new Map() };
  const weight = (value: unknown) =>
    typeof value === "string" ? Buffer.byteLength(value) : isLeaf(value) ? String(value).length : 0;
  const [had, has] = [
    { bytes: 0, leaves: 0 },
    { bytes: 0, leaves: 0 },
  ];
  let kept = 0;
  walk<Place>(
    before,
    top,
    ({ inside }, name) => {
      if (name !== null) had.bytes += Buffer.byteLength(name);
      let place = inside.get(name);
      if (!place) inside.set(name, (place = { leaves: 0, inside: new Map() }));
      return place;
    },
    (value, place) => {
      had.bytes += weight(value);
      if (!isLeaf(value)) return;
      had.leaves++;
      place.leaves++;
    },
  );
  walk<Place | undefined>(
    after,
    top,
    (place, name) => {
      if (name !== null) has.bytes += Buffer.byteLength(name);
      return place?.inside.get(name);
    },
    (value, place) => {
      has.bytes += weight(value);
      if (isLeaf(value)) has.leaves++;
      if (!place || place.leaves === 0) return;
      place.leaves--;
      kept++;
    },
  );
  if (kept < had.leaves) kept = Math.max(kept, keptValues(before, after));
  return {
    before: { ...NONE, bytes: had.bytes, lines: had.leaves },
    kept: { ...NONE, bytes: Math.min(had.bytes, has.bytes), lines: kept },
    empties: had.leaves > 0 && has.leaves === 0,
    breaks: false,
    json: true,
  };
}

async function compare(before: Uint8Array, after: Measurable, name: string): Promise<Measured> {
  const named = /\.json$/i.test(name);
  const { had, kept, put, take } = bag();
  const json = after.size <= COMPARED ? jsonOf(before, named) : undefined;
  const now = json ? await bytesOf(after) : after.bytes;
  const jsonNow = json && now && jsonOf(now, named);
  if (json && jsonNow) return compareJson(json.value, jsonNow.value);
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

const [QUOTE, BACKSLASH, COMMA, COLON] = [0x22, 0x5c, 0x2c, 0x3a];
/** Bytes of JSON outside its texts: 1 is white space, 2 begins a list or an object, 3 ends one, 4 is part of a number or a word. */
const KINDS = new Uint8Array(256);
for (const [at, bytes] of [" \t\r\n", "[{", "]}", "+-.0123456789Eaeflnrstu"].entries())
  for (const byte of Buffer.from(bytes)) KINDS[byte] = at + 1;

/**
 * Counts the leaves of a list or an object that is too long to be read as JSON, and its bytes without the layout. Undefined when it is
 * something else; what it takes for one need not be valid throughout.
 */
async function countJson({ bytes, open }: Measurable): Promise<Amounts | undefined> {
  let [depth, size, leaves] = [0, 0, 0];
  let inText = false;
  let escaped = false;
  let inWord = false;
  for await (const piece of bytes ? [bytes] : open())
    for (const byte of piece) {
      if (inText) {
        size++;
        if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) inText = false;
        continue;
      }
      const kind = KINDS[byte];
      if (kind === 1) {
        inWord = false;
        continue;
      }
      if (depth === 0 && (kind !== 2 || size > 0)) return undefined;
      size++;
      if (kind === 4) {
        if (!inWord) leaves++;
        inWord = true;
        continue;
      }
      inWord = false;
      if (byte === QUOTE) {
        inText = true;
        leaves++;
      } else if (byte === COLON)
        leaves--; // it was a name
      else if (kind === 2) depth++;
      else if (kind === 3) depth--;
      else if (byte !== COMMA) return undefined;
    }
  return size > 0 && depth === 0 && !inText ? { ...NONE, bytes: size, lines: leaves } : undefined;
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
  const longer = Math.max(before.size, after.size);
  if (longer > COMPARED && longer <= COUNTED) {
    const had = await countJson(before);
    const has = had && (await countJson(after));
    if (had && has)
      return { before: had, kept: least(had, has), empties: had.lines > 0 && has.lines === 0, breaks: false, json: true };
  }
  if (before.size <= COMPARED) {
    const was = await bytesOf(before);
    const { bytes } = after;
    const grew = bytes !== undefined && bytes.length >= was.length && Buffer.compare(bytes.subarray(0, was.length), was) === 0;
    if (!grew || /^\s*[{[]/.test(textOf(was.subarray(0, 64))) || /\.json$/i.test(name)) return compare(was, after, name);
    const all = { ...NONE, bytes: was.length };
    return { before: all, kept: all, empties: false, breaks: false };
  }
  const countable = longer <= COUNTED;
  const [had, has] = countable
    ? [await count(before), await count(after)]
    : [
        { ...NONE, bytes: before.size },
        { ...NONE, bytes: after.size },
      ];
  const empties = after.size === 0 || (countable && had.lines > 0 && has.lines === 0);
  return { before: had, kept: least(had, has), empties, breaks: false };
}

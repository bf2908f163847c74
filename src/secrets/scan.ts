/**
 * Looks through streams of bytes, text or not, in windows that overlap by more than the longest secret, so that memory is
 * bounded and nothing hides between two of them.
 * @module
 */
import type { Chunks } from "../core/target.ts";
import { KEY_MOST, matchesIn, mayHold } from "./rules.ts";

/** Something that looks like a secret, by its place in the bytes. */
export interface Found {
  readonly rule: string;
  /** Bytes from the beginning of the file; `end` is exclusive. */
  readonly start: number;
  readonly end: number;
  /** What was found, without the escapes and zeros that it is written with. Never to be shown, logged or kept. */
  readonly value: string;
}

/** A stretch of the file, with what begins in it. */
export interface Stretch {
  readonly at: number;
  readonly bytes: Buffer;
  readonly found: readonly Found[];
}

/** Sizes in bytes. Tests make them small. */
export interface WindowSizes {
  /** What one window is responsible for. */
  readonly core: number;
  /** What it sees of the bytes before and after. */
  readonly before: number;
  readonly after: number;
}

const SIZES: WindowSizes = { core: 256 << 10, before: 1 << 10, after: KEY_MOST + (8 << 10) };

/** Text with the place of each of its characters in the bytes. */
interface View {
  readonly text: string;
  /** Absent: the text has a character for each byte. */
  readonly places?: Uint32Array;
}

/** A letter beyond ASCII next to a secret hides it from no rule. */
function asciiOf(bytes: Buffer): View {
  const ascii = Buffer.from(bytes);
  for (let i = 0; i < ascii.length; i++) if ((ascii[i] ?? 0) > 0x7f) ascii[i] = 0x7f;
  return { text: ascii.toString("latin1") };
}

const ESCAPE = /\\+(?:u00([0-9A-Fa-f]{2})|([nrt]))|\\+|%([0-9A-Fa-f]{2})|\0+/g;

/** The text without what JSON, addresses and UTF-16 put into it; undefined when that is nothing. */
function plainOf({ text }: View): View | undefined {
  const plain = Buffer.allocUnsafe(text.length);
  const places = new Uint32Array(text.length + 1);
  let size = 0;
  let at = 0;
  const copy = (to: number) => {
    for (; at < to; at++) {
      places[size] = at;
      plain[size++] = text.charCodeAt(at);
    }
  };
  for (const { index, 0: all, 1: unicode, 2: space, 3: percent } of text.matchAll(ESCAPE)) {
    copy(index);
    const code = unicode ?? percent;
    if (code !== undefined || space !== undefined) {
      places[size] = index;
      plain[size++] = code === undefined ? 0x0a : Math.min(0x7f, Number.parseInt(code, 16));
    }
    at = index + all.length;
  }
  if (at === 0) return undefined;
  copy(text.length);
  places[size] = text.length;
  return { text: plain.toString("latin1", 0, size), places: places.subarray(0, size + 1) };
}

/** What begins in `bytes` anywhere, in order. Values that differ by view are found once, by the wider one. */
async function foundIn(bytes: Buffer): Promise<Found[]> {
  if (!mayHold(bytes.toString("latin1")) && !(bytes.includes(0) && mayHold(bytes.toString("latin1").replaceAll("\0", ""))))
    return [];
  const ascii = asciiOf(bytes);
  const plain = plainOf(ascii);
  const all: { rule: string; start: number; end: number; value: string }[] = [];
  for (const { text, places } of plain ? [plain, ascii] : [ascii])
    for (const { rule, start, end } of await matchesIn(text))
      all.push({
        rule,
        start: places?.[start] ?? start,
        end: places ? (places[end - 1] ?? 0) + 1 : end,
        value: text.slice(start, end),
      });
  for (const one of all) while (((bytes[one.end] ?? 0) & 0xc0) === 0x80) one.end++; // never a part of a character
  const apart: Found[] = [];
  for (const one of all.toSorted((a, b) => a.start - b.start || b.end - a.end)) {
    const last = apart.at(-1);
    if (!last || one.start >= last.end) apart.push(one);
    else if (one.end > last.end) apart[apart.length - 1] = { ...last, end: one.end, value: last.value + one.value };
  }
  return apart;
}

const joined = (pieces: readonly Uint8Array[]): Buffer => {
  const [first] = pieces;
  return pieces.length === 1 && first ? Buffer.from(first.buffer, first.byteOffset, first.byteLength) : Buffer.concat(pieces);
};

/** The file in stretches, each with what begins in it. The same for the same bytes, however they are cut. */
export async function* scan(chunks: Chunks, { core, before, after }: WindowSizes = SIZES): AsyncGenerator<Stretch> {
  let pieces: Uint8Array[] = [];
  let held = 0; // bytes in `pieces`
  let at = 0; // where the next stretch begins
  let context = 0; // bytes in `pieces` before it
  const stretch = async (window: Buffer, size: number): Promise<Stretch> => {
    const found = (await foundIn(window))
      .filter(({ start }) => start >= context && start < context + size)
      .map((one) => ({ ...one, start: one.start - context + at, end: one.end - context + at }));
    return { at, bytes: window.subarray(context, context + size), found };
  };
  for await (const piece of chunks) {
    pieces.push(piece);
    held += piece.length;
    while (held >= context + core + after) {
      const whole = joined(pieces);
      yield await stretch(whole.subarray(0, context + core + after), core);
      at += core;
      const rest = whole.subarray(Math.max(0, context + core - before));
      context = Math.min(before, context + core);
      pieces = [rest];
      held = rest.length;
    }
  }
  const last = joined(pieces);
  while (held > context) {
    const size = Math.min(core, held - context);
    const from = last.length - held;
    yield await stretch(last.subarray(from, Math.min(last.length, from + context + size + after)), size);
    at += size;
    const dropped = Math.max(0, context + size - before);
    context = context + size - dropped;
    held -= dropped;
  }
}

/**
 * Taking ranges of bytes out of a content: what stands in their place, and where each beginning of it ends then. Pure.
 * @module
 */

/** Bytes from `start` up to `end`, exclusive. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** What stands in place of what was erased. */
export const MARK = "[erased]";

/** Whether taking `text` out could leave it there again: it has a part of the mark at an end, the mark in it, or is a part of it. */
export function meetsMark(text: string): boolean {
  const ends = Array.from(MARK, (_, n) => n + 1);
  return (
    MARK.includes(text) ||
    text.includes(MARK) ||
    ends.some((n) => text.endsWith(MARK.slice(0, n)) || text.startsWith(MARK.slice(-n)))
  );
}

export interface Redaction {
  readonly content: Buffer;
  /** How long the beginning of `size` bytes is now. An end inside the erased text is behind its mark. */
  sizeOf(size: number): number;
  /** It was JSON, and could not be kept so. */
  readonly broken: boolean;
}

const NEWLINE = 0x0a;
/** Above it nobody parses a file as a whole. */
const MOST_JSON = 16 << 20;

/** In order, without overlaps. */
export function merged(ranges: readonly Range[]): Range[] {
  const result: Range[] = [];
  for (const range of ranges.filter(({ start, end }) => end > start).toSorted((a, b) => a.start - b.start || a.end - b.end)) {
    const last = result.at(-1);
    if (last && range.start <= last.end) result[result.length - 1] = { start: last.start, end: Math.max(last.end, range.end) };
    else result.push(range);
  }
  return result;
}

const isSpace = (byte: number | undefined) => byte === 0x20 || byte === 0x09 || byte === 0x0d || byte === NEWLINE;

/** The bytes of a range without the white space around them. */
export function trimmed(bytes: Uint8Array, { start, end }: Range): Range {
  let [from, to] = [start, end];
  while (from < to && isSpace(bytes[from])) from++;
  while (to > from && isSpace(bytes[to - 1])) to--;
  return { start: from, end: to };
}

/** The lines of a content, each without the white space around it. */
export function* linesIn(bytes: Buffer, { start, end }: Range = { start: 0, end: bytes.length }): Generator<Range> {
  for (let at = start; at < end;) {
    const newline = bytes.indexOf(NEWLINE, at);
    const stop = newline < 0 || newline >= end ? end : newline;
    const line = trimmed(bytes, { start: at, end: stop });
    if (line.end > line.start) yield line;
    at = stop + 1;
  }
}

/** Whether there is nothing but white space between two places. */
const blankBetween = (bytes: Uint8Array, start: number, end: number) => {
  for (let at = start; at < end; at++) if (!isSpace(bytes[at])) return false;
  return true;
};

const beginsLine = (bytes: Buffer, at: number) => blankBetween(bytes, bytes.lastIndexOf(NEWLINE, at - 1) + 1, at) || at === 0;
const endsLine = (bytes: Buffer, at: number) => {
  const newline = bytes.indexOf(NEWLINE, at);
  return blankBetween(bytes, at, newline < 0 ? bytes.length : newline);
};

/** One mark for a run of whole lines. */
function runs(bytes: Buffer, ranges: readonly Range[]): Range[] {
  const result: Range[] = [];
  for (const range of merged(ranges)) {
    const last = result.at(-1);
    const joins =
      last &&
      blankBetween(bytes, last.end, range.start) &&
      bytes.subarray(last.end, range.start).includes(NEWLINE) &&
      beginsLine(bytes, last.start) &&
      endsLine(bytes, range.end);
    if (joins) result[result.length - 1] = { start: last.start, end: range.end };
    else result.push(range);
  }
  return result;
}

const parses = (text: string): boolean => {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
};

const isJson = (bytes: Buffer) => bytes.length <= MOST_JSON && parses(bytes.toString("utf8"));

/** For each place in order: which string of a JSON text it is in, counted from 1; 0 outside. */
function stringsAt(bytes: Buffer, places: readonly number[]): number[] {
  const found: number[] = [];
  let [strings, inside, next] = [0, false, 0];
  for (let at = 0; at <= bytes.length && next < places.length; at++) {
    while (places[next] === at) {
      found.push(inside ? strings : 0);
      next++;
    }
    const byte = bytes[at];
    if (inside && byte === 0x5c) {
      at++;
      while (places[next] === at) {
        found.push(strings);
        next++;
      }
    } else if (byte === 0x22) {
      inside = !inside;
      if (inside) strings++;
    }
  }
  return found;
}

/** The mark for a piece of JSON that is more than a part of one string. */
function jsonMark(text: string): string {
  const comma = text.trimEnd().endsWith(",") ? "," : "";
  const core = comma ? text.trimEnd().slice(0, -1) : text;
  if (parses(core) || parses(`[${core}]`)) return `"${MARK}"${comma}`;
  return parses(`{${core}}`) ? `"${MARK}": null${comma}` : `${MARK}${comma}`;
}

function jsonMarks(bytes: Buffer, ranges: readonly Range[]): string[] {
  const places = stringsAt(
    bytes,
    ranges.flatMap(({ start, end }) => [start, end]),
  );
  return ranges.map(({ start, end }, index) => {
    const [from, to] = [places[index * 2], places[index * 2 + 1]];
    return from === to && from !== 0 ? MARK : jsonMark(bytes.subarray(start, end).toString("utf8"));
  });
}

function build(bytes: Buffer, ranges: readonly Range[], marks: readonly string[]): Buffer {
  const pieces: Uint8Array[] = [];
  let at = 0;
  for (const [index, { start, end }] of ranges.entries()) {
    pieces.push(bytes.subarray(at, start), Buffer.from(marks[index] ?? MARK));
    at = end;
  }
  return Buffer.concat([...pieces, bytes.subarray(at)]);
}

/** `bytes` without `ranges`. A content that was JSON stays JSON where that can be done. */
export function redact(bytes: Buffer, ranges: readonly Range[]): Redaction {
  const gone = runs(bytes, ranges);
  const plain = gone.map(() => MARK);
  let marks: readonly string[] = plain;
  let content = build(bytes, gone, plain);
  let broken = false;
  if (gone.length > 0 && isJson(bytes) && !isJson(content)) {
    marks = jsonMarks(bytes, gone);
    content = build(bytes, gone, marks);
    broken = !isJson(content);
  }
  return {
    content,
    broken,
    sizeOf(size) {
      let shift = 0;
      for (const [index, { start, end }] of gone.entries()) {
        if (size <= start) break;
        const mark = Buffer.byteLength(marks[index] ?? MARK);
        if (size < end) return start + shift + mark;
        shift += mark - (end - start);
      }
      return size + shift;
    },
  };
}

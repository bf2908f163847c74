/**
 * Lines of a stream as text, numbered; each is judged by itself, so that a bad one harms no other.
 * @module
 */
import { isUtf8 } from "node:buffer";
import { AftersaveError } from "../index.ts";

export interface Line {
  /** 1, 2, 3 … */
  readonly line: number;
  readonly text: string;
  /** Why the line has no text. */
  readonly fault?: AftersaveError;
}

const NEWLINE = 0x0a;
/** A longer line is not held in memory. */
export const MAX_LINE = 64 << 20;

/** Every line that is not blank. The last one needs no line end. */
export async function* linesOf(stream: AsyncIterable<Uint8Array>): AsyncGenerator<Line> {
  let held: Uint8Array[] = [];
  let size = 0;
  let line = 0;
  const keep = (piece: Uint8Array) => {
    size += piece.length;
    if (size > MAX_LINE) held = [];
    else held.push(piece);
  };
  const end = (): Line => {
    const read = size > MAX_LINE ? { text: "", fault: tooLong() } : textOf(Buffer.concat(held), line === 0);
    held = [];
    size = 0;
    return { line: ++line, ...read };
  };
  for await (const chunk of stream) {
    let at = 0;
    for (let to = chunk.indexOf(NEWLINE); to >= 0; to = chunk.indexOf(NEWLINE, at)) {
      keep(chunk.subarray(at, to));
      at = to + 1;
      const read = end();
      if (read.fault || read.text !== "") yield read;
    }
    keep(chunk.subarray(at));
  }
  const last = end();
  if (last.fault || last.text !== "") yield last;
}

function textOf(bytes: Buffer, first: boolean): Pick<Line, "text" | "fault"> {
  if (!isUtf8(bytes)) return { text: "", fault: new AftersaveError("E_INGEST", "the line is not UTF-8", { hint: utf8 }) };
  const text = bytes.toString("utf8");
  return { text: (first ? text.replace(/^\uFEFF/, "") : text).trim() };
}

const utf8 = 'Write events as UTF-8; give content that is not text as "content_base64".';
const tooLong = () =>
  new AftersaveError("E_INGEST", `the line is longer than ${MAX_LINE >> 20} MiB`, {
    hint: "Use `aftersave replace KEY --file F` for large files.",
  });

/**
 * Lines of a file as bytes, forwards and backwards, in constant memory: what a line says is nobody's business here.
 * @module
 */
import type { FileHandle } from "node:fs/promises";

const BLOCK = 256 * 1024;
const NEWLINE = 0x0a;

/** A longer line is not held in memory; it is passed on as too long. */
export const MAX_LINE = 16 * 1024 * 1024;

export interface RawLine {
  /** Where it begins in the file. */
  readonly offset: number;
  /** Where the next one begins. */
  readonly next: number;
  /** Without the newline; null when longer than `MAX_LINE`. Forwards, only good until the next batch is asked for. */
  readonly bytes: Buffer | null;
  /** Whether a newline ends it; only the last line of a file may lack one. */
  readonly whole: boolean;
}

/** The lines from `from` (the beginning of a line) to the end of the file, in batches of one block each. */
export async function* linesForward(file: FileHandle, from = 0): AsyncGenerator<RawLine[]> {
  const block = Buffer.allocUnsafe(BLOCK);
  let held: Buffer[] = [];
  let length = 0;
  let offset = from;
  let position = from;
  const take = (piece: Buffer): Buffer | null => {
    const bytes = length > MAX_LINE ? null : held.length === 0 ? piece : Buffer.concat([...held, piece]);
    held = [];
    length = 0;
    return bytes;
  };
  for (;;) {
    const { bytesRead } = await file.read(block, 0, BLOCK, position);
    if (bytesRead === 0) break;
    const chunk = block.subarray(0, bytesRead);
    const batch: RawLine[] = [];
    let at = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, at)) {
      length += end - at;
      const next = position + end + 1;
      batch.push({ offset, next, bytes: take(chunk.subarray(at, end)), whole: true });
      offset = next;
      at = end + 1;
    }
    length += bytesRead - at;
    if (length > MAX_LINE) held = [];
    else if (at < bytesRead) held.push(Buffer.from(chunk.subarray(at)));
    position += bytesRead;
    yield batch;
  }
  if (position > offset) yield [{ offset, next: position, bytes: take(Buffer.alloc(0)), whole: false }];
}

/** The lines before `size` (the end of the file), last one first. */
export async function* linesBackward(file: FileHandle, size: number): AsyncGenerator<RawLine> {
  let held: Buffer[] = [];
  let length = 0;
  let end = size;
  let whole = false;
  const take = (piece: Buffer, offset: number): RawLine => {
    const tooLong = length + piece.length > MAX_LINE;
    const line = { offset, next: end + (whole ? 1 : 0), bytes: tooLong ? null : Buffer.concat([piece, ...held]), whole };
    held = [];
    length = 0;
    return line;
  };
  for (let position = size; position > 0;) {
    const start = Math.max(0, position - BLOCK);
    const block = Buffer.allocUnsafe(position - start);
    const { bytesRead } = await file.read(block, 0, block.length, start);
    let chunk = block.subarray(0, bytesRead);
    for (let at = chunk.lastIndexOf(NEWLINE); at >= 0; at = chunk.lastIndexOf(NEWLINE)) {
      const offset = start + at + 1;
      if (whole || offset < end) yield take(chunk.subarray(at + 1), offset);
      end = offset - 1;
      whole = true;
      chunk = chunk.subarray(0, at);
    }
    length += chunk.length;
    if (length > MAX_LINE) held = [];
    else held.unshift(chunk);
    position = start;
  }
  if (size > 0) yield take(Buffer.alloc(0), 0);
}

/**
 * Content as callers give it and as files hold it: with a length and a hash, and to be opened as often as needed.
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import { open } from "node:fs/promises";
import { errnoOf } from "../core/errors.ts";
import type { Chunks, Source } from "../core/target.ts";

/** Text is written as UTF-8; bytes are written as they are. A file or a stream is read once, in pieces. */
export type Body = string | Uint8Array | { readonly path: string } | Chunks;

const PIECE = 1 << 20;

/** The bytes of a file from `start` up to `end` (exclusive; left out: to its end). Each piece is only valid until the next one is asked for. */
export async function* readPieces(path: string, start = 0, end = Number.POSITIVE_INFINITY): Chunks {
  const handle = await open(path, "r");
  try {
    const buffer = Buffer.allocUnsafe(Math.max(1, Math.min(PIECE, end - start)));
    for (let at = start; at < end;) {
      const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, end - at), at);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
      at += bytesRead;
    }
  } finally {
    await handle.close();
  }
}

/** A file's first `size` bytes. Each piece is a copy of its own, so that whoever gets it may keep it. */
export function fileSource(path: string, size: number, sha256: string): Source {
  return {
    size,
    sha256,
    async *open() {
      for await (const piece of readPieces(path, 0, size)) yield Uint8Array.prototype.slice.call(piece);
    },
  };
}

export interface Digest {
  readonly sha256: string;
  readonly size: number;
  /** Can be copied and continued, so that an append does not hash what is known. */
  readonly state: Hash;
}

/** Hashes what `pieces` yields. */
export async function digestOf(pieces: Chunks): Promise<Digest> {
  const state = createHash("sha256");
  let size = 0;
  for await (const piece of pieces) {
    state.update(piece);
    size += piece.length;
  }
  return { sha256: state.copy().digest("hex"), size, state };
}

/** Hash and length of the first `size` bytes of a file; `undefined` when there is no such file or it is shorter. */
export async function digestOfFile(path: string, size?: number): Promise<Digest | undefined> {
  try {
    const digest = await digestOf(readPieces(path, 0, size));
    return size !== undefined && digest.size < size ? undefined : digest;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Whether two files hold the same bytes in [start, end) and [start2, …). */
export async function sameBytes(path: string, start: number, end: number, other: string, otherStart: number): Promise<boolean> {
  const [mine, theirs] = [await open(path, "r"), await open(other, "r")];
  try {
    const [a, b] = [Buffer.allocUnsafe(PIECE), Buffer.allocUnsafe(PIECE)];
    for (let done = 0; start + done < end;) {
      const want = Math.min(PIECE, end - start - done);
      const [x, y] = [await mine.read(a, 0, want, start + done), await theirs.read(b, 0, want, otherStart + done)];
      const n = Math.min(x.bytesRead, y.bytesRead);
      if (n === 0 || !a.subarray(0, n).equals(b.subarray(0, n))) return false;
      done += n;
    }
    return true;
  } finally {
    await mine.close();
    await theirs.close();
  }
}

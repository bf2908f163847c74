/**
 * Bodies for tests.
 * @module
 */
import { createHash } from "node:crypto";
import type { Chunks, Source } from "../core/target.ts";

/** `bytes` as a body, in parts of `chunkSize`. */
export function sourceOf(bytes: Uint8Array | string, chunkSize = 64 * 1024): Source {
  const content = typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes;
  return {
    size: content.length,
    sha256: createHash("sha256").update(content).digest("hex"),
    async *open() {
      for (let at = 0; at < content.length; at += chunkSize) yield content.subarray(at, at + chunkSize);
    },
  };
}

/** All of `chunks` in one piece. */
export async function bytesOf(chunks: Chunks): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of chunks) parts.push(part);
  return new Uint8Array(Buffer.concat(parts));
}

/**
 * Hashes by the name that a place gives them: what node:crypto has, and `dropbox`, the content hash of Dropbox.
 * @module
 */
import { createHash } from "node:crypto";
import type { Chunks } from "./target.ts";

export interface Digest {
  update(bytes: Uint8Array): void;
  /** Lower-case hex; ends it. */
  hex(): string;
}

const BLOCK = 4 * 1024 * 1024;

/** Dropbox's content hash: sha256 over the sha256 of each block of 4 MiB. */
function blockwise(): Digest {
  const whole = createHash("sha256");
  let block = createHash("sha256");
  let filled = 0;
  return {
    update(bytes) {
      for (let at = 0; at < bytes.length;) {
        const part = bytes.subarray(at, at + BLOCK - filled);
        block.update(part);
        at += part.length;
        filled += part.length;
        if (filled < BLOCK) continue;
        whole.update(block.digest());
        block = createHash("sha256");
        filled = 0;
      }
    },
    hex() {
      if (filled > 0) whole.update(block.digest());
      return whole.digest("hex");
    },
  };
}

function known(algo: string) {
  try {
    return createHash(algo);
  } catch {
    return undefined;
  }
}

/** A new digest; undefined for an algorithm that is not known here. */
export function digestOf(algo: string): Digest | undefined {
  if (algo === "dropbox") return blockwise();
  const hash = known(algo);
  return hash && { update: (bytes) => void hash.update(bytes), hex: () => hash.digest("hex") };
}

/** The hash of all of `chunks`, in hex; undefined, and nothing is read, for an algorithm that is not known here. */
export async function hexOf(chunks: () => Chunks, algo: string): Promise<string | undefined> {
  const digest = digestOf(algo);
  if (!digest) return undefined;
  for await (const chunk of chunks()) digest.update(chunk);
  return digest.hex();
}

/**
 * Hashes of contents that follow each other and begin alike: what the last one began with is compared, not hashed again.
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import { commonStart } from "./attribution.ts";

/** How many bytes lie between two places at which the state of a hash is kept. */
const STRIDE = 1 << 16;

export interface Digests {
  /** The SHA-256 of the first `size` bytes of `bytes`, for each of the ascending `sizes`. They are looked at again at the next call. */
  of(bytes: Buffer, sizes: readonly number[]): string[];
  /** To be told before `memory` is written to: the last bytes may lie in it. */
  overwrites(memory: Buffer): void;
}

export function createDigests(): Digests {
  let known: Buffer = Buffer.alloc(0);
  /** The hash of the first so many strides of `known`. */
  let states: Hash[] = [];

  return {
    of(bytes, sizes) {
      const size = sizes.at(-1) ?? 0;
      const same = commonStart(known, 0, known.length, bytes, 0, size);
      states = states.slice(0, Math.floor(Math.min(same, sizes[0] ?? 0) / STRIDE));
      known = bytes.subarray(0, size);
      let state = states.at(-1)?.copy() ?? createHash("sha256");
      let at = states.length * STRIDE;
      return sizes.map((to) => {
        for (let next = (states.length + 1) * STRIDE; next <= to; next += STRIDE) {
          state.update(bytes.subarray(at, next));
          at = next;
          states.push(state.copy());
        }
        state.update(bytes.subarray(at, to));
        at = to;
        return state.copy().digest("hex");
      });
    },
    overwrites(memory) {
      if (known.buffer !== memory.buffer) return;
      known = known.subarray(0, 0);
      states = [];
    },
  };
}

/** Hashing less than everything gives the same hashes. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { createDigests } from "../../src/history/digests.ts";
import { anySeed } from "../../src/testing/random.ts";
import { sha256 } from "../memory/root.ts";

const seed = anySeed();
const MOST = 300_000;

it(`whatever follows whatever, in memory that is used again or not (seed ${seed})`, () => {
  const change = fc.record({
    at: fc.nat(MOST),
    /** Bytes from there on. */
    count: fc.oneof(fc.constantFrom(0, 1), fc.nat(MOST)),
    size: fc.constantFrom("same" as const, "shorter" as const, "longer" as const),
    beginnings: fc.array(fc.nat(MOST), { maxLength: 4 }),
    into: fc.constantFrom(0, 1, 2),
  });
  fc.assert(
    fc.property(fc.array(change, { minLength: 2, maxLength: 8 }), (changes) => {
      const digests = createDigests();
      const memory = [Buffer.alloc(MOST), Buffer.alloc(MOST)];
      let content = Buffer.alloc(MOST / 2, "begin");
      for (const [n, { at, count, size, beginnings, into }] of changes.entries()) {
        const length = size === "same" ? content.length : size === "shorter" ? at % (content.length + 1) : MOST;
        const next = Buffer.alloc(length, "x");
        content.copy(next);
        next.fill(`${n}`, Math.min(at, length), Math.min(at + count, length));
        const room = memory[into] ?? Buffer.alloc(MOST);
        digests.overwrites(room);
        next.copy(room);
        const sizes = [...beginnings.filter((to) => to < length).toSorted((a, b) => a - b), length];
        expect(digests.of(room, sizes)).toEqual(sizes.map((to) => sha256(next.subarray(0, to))));
        content = next;
      }
    }),
    { seed, numRuns: 100 },
  );
});

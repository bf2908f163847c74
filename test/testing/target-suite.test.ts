import { describe, test } from "vitest";
import { createMemoryTarget, type MemoryTarget, targetSuite, withLag } from "../../src/testing/index.ts";
import type { Target } from "../../src/core/target.ts";

function placeOf(target: Target, memory: MemoryTarget) {
  return {
    target,
    foreignWrite: (key: Parameters<MemoryTarget["edit"]>[0], bytes: Uint8Array) => void memory.edit(key, bytes),
    reopen: () => target,
    cleanup: () => undefined,
  };
}

const kinds: Record<string, () => MemoryTarget> = {
  "as it comes": () => createMemoryTarget(),
  "with md5": () => createMemoryTarget({ hashes: ["md5"] }),
  "without hashes": () => createMemoryTarget({ hashes: [] }),
  "ignoring case": () => createMemoryTarget({ caseSensitive: false }),
  "with pages of 7": () => createMemoryTarget({ pageSize: 7 }),
};

for (const [kind, make] of Object.entries(kinds))
  describe(`the memory target ${kind}`, () => {
    targetSuite({
      test,
      open: () => {
        const memory = make();
        return placeOf(memory, memory);
      },
    });
  });

describe("the lagging double", () => {
  targetSuite({
    test,
    open: () => {
      const memory = createMemoryTarget();
      return placeOf(withLag(2)(memory), memory);
    },
  });
});

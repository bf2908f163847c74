import { afterAll, beforeAll, describe, test } from "vitest";
import { targetSuite } from "../../../src/testing/target-suite.ts";
import { type DropboxEmulator, startDropbox } from "./emulator.ts";
import { memoryOf, openAt, PART } from "./place.ts";

describe("Dropbox, as it is documented", () => {
  let box: DropboxEmulator;
  let cases = 0;
  beforeAll(async () => (box = await startDropbox({ pageSize: 7 })));
  afterAll(() => box.close());

  targetSuite({
    test,
    options: { manyEntries: 30, bigBytes: 5 * PART + 1 },
    open: () => {
      const root = `Case ${++cases}/Drive`;
      const opening = { root, memory: memoryOf() };
      const target = openAt(box, opening);
      return {
        target,
        cleanup: () => target.close(),
        reopen: () => openAt(box, opening),
        foreignWrite: (key, bytes) => box.write(`/${root}/${key}`, bytes),
      };
    },
  });
});

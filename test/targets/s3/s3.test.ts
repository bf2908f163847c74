import { afterAll, beforeAll, describe, test } from "vitest";
import { parseKey } from "../../../src/core/key.ts";
import { sourceOf } from "../../../src/testing/source.ts";
import { targetSuite } from "../../../src/testing/target-suite.ts";
import { type S3Emulator, type Settings, startS3 } from "./emulator.ts";
import { memoryOf, openAt } from "./place.ts";

const PART = 64 * 1024;

const services: Record<string, Partial<Settings>> = {
  "as Amazon documents it": { pageSize: 7 },
  "with neither conditions nor checksums": { checksums: false, conditions: "refused", emptyEtagAtTheEnd: true },
};

describe.each(Object.entries(services))("S3 %s", (_, settings) => {
  let s3: S3Emulator;
  const known = new Map<string, string>();
  let cases = 0;
  beforeAll(async () => {
    s3 = await startS3({ minPartBytes: PART, ...settings });
    // what the service can do is found out once, as it is for a user
    const target = await openAt(s3, { memory: memoryOf(known), root: "first/" });
    await target.put(parseKey("Core/First.txt"), sourceOf("first"));
    await target.close();
    for (const name of known.keys()) if (name !== "abilities") known.delete(name);
  });
  afterAll(() => s3.close());

  targetSuite({
    test,
    options: { manyEntries: 30, bigBytes: 5 * PART + 1 },
    open: async () => {
      const root = `case-${++cases}/`;
      const opening = { memory: memoryOf(new Map(known)), root, tuning: { partBytes: PART, copyBytes: 4 * PART } };
      const target = await openAt(s3, opening);
      return {
        target,
        cleanup: () => target.close(),
        reopen: () => openAt(s3, opening),
        foreignWrite: (key, bytes) => s3.write(root + key, bytes),
      };
    },
  });
});

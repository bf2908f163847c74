import { describe, test } from "vitest";
import { targetSuite } from "../../../src/testing/target-suite.ts";
import { type Settings, startS3 } from "./emulator.ts";
import { memoryOf, openAt, ROOT } from "./place.ts";

const PART = 64 * 1024;

const services: Record<string, Partial<Settings>> = {
  "as Amazon documents it": { pageSize: 7 },
  "with neither conditions nor checksums": { checksums: false, conditions: "refused", emptyEtagAtTheEnd: true },
};

describe.each(Object.entries(services))("S3 %s", (_, settings) => {
  targetSuite({
    test,
    options: { manyEntries: 30, bigBytes: 5 * PART + 1 },
    open: async () => {
      const s3 = await startS3({ minPartBytes: PART, ...settings });
      const opening = { memory: memoryOf(), tuning: { partBytes: PART, copyBytes: 4 * PART } };
      const target = await openAt(s3, opening);
      return {
        target,
        cleanup: async () => {
          await target.close();
          await s3.close();
        },
        reopen: () => openAt(s3, opening),
        foreignWrite: (key, bytes) => s3.write(ROOT + key, bytes),
      };
    },
  });
});

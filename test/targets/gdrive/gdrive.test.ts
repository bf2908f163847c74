import { describe, test } from "vitest";
import { targetSuite } from "../../../src/testing/target-suite.ts";
import { onDrive } from "./place.ts";

describe("Google Drive", () => {
  targetSuite({
    test,
    options: { manyEntries: 30, bigBytes: 5 * 1024 * 1024 + 1 },
    open: async () => {
      const on = await onDrive();
      return {
        target: on.target,
        cleanup: on.close,
        reopen: () => on.another(),
        foreignWrite: (key, bytes) => {
          const path = `MemoryVDB/${key}`;
          if (on.drive.account.find(path).some(({ trashed }) => !trashed)) on.drive.account.edit(path, bytes);
          else on.drive.account.addFile(path, bytes);
        },
      };
    },
  });
});

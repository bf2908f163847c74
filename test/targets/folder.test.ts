import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, test } from "vitest";
import { createFolderTarget } from "../../src/targets/folder.ts";
import { targetSuite } from "../../src/testing/index.ts";

describe("the folder target passes the target suite", () => {
  targetSuite({
    test,
    open() {
      const path = mkdtempSync(join(tmpdir(), "aftersave-folder-"));
      const open = () => createFolderTarget({ path, root: "Drive/MemoryVDB/" });
      return {
        target: open(),
        reopen: open,
        foreignWrite(key, bytes) {
          const file = join(path, "Drive/MemoryVDB", key);
          mkdirSync(dirname(file), { recursive: true });
          writeFileSync(file, bytes);
        },
        cleanup: () => rmSync(path, { recursive: true }),
      };
    },
  });
});

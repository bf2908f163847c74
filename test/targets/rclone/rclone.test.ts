import { execFileSync } from "node:child_process";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, test } from "vitest";
import { targetSuite } from "../../../src/testing/target-suite.ts";
import { openRcloneTarget } from "../../../src/targets/rclone.ts";
import { createRclone, type Rclone } from "../../../src/targets/rclone/daemon.ts";
import { configOf, contextFor, folder, hasRclone, memoryOf, ROOT } from "./place.ts";

if (!hasRclone) test.skip("rclone's own backends (SKIPPED: apt-get install rclone)");

/** Half of the default, so that the whole file stays quick. */
const options = { manyEntries: 30, bigBytes: 2 * 1024 * 1024 };

/** The whole suite once, on a disk; of the others what they do otherwise. */
const differing = /^(put|copy|remove|list|names): /;

describe.runIf(hasRclone)("rclone", () => {
  let rclone: Rclone;
  let disk: string;
  let places = 0;
  beforeAll(async () => {
    disk = await folder();
    const secret = execFileSync("rclone", ["obscure", "a test's own word"], { encoding: "utf8" }).trim();
    const config = await configOf(
      [
        `[disk]\ntype = alias\nremote = ${disk}`,
        `[sealed]\ntype = crypt\nremote = ${disk}\npassword = ${secret}\nfilename_encryption = off\ndirectory_name_encryption = false`,
      ].join("\n\n"),
    );
    rclone = createRclone({ config, env: process.env });
  });
  afterAll(async () => {
    await rclone.close();
    await rm(disk, { recursive: true, force: true });
  });

  describe("a disk", () => {
    targetSuite({
      test,
      options,
      open: async () => {
        const at = `place${++places}`;
        await mkdir(join(disk, at));
        const open = () => openRcloneTarget(contextFor(`disk:${at}`, { rclone }));
        return {
          target: await open(),
          reopen: open,
          foreignWrite: async (key, bytes) => {
            const file = join(disk, at, ROOT, key);
            await mkdir(dirname(file), { recursive: true });
            await writeFile(file, bytes);
          },
          cleanup: () => rm(join(disk, at), { recursive: true, force: true }),
        };
      },
    });
  });

  describe("keys in a flat space (memory)", () => {
    targetSuite({
      test: (name, run) => (differing.test(name) ? test(name, run) : undefined),
      options,
      open: async () => {
        const memory = memoryOf();
        const remote = `:memory:place${++places}`;
        const open = () => openRcloneTarget(contextFor(remote, { rclone, memory }));
        return { target: await open(), reopen: open, cleanup: () => undefined };
      },
    });
  });

  describe("encrypted (crypt)", () => {
    targetSuite({
      test: (name, run) => (differing.test(name) ? test(name, run) : undefined),
      options,
      open: async () => {
        // one place, for rclone stretches the password anew for each
        await mkdir(join(disk, "sealed"));
        const open = () => openRcloneTarget(contextFor("sealed:sealed", { rclone }));
        return { target: await open(), reopen: open, cleanup: () => rm(join(disk, "sealed"), { recursive: true }) };
      },
    });
  });
});

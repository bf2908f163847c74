/** `check TARGET`: the target suite against the user's own target, and nothing of it left behind. */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { targetCases } from "../../src/testing/index.ts";
import { ask, everything, makeRoot, programOf, put, run, start } from "./program.ts";

const OF = targetCases().length;
const scratch = (root: string) => {
  const own = join(root, "Drive/MemoryVDB/.aftersave");
  return existsSync(own) ? readdirSync(own).filter((name) => name.startsWith("check-")) : [];
};

test("keeps every promise, counts what it took, and leaves the mirror as it was", async () => {
  const root = makeRoot({});
  await run(["append", "Meta/a.txt", "text\n", "--wait"], { cwd: root });
  const before = everything(join(root, "Drive"));
  const { code, answer, stderr } = await ask(["check", "drive"], { cwd: root });
  expect(answer).toMatchObject({ target: "drive", type: "folder", enabled: true, passed: OF, failed: 0, skipped: 0 });
  expect(code).toBe(0);
  expect(answer["calls"]).toBeGreaterThan(OF);
  expect(answer["cases"]).toHaveLength(OF);
  expect(stderr).toMatch(/checking drive: \d+ cases with files of up to 1\.0 MB in .*check-.*, which is removed afterwards/);
  expect(everything(join(root, "Drive"))).toEqual(before);
  expect(await ask(["verify", "--target", "drive"], { cwd: root })).toMatchObject({ code: 0 });
});

test.skipIf(process.platform === "win32")("a target that breaks promises is told by which, and exits 1", () => {
  const root = makeRoot({});
  // no file may grow beyond 600 blocks: the disk refuses what is bigger
  const limited = ["-c", 'ulimit -f 600; exec "$@"', "sh", process.execPath, programOf(), "--json", "check", "drive"];
  const { status, stdout } = spawnSync("sh", limited, { cwd: root, encoding: "utf8", env: { ...process.env, NODE_OPTIONS: "" } });
  const answer = JSON.parse(stdout) as { passed: number; failed: number; cases: { ok: boolean; name: string; error: unknown }[] };
  expect(status).toBe(1);
  const failed = answer.cases.filter(({ ok }) => !ok);
  expect(failed.map(({ name }) => name)).toContain("1048576 bytes come back as they went");
  expect(failed[0]?.error).toEqual({
    code: expect.stringMatching(/^E_TARGET_/) as string,
    message: expect.stringContaining("larger than the disk allows") as string,
  });
  expect(answer).toMatchObject({ failed: failed.length, passed: OF - failed.length });
  expect(scratch(root)).toEqual([]);
});

test("a target that cannot be tried out says so, and is not touched", async () => {
  const root = makeRoot({ targets: { drive: { type: "folder", enabled: false, path: "./disk" } } });
  expect(await ask(["check", "nowhere"], { cwd: root })).toMatchObject({
    code: 2,
    answer: { error: { code: "E_TARGET_UNKNOWN" } },
  });
  expect(await ask(["check", "drive"], { cwd: root })).toMatchObject({
    code: 1,
    answer: { error: { code: "E_TARGET_UNREACHABLE" } },
  });
  put(root, "disk/Drive/MemoryVDB/.aftersave", "a file where our folder should be");
  const before = everything(join(root, "disk"));
  expect(await ask(["check", "drive"], { cwd: root })).toMatchObject({
    code: 1,
    answer: { error: { code: "E_TARGET_UNSUPPORTED" } },
  });
  expect(everything(join(root, "disk"))).toEqual(before);
  put(root, "paths.json", JSON.stringify({ targets: { cloud: { type: "gdrive", enabled: false } } }));
  expect(await ask(["check", "cloud"], { cwd: root })).toMatchObject({
    code: 4,
    answer: { error: { code: "E_TOKEN_MISSING" } },
  });
});

test.skipIf(process.platform === "win32")(
  "Ctrl-C removes what it made, and what an earlier one left that was killed",
  async () => {
    const root = makeRoot({});
    for (const signal of ["SIGKILL", "SIGINT"] as const) {
      const child = start(["check", "drive"], { cwd: root });
      let told = "";
      for await (const piece of child.stderr) if ((told += String(piece)).includes("list: all pages")) break;
      child.kill(signal);
      const [code] = (await once(child, "close")) as [number | null];
      expect(code, signal).not.toBe(0);
      expect(scratch(root), signal).toHaveLength(signal === "SIGINT" ? 0 : 1);
    }
  },
);

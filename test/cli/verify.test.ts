/** `verify` and `restore --from` as people and programs run them. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ask, everything, makeRoot, run } from "./program.ts";

const shared = (disk: string) => ({ targets: { drive: { type: "folder", enabled: true, path: disk } } });

/** A root with three lines at a target on another disk. */
async function mirrored() {
  const disk = makeRoot();
  const root = makeRoot(shared(disk));
  const cwd = { cwd: root };
  await run(["append", "Meta/N.txt", "one"], cwd);
  await run(["replace", "Meta/N.txt", "two"], cwd);
  await run(["append", "Core/r.txt", "rules", "--wait"], cwd);
  await run(["flush"], cwd);
  return { disk, root, cwd };
}

const changelog = (root: string) => join(root, "logs/memory_changelog.json");

describe("verify", () => {
  test("says that all is well, here and at a target; proves a restore, which status then shows", async () => {
    const { cwd } = await mirrored();
    const here = await run(["verify"], cwd);
    expect(here).toMatchObject({ code: 0, stderr: "" });
    expect(here.stdout).toMatch(/^All is what was accepted\.\nhere: 3 lines of history, 2 files, 1 archive copy\n/);
    const there = await run(["verify", "--target", "drive", "--restore"], cwd);
    expect(there.code).toBe(0);
    expect(there.stdout).toMatch(/drive: 3 files, 3 by the hash that it reports, 3 lines of history in \d segments?\n/);
    expect(there.stdout).toMatch(/drive: a restore of 3 files \(11 bytes\) is proven, took \d+ (ms|s)/);
    expect((await run(["status"], cwd)).stdout).toMatch(
      /a restore of 3 files was proven (just now|\d+ seconds? ago), took \d+ (ms|s)/,
    );
    const { answer } = await ask(["status"], cwd);
    expect(answer["targets"]).toMatchObject({
      drive: { proven_restore: { files: 3, bytes: 11, ms: expect.any(Number) as number } },
    });
    const sampled = await ask(["verify", "--target", "drive", "--sample", "2"], cwd);
    expect(sampled).toMatchObject({
      code: 0,
      answer: { ok: true, findings: [], target: { read: 2, compared: 1, restore: null } },
    });
  });

  test("names what was altered, says why and what next, exits 1, and does not mend it", async () => {
    const { root, cwd } = await mirrored();
    const lines = readFileSync(changelog(root), "utf8").split("\n");
    writeFileSync(changelog(root), lines.with(1, lines[1]!.replace("UNKNOWN", "Mallory")).join("\n"));
    const said = await run(["verify"], cwd);
    expect(said.code).toBe(1);
    expect(said.stdout).toMatch(
      /^error {4}line 2 of the history was altered in the changelog \(.*memory_changelog\.json, line 2\) \(E_HISTORY\)\n {9}It does not match/,
    );
    expect(said.stdout).toContain("Damage was found: 1 finding.");
    const quiet = await run(["verify", "--quiet"], cwd);
    expect([quiet.code, quiet.stdout]).toEqual([1, ""]);
    expect(quiet.stderr).toContain("line 2 of the history was altered");
    expect(await ask(["verify"], cwd)).toMatchObject({
      code: 1,
      answer: {
        ok: false,
        findings: [{ code: "E_HISTORY", place: 2, line: 2, next: expect.stringContaining("doctor --fix") as string }],
      },
    });
    expect(readFileSync(changelog(root), "utf8")).toContain("Mallory"); // looking does not mend
  });

  test.each([
    [["--download"], "Add --target NAME"],
    [["--target", "drive", "--sample", "0"], "--sample is not a number of files"],
    [["--target", "nowhere"], "no target is named"],
  ])("%j is wrong usage", async (args, says) => {
    const { code, stderr } = await run(["verify", ...args], { cwd: makeRoot({}) });
    expect(code).toBe(2);
    expect(stderr).toContain(says);
  });
});

describe("restore --from", () => {
  test("asks with a plan, then brings everything to an empty root; again there is nothing to do", async () => {
    const { disk, root } = await mirrored();
    const bare = makeRoot(shared(disk));
    const cwd = { cwd: bare };
    const plan = await ask(["restore", "--from", "drive", "--dry-run"], cwd);
    expect(plan).toMatchObject({
      code: 0,
      answer: { bare: true, dry_run: true, versions: 3, files: 2, copies: 1, bytes: 11, missing: [] },
    });
    const unasked = await run(["restore", "--from", "drive"], cwd);
    expect(unasked.code).toBe(2);
    expect(unasked.stderr).toContain("--yes is needed");
    expect(everything(bare)).not.toHaveProperty("Data");
    const done = await run(["restore", "--from", "drive", "--yes"], cwd);
    expect(done.code).toBe(0);
    expect(done.stdout).toContain("Fetched: 2 files and 1 archive copy, 11 bytes, with the whole history.");
    expect(readFileSync(changelog(bare), "utf8")).toBe(readFileSync(changelog(root), "utf8"));
    expect(readFileSync(join(bare, "Data/Meta/N.txt"), "utf8")).toBe("two");
    const again = await run(["restore", "--from", "drive", "--yes"], cwd);
    expect(again).toMatchObject({ code: 0 });
    expect(again.stdout).toContain("Nothing is to be done");
  });

  test("what is not there is named, and the exit code says that it is not all", async () => {
    const { disk } = await mirrored();
    rmSync(join(disk, "Drive/MemoryVDB/Core/r.txt"));
    const cwd = { cwd: makeRoot(shared(disk)) };
    const done = await run(["restore", "--from", "drive", "--yes"], cwd);
    expect(done.code).toBe(3);
    expect(done.stdout).toContain("missing   Core/r.txt: is not there");
    const nothing = await run(["restore", "--from", "drive", "--yes"], { cwd: makeRoot(shared(makeRoot())) });
    expect(nothing.code).toBe(1);
    expect(nothing.stderr).toContain("holds no history");
  });

  test("with a time, what was there then, as new versions", async () => {
    const { disk, root } = await mirrored();
    const [first] = readFileSync(changelog(root), "utf8").split("\n");
    const at = (JSON.parse(first!) as { timestamp: string }).timestamp;
    const bare = makeRoot(shared(disk));
    const done = await ask(["restore", "--from", "drive", "--at", at, "--yes"], { cwd: bare });
    expect(done).toMatchObject({ code: 0, answer: { bare: true } });
    expect(readFileSync(join(bare, "Data/Meta/N.txt"), "utf8")).toBe("one");
    expect(readFileSync(changelog(bare), "utf8").trimEnd().split("\n")).toHaveLength(5);
  });

  test("goes with neither a version nor --keep-new", async () => {
    const cwd = { cwd: makeRoot({}) };
    expect((await run(["restore", "--from", "drive", "--keep-new"], cwd)).code).toBe(2);
    expect((await run(["restore", "--from", "drive", "Meta"], cwd)).code).not.toBe(0);
  });
});

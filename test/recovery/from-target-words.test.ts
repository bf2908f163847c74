/** What `restore --from` tells people: true words, and the exit code that goes with them. */
import { appendFileSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ask, makeRoot, run } from "../cli/program.ts";

const shared = (disk: string) => ({ targets: { drive: { type: "folder", enabled: true, path: disk } } });

async function mirrored() {
  const disk = makeRoot();
  const root = makeRoot(shared(disk));
  await run(["append", "Meta/N.txt", "one"], { cwd: root });
  await run(["append", "Core/r.txt", "rules", "--wait"], { cwd: root });
  await run(["flush"], { cwd: root });
  return { disk, there: join(disk, "Drive/MemoryVDB"), root, bare: () => makeRoot(shared(disk)) };
}

const restore = (cwd: string, ...args: string[]) => run(["restore", "--from", "drive", ...args], { cwd });

describe("restore --from", () => {
  test("a stranger's file is no loss: it is listed, exit 0", async () => {
    const { there, bare } = await mirrored();
    writeFileSync(join(there, "Meta/theirs.txt"), "theirs");
    const done = await restore(bare(), "--yes");
    expect(done.code).toBe(0);
    expect(done.stdout).toContain("not ours  Meta/theirs.txt: the history does not name it; it stays there");
    expect(done.stdout).not.toContain("missing");
  });

  test("a link in the way keeps back its key: exit 3, and 'nothing is to be done' is not said of it", async () => {
    const { bare } = await mirrored();
    const root = bare();
    mkdirSync(join(root, "Data/Meta"), { recursive: true });
    symlinkSync("/etc/passwd", join(root, "Data/Meta/N.txt"));
    const done = await restore(root, "--yes");
    expect(done.code).toBe(3);
    expect(done.stdout).toMatch(/leaves .*Meta\/N\.txt/);
    expect(done.stdout).toContain("Fetched: 1 file and 0 archive copies");
    const again = await restore(root, "--yes");
    expect(again.code).toBe(3);
    expect(again.stdout + again.stderr).toContain("Nothing can be brought: what is named above");
    expect(again.stdout + again.stderr).not.toContain("Nothing is to be done");
  });

  test("a history with a gap is not called whole; what is missing is not called here", async () => {
    const { there, bare, root } = await mirrored();
    await run(["append", "Meta/N.txt", "two", "--wait"], { cwd: root });
    await run(["flush"], { cwd: root });
    const [segment] = readdirSync(join(there, ".aftersave"), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".jsonl"))
      .toSorted();
    rmSync(join(there, ".aftersave", segment!));
    const other = bare();
    const done = await restore(other, "--yes");
    expect(done.code).toBe(3);
    expect(done.stdout).toContain("gap ");
    expect(done.stdout).not.toContain("whole history");
    expect(done.stdout).toContain("1 line of history, which is not all of it");
    rmSync(join(there, "Meta/N.txt"));
    const again = await restore(other, "--yes");
    expect(again.code).toBe(1); // nothing came, and nothing is here by what is told
    expect(again.stdout + again.stderr).toContain("Nothing can be brought");
  });

  test("a time before the history: nothing was changed, and --dry-run says the same", async () => {
    const { bare } = await mirrored();
    for (const how of ["--dry-run", "--yes"]) {
      const refused = await restore(bare(), "--at", "2020-01-01T00:00:00Z", how);
      expect(refused.code).toBe(1);
      expect(refused.stderr).toContain("nothing of the history on drive was saved by 2020");
    }
  });

  test("after one save: the history there is said not to be taken over, with the way to have it", async () => {
    const { bare } = await mirrored();
    const root = bare();
    await run(["append", "mine.txt", "mine"], { cwd: root });
    const done = await restore(root, "--yes");
    expect(done.code).toBe(0);
    expect(done.stdout).toContain("NOT taken over: the history there (2 lines, 0 archive copies)");
    expect(done.stdout).toContain("make an empty folder with the same paths.json");
  });

  test("a memory that was let in comes back with --memory; the plan lists both", async () => {
    const { disk, bare } = await mirrored();
    const second = makeRoot(shared(disk));
    await run(["append", "Of/second.txt", "second"], { cwd: second });
    await run(["targets", "join", "drive"], { cwd: second });
    await run(["flush"], { cwd: second });
    const root = bare();
    const plan = await restore(root, "--dry-run");
    expect(plan.stdout).toContain("2 memories write there");
    const { memories } = (await ask(["restore", "--from", "drive", "--dry-run"], { cwd: root })).answer as unknown as {
      memories: { memory_root: string; owner: boolean }[];
    };
    const { memory_root } = memories.find(({ owner }) => !owner)!;
    const done = await restore(root, "--memory", memory_root.slice(-6), "--yes");
    expect(done.code).toBe(0);
    expect(done.stdout).toContain("run `aftersave targets join drive`");
    expect(done.stdout).toContain("Meta/N.txt: it is of the memory");
    const unknown = await restore(bare(), "--memory", "NOPE", "--yes");
    expect(unknown.code).toBe(2);
    expect((await run(["restore", "Meta/N.txt@-1", "--memory", memory_root], { cwd: root })).code).toBe(2);
  });

  test("two machines that went on by themselves: what stays behind is named, exit 3, and no new versions are promised", async () => {
    const { root, bare } = await mirrored();
    const b = bare();
    await restore(b, "--yes");
    for (const text of ["b one", "b two"]) await run(["replace", "Meta/N.txt", text], { cwd: b });
    await run(["flush"], { cwd: b });
    for (const text of ["a one", "a two", "a three", "a four"]) await run(["replace", "Meta/N.txt", text], { cwd: root });
    await run(["flush"], { cwd: root });
    const done = await restore(bare(), "--yes");
    expect(done.code).toBe(3);
    expect(done.stdout.match(/^ {2}stays /gm)).toHaveLength(2);
    expect(done.stdout).toMatch(/stays {5}Meta\/N\.txt of .*: its bytes are the first 5 of Archive\/Meta\/N_/);
    expect(done.stdout).not.toContain("come as new versions");
    expect(done.stdout).toContain("2 versions with content that is nowhere else in the history stay behind");
  });

  test("a copy with junk behind it: what came is not said to be not taken", async () => {
    const { there, bare } = await mirrored();
    appendFileSync(join(there, "Meta/N.txt"), "junk");
    const root = bare();
    const done = await restore(root, "--yes");
    expect(readFileSync(join(root, "Data/Meta/N.txt"), "utf8")).toBe("one");
    expect([done.code, done.stdout]).toEqual([0, expect.not.stringContaining("not taken")]);
    expect(done.stdout).toMatch(/differs .*Meta\/N\.txt: what the history says is here/);
    const again = await restore(root, "--yes");
    expect([again.code, again.stdout + again.stderr]).toEqual([0, expect.not.stringContaining("not taken")]);
  });

  test("a refused last line of the history: exit 3", async () => {
    const { there, bare } = await mirrored();
    const segment = readdirSync(join(there, ".aftersave"), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".jsonl"))
      .toSorted()
      .at(-1)!;
    const path = join(there, ".aftersave", segment);
    const lines = readFileSync(path, "utf8").split("\n");
    const last = lines.length - 2;
    writeFileSync(path, lines.with(last, lines[last]!.replace(/"size":\d+/, '"size":999')).join("\n"));
    const done = await restore(bare(), "--yes");
    expect(done.stdout).toContain("refused ");
    expect(done.code).toBe(3);
  });
});

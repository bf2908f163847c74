import { mkdirSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ask, makeRoot, put, read, run } from "./program.ts";

const SECRET = "the code is 4711-88";

const saying = (root: string, text: string) =>
  readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => readFileSync(path).includes(text));

const saved = async () => {
  const root = makeRoot({});
  const at = { cwd: root };
  await run(["append", "Meta/A.txt", "first\n"], at);
  await run(["append", "Meta/A.txt", `${SECRET}\n`, "--chat", "beta"], at);
  await run(["flush"], at);
  return { root, at };
};

describe("aftersave erase", () => {
  it("needs --yes where nobody can be asked, and shows the plan", async () => {
    const { root, at } = await saved();
    const { code, stdout, stderr } = await run(["erase", "--match", SECRET], at);
    expect(code).toBe(2);
    expect(stdout).toMatch(/would erase 1 version in 1 file/);
    expect(stdout + stderr).not.toContain(SECRET);
    expect(stderr).toMatch(/--yes is needed/);
    expect(saying(root, SECRET).length).toBeGreaterThan(1);
    const dry = await ask(["erase", "--match", SECRET, "--dry-run"], at);
    expect(dry).toMatchObject({ code: 0, answer: { dry_run: true, erasure: null, redacted: 1 } });
  });

  it("owes a disk that is not there, and flush says so until it is", async () => {
    const root = makeRoot({ targets: { usb: { type: "folder", enabled: true, path: "./usb" } } });
    mkdirSync(join(root, "usb"));
    const at = { cwd: root };
    await run(["append", "Meta/A.txt", `${SECRET}\n`], at);
    expect(await run(["flush"], at)).toMatchObject({ code: 0 });
    renameSync(join(root, "usb"), join(root, "away"));
    expect(await run(["erase", "--match", SECRET, "--yes"], at)).toMatchObject({ code: 3 });
    expect(await run(["flush"], at)).toMatchObject({
      code: 1,
      stdout: expect.stringContaining("may still have what was erased"),
    });
    renameSync(join(root, "away"), join(root, "usb"));
    expect(await ask(["flush"], at)).toMatchObject({ code: 0, answer: { erasing: 0 } });
    expect(saying(root, SECRET)).toEqual([]);
  });

  it("says which of two is meant where a file is named as a version is", async () => {
    const { at } = await saved();
    await run(["append", "Meta/A.txt@-1", "a file of its own\n"], at);
    const { code, stdout, stderr } = await run(["erase", "Meta/A.txt@-1", "--dry-run"], at);
    expect(code).toBe(0);
    expect(stdout).toMatch(/would erase 1 file/);
    expect(stderr).toMatch(/^note: Meta\/A\.txt@-1 is itself a memory file/);
  });

  it("erases, says what it did and what it does not reach, and keeps it out", async () => {
    const { root, at } = await saved();
    put(root, "backups/old.zip", "zip");
    put(root, "backups/2025/A.txt", `a copy: ${SECRET}`);
    put(root, "backups/2025/B.txt", "nothing of it");
    put(root, "llama/input.txt", SECRET);
    put(root, ".git/HEAD", "ref");
    const { code, answer } = await ask(["erase", "--match", "-", "--yes", "--reason", "asked for"], {
      ...at,
      input: `${SECRET}\n`,
    });
    expect(code).toBe(0);
    expect(answer).toMatchObject({ by: "match", lines: 1, redacted: 1, pending: 0 });
    const remains = (answer["remains"] as { what: string }[]).map(({ what }) => what).join("\n");
    expect(remains).toMatch(/git repository/);
    expect(remains).toMatch(/1 archive in \S+: old\.zip/);
    expect(remains).toMatch(/1 file in \S+: 2025\/A\.txt$/m);
    expect(remains).toMatch(/input\.txt/);
    expect(saying(root, SECRET).toSorted()).toEqual([join(root, "backups/2025/A.txt"), join(root, "llama/input.txt")]);
    expect(read(root, "Data/Meta/A.txt")).toBe("first\n[erased]\n");
    const again = await ask(["append", "Meta/B.txt", `psst, ${SECRET}`], at);
    expect(again).toMatchObject({ code: 5, answer: { error: { code: "E_ERASED" } } });
    const list = await ask(["erase", "--list"], at);
    expect(list.answer).toMatchObject([{ erasure: answer["erasure"], by: "match", pending: 0 }]);
    for (const flag of ["--json", "--quiet", "--debug"])
      expect(await run(["erase", "--list", flag], at), flag).toMatchObject({ code: 0 });
    expect((await run(["erase", "--list", "--yes"], at)).code).toBe(2);
    const lifted = await ask(["erase", "--lift", String(answer["erasure"]).slice(-6), "--root", root], at);
    expect(lifted.code).toBe(0);
    expect((await ask(["erase", "--list"], at)).answer).toEqual([]);
  });

  it("takes a key, a version, or a chat; and only one of them", async () => {
    const { root, at } = await saved();
    expect((await ask(["erase", "--yes"], at)).answer).toMatchObject({ error: { code: "E_USAGE" } });
    expect((await ask(["erase", "Meta/A.txt", "--chat", "beta", "--yes"], at)).answer).toMatchObject({
      error: { code: "E_USAGE" },
    });
    expect((await ask(["erase", "Meta/None.txt", "--yes"], at)).answer).toMatchObject({ error: { code: "E_NOT_FOUND" } });
    expect((await ask(["erase", "--match", "ab", "--yes"], at)).answer).toMatchObject({ error: { code: "E_USAGE" } });
    expect((await ask(["erase", "Meta/A.txt@-0", "--yes"], at)).answer).toMatchObject({ by: "version", redacted: 1 });
    expect(read(root, "Data/Meta/A.txt")).toBe("first\n[erased]\n");
    const { code, stdout } = await run(["erase", "Meta/A.txt", "--yes"], at);
    expect(code).toBe(0);
    expect(stdout).toMatch(/erased 1 file with all that it ever held/);
    expect(saying(root, "Meta/A.txt")).toEqual([]);
  });

  it("lists and lifts alone, and says of nothing that it is nothing", async () => {
    const { root, at } = await saved();
    for (const args of [
      ["--list", "--match", SECRET, "--yes"],
      ["--lift", "ABCDEF", "Meta/A.txt"],
      ["--list", "--dry-run"],
    ])
      expect((await ask(["erase", ...args], at)).answer).toMatchObject({ error: { code: "E_USAGE" } });
    expect(saying(root, SECRET).length).toBeGreaterThan(1);
    const { code, stdout } = await run(["erase", "--match", "never said here", "--yes"], at);
    expect(code).toBe(0);
    expect(stdout).toMatch(/It stands in no file, version, archive copy or log that is kept here/);
    expect(stdout).not.toMatch(/may not come/);
    await run(["append", "Meta/a zebra.txt", "innocent\n"], at);
    const named = await run(["erase", "--match", "zebra", "--yes"], at);
    expect(named.stdout).toMatch(/the name Meta\/a zebra\.txt.*aftersave erase "Meta\/a zebra\.txt"/);
  });

  it("cannot be undone, and undo says so", async () => {
    const { at } = await saved();
    await run(["erase", "--match", SECRET, "--yes"], at);
    const { answer } = await ask(["log", "changes"], at);
    const line = (answer as unknown as { op: string; version: string }[]).find(({ op }) => op === "erase");
    const { code, stderr } = await run(["undo", line?.version ?? ""], at);
    expect(code).toBe(2);
    expect(stderr).toContain(`${line?.version} is no save to undo, but a line of kind erase`);
    expect(stderr).toContain("What was erased cannot be brought back");
  });
});

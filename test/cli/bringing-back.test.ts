/** `undo` and `restore` on the command line: the plan, the asking, the answer, the exit code. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ask, everything, makeRoot, mirrored, programOf, put, read, run, type Answer } from "./program.ts";

interface Plan {
  readonly plan: string;
  readonly actions: readonly Answer[];
  readonly files: number;
}

const memoryFiles = (root: string) =>
  Object.fromEntries(Object.entries(everything(join(root, "Data"))).map(([name, what]) => [name, what.replace(/^\S+ /, "")]));

const save = async (root: string, op: string, key: string, text: string, ...args: string[]) =>
  String((await ask([op, key, text, ...args], { cwd: root })).answer["version"]);

/** A good file, an agent that wrecks it, and someone who goes on writing. */
async function wreck(config: Readonly<Record<string, unknown>> = {}) {
  const root = makeRoot(config);
  const old = "rule one\nrule two\nrule three\n".repeat(40);
  const good = await save(root, "append", "Core/Rules.txt", old, "--chat", "early");
  const bad = await save(root, "replace", "Core/Rules.txt", "a summary\n", "--session", "agent", "--chat", "night");
  const later = await save(root, "append", "Core/Rules.txt", "a later rule\n", "--chat", "late");
  return { root, old, good, bad, later };
}

describe("undo", () => {
  it("shows the plan and changes nothing: with --dry-run, and without --yes where nobody can be asked", async () => {
    const { root, bad } = await wreck();
    const before = memoryFiles(root);
    const dry = await run(["undo", bad, "--dry-run"], { cwd: root });
    expect(dry).toMatchObject({ code: 0, stderr: "" });
    expect(dry.stdout).toMatch(
      /^Takes back the replace of \S+ \S+ by chat night, session agent \(version \w{26}\):\n {2}replaces {2}Core\/Rules\.txt {2}23 bytes → 1\.2 kB, \+120 -1 lines; 1 newer save \(chat late\) stays in it\n1 file will change; what is there now goes to the archive\.\n$/,
    );
    const refused = await run(["undo", bad], { cwd: root });
    expect([refused.code, refused.stdout]).toEqual([2, dry.stdout]);
    expect(refused.stderr).toMatch(/--yes is needed[\s\S]*Nothing was changed\. \(E_USAGE\)/);
    const asked = await ask(["undo", bad], { cwd: root });
    expect(asked).toMatchObject({
      code: 2,
      answer: { error: { code: "E_USAGE", details: { plan: { does: "undo", files: 1 } } } },
    });
    const planned = await ask(["undo", bad, "--dry-run"], { cwd: root });
    expect(planned).toMatchObject({
      code: 0,
      answer: { plan: { actions: [{ merged: true, undoes: [bad] }] }, receipts: [], left: [] },
    });
    expect(memoryFiles(root)).toEqual(before);
  });

  it("says that it takes back what someone did past aftersave, and not the last save", async () => {
    const root = makeRoot({});
    await save(root, "append", "Meta/x", "saved\n", "--chat", "mine");
    put(root, "Data/Meta/x", "saved\nby an editor\n");
    const sentence = /^This takes back a change that someone made past aftersave at \d{4}-\S+ \S+; the last save stays[:.]\n/;
    expect((await run(["undo", "--dry-run"], { cwd: root })).stdout).toMatch(sentence);
    expect((await run(["undo", "--yes"], { cwd: root })).stdout).toMatch(sentence);
    expect(read(root, "Data/Meta/x")).toBe("saved\n");
    rmSync(join(root, "Data/Meta/x"));
    expect((await run(["undo", "--dry-run"], { cwd: root })).stdout).toMatch(/^This takes back that someone removed the file/);
  });

  it("takes the save back, keeps what came later, is uploaded, and can itself be undone", async () => {
    const { root, bad, old } = await wreck();
    const { code, answer } = await ask(["undo", bad, "--yes", "--reason", "it lost the rules", "--origin", "human"], {
      cwd: root,
    });
    expect(code).toBe(0);
    expect(read(root, "Data/Core/Rules.txt")).toBe(`${old}a later rule\n`);
    const [receipt] = answer["receipts"] as readonly Answer[];
    expect(receipt).toMatchObject({ op: "restore", file: "Core/Rules.txt", unchanged: false });
    const [line] = (await ask(["log", "changes", "--limit", "1"], { cwd: root })).answer;
    expect(line).toMatchObject({
      op: "restore",
      reason: "it lost the rules",
      origin: "human",
      tool: "aftersave undo",
      session_id: (answer["plan"] as Plan).plan,
      details: { undoes: [bad] },
    });
    await run(["flush"], { cwd: root });
    expect(mirrored(root, "Core/Rules.txt")).toBe(`${old}a later rule\n`);
    const again = await run(["undo", String(receipt?.["undo"]), "-y"], { cwd: root });
    expect(again.stdout).toMatch(
      /^restored Core\/Rules\.txt \(23 bytes\), version \w{26}\n[\s\S]*To take this back: aftersave undo \w{26}\n$/,
    );
    expect(read(root, "Data/Core/Rules.txt")).toBe("a summary\na later rule\n");
  });

  it("takes a session back, and says with exit 3 or 5 what a person must decide, and how", async () => {
    const { root, good, old } = await wreck();
    await save(root, "replace", "Core/Rules.txt", "another summary\n", "--chat", "third");
    await save(root, "replace", "Meta/new file.txt", "x\n", "--session", "agent");
    const some = await ask(["undo", "--session", "agent", "--yes"], { cwd: root });
    expect(some.code).toBe(3);
    expect(some.answer["left"]).toMatchObject([{ file: "Core/Rules.txt", code: "E_OVERLAP" }]);
    expect(existsSync(join(root, "Data/Meta/new file.txt"))).toBe(false);
    expect(read(root, "Data/Core/Rules.txt")).toBe("another summary\n");
    const none = await run(["undo", "--session", "agent", "--since", "1h ago", "--yes"], { cwd: root });
    expect(none.code).toBe(5);
    const command = /`(aftersave restore \S+)`/.exec(none.stdout)?.[1] ?? "";
    expect(command).toBe(`aftersave restore Core/Rules.txt@${good}`);
    expect((await run([...command.split(" ").slice(1), "--yes"], { cwd: root })).code).toBe(0);
    expect(read(root, "Data/Core/Rules.txt")).toBe(old);
    const quiet = await run(["undo", "--session", "agent", "--yes", "--quiet"], { cwd: root });
    expect([quiet.code, quiet.stdout]).toEqual([0, ""]); // what the session did is not in the file any more
  });

  it("refuses what it cannot understand before anything is touched", async () => {
    const { root, bad } = await wreck();
    const before = memoryFiles(root);
    for (const [args, code] of [
      [["undo", "ZZZZ", "--yes"], "E_VERSION"],
      [["undo", "--session", "nobody", "--yes"], "E_NOT_FOUND"],
      [["undo", "--since", "1h ago", "--yes"], "E_USAGE"],
      [["undo", bad, "--chat", "night", "--yes"], "E_USAGE"],
      [["undo", "--session", "agent", "--since", "soon or late", "--yes"], "E_USAGE"],
      [["restore", "--yes"], "E_USAGE"],
      [["restore", "Core/Rules.txt", "--yes"], "E_USAGE"],
      [["restore", "Core/Rules.txt@ZZZZ", "--yes"], "E_VERSION"],
      [["restore", "../x@-1", "--yes"], "E_KEY_OUTSIDE"],
      [["restore", "Core/Rules.txt@-1", "--keep-new", "--yes"], "E_USAGE"],
      [["restore", "--at", "2001-01-01T00:00:00Z", "--yes"], "E_NOT_FOUND"],
    ] as const)
      expect((await ask(args, { cwd: root })).answer.error).toMatchObject({ code });
    expect(memoryFiles(root)).toEqual(before);
  });

  // `script` (util-linux) gives the program a terminal
  it.runIf(process.platform === "linux" && existsSync("/usr/bin/script"))(
    "asks on a terminal, where only a yes is one",
    async () => {
      const { root, bad, old } = await wreck();
      for (const [keys, code, holds] of [
        ["\n", 1, "a summary\na later rule\n"],
        ["no\n", 1, "a summary\na later rule\n"],
        ["\u0004", 1, "a summary\na later rule\n"],
        ["\u0003", 130, "a summary\na later rule\n"],
        ["y\n", 0, `${old}a later rule\n`],
      ] as const) {
        const args = [process.execPath, programOf(), "--root", root, "undo", bad];
        const command = `exec ${args.map((arg) => `'${arg}'`).join(" ")}`;
        const env = { ...process.env, NODE_OPTIONS: "", SHELL: "/bin/sh", AFTERSAVE_NO_BACKGROUND: "1" };
        const terminal = spawn("/usr/bin/script", ["-qec", command, "/dev/null"], { env });
        let shown = "";
        let typed = false;
        terminal.stdout.on("data", (data: Buffer) => {
          shown += data.toString();
          if (!typed && shown.includes("[y/N] ")) typed = terminal.stdin.write(keys);
        });
        expect(await once(terminal, "close")).toEqual([code, null]);
        expect(shown).toContain("1 newer save");
        expect(read(root, "Data/Core/Rules.txt")).toBe(holds);
      }
    },
  );
});

describe("restore", () => {
  it("brings back a version of a file: by id, by its ending, counted back, from a path in the current folder", async () => {
    const { root, good, old } = await wreck();
    const held = [
      ["Core/Rules.txt@-1", "a summary\n"],
      [`Core/Rules.txt@${good.slice(-6).toLowerCase()}`, old],
      [`Data/Core/Rules.txt@${good}`, old],
    ] as const;
    for (const [what, content] of held) {
      expect((await run(["restore", what, "--yes"], { cwd: root })).code).toBe(0);
      expect(read(root, "Data/Core/Rules.txt")).toBe(content);
    }
    expect((await run(["restore", "Rules.txt@-1", "--yes"], { cwd: join(root, "Data/Core") })).code).toBe(0);
    expect(read(root, "Data/Core/Rules.txt")).toBe("a summary\n");
  });

  it("brings a moment back, a folder of it, or a file; files that are newer go to the archive or stay", async () => {
    const root = makeRoot({});
    await save(root, "append", "Meta/a.txt", "old a\n");
    await save(root, "append", "x/y.txt", "deep\n");
    const at = String((await ask(["append", "Core/b.txt", "old b\n"], { cwd: root })).answer.timestamp);
    for (const key of ["Meta/a.txt", "Core/b.txt"]) await save(root, "replace", key, "new\n");
    await save(root, "append", "Meta/new.txt", "new\n");
    await run(["archive", "x/y.txt"], { cwd: root });
    put(root, "Data/Core/b.txt", "by an editor\n");

    const dry = await run(["restore", "--at", at, "Data/Meta/", "--dry-run"], { cwd: root });
    expect(dry.stdout).toMatch(
      /removes {3}Meta\/new\.txt {2}4 bytes, kept in the archive[\s\S]*replaces {2}Meta\/a\.txt[\s\S]*2 files will change/,
    );
    const kept = await ask(["restore", "--at", at, "Meta", "--keep-new", "--yes"], { cwd: root });
    expect((kept.answer["plan"] as Plan).files).toBe(1);
    expect([read(root, "Data/Meta/a.txt"), read(root, "Data/Meta/new.txt")]).toEqual(["old a\n", "new\n"]);

    const { code, answer } = await ask(["restore", "--at", at, "--yes", "--chat", "repair", "--session", "own"], { cwd: root });
    expect(code).toBe(0);
    const files = (answer["receipts"] as readonly Answer[]).map(({ file }) => file);
    expect(files).toEqual(["Meta/new.txt", "Core/b.txt", "x/y.txt"]);
    expect(read(root, "Data/Core/b.txt")).toBe("old b\n");
    expect((await ask(["restore", "--at", at, "--yes"], { cwd: root })).answer).toMatchObject({
      plan: { files: 0 },
      receipts: [],
    });
    expect((await run(["undo", "--session", "own", "--yes"], { cwd: root })).code).toBe(0);
    expect([read(root, "Data/Core/b.txt"), read(root, "Data/Meta/new.txt")]).toEqual(["by an editor\n", "new\n"]);
    expect(existsSync(join(root, "Data/x/y.txt"))).toBe(false);

    await save(root, "append", "x/z", "1"); // a file where a folder was, and a prefix below it
    put(root, "Data/q", "1");
    expect((await ask(["restore", "--at", at, "q/deep", "--yes"], { cwd: root })).answer.error).toMatchObject({
      code: "E_NOT_FOUND",
    });
  });
});

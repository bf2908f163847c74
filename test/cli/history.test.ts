/** What `history` and `blame` show to people and programs. */
import { describe, expect, test } from "vitest";
import { ask, makeRoot, put, read, run } from "./program.ts";

const KEY = "Meta/Notes.txt";

async function filled(): Promise<string> {
  const root = makeRoot({});
  const who = ["--chat", "GPT Memory Build", "--model", "openai/gpt-5", "--origin", "agent", "--session", "s1", "--tag", "llama"];
  await run(["append", KEY, "- likes tea\n- lives in Oslo\n", ...who], { cwd: root });
  await run(["append", KEY, "- two cats\n", ...who, "--reason", "nightly \u001b[31mnotes"], { cwd: root });
  await run(["replace", KEY, "- lives in Bergen\n- two cats\n- likes tea\n", "--origin", "human", "--chat", "desk"], {
    cwd: root,
  });
  return root;
}

describe("history", () => {
  test("people see one line for each burst, plain text in a pipe, and no control characters", async () => {
    const root = await filled();
    const { code, stdout, stderr } = await run(["history", KEY], { cwd: root });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const lines = stdout.trimEnd().split("\n");
    expect(lines[0]).toMatch(
      /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d {2}[0-9A-Z]{6} {2}replace {2}Meta\/Notes\.txt {2}\+2 −2 {2}\[desk\] human {2}drive: pending$/,
    );
    expect(lines[1]).toMatch(
      /append ×2 {2}Meta\/Notes\.txt {2}\+3 −0 {2}\[GPT Memory Build\] openai\/gpt-5 agent session s1 #llama/,
    );
    expect(lines[2]).toBe("    why: nightly \uFFFD[31mnotes");
    expect(lines).toHaveLength(3);
  });

  test("--open shows each version; the short id that is shown opens its entry", async () => {
    const root = await filled();
    const opened = await run(["history", KEY, "--open"], { cwd: root });
    expect(opened.stdout).toMatch(/\n {4}\S+ \S+ {2}(\w{6}) {2}append {2}39 bytes {2}\+1 −0 {2}drive: pending\n/);
    const id = /\n {4}\S+ \S+ {2}(\w{6}) {2}append {2}28 bytes/.exec(opened.stdout)?.[1] ?? "";
    const one = await run(["history", KEY, "--open", id], { cwd: root });
    expect(one.stdout).toContain("append ×2");
    expect(one.stdout).not.toContain("replace");
    expect((await run(["history", KEY, "--open", "ZZZZ"], { cwd: root })).code).toBe(2);
  });

  test("programs get whole ids, pages and filters", async () => {
    const root = await filled();
    const { answer } = await ask(["history", KEY, "--limit", "1"], { cwd: root });
    const { entries, next } = answer as unknown as { entries: { last: string }[]; next: string };
    expect(entries).toEqual([
      expect.objectContaining({ ops: { replace: 1 }, added: 2, removed: 2, targets: { drive: "pending" } }),
    ]);
    expect(next).toBe(entries[0]?.last);
    const older = await ask(["history", KEY, "--before", next, "--no-grouped"], { cwd: root });
    expect(older.answer["entries"]).toHaveLength(2);
    expect(older.answer["next"]).toBeNull();
    for (const filter of [
      ["--chat", "desk"],
      ["--origin", "human"],
    ])
      expect((await ask(["history", ...filter], { cwd: root })).answer["entries"]).toHaveLength(1);
    for (const filter of [
      ["--tag", "llama"],
      ["--model", "openai/gpt-5"],
      ["--session", "s1"],
      ["--chat", "GPT Memory Build", "--since", "yesterday"],
    ])
      expect((await ask(["history", "Meta/", ...filter], { cwd: root })).answer["entries"]).toEqual([
        expect.objectContaining({ count: 2 }),
      ]);
    expect((await run(["history", "--until", "yesterday"], { cwd: root })).stdout).toBe(
      "The history has nothing of that kind.\n",
    );
    expect((await run(["history", "--held"], { cwd: root })).stdout).toBe("Nothing waits for a decision.\n");
    expect((await run(["history"], { cwd: makeRoot({}) })).stdout).toBe("Nothing was saved yet.\n");
  });

  test("what is misspelt is said", async () => {
    const root = await filled();
    expect((await ask(["history", "Meta/Note.txt"], { cwd: root })).answer.error?.code).toBe("E_NOT_FOUND");
    expect((await run(["history", "--limit", "many"], { cwd: root })).code).toBe(2);
    expect((await run(["history", "--origin", "robot"], { cwd: root })).code).toBe(2);
    expect((await run(["history", "--since", "some day"], { cwd: root })).code).toBe(2);
  });
});

describe("blame", () => {
  test("one line for each line of the file, now and at a version", async () => {
    const root = await filled();
    const now = await run(["blame", "Data/Meta/Notes.txt"], { cwd: root });
    expect(now.stdout.replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/g, "TIME").replaceAll(/^\w{6}/gm, "ID")).toBe(
      [
        "ID  desk, human                     TIME  1  - lives in Bergen",
        "ID  GPT Memory Build, openai/gpt-5  TIME  2  - two cats",
        "ID  GPT Memory Build, openai/gpt-5  TIME ~3  - likes tea",
        "",
      ].join("\n"),
    );
    const before = await ask(["blame", `${KEY}@-1`], { cwd: root });
    const lines = before.answer["lines"] as { text: string; chat_name: string }[];
    expect(lines.map(({ text }) => text)).toEqual(["- likes tea", "- lives in Oslo", "- two cats"]);
    expect(new Set(lines.map(({ chat_name }) => chat_name))).toEqual(new Set(["GPT Memory Build"]));
  });

  test("--format agent-trace is a record, with and without --json", async () => {
    const root = await filled();
    const text = (await run(["blame", KEY, "--format", "agent-trace"], { cwd: root })).stdout;
    const { answer } = await ask(["blame", KEY, "--format", "agent-trace"], { cwd: root });
    expect(JSON.parse(text)).toEqual(answer);
    expect(answer["version"]).toBe("0.1");
  });

  test("what has no lines is refused, and nothing is changed", async () => {
    const root = await filled();
    put(root, "Data/Meta/image.png", Uint8Array.of(0, 1, 2));
    await run(["sweep"], { cwd: root });
    const { code, answer } = await ask(["blame", "Meta/image.png"], { cwd: root });
    expect([code, answer.error?.code]).toEqual([1, "E_NOT_TEXT"]);
    expect((await ask(["blame", "Meta/none.txt"], { cwd: root })).answer.error?.code).toBe("E_NOT_FOUND");
    expect((await run(["blame", `${KEY}@ZZZZ`], { cwd: root })).code).toBe(2);
    expect(read(root, "Data/Meta/Notes.txt")).toContain("Bergen");
  });
});

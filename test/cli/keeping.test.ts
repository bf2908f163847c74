import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ask, makeRoot, run } from "./program.ts";

const rule = { guard: "off", retention: { "*": { keep_last: 2 } } };

async function saved(config: Readonly<Record<string, unknown>>) {
  const cwd = makeRoot(config);
  const copies: string[] = [];
  for (const n of [1, 2, 3, 4]) {
    const { answer } = await ask(["replace", "Meta/A.txt", `content ${n}\n`], { cwd });
    if (typeof answer["archived_as"] === "string") copies.push(join(cwd, "Data", answer["archived_as"]));
  }
  await run(["flush"], { cwd });
  return { cwd, copies, there: () => copies.map((path) => existsSync(path)) };
}

test("prune shows what keeps each version, asks for --yes, removes, and says so", async () => {
  const { cwd, copies, there } = await saved(rule);
  const plan = await run(["prune", "--dry-run"], { cwd });
  expect(plan.code).toBe(0);
  expect(plan.stdout.split("\n").map((line) => line.trim().replace(/^\w{6}  [\d :-]+ {2,}/, ""))).toEqual([
    "Meta/A.txt, on this machine:",
    "10 bytes  current, keep_last",
    "10 bytes  keep_last",
    "10 bytes  goes",
    "10 bytes  goes",
    "2 archive copies (20 bytes, 2 versions of 1 file) go on this machine; a copy of each stays elsewhere.",
    "",
  ]);
  const { answer } = await ask(["prune", "Meta", "--dry-run"], { cwd });
  expect(answer).toMatchObject({ ruled: true, bytes: 20, removes: [{ from: "here", stays: ["drive"] }, { key: "Meta/A.txt" }] });

  const unasked = await ask(["prune"], { cwd });
  expect([unasked.code, unasked.answer.error]).toMatchObject([
    2,
    { code: "E_USAGE", details: { removes: [{ from: "here", copies: 2, bytes: 20 }] } },
  ]);
  expect(there()).toEqual([true, true, true]);

  const done = await run(["prune", "--yes"], { cwd });
  expect([done.code, done.stdout]).toEqual([0, "removed 2 archive copies (20 bytes) on this machine\n"]);
  expect(there()).toEqual([false, false, true]);
  const changes = (await ask(["log", "changes"], { cwd })).answer;
  expect(changes.at(-1)).toMatchObject({
    op: "prune",
    details: { prunes: { copies: { length: copies.length - 1 }, from: "here" } },
  });
  expect((await ask(["prune", "--yes"], { cwd })).answer).toEqual({ removed: [], lines: [], left: [] });
});

test("without a rule prune says that nothing goes", async () => {
  const { cwd, there } = await saved({ guard: "off" });
  for (const flag of ["--dry-run", "--yes"])
    expect((await run(["prune", flag], { cwd })).stdout).toContain("no rule in `retention`");
  expect(there()).toEqual([true, true, true]);
});

test("pin keeps a version until it is taken back", async () => {
  const { cwd, there } = await saved(rule);
  const pinned = await run(["pin", "Meta/A.txt@-3"], { cwd });
  expect([pinned.code, pinned.stdout]).toEqual([0, expect.stringMatching(/^Meta\/A\.txt@\w{6} of .* is pinned now\n$/)]);
  expect((await run(["pin", "Meta/A.txt@-3"], { cwd })).stdout).toContain("was pinned already");
  await run(["prune", "--yes", "--here"], { cwd });
  expect(there()).toEqual([true, false, true]);
  expect((await ask(["pin", "Meta/A.txt@-3", "--remove"], { cwd })).answer).toMatchObject({ pinned: false, changed: true });
  await run(["prune", "--yes"], { cwd });
  expect(there()).toEqual([false, false, true]);
});

test.each([
  [["pin"], "E_USAGE"],
  [["pin", "Meta/A.txt@zzzz"], "E_VERSION"],
  [["prune", "--target", "drvie"], "E_TARGET_UNKNOWN"],
  [["prune", "--target", "drive", "--here"], "E_USAGE"],
  [["prune", "../x"], "E_KEY_OUTSIDE"],
])("%j is refused: %s", async (args, code) => {
  const { code: exit, answer } = await ask(args, { cwd: makeRoot(rule) });
  expect([exit, answer.error?.code]).toEqual([2, code]);
});

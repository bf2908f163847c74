/** The guard on the command line: what is said, what is answered, and the exit codes. */
import { truncateSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ask, makeRoot, mirrored, read, run, type Answer } from "./program.ts";

const KEY = "Meta/Notes.md";
const NOTES = Array.from({ length: 60 }, (_, n) => `- fact ${n} is so\n`).join("");
const heldIn = ({ answer }: { answer: Answer }) =>
  (answer.error as unknown as { details: { version: string } } | undefined)?.details.version ?? "";

test("a save that looks like damage is accepted, exit 0, and said so that nobody overlooks it", async () => {
  const root = makeRoot({});
  await run(["replace", KEY, NOTES], { cwd: root });
  const damaged = await run(["replace", KEY, "gone\n"], { cwd: root });
  expect(damaged).toMatchObject({ code: 0, stderr: "" });
  expect(damaged.stdout).toMatch(/ALARM: 5 of \d+ bytes are kept \(0 %\)/);
  expect(damaged.stdout).toMatch(/aftersave undo \w+/);
  await run(["replace", KEY, NOTES], { cwd: root });
  const quiet = await run(["--quiet", "replace", KEY, "gone\n"], { cwd: root });
  expect(quiet.stdout).toBe("");
  expect(quiet.stderr).toContain("ALARM");
});

test("hold: exit 5 with the version, the file as it was; accept makes it the content, twice is fine", async () => {
  const root = makeRoot({ guard: "hold" });
  await run(["replace", KEY, NOTES], { cwd: root });
  const held = await ask(["replace", KEY, "short\n", "--chat", "c"], { cwd: root });
  expect(held).toMatchObject({
    code: 5,
    answer: { error: { code: "E_HELD", details: { file: KEY, alarms: expect.any(Array) } } },
  });
  const version = heldIn(held);
  expect(read(root, `Data/${KEY}`)).toBe(NOTES);
  expect((await run(["status", "--check"], { cwd: root })).code).toBe(5);
  const people = await run(["replace", KEY, "short\n"], { cwd: root });
  expect(people.code).toBe(5);
  expect(people.stderr).toContain(`aftersave accept ${version}`);

  const accepted = await run(["accept", version.slice(-8), "--chat", "Mara", "--reason", "meant so"], { cwd: root });
  expect(accepted).toMatchObject({ code: 0, stderr: "" });
  expect(accepted.stdout).toContain(`accepted ${version}`);
  expect(read(root, `Data/${KEY}`)).toBe("short\n");
  expect(await ask(["accept", version], { cwd: root })).toMatchObject({
    code: 0,
    answer: { already: true, decision: "accepted" },
  });
  expect(await ask(["reject", version], { cwd: root })).toMatchObject({ code: 2, answer: { error: { code: "E_USAGE" } } });
  expect(await ask(["reject", "nothing"], { cwd: root })).toMatchObject({ code: 2, answer: { error: { code: "E_VERSION" } } });
});

test("what stands in the file: sync-file says held, exit 5, flush passes it over, reject brings the old back", async () => {
  const root = makeRoot({ guard: "hold" });
  await run(["replace", KEY, NOTES, "--wait"], { cwd: root });
  truncateSync(join(root, "Data", KEY), 30);
  const sync = await ask(["sync-file", `Data/${KEY}`], { cwd: root });
  expect(sync).toMatchObject({ code: 5, answer: { status: "fail", code: "E_HELD", attempts: 0 } });
  const people = await run(["sync-file", `Data/${KEY}`], { cwd: root });
  expect(people).toMatchObject({ code: 5 });
  expect(people.stdout).toMatch(/^held Meta\/Notes.md/);
  const [{ version: waiting }] = (await ask(["log", "changes", "--limit", "1"], { cwd: root })).answer as unknown as [
    { version: string },
  ];
  expect(await ask(["flush"], { cwd: root })).toMatchObject({ code: 5, answer: { failed: 0, pending: 0, held: 1 } });
  const flushed = await run(["flush"], { cwd: root });
  expect(flushed.code).toBe(5);
  expect(flushed.stdout).toContain("1 held until a person decides");
  expect(flushed.stdout).toContain(`aftersave accept ${waiting}`);
  expect(mirrored(root, KEY)).toBe(NOTES);
  expect(await ask(["status"], { cwd: root })).toMatchObject({ answer: { held: 1, held_uploads: 1 } });
  const log = await ask(["log", "uploads", "--status", "held"], { cwd: root });
  expect(log.answer).toHaveLength(2);

  const { answer } = await ask(["log", "changes", "--limit", "1"], { cwd: root });
  const version = String(answer[0]?.["version"]);
  const rejected = await ask(["reject", version], { cwd: root });
  expect(rejected).toMatchObject({ code: 0, answer: { decision: "rejected", receipt: { op: "reject" }, waiting: [] } });
  expect(read(root, `Data/${KEY}`)).toBe(NOTES);
  expect((await run(["flush"], { cwd: root })).code).toBe(0);
  expect(mirrored(root, KEY)).toBe(NOTES);
});

test("a save into a file that holds what waits is said on stderr and exits 5, whatever the options are", async () => {
  const root = makeRoot({ guard: "hold" });
  const damage = async (key: string) => {
    await run(["replace", key, NOTES], { cwd: root });
    truncateSync(join(root, "Data", key), 30);
  };
  const quiet = async (args: string[]) => {
    const { code, stdout, stderr } = await run(["--quiet", ...args], { cwd: root });
    expect([args[0], code, stdout]).toEqual([args[0], 5, ""]);
    expect(stderr).toContain("aftersave accept");
  };
  await damage(KEY);
  await quiet(["append", KEY, "more\n"]);
  await quiet(["append", KEY, "more\n", "--wait"]);
  await quiet(["replace", KEY, "- fact 1 is so\n- fact 2 is no"]); // about as much as there is
  await quiet(["archive", KEY]);
  expect(await ask(["append", KEY, "more\n"], { cwd: root })).toMatchObject({ code: 5, answer: { op: "append" } });
  expect((await run(["append", "Meta/other.md", "a line\n"], { cwd: root })).code).toBe(0);
  await damage("Meta/second.md");
  await quiet(["sync-file", "Meta/second.md"]);
  await damage("Meta/third.md");
  await quiet(["sweep"]);
  expect((await run(["--quiet", "sweep"], { cwd: root })).code).toBe(0); // nothing new
});

test("--merge brings two changes together; without it the second is refused with the current hash", async () => {
  const root = makeRoot({});
  const base = (await ask(["replace", KEY, NOTES], { cwd: root })).answer["sha256"] as string;
  const theirs = await ask(["replace", KEY, NOTES.replace("fact 50 is", "fact 50 was")], { cwd: root });
  const ours = NOTES.replace("fact 5 is", "fact 5 was");
  const stale = await ask(["replace", KEY, ours, "--if-sha256", base], { cwd: root });
  expect(stale).toMatchObject({ code: 1, answer: { error: { code: "E_STALE", details: { sha256: theirs.answer["sha256"] } } } });
  expect(await ask(["replace", KEY, ours, "--if-sha256", base, "--merge"], { cwd: root })).toMatchObject({ code: 0 });
  expect(read(root, `Data/${KEY}`)).toBe(ours.replace("fact 50 is", "fact 50 was"));
  const clash = await ask(["replace", KEY, NOTES.replace("fact 5 is", "fact 5 will be"), "--if-sha256", base, "--merge"], {
    cwd: root,
  });
  expect(clash).toMatchObject({ code: 5, answer: { error: { code: "E_HELD" } } });
  expect((await run(["replace", KEY, "x", "--merge"], { cwd: root })).code).toBe(2);
});

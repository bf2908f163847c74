/** `secrets`, and what the other commands say and exit with when the gate keeps something here. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, suite, test } from "vitest";
import { samples } from "../secrets/samples.ts";
import { ask, makeRoot, mirrored, put, read, run } from "./program.ts";

const TOKEN = samples.find(({ rule }) => rule === "github-token")?.value ?? "";
const TEXT = `first\nkey: ${TOKEN}\n`;

/** Every output of these commands, to be searched for the value. */
async function all(root: string, commands: readonly (readonly string[])[]): Promise<string> {
  const said = [];
  for (const args of commands)
    for (const more of [[], ["--json"], ["--debug"]]) {
      const { stdout, stderr } = await run([...args, ...more], { cwd: root });
      said.push(stdout, stderr);
    }
  return said.join("\n");
}

suite("a file with a secret", () => {
  test("stays here: exit 5 from whoever uploads it, said by rule and place, never by value", async () => {
    const root = makeRoot({});
    const saved = await ask(["append", "Meta/a.txt", TEXT, "--wait"], { cwd: root });
    expect(saved).toMatchObject({ code: 5, answer: { uploads: [{ status: "blocked", code: "E_BLOCKED" }] } });
    expect(await ask(["sync-file", "Meta/a.txt"], { cwd: root })).toMatchObject({
      code: 5,
      answer: { status: "fail", code: "E_BLOCKED" },
    });
    expect(await ask(["flush"], { cwd: root })).toMatchObject({ code: 5, answer: { uploaded: 0, failed: 1, pending: 0 } });
    const status = await ask(["status", "--check"], { cwd: root });
    expect(status).toMatchObject({
      code: 5,
      answer: { blocked: 1, failed: 0, blocked_list: [{ file: "Meta/a.txt", target: "drive" }] },
    });
    expect(existsSync(join(root, "Drive/MemoryVDB/Meta/a.txt"))).toBe(false);
    const list = await ask(["secrets"], { cwd: root });
    expect(list).toMatchObject({ code: 0 });
    expect(list.answer).toMatchObject([
      {
        file: "Meta/a.txt",
        policy: "block",
        count: 1,
        blocked_at: ["drive"],
        findings: [{ rule: "github-token", line: 2, column: 6 }],
      },
    ]);
    const told = await all(root, [
      ["sync-file", "Meta/a.txt"],
      ["flush"],
      ["status"],
      ["secrets"],
      ["secrets", "Meta/a.txt"],
      ["log", "uploads", "--status", "blocked"],
      ["doctor"],
    ]);
    expect(told).toContain("github-token at 2:6");
    expect(told).toContain("github-token at line 2, column 6");
    expect(told.includes(TOKEN)).toBe(false);
    expect(read(root, "logs/upload_log.json").includes(TOKEN)).toBe(false);
  });

  test("leaves once its fingerprint is allowed; paths.json keeps its comments", async () => {
    const root = makeRoot({});
    const before = read(root, "paths.json");
    put(root, "paths.json", before.replace("{", "{\r\n  // mine\r\n").replace(/\}\s*$/, "}\r\n"));
    await run(["append", "Meta/a.txt", TEXT], { cwd: root });
    await run(["flush"], { cwd: root });
    const [file] = (await ask(["secrets"], { cwd: root })).answer;
    const [finding] = (file?.["findings"] ?? []) as { fingerprint: string }[];
    const fingerprint = finding?.fingerprint ?? "";
    expect(await ask(["secrets", "allow", "0123456789abcdef"], { cwd: root })).toMatchObject({
      code: 2,
      answer: { error: { code: "E_USAGE" } },
    });
    const allowed = await ask(["secrets", "allow", fingerprint], { cwd: root });
    expect(allowed).toMatchObject({ code: 0, answer: { fingerprint, file: join(root, "paths.json"), added: true } });
    expect(read(root, "paths.json")).toContain("// mine");
    expect(read(root, "paths.json")).toContain(fingerprint);
    expect(await ask(["secrets", "allow", fingerprint], { cwd: root })).toMatchObject({ code: 0, answer: { added: false } });
    expect(await ask(["flush"], { cwd: root })).toMatchObject({ code: 0, answer: { uploaded: 1 } });
    expect(mirrored(root, "Meta/a.txt")).toBe(TEXT);
  });

  test("is not repeated where it is given in place of its fingerprint", async () => {
    const root = makeRoot({});
    await run(["append", "Meta/a.txt", TEXT], { cwd: root });
    for (const args of [["--json"], []]) {
      const { code, stdout, stderr } = await run(["secrets", "allow", TOKEN, ...args], { cwd: root });
      expect(code).toBe(2);
      expect(stdout + stderr).toMatch(/fingerprint/);
      expect(stdout + stderr).not.toContain(TOKEN);
    }
  });

  test("may be kept here for good", async () => {
    const root = makeRoot({});
    await run(["append", "Meta/a.txt", TEXT], { cwd: root });
    await run(["flush"], { cwd: root });
    expect(await ask(["secrets", "keep", "Meta/a.txt"], { cwd: root })).toMatchObject({
      code: 0,
      answer: { file: "Meta/a.txt", targets: ["drive"] },
    });
    expect((await run(["secrets"], { cwd: root })).stdout).toContain("No file is kept from the targets.");
    expect((await ask(["status"], { cwd: root })).answer).toMatchObject({ blocked: 0 });
    expect((await run(["secrets", "keep", "Meta/a.txt"], { cwd: root })).stdout).toContain("nothing was changed");
  });

  test("is refused when its name is one: exit 2, and the name is not repeated", async () => {
    const root = makeRoot({});
    const { code, stdout, stderr } = await run(["append", `Meta/${TOKEN}.txt`, "x", "--json"], { cwd: root });
    expect(code).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: "E_KEY_SECRET", details: { rule: "github-token", column: 6 } } });
    expect((stdout + stderr).includes(TOKEN)).toBe(false);
  });
});

test("wrong usage", async () => {
  const root = makeRoot({});
  for (const args of [
    ["secrets", "allow"],
    ["secrets", "keep"],
    ["secrets", "a.txt", "b.txt"],
  ])
    expect(await ask(args, { cwd: root })).toMatchObject({ code: 2, answer: { error: { code: "E_USAGE" } } });
  expect(await ask(["secrets", "Meta/none.txt"], { cwd: root })).toMatchObject({
    code: 1,
    answer: { error: { code: "E_NOT_FOUND" } },
  });
});

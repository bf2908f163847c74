/** What goes wrong is said in one clear sentence with a next step and the documented exit code; nothing is half written. */
import { appendFileSync, existsSync, readdirSync, readFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import { ERRORS, type ErrorCode } from "../../src/index.ts";
import { openDatabase } from "../../src/state/sqlite.ts";
import { ask, everything, makeRoot, put, read, run, runInto, type Answer } from "./program.ts";

interface Bad {
  readonly what: string;
  readonly code: ErrorCode;
  readonly says: RegExp;
  readonly args: readonly string[];
  /** paths.json: its text, or changes to a valid one; null for none. */
  readonly config?: string | Readonly<Record<string, unknown>> | null;
  readonly before?: (root: string) => void;
}

const target = (type: string) => ({ targets: { drive: { type, enabled: true, path: "./" } } });

const usage: Bad[] = [
  { what: "an unknown command", code: "E_USAGE", args: ["apend", "a.txt", "x"], says: /apend.*[Dd]id you mean append/ },
  { what: "help for an unknown command", code: "E_USAGE", args: ["help", "apend"], says: /apend.*[Dd]id you mean append/ },
  { what: "no command", code: "E_USAGE", args: [], says: /no command/ },
  {
    what: "an unknown option",
    code: "E_USAGE",
    args: ["append", "a.txt", "x", "--tagg", "t"],
    says: /--tagg.*Did you mean --tag/,
  },
  { what: "an unknown global option", code: "E_USAGE", args: ["--rot", ".", "status"], says: /--rot.*Did you mean --root/ },
  { what: "a missing argument", code: "E_USAGE", args: ["append"], says: /KEY/ },
  { what: "an argument too many", code: "E_USAGE", args: ["archive", "a.txt", "b.txt"], says: /too many arguments/ },
  { what: "an option without its value", code: "E_USAGE", args: ["append", "a.txt", "x", "--chat"], says: /--chat/ },
  { what: "no content", code: "E_USAGE", args: ["append", "a.txt"], says: /no content/ },
  { what: "content twice", code: "E_USAGE", args: ["append", "a.txt", "x", "--file", "y"], says: /content was given twice/ },
  { what: "an unknown origin", code: "E_USAGE", args: ["append", "a.txt", "x", "--origin", "cat"], says: /cat.*agent, human/ },
  {
    what: "no sha256",
    code: "E_USAGE",
    args: ["append", "a.txt", "x", "--if-sha256", "12"],
    says: /neither a sha256 nor "absent": 12/,
  },
  { what: "an unknown log", code: "E_USAGE", args: ["log", "chagnes"], says: /chagnes.*uploads, archives, changes/ },
  { what: "no number of lines", code: "E_USAGE", args: ["log", "--limit", "0"], says: /--limit.*"0"/ },
  { what: "no time", code: "E_USAGE", args: ["log", "--since", "soonish"], says: /--since is not a time: "soonish"/ },
  { what: "no status", code: "E_USAGE", args: ["log", "--status", "bad"], says: /"bad"/ },
  { what: "a folder twice", code: "E_USAGE", args: ["--root", ".", "init", "."], says: /twice/ },
];

const configuration: Bad[] = [
  { what: "no paths.json", config: null, code: "E_NO_ROOT", args: ["status"], says: /no paths\.json in/ },
  {
    what: "broken JSON",
    config: '{\n  "local_data_dir": "Data/"\n  "drive_root": "Drive/" }',
    code: "E_CONFIG_SYNTAX",
    args: ["append", "a.txt", "x"],
    says: /line 3, column 3: expected a comma/,
  },
  {
    what: "a wrong type",
    config: { local_data_dir: 5 },
    code: "E_CONFIG",
    args: ["flush"],
    says: /local_data_dir: expected text/,
  },
  { what: "an unknown key", config: { drvie_root: "D/" }, code: "E_CONFIG", args: ["sweep"], says: /did you mean "drive_root"/ },
  {
    what: "an unknown type of target",
    config: target("foldr"),
    code: "E_TARGET_TYPE",
    args: ["ingest"],
    says: /"foldr".*"folder"/,
  },
  { what: "paths.json in Latin-1", code: "E_CONFIG_SYNTAX", args: ["log"], says: /not valid UTF-8/, before: latin1 },
  {
    what: "a log that is a folder",
    code: "E_LOG_PLACE",
    args: ["append", "a.txt", "x"],
    says: /upload_log: expected a file.*found a folder/,
    before: (root) => mkdirSync(join(root, "logs/upload_log.json"), { recursive: true }),
  },
  { what: "an init over a paths.json that cannot be used", config: "{", code: "E_CONFIG_SYNTAX", args: ["init"], says: /line 1/ },
];

function latin1(root: string) {
  writeFileSync(join(root, "paths.json"), Buffer.from('{ "local_data_dir": "Dat\xe4/" }', "latin1"));
}

const files: Bad[] = [
  { what: "a folder as a file", code: "E_KEY_FOLDER", args: ["append", "Meta", "x"], says: /"Meta" is a folder/ },
  {
    what: "one folder among the paths",
    code: "E_KEY_FOLDER",
    args: ["sync-file", "Meta/a.txt", "Meta"],
    says: /"Meta" is a folder/,
  },
  { what: "a path outside", code: "E_KEY_OUTSIDE", args: ["append", "../x.txt", "x"], says: /outside the data folder/ },
  { what: "a reserved folder", code: "E_KEY_RESERVED", args: ["sync-file", "Meta/a.txt", "Root/a.txt"], says: /Root/ },
  { what: "a control character", code: "E_KEY_CONTROL", args: ["replace", "a\u0007.txt", "x"], says: /control character/ },
  { what: "an empty key", code: "E_KEY_EMPTY", args: ["archive", ""], says: /empty/ },
  {
    what: "a file that vanished",
    code: "E_NOT_FOUND",
    args: ["archive", "Meta/gone.txt"],
    says: /Meta\/gone\.txt does not exist/,
  },
  {
    what: "content from a file that is not there",
    code: "E_NOT_FOUND",
    args: ["append", "a.txt", "--file", "no"],
    says: /from no failed/,
  },
  { what: "content from a folder", code: "E_KEY_FOLDER", args: ["append", "a.txt", "--file", "Data"], says: /Data is a folder/ },
  {
    what: "no llama output",
    code: "E_NOT_FOUND",
    args: ["ingest", "--llama"],
    says: /there is no .*output\.json, which paths\.json names as llama_output_path/,
  },
];

/** People get a sentence, a next step and what it means for their data; programs get the same as one document. */
async function expectRefusal({ code, args, says }: Bad, cwd: string): Promise<void> {
  const { exit, data } = ERRORS[code];
  const people = await run(args, { cwd });
  expect({ code: people.code, stdout: people.stdout }, people.stderr).toEqual({ code: exit, stdout: "" });
  expect(people.stderr).toMatch(says);
  expect(people.stderr.slice(people.stderr.indexOf("error: "))).toMatch(/^error: .+\n( {2}.+\n)+$/);
  expect(people.stderr.endsWith(`  ${data} (${code})\n`)).toBe(true);
  const program = await ask(args, { cwd });
  expect(program).toMatchObject({ code: exit, answer: { error: { code, data, hint: expect.stringMatching(/\S/) } } });
  expect(program.answer.error?.message).toMatch(says);
}

const rootOf = ({ config = {}, before }: Bad) => {
  const root = makeRoot(config ?? undefined);
  before?.(root);
  return root;
};

describe("nothing at all is written for", () => {
  test.each([...usage, ...configuration])("$what: $code", async (bad) => {
    const root = rootOf(bad);
    const before = everything(root);
    await expectRefusal(bad, root);
    expect(everything(root)).toEqual(before);
  });
});

describe("no file, log or mirror is touched for", () => {
  test.each(files)("$what: $code", async (bad) => {
    const root = rootOf(bad);
    put(root, "Data/Meta/a.txt", "1");
    const own = () => Object.entries(everything(root)).filter(([name]) => !name.startsWith(".aftersave"));
    const before = own();
    await expectRefusal(bad, root);
    expect(own()).toEqual(before);
  });
});

describe("the state file", () => {
  test("of a newer version is refused and left as it is; doctor shows it as a finding", async () => {
    const root = makeRoot({});
    await run(["append", "a.txt", "1"], { cwd: root });
    const database = openDatabase(join(root, ".aftersave/state.db"), 1_000);
    database.exec("PRAGMA user_version = 99");
    database.close();
    const before = readFileSync(join(root, ".aftersave/state.db"));
    const bad: Bad = { what: "", code: "E_STATE_NEWER", args: ["append", "a.txt", "2"], says: /schema 99; this version knows/ };
    await expectRefusal(bad, root);
    const doctor = await ask(["doctor"], { cwd: root });
    expect(doctor).toMatchObject({ code: 1, answer: [{ level: "error", part: "state", code: "E_STATE_NEWER" }] });
    expect(readFileSync(join(root, ".aftersave/state.db")).equals(before)).toBe(true);
    expect(read(root, "Data/a.txt")).toBe("1");
  });

  test("that is damaged is set aside and rebuilt, and a warning says so; the save is taken and no version is lost", async () => {
    const root = makeRoot({});
    await run(["append", "a.txt", "1"], { cwd: root });
    const state = join(root, ".aftersave");
    for (const file of readdirSync(state).filter((name) => name.startsWith("state.db"))) rmSync(join(state, file));
    put(root, ".aftersave/state.db", "this is no database ".repeat(500));
    const { code, stderr } = await run(["append", "a.txt", "2"], { cwd: root });
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: expect.stringContaining("warning: the state file was damaged; it was moved to"),
    });
    const { answer, stderr: later } = await ask(["log", "changes"], { cwd: root });
    expect(later).toBe("");
    expect(answer.map(({ place, op, file }: Answer) => [place, op, file])).toEqual([
      [1, "append", "a.txt"],
      [2, "append", "a.txt"],
    ]);
    expect(read(root, "Data/a.txt")).toBe("12");
  });
});

describe("odd circumstances", () => {
  test("a file that is not text is saved and mirrored byte for byte", async () => {
    const root = makeRoot({});
    const bytes = Buffer.from([0xff, 0xfe, 0x00, 0xc3, 0x28, 0x0d, 0x0a]);
    put(root, "Data/Meta/latin.txt", bytes);
    expect((await ask(["sync-file", "Meta/latin.txt"], { cwd: root })).code).toBe(0);
    expect(readFileSync(join(root, "Drive/MemoryVDB/Meta/latin.txt")).equals(bytes)).toBe(true);
  });

  test("a clock that goes backwards loses nothing and keeps the order of history", async () => {
    const root = makeRoot({});
    const back = put(root, "back.mjs", "const now = Date.now; Date.now = () => now() - 86_400_000;");
    await run(["append", "a.txt", "1"], { cwd: root });
    const env = { NODE_OPTIONS: `--import=${pathToFileURL(back).href}` };
    const doctor = await ask(["doctor"], { cwd: root, env });
    expect(doctor.answer).toContainEqual(expect.objectContaining({ part: "clock", level: "warning" }));
    expect((await run(["replace", "a.txt", "2", "--wait"], { cwd: root, env })).code).toBe(0);
    const { answer } = await ask(["log", "changes"], { cwd: root });
    expect(answer.map(({ place, op }: Answer) => [place, op])).toEqual([
      [1, "append"],
      [2, "replace"],
    ]);
    expect(Date.parse(answer[1]?.timestamp ?? "")).toBeLessThan(Date.parse(answer[0]?.timestamp ?? ""));
  });

  test("--debug shows where an error came from", async () => {
    const { stderr } = await run(["--debug", "append", "../x", "y"], { cwd: makeRoot({}) });
    expect(stderr).toMatch(/E_KEY_OUTSIDE[\s\S]*\n\s+at /);
  });

  test("--help and --version answer one document too", async () => {
    expect((await ask(["--version"])).answer).toEqual({ version: expect.stringMatching(/^\d+\.\d+\.\d+/) });
    const { code, answer } = await ask(["help", "append"]);
    expect(code).toBe(0);
    expect(answer["help"]).toMatch(/^Usage: aftersave append[\s\S]*--if-sha256[\s\S]*Exit codes:\n {2}0 {2}accepted/);
  });
});

describe.skipIf(!existsSync("/dev/full"))("an answer that cannot be written", () => {
  const cannot = "warning: the answer could not be written: ENOSPC: no space left on device, write";

  test.each([[[]], [["--json"]]])("is told, and an accepted save does not look like a failed one: %j", (globals) => {
    const root = makeRoot({});
    const saved = runInto("/dev/full", [...globals, "append", "a.txt", "x"], { cwd: root });
    expect(saved).toEqual({ code: 0, stderr: `${cannot}; the save was accepted\n` });
    expect(read(root, "Data/a.txt")).toBe("x");
  });

  test.each([["status"], ["log"], ["--version"], ["append", "--help"]])("fails what only answers: %s", (...args) => {
    expect(runInto("/dev/full", args, { cwd: makeRoot({}) })).toEqual({ code: 1, stderr: `${cannot}\n` });
  });

  test("hides no error", () => {
    const { code, stderr } = runInto("/dev/full", ["--json", "append", "../x", "x"], { cwd: makeRoot({}) });
    expect(code).toBe(2);
    expect(stderr).toContain("outside the data folder");
    expect(stderr).toContain(cannot);
  });
});

describe("--quiet hides nothing that went wrong", () => {
  test("neither of sync-file nor of flush", async () => {
    const root = makeRoot({ targets: { drive: { type: "gdrive", enabled: true } } });
    const synced = await run(["--quiet", "sync-file", "gone.txt"], { cwd: root });
    expect(synced).toMatchObject({ code: 1, stdout: "", stderr: expect.stringMatching(/^failed gone\.txt → drive: .+\n$/) });
    expect(await run(["--quiet", "append", "a.txt", "x"], { cwd: root })).toEqual({ code: 0, stdout: "", stderr: "" });
    const flushed = await run(["--quiet", "flush"], { cwd: root });
    expect(flushed).toMatchObject({ code: 4, stdout: "", stderr: expect.stringMatching(/^token_missing a\.txt → drive: .+\n$/) });
    const saved = await run(["--quiet", "append", "a.txt", "y", "--wait"], { cwd: root });
    expect(saved).toMatchObject({ code: 4, stdout: "", stderr: expect.stringContaining("drive: token missing: ") });
  });

  test("nor of sweep, nor of doctor", async () => {
    const root = makeRoot({});
    put(root, "Data/con.txt", "x");
    const swept = await run(["--quiet", "sweep"], { cwd: root });
    expect(swept).toMatchObject({ code: 3, stdout: "", stderr: expect.stringMatching(/^refused .*con\.txt: .+\n$/) });
    writeFileSync(join(root, "paths.json"), "{");
    const doctor = await run(["--quiet", "doctor"], { cwd: root });
    expect(doctor).toMatchObject({ code: 2, stdout: "", stderr: expect.stringMatching(/^error {4}config: /) });
  });
});

test("what E_STALE holds now is told to people too", async () => {
  const root = makeRoot({});
  const receipt = await ask(["append", "a.txt", "x"], { cwd: root });
  const stale = await run(["append", "a.txt", "y", "--if-sha256", "absent"], { cwd: root });
  expect(stale).toMatchObject({ code: 1, stderr: expect.stringContaining(`It holds now: ${String(receipt.answer["sha256"])}`) });
});

test("a foreign changelog is told once per command, also by doctor", async () => {
  const root = makeRoot({});
  await run(["append", "a.txt", "1"], { cwd: root });
  appendFileSync(join(root, "logs/memory_changelog.json"), '{"foreign":1}\n');
  const { code, stderr } = await run(["append", "a.txt", "2"], { cwd: root });
  expect(code).toBe(0);
  expect(stderr).toMatch(/^warning: another program writes .+\. Give aftersave a changelog of its own.+\n$/);
  const doctor = await run(["doctor"], { cwd: root });
  expect(doctor).toMatchObject({ code: 1, stdout: expect.stringContaining("another program writes"), stderr: "" });
});

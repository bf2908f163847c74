/** `targets`: what is told of each, and what enable and disable write. */
import { join } from "node:path";
import { expect, suite, test } from "vitest";
import { ask, everything, makeRoot, put, read, run } from "./program.ts";

const two = {
  drive: { type: "folder", enabled: true, path: "./" },
  store: { type: "s3", enabled: false, bucket: "mine", prefix: "a/", endpoint: "https://s3.example" },
};

test("the list tells where each lies and what it promises, and what is only found out there", async () => {
  const root = makeRoot({ targets: two });
  const { code, answer } = await ask(["targets"], { cwd: root });
  expect(code).toBe(0);
  expect(answer).toEqual([
    {
      name: "drive",
      type: "folder",
      enabled: true,
      root: "Drive/MemoryVDB/",
      where: join(root, "Drive/MemoryVDB/"),
      handed_over: null,
      traits: { atomic: true, guarded: false, hashes: ["sha256"], case_sensitive: null, listing: "immediate", concurrency: 4 },
      state: "new",
      code: null,
      writers: [],
    },
    {
      name: "store",
      type: "s3",
      enabled: false,
      root: "Drive/MemoryVDB/",
      where: "s3://mine/a/Drive/MemoryVDB/ at https://s3.example",
      handed_over: null,
      traits: { atomic: true, guarded: null, hashes: ["sha256", "md5"], case_sensitive: true, listing: null, concurrency: 16 },
      state: "disabled",
      code: null,
      writers: [],
    },
  ]);
  const { stdout } = await run(["targets"], { cwd: root });
  expect(stdout).toContain("whole files only; looked at before each write; proven by sha256; lists at once; 4 at a time");
  expect(stdout).toContain("found out there: guard, listing");
});

suite("enable and disable", () => {
  test("change one word of paths.json, and say what follows", async () => {
    const root = makeRoot({ targets: two });
    const text = `{\r\n  // mine\r\n  "targets": {\r\n    "drive": { "type": "folder", "path": "./", /* off */ "enabled": false }, // the disk\r\n  },\r\n}\r\n`;
    put(root, "paths.json", text);
    const on = await run(["targets", "enable", "drive"], { cwd: root });
    expect(on.code).toBe(0);
    expect(on.stdout).toMatch(/drive is enabled: what is saved from now on goes there too/);
    expect(read(root, "paths.json")).toBe(text.replace('"enabled": false', '"enabled": true'));
    expect(await ask(["targets", "enable", "drive"], { cwd: root })).toMatchObject({ code: 0, answer: { changed: false } });
    expect(await ask(["targets", "disable", "drive"], { cwd: root })).toMatchObject({
      code: 0,
      answer: { target: "drive", type: "folder", enabled: false, changed: true, signs_in: false, file: join(root, "paths.json") },
    });
    expect(read(root, "paths.json")).toBe(text);
  });

  test("add the key where it is not there, and name the target that a file without targets has", async () => {
    const bare = makeRoot({});
    put(bare, "paths.json", `{"targets": {"drive": {"type": "folder", "path": "./"}}}`);
    expect(await ask(["targets", "disable", "drive"], { cwd: bare })).toMatchObject({ answer: { changed: false } });
    expect(await ask(["targets", "enable", "drive"], { cwd: bare })).toMatchObject({ answer: { changed: true } });
    expect(JSON.parse(read(bare, "paths.json"))).toEqual({ targets: { drive: { type: "folder", path: "./", enabled: true } } });
    const original = makeRoot("{}");
    expect(await ask(["targets", "enable", "drive"], { cwd: original })).toMatchObject({
      answer: { changed: false, signs_in: true },
    });
    expect(await ask(["targets", "disable", "drive"], { cwd: original })).toMatchObject({ answer: { changed: true } });
    expect(JSON.parse(read(original, "paths.json"))).toEqual({ targets: { drive: { type: "gdrive", enabled: false } } });
  });

  test("write nothing that could not be used, and put right what could not", async () => {
    const root = makeRoot({
      targets: { ...two, twin: { type: "folder", path: "./" }, box: { type: "folder", preset: "dropbox" } },
    });
    for (const account of ["A", "B"]) put(root, `Dropbox (${account})/x.txt`, "");
    const before = everything(root);
    const env = { HOME: root };
    for (const [name, says] of [
      ["twin", "the same folder as targets.drive"],
      ["box", "one folder of Dropbox"],
    ] as const) {
      const { code, answer } = await ask(["targets", "enable", name], { cwd: root, env });
      expect({ code, error: answer.error?.code }).toEqual({ code: 2, error: "E_CONFIG" });
      expect(answer.error?.message).toContain(says);
    }
    for (const args of [
      ["enable", "drvie"],
      ["disable", "//"],
    ])
      expect(await ask(["targets", ...args], { cwd: root, env })).toMatchObject({
        code: 2,
        answer: { error: { code: "E_TARGET_UNKNOWN" } },
      });
    for (const args of [["enable"], ["list", "drive"], ["join"]])
      expect(await ask(["targets", ...args], { cwd: root, env })).toMatchObject({
        code: 2,
        answer: { error: { code: "E_USAGE" } },
      });
    expect(everything(root)).toEqual(before);

    put(root, "paths.json", read(root, "paths.json").replace('"preset":"dropbox"', '"preset":"dropbox","enabled":true'));
    expect(await ask(["status"], { cwd: root, env })).toMatchObject({ code: 2 });
    expect(await ask(["targets", "disable", "box"], { cwd: root, env })).toMatchObject({ code: 0, answer: { changed: true } });
    expect(await ask(["status"], { cwd: root, env })).toMatchObject({ code: 0 });
  });
});

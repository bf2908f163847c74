/** CONTRACT section 4: the library as users are promised it. */
import { createHash } from "node:crypto";
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { AftersaveError, driveUpload, SaveManager } from "../../src/index.ts";
import { makeRoot, open, read, write, lines } from "./root.ts";

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

describe("saves", () => {
  test("append answers a receipt with the version, the undo token and where each target stands", async () => {
    const root = makeRoot();
    const memory = await open(root);
    const receipt = await memory.append("Meta/AI_Architecture.txt", "new line\n", {
      chat_name: "GPT Memory Build",
      context_tags: ["llama"],
    });
    expect(receipt).toEqual({
      version: expect.stringMatching(/^[0-9A-HJKMNP-TV-Z]{26}$/),
      op: "append",
      file: "Meta/AI_Architecture.txt",
      sha256: sha256("new line\n"),
      size: 9,
      prev_sha256: null,
      archived_as: null,
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      unchanged: false,
      undo: receipt.version,
      uploads: [
        { target: "drive", status: "pending", attempts: 0, drive_path: "Drive/MemoryVDB/Meta/AI_Architecture.txt", notes: "" },
      ],
      alarms: [],
      warnings: [],
    });
    expect(read(root, "Data/Meta/AI_Architecture.txt")).toBe("new line\n");
  });

  test("replace archives the old content first, under zone, stem and time", async () => {
    const root = makeRoot();
    const memory = await open(root);
    await memory.append("Core/Rules.txt", "old\n");
    const receipt = await memory.replace("Core/Rules.txt", "new\n");
    expect(receipt.archived_as).toMatch(/^Archive\/Core\/Rules_\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ\.txt$/);
    expect(read(root, "Data", receipt.archived_as ?? "")).toBe("old\n");
    expect(receipt.prev_sha256).toBe(sha256("old\n"));
  });

  test("a replace with the same bytes is accepted and says so: no version, no archive copy, no upload", async () => {
    const root = makeRoot();
    const memory = await open(root);
    const first = await memory.replace("a.txt", "same");
    await memory.flush();
    const again = await memory.replace("a.txt", "same");
    expect(again).toMatchObject({ unchanged: true, version: first.version, undo: null, archived_as: null, uploads: [] });
    expect(await memory.flush()).toEqual({ uploaded: 0, skipped: 0, failed: 0, pending: 0 });
    await memory.close();
    expect(lines(root, "memory_changelog")).toHaveLength(1);
    expect(existsSync(join(root, "Data/Archive"))).toBe(false);
  });

  test("archive moves the file away; a later save starts afresh; two in one second get two names", async () => {
    const root = makeRoot();
    const at = Date.parse("2026-11-20T21:07:00.250Z");
    const memory = await open(root, { clock: { now: () => at, sleep: () => new Promise((resolve) => setTimeout(resolve, 1)) } });
    await memory.append("Notes/.env", "1");
    expect((await memory.archive("Notes/.env")).archived_as).toBe("Archive/Notes/.env_2026-11-20T21-07-00Z");
    expect(existsSync(join(root, "Data/Notes/.env"))).toBe(false);
    const fresh = await memory.append("Notes/.env", "2");
    expect(fresh.prev_sha256).toBeNull();
    expect((await memory.archive("Notes/.env")).archived_as).toBe("Archive/Notes/.env_2026-11-20T21-07-00Z_2");
    expect(read(root, "Data/Archive/Notes/.env_2026-11-20T21-07-00Z")).toBe("1");
  });

  test("a precondition that fails rejects with E_STALE and the current hash", async () => {
    const memory = await open(makeRoot());
    const first = await memory.replace("a.txt", "one");
    await memory.replace("a.txt", "two");
    const error: unknown = await memory.replace("a.txt", "three", {}, { if_sha256: first.sha256 }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(AftersaveError);
    expect(error).toMatchObject({ code: "E_STALE", exit: 1, details: { sha256: sha256("two") } });
    expect((error as AftersaveError).hint).toBeTruthy();
    await memory.replace("a.txt", "three", {}, { if_sha256: sha256("two") });
  });

  test("saved takes what someone else has written; the claimed op is checked against the bytes", async () => {
    const root = makeRoot();
    const memory = await open(root);
    write(root, "Data/a.txt", "one\n");
    expect(await memory.saved("a.txt")).toMatchObject({ op: "external", unchanged: false });
    write(root, "Data/a.txt", "one\ntwo\n");
    expect(await memory.saved("a.txt", { op: "append", chat_name: "c" })).toMatchObject({ op: "append", archived_as: null });
    write(root, "Data/a.txt", "else\n");
    const wrong = await memory.saved("a.txt", { op: "append" });
    expect(wrong.op).toBe("external");
    expect(wrong.warnings).toHaveLength(1);
    expect(read(root, "Data", wrong.archived_as ?? "")).toBe("one\ntwo\n");
    expect(await memory.saved("a.txt")).toMatchObject({ unchanged: true });
    rmSync(join(root, "Data/a.txt"));
    expect(await memory.saved("a.txt", { op: "archive" })).toMatchObject({ op: "archive", sha256: null, size: null });
  });

  test("a kept copy that someone removed is made again from the live file, or its loss is told", async () => {
    const root = makeRoot();
    const memory = await open(root);
    await memory.append("a.txt", "1");
    rmSync(join(root, ".aftersave/heads"), { recursive: true });
    await memory.append("a.txt", "2");
    const replaced = await memory.replace("a.txt", "3");
    expect(read(root, "Data", replaced.archived_as ?? "")).toBe("12");
    rmSync(join(root, ".aftersave/heads"), { recursive: true });
    write(root, "Data/a.txt", "theirs");
    const external = await memory.saved("a.txt");
    expect(external).toMatchObject({ op: "external", archived_as: null });
    expect(external.warnings.join()).toMatch(/lost/);
    await memory.append("a.txt", "!");
    expect(read(root, "Data/a.txt")).toBe("theirs!");
  });

  test("bytes in, bytes out: no encoding or line end is touched", async () => {
    const root = makeRoot();
    const memory = await open(root);
    const bytes = Uint8Array.from([0xef, 0xbb, 0xbf, 0x0d, 0x0a, 0xff, 0x00, 0xfe, 0x0a]);
    await memory.replace("bin.dat", bytes);
    await memory.append("bin.dat", bytes);
    await memory.flush();
    const twice = Buffer.concat([bytes, bytes]);
    for (const path of ["Data/bin.dat", "Drive/MemoryVDB/bin.dat"]) expect(readFileSync(join(root, path))).toEqual(twice);
  });

  test("a listener that throws, rejects or never settles harms neither the save nor other listeners", async () => {
    const memory = await open(makeRoot());
    const warnings: string[] = [];
    const note = (warning: Error) => warnings.push(warning.message);
    process.on("warning", note);
    const heard: string[] = [];
    memory.on("append", () => {
      throw new Error("listener one");
    });
    memory.on("append", () => Promise.reject(new Error("listener two")));
    memory.on("append", () => new Promise(() => undefined));
    memory.on("append", (receipt) => heard.push(receipt.file));
    await memory.append("a.txt", "1");
    await new Promise((resolve) => setImmediate(resolve));
    process.off("warning", note);
    expect(heard).toEqual(["a.txt"]);
    expect(warnings.join("\n")).toMatch(/listener one[\s\S]*listener two/);
  });

  test("closing lets running saves end, may be repeated, and later calls answer E_CLOSED", async () => {
    const root = makeRoot();
    const memory = await open(root);
    const running = memory.append("a.txt", "1");
    await memory.close();
    await memory.close();
    expect((await running).size).toBe(1);
    expect(lines(root, "memory_changelog")).toHaveLength(1);
    await expect(memory.append("a.txt", "2")).rejects.toMatchObject({ code: "E_CLOSED" });
    await expect(memory.status()).rejects.toMatchObject({ code: "E_CLOSED" });
    expect(read(root, "Data/a.txt")).toBe("1");
  });

  test("what is no save is refused with a code before anything is touched", async () => {
    const root = makeRoot();
    const memory = await open(root);
    await memory.append("a.txt", "1");
    const wrong: [string, () => Promise<unknown>][] = [
      ["a number as content", () => memory.append("a.txt", 5 as never)],
      ["no content", () => memory.replace("a.txt", undefined as never)],
      ["no key", () => memory.append(undefined as never, "x")],
      ["a misspelt precondition", () => memory.replace("a.txt", "x", {}, { if_sha: "0" } as never)],
      ["a precondition that is no hash", () => memory.replace("a.txt", "x", {}, { if_sha256: "abc" })],
      ["half a character", () => memory.replace("a.txt", "\ud800")],
      ["an origin that is none", () => memory.replace("a.txt", "x", { origin: "cat" as never })],
      ["no path", () => driveUpload(undefined as never, {}, { root, env: {} })],
    ];
    for (const [what, call] of wrong) await expect(call(), what).rejects.toMatchObject({ code: "E_USAGE", exit: 2 });
    expect(read(root, "Data/a.txt")).toBe("1");
    await memory.replace("a.txt", "2", {}, { if_sha256: sha256("1").toUpperCase() });
  });

  test("names that are long in one Unicode form are keys; names that no system can hold are not", async () => {
    const root = makeRoot();
    const memory = await open(root);
    for (const name of ["한".repeat(30), "ü".repeat(98)]) await memory.append(`Meta/${name}.txt`, "x");
    symlinkSync("loop", join(root, "Data/Meta/loop"));
    symlinkSync("Nowhere", join(root, "Data/Arc"));
    for (const [key, code] of [
      ["Meta/CONIN$", "E_KEY_NAME"],
      ["Meta/new/", "E_KEY_FOLDER"],
      ["Meta/loop", "E_KEY_OUTSIDE"],
      ["Arc/x.txt", "E_KEY_OUTSIDE"],
      ["Meta/.a.123456789012.aftersave-tmp", "E_KEY_RESERVED"],
      [`Meta/${"d/".repeat(3000)}x`, "E_KEY_LONG"],
    ])
      await expect(memory.append(key ?? "", "x"), key).rejects.toMatchObject({ code, exit: 2 });
    writeFileSync(Buffer.concat([Buffer.from(`${join(root, "Data/Meta")}/`), Buffer.from([0xff]), Buffer.from(".txt")]), "x");
    expect((await memory.sweep()).refused.map(({ error }) => error.code)).toContain("E_KEY_CONTROL");
  });

  test("a memory root can be moved or copied as a whole: its logs go on", async () => {
    const root = makeRoot();
    const before = await open(root);
    await before.append("a.txt", "1");
    await before.flush();
    await before.close();
    const moved = `${root}-moved`;
    cpSync(root, moved, { recursive: true });
    onTestFinished(() => rmSync(moved, { recursive: true, force: true }));
    const memory = await open(moved);
    await memory.append("a.txt", "2");
    await memory.close();
    expect(memory.notices).toEqual([]);
    expect(lines(moved, "memory_changelog").map(({ place }) => place)).toEqual([1, 2]);
  });

  test("what a killed process had begun to take in is removed a day later", async () => {
    const root = makeRoot();
    await (await open(root)).close();
    write(root, ".aftersave/spool/01OLD", "half");
    write(root, ".aftersave/spool/01NEW", "half");
    const old = new Date(Date.now() - 2 * 86_400_000);
    utimesSync(join(root, ".aftersave/spool/01OLD"), old, old);
    await open(root);
    expect(readdirSync(join(root, ".aftersave/spool"))).toEqual(["01NEW"]);
  });

  test("the class of the save manager is exported", () => {
    expect(SaveManager.prototype.append).toBeTypeOf("function");
  });
});

describe("driveUpload", () => {
  test("uploads, then skips bytes that are verified there, and logs one line each", async () => {
    const root = makeRoot();
    write(root, "Data/Meta/A.txt", "text\n");
    const metadata = { chat_name: "chat", tags: ["a", "b"] };
    const options = { root, env: {} };
    expect(await driveUpload("Data/Meta/A.txt", metadata, options)).toEqual({
      status: "success",
      attempts: 1,
      drive_path: "Drive/MemoryVDB/Meta/A.txt",
      notes: "",
    });
    expect(await driveUpload(join(root, "Data/Meta/A.txt"), metadata, options)).toMatchObject({ status: "skipped", attempts: 0 });
    expect(read(root, "Drive/MemoryVDB/Meta/A.txt")).toBe("text\n");
    expect(lines(root, "upload_log").map(({ status, context_tags, chat_name }) => ({ status, context_tags, chat_name }))).toEqual(
      [
        { status: "success", context_tags: ["a", "b"], chat_name: "chat" },
        { status: "skipped", context_tags: ["a", "b"], chat_name: "chat" },
      ],
    );
  });

  test("a default paths.json without a token answers token_missing, attempts 0, and keeps the job", async () => {
    const root = makeRoot({});
    write(root, "Data/a.txt", "text");
    const result = await driveUpload("Data/a.txt", {}, { root, env: {} });
    expect(result).toMatchObject({ status: "fail", code: "E_TOKEN_MISSING", attempts: 0 });
    expect(lines(root, "upload_log")).toMatchObject([{ status: "token_missing", attempts: 0, file: "a.txt", target: "drive" }]);
    const memory = await open(root);
    expect(await memory.status()).toMatchObject({ failed: 1, targets: { drive: { state: "signed_out", failed: 1 } } });
    expect(memory.check(await memory.status())).toBe(4);
  });

  test("a file that vanished is an answer, not an exception, and is logged", async () => {
    const root = makeRoot();
    const result = await driveUpload("Data/gone.txt", {}, { root, env: {} });
    expect(result).toMatchObject({ status: "fail", code: "E_NOT_FOUND", attempts: 0 });
    expect(lines(root, "upload_log")).toMatchObject([{ status: "fail", file: "gone.txt" }]);
  });

  test("a path that cannot be memory is a programming error and throws", async () => {
    const root = makeRoot();
    await expect(driveUpload("/etc/passwd", {}, { root, env: {} })).rejects.toMatchObject({ code: "E_KEY_OUTSIDE" });
    expect(existsSync(join(root, "logs"))).toBe(false);
  });

  test("many at once: one uploads, the others find it there; none fails", async () => {
    const root = makeRoot();
    const memory = await open(root);
    await memory.append("a.txt", "1");
    const results = await Promise.all(Array.from({ length: 6 }, () => memory.upload("Data/a.txt")));
    expect(results.map(({ status }) => status).toSorted()).toEqual([...Array<string>(5).fill("skipped"), "success"]);
    await memory.close();
    expect(lines(root, "upload_log").filter(({ file }) => file === "a.txt")).toHaveLength(6);
  });

  test("a mirror that was emptied is filled again; one that is another's by now is left alone", async () => {
    const root = makeRoot();
    let memory = await open(root);
    await memory.append("a.txt", "1");
    await memory.append("b.txt", "2");
    await memory.flush();
    await memory.close();
    rmSync(join(root, "Drive"), { recursive: true });
    memory = await open(root);
    expect((await memory.upload("Data/a.txt")).status).toBe("success");
    await memory.flush();
    expect(read(root, "Drive/MemoryVDB/b.txt")).toBe("2");
    await memory.close();
    write(root, "Drive/MemoryVDB/.aftersave/root.json", '{"memory_root":"someone"}');
    memory = await open(root);
    await memory.append("a.txt", "3");
    expect(await memory.upload("Data/a.txt")).toMatchObject({ status: "fail", code: "E_TARGET_IN_USE" });
    expect(read(root, "Drive/MemoryVDB/a.txt")).toBe("1");
  });

  test("a file that is named through a symbolic link inside Data is the file itself", async () => {
    const root = makeRoot();
    write(root, "Data/Core/real.txt", "1");
    symlinkSync("Core", join(root, "Data/CoreLink"));
    const memory = await open(root);
    expect(await memory.upload("Data/CoreLink/real.txt")).toMatchObject({ status: "success", file: "Core/real.txt" });
    expect(await memory.status()).toMatchObject({ files: 1, pending: 0, failed: 0 });
  });

  test("a folder is refused as a folder, however it is named", async () => {
    const root = makeRoot();
    write(root, "Data/Meta/a.txt", "1");
    for (const path of ["Data", "Data/", join(root, "Data"), "Data/Meta", "Meta", "."])
      await expect(driveUpload(path, {}, { root, env: {} }), path).rejects.toMatchObject({ code: "E_KEY_FOLDER", exit: 2 });
  });

  test("someone else's edit at the target is kept beside ours and told", async () => {
    const root = makeRoot();
    const memory = await open(root);
    await memory.replace("a.txt", "ours 1");
    await memory.flush();
    write(root, "Drive/MemoryVDB/a.txt", "theirs");
    await memory.replace("a.txt", "ours 2");
    const heard: string[] = [];
    memory.on("conflict", (outcome) => heard.push(outcome.notes));
    const result = await memory.upload("Data/a.txt");
    expect(result).toMatchObject({ status: "success", code: "E_CONFLICT", attempts: 1 });
    expect(read(root, "Drive/MemoryVDB/a.txt")).toBe("ours 2");
    const kept = /kept as (\S+)/.exec(result.notes)?.[1] ?? "";
    expect(read(root, kept)).toBe("theirs");
    expect(heard).toHaveLength(1);
    expect((await memory.status()).conflicts).toBe(1);
  });
});

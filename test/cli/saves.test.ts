/** CONTRACT section 5: what each command does when all is well. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ask, makeRoot, mirrored, put, read, run, type Answer } from "./program.ts";

const sha256 = (bytes: string | Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const lines = (text: string) =>
  text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Answer);

describe("init", () => {
  test("makes a root that works, and changes nothing the second time", async () => {
    const root = makeRoot();
    const first = await ask(["init", root]);
    expect(first).toMatchObject({ code: 0, answer: { root, created: ["paths.json", "Data/Core/", "Data/Meta/", "logs/"] } });
    const second = await run(["init"], { cwd: root });
    expect(second).toMatchObject({ code: 0, stderr: "" });
    expect(second.stdout).toContain("is a memory root already; nothing was changed");
    expect((await ask(["append", "Meta/a.txt", "x", "--wait"], { cwd: root })).code).toBe(0);
    expect(mirrored(root, "Meta/a.txt")).toBe("x");
  });
});

describe("append, replace, archive", () => {
  test("take text as it is, also one that begins like an option, and answer a receipt", async () => {
    const root = makeRoot({});
    const who = ["--chat", "c", "--tag", "a", "--tag", "b", "--model", "m", "--session", "s", "--tool", "t", "--reason", "- r"];
    const { code, answer } = await ask(["append", "Meta/a.txt", "- a point\n", ...who, "--origin", "agent"], { cwd: root });
    expect(code).toBe(0);
    expect(answer).toMatchObject({ op: "append", file: "Meta/a.txt", sha256: sha256("- a point\n"), size: 10, unchanged: false });
    expect(answer.uploads).toEqual([expect.objectContaining({ target: "drive", status: "pending", attempts: 0 })]);
    const [line] = (await ask(["log", "changes"], { cwd: root })).answer;
    expect(line).toMatchObject({ chat_name: "c", context_tags: ["a", "b"], model: "m", session_id: "s", tool: "t" });
    expect(line).toMatchObject({ reason: "- r", origin: "agent", version: answer.version });
  });

  test("text may begin like an option: a list, front matter, or anything behind --", async () => {
    const root = makeRoot({});
    const texts = ["- one\n", "---\ntitle: a=b\n---\n", "-x y"];
    for (const text of texts) expect((await run(["append", "a.txt", text], { cwd: root })).code).toBe(0);
    expect((await run(["append", "a.txt", "--quiet", "--", "--json"], { cwd: root })).code).toBe(0);
    expect(read(root, "Data/a.txt")).toBe(`${texts.join("")}--json`);
  });

  test("bytes from stdin and from a file arrive as they are, large ones too", async () => {
    const root = makeRoot({});
    const bytes = Buffer.alloc(20_000_000, Buffer.from([0, 0xff, 0x0d, 0x0a, 0xc3]));
    const piped = await ask(["replace", "Meta/big.bin", "-"], { cwd: root, input: bytes });
    expect(piped.answer).toMatchObject({ sha256: sha256(bytes), size: bytes.length });
    const file = put(root, "elsewhere.bin", bytes.subarray(1));
    const copied = await ask(["replace", "Meta/big.bin", "--file", file], { cwd: root });
    expect(copied.answer).toMatchObject({ sha256: sha256(bytes.subarray(1)), prev_sha256: sha256(bytes) });
    expect(copied.answer.archived_as).toMatch(/^Archive\/Meta\/big_/);
  });

  test("a key, a path from the current folder and an absolute path are one file", async () => {
    const root = makeRoot({});
    mkdirSync(join(root, "Data/Meta"), { recursive: true });
    const inside = { cwd: join(root, "Data/Meta") };
    const files = [
      (await ask(["append", "Meta/a.txt", "1"], { cwd: root })).answer.file,
      (await ask(["append", "Data/Meta/a.txt", "2"], { cwd: root })).answer.file,
      (await ask(["append", "a.txt", "3"], inside)).answer.file,
      (await ask(["append", join(root, "Data/Meta/a.txt"), "4", "--root", root])).answer.file,
    ];
    expect(new Set(files)).toEqual(new Set(["Meta/a.txt"]));
    expect(read(root, "Data/Meta/a.txt")).toBe("1234");
  });

  test("--if-sha256 saves only on what it was computed from; E_STALE tells the current hash", async () => {
    const root = makeRoot({});
    expect((await ask(["replace", "a.txt", "1", "--if-sha256", "absent"], { cwd: root })).code).toBe(0);
    const stale = await ask(["replace", "a.txt", "2", "--if-sha256", sha256("0")], { cwd: root });
    expect(stale).toMatchObject({ code: 1, answer: { error: { code: "E_STALE", details: { sha256: sha256("1") } } } });
    expect((await ask(["replace", "a.txt", "2", "--if-sha256", sha256("1").toUpperCase()], { cwd: root })).code).toBe(0);
  });

  test("--wait answers what became of each target, with its exit code", async () => {
    const root = makeRoot({
      targets: {
        drive: { type: "folder", enabled: true, path: "./" },
        cloud: { type: "gdrive", enabled: true },
      },
      routes: [{ match: "Core/**", targets: ["cloud"] }],
    });
    const some = await ask(["append", "Meta/a.txt", "x", "--wait"], { cwd: root });
    expect(some.code).toBe(3);
    expect(some.answer.uploads?.map(({ status }: Answer) => status)).toEqual(["success", "token_missing"]);
    const none = await ask(["append", "Core/a.txt", "x", "--wait"], { cwd: root });
    expect(none).toMatchObject({ code: 4, answer: { uploads: [{ status: "token_missing", code: "E_TOKEN_MISSING" }] } });
  });

  test("people get two or three calm lines, without colour in a pipe; --quiet gets none", async () => {
    const root = makeRoot({});
    await run(["append", "Meta/a.txt", "1", "--quiet"], { cwd: root });
    const { stdout, stderr } = await run(["replace", "Meta/a.txt", "22"], { cwd: root });
    expect(stderr).toBe("");
    expect(stdout).toMatch(
      /^replaced Meta\/a\.txt \(2 bytes\), version \w{26}\n {2}before it: Archive\/Meta\/a_\S+\n {2}drive: upload pending\n$/,
    );
    expect(await run(["archive", "Meta/a.txt", "--quiet"], { cwd: root })).toEqual({ code: 0, stdout: "", stderr: "" });
  });
});

describe("sync-file", () => {
  test("uploads what someone else wrote, skips it the second time, as a program of its own", async () => {
    const root = makeRoot({});
    put(root, "Data/Meta/a.txt", "by an editor");
    const program = "sync-file";
    const first = await ask(["Data/Meta/a.txt", "--chat", "c"], { cwd: root, program });
    expect(first.code).toBe(0);
    expect(first.answer).toEqual({
      file: "Meta/a.txt",
      status: "success",
      attempts: 1,
      drive_path: "Drive/MemoryVDB/Meta/a.txt",
      notes: "",
      targets: [{ target: "drive", status: "success", attempts: 1, drive_path: "Drive/MemoryVDB/Meta/a.txt", notes: "" }],
    });
    expect(mirrored(root, "Meta/a.txt")).toBe("by an editor");
    const second = await run(["Meta/a.txt"], { cwd: root, program });
    expect(second).toMatchObject({ code: 0, stdout: "unchanged Meta/a.txt → drive Drive/MemoryVDB/Meta/a.txt\n" });
    const log = (await ask(["log", "--file", "Data/Meta/a.txt", "--chat", "c"], { cwd: root })).answer;
    expect(log.map(({ status }: Answer) => status)).toEqual(["success"]);
  });

  test("answers a list for several paths, and 3 when some did not work; a failure is no error document", async () => {
    const root = makeRoot({});
    put(root, "Data/Meta/a.txt", "1");
    const { code, answer } = await ask(["sync-file", "Meta/a.txt", "Meta/gone.txt"], { cwd: root });
    expect(code).toBe(3);
    expect(answer.map(({ file, status, code }: Answer) => [file, status, code])).toEqual([
      ["Meta/a.txt", "success", undefined],
      ["Meta/gone.txt", "fail", "E_NOT_FOUND"],
    ]);
  });

  test("a default paths.json without a token answers 4 and keeps the job", async () => {
    const root = makeRoot("{}");
    put(root, "Data/Meta/a.txt", "1");
    const { code, answer } = await ask(["sync-file", "Meta/a.txt"], { cwd: root });
    expect(code).toBe(4);
    expect(answer).toMatchObject({ status: "fail", attempts: 0, code: "E_TOKEN_MISSING" });
    const status = await ask(["status", "--check"], { cwd: root });
    expect(status).toMatchObject({ code: 4, answer: { targets: { drive: { state: "signed_out" } } } });
    expect(Number(status.answer["pending"]) + Number(status.answer["failed"])).toBe(1);
  });

  test("someone else's edit at the target is kept, and exits 5", async () => {
    const root = makeRoot({});
    put(root, "Data/a.txt", "1");
    await ask(["sync-file", "a.txt"], { cwd: root });
    put(root, "Drive/MemoryVDB/a.txt", "theirs");
    put(root, "Data/a.txt", "2");
    const { code, answer } = await ask(["sync-file", "a.txt"], { cwd: root });
    expect({ code, error: answer.code }).toEqual({ code: 5, error: "E_CONFLICT" });
    expect(mirrored(root, "a.txt")).toBe("2");
    const status = await run(["status", "--check"], { cwd: root });
    const theirs = /a\.txt: someone else's content is kept on drive as (\S+)/.exec(status.stdout)?.[1] ?? "";
    expect([status.code, readFileSync(theirs, "utf8")]).toEqual([5, "theirs"]);
    expect(status.stdout).toContain("aftersave doctor --fix");
  });
});

describe("flush, status, log, sweep, doctor", () => {
  test("flush uploads what is pending and says how much", async () => {
    const root = makeRoot({});
    for (const key of ["a.txt", "b.txt"]) await run(["append", key, "x"], { cwd: root });
    const before = (await ask(["status"], { cwd: root })).answer;
    expect(before).toMatchObject({ files: 2, pending: 2, failed: 0, held: 0, conflicts: 0, unprotected_bytes: 2 });
    expect(before.oldest_pending_at).toMatch(/^\d{4}-.*Z$/);
    expect(await ask(["flush"], { cwd: root })).toMatchObject({
      code: 0,
      answer: { uploaded: 2, skipped: 0, failed: 0, pending: 0 },
    });
    expect(await run(["flush"], { cwd: root })).toMatchObject({ code: 0, stdout: "nothing was pending\n" });
  });

  test("flush exits with the worst of what failed, or 3 when some was uploaded", async () => {
    const targets = { drive: { type: "folder", enabled: true, path: "./" }, cloud: { type: "gdrive", enabled: true } };
    const root = makeRoot({ targets, routes: [{ match: "Core/**", targets: ["cloud"] }] });
    await run(["append", "Core/a.txt", "x"], { cwd: root });
    expect(await ask(["flush"], { cwd: root })).toMatchObject({ code: 4, answer: { uploaded: 0, failed: 1, pending: 0 } });
    await run(["append", "Meta/a.txt", "x"], { cwd: root });
    const { code, stdout } = await run(["flush"], { cwd: root });
    expect(code).toBe(3);
    expect(stdout).toMatch(/^1 uploaded, 2 failed\ntoken_missing Core\/a\.txt → cloud: /);
  });

  test("status says that a mirror on the same disk is no protection", async () => {
    const root = makeRoot({ sync: { include: ["**"] } });
    await run(["append", "a.txt", "x", "--wait"], { cwd: root });
    const { code, stdout } = await run(["status", "--check"], { cwd: root });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^Mirrored on this disk only: /);
    expect(stdout).toMatch(/ {2}drive {2}folder {2}ok, mirrored on this disk only, last upload/);
    expect(stdout).toContain("note: paths.json: sync has no effect");
  });

  test("status --check is not fooled by having no target; an empty root is safe", async () => {
    const root = makeRoot({ targets: {} });
    expect((await run(["status", "--check"], { cwd: root })).code).toBe(0);
    await run(["append", "a.txt", "x"], { cwd: root });
    const { code, stdout } = await run(["status", "--check"], { cwd: root });
    expect({ code, stdout }).toEqual({ code: 1, stdout: expect.stringMatching(/^Not safe: no target is enabled/) });
  });

  test("status says that another memory root owns the place, and that a person must decide", async () => {
    const place = makeRoot();
    const targets = { drive: { type: "folder", enabled: true, path: place } };
    await run(["append", "a.txt", "1", "--wait"], { cwd: makeRoot({ targets }) });
    const root = makeRoot({ targets });
    await run(["append", "b.txt", "1", "--wait"], { cwd: root });
    const { code, stdout } = await run(["status", "--check"], { cwd: root });
    expect(code).toBe(5);
    expect(stdout).toMatch(/^A person must decide: another memory root owns/);
    expect(stdout).toContain("drive  folder  another memory root owns this place (E_TARGET_IN_USE)");
    expect(stdout).toContain("Give this memory root another `drive_root`");
    expect((await ask(["status"], { cwd: root })).answer).toMatchObject({ targets: { drive: { state: "failing" } } });
    expect((await run(["targets"], { cwd: root })).stdout).toMatch(
      /^drive {2}folder {2}\S+ {2}failing \(E_TARGET_IN_USE\)\n {7}whole files only;/,
    );

    expect((await ask(["targets", "join"], { cwd: root })).code).toBe(2);
    expect((await ask(["targets", "join", "nowhere"], { cwd: root })).answer).toMatchObject({
      error: { code: "E_TARGET_UNKNOWN" },
    });
    const joined = await ask(["targets", "join", "drive"], { cwd: root });
    expect(joined).toMatchObject({ code: 0, answer: { target: "drive", joined: true, owner: expect.any(String) as string } });
    expect((await run(["flush"], { cwd: root })).stdout).toBe("1 uploaded\n");
    expect((await run(["status"], { cwd: root })).stdout).toMatch(/ok, .*, 2 writers \(/);
    const [target] = (await ask(["targets", "list"], { cwd: root })).answer;
    expect(target).toMatchObject({ name: "drive", enabled: true, state: "ok", code: null });
    expect(target?.writers).toHaveLength(2);
    const findings = (await ask(["doctor"], { cwd: root })).answer as unknown as { message: string }[];
    expect(findings.filter(({ message }) => message.includes("2 writers"))).toHaveLength(1);
  });

  test("status advises the filter that shows why uploads failed", async () => {
    const root = makeRoot("{}");
    await run(["append", "a.txt", "x", "--wait"], { cwd: root });
    const { stdout } = await run(["status"], { cwd: root });
    expect(stdout).toContain("See `aftersave log uploads --status token_missing`");
    expect((await run(["log", "uploads", "--status", "token_missing"], { cwd: root })).stdout).toContain("a.txt → drive");
  });

  test("log filters, limits, takes times as people say them, and follows", async () => {
    const root = makeRoot({});
    for (const chat of ["a", "b", "a"]) await run(["append", "x.txt", "x", "--chat", chat], { cwd: root });
    await run(["replace", "y.txt", "1"], { cwd: root });
    await run(["replace", "y.txt", "2"], { cwd: root });
    const log = async (...args: string[]) => (await ask(["log", ...args], { cwd: root })).answer as readonly Answer[];
    expect((await log("changes")).map(({ place }) => place)).toEqual([1, 2, 3, 4, 5]);
    expect((await log("changes", "--chat", "a")).map(({ place }) => place)).toEqual([1, 3]);
    expect((await log("changes", "--file", "Data/y.txt", "--limit", "1")).map(({ place }) => place)).toEqual([5]);
    expect(await log("changes", "--since", "2h ago")).toHaveLength(5);
    expect(await log("changes", "--since", "2031-01-01T00:00:00Z")).toEqual([]);
    expect(await log("archives")).toEqual([expect.objectContaining({ file: "y.txt", reason: "replace" })]);
    expect((await run(["log", "--status", "fail"], { cwd: root })).stdout).toBe("The log of uploads has no such line.\n");
  });

  test("the changelog's chain can be checked with nothing but docs/cli-json.md", async () => {
    const root = makeRoot({});
    await run(["append", "ä.txt", "1", "--tag", "t", "--reason", "é"], { cwd: root });
    await run(["replace", "ä.txt", "2"], { cwd: root });
    const fields = ["file", "sha256", "size", "prev_sha256", "archived_as", "chat_name", "context_tags"];
    fields.push("model", "session_id", "tool", "reason", "origin");
    let prev: unknown = null;
    for (const line of (await ask(["log", "changes"], { cwd: root })).answer as readonly Answer[]) {
      const commitment = sha256(`${String(line["salt"])}\n${JSON.stringify(fields.map((field) => line[field]))}`);
      const { place, version, op, timestamp } = line;
      expect(line["prev"]).toBe(prev);
      expect(line["sum"]).toBe(sha256(JSON.stringify([prev, place, version, op, timestamp, commitment])));
      prev = line["sum"];
    }
    expect(prev).not.toBeNull();
  });

  test("sweep versions what others did; what cannot be memory is listed, exit 3", async () => {
    const root = makeRoot({});
    put(root, "Data/a.txt", "theirs");
    expect(await ask(["sweep"], { cwd: root })).toMatchObject({
      code: 0,
      answer: { checked: 1, changed: [{ op: "external", file: "a.txt" }], refused: [] },
    });
    put(root, "Data/con.txt", "x");
    const { code, answer } = await ask(["sweep"], { cwd: root });
    expect({ code, changed: answer.changed, codes: answer.refused?.map((each: Answer) => each.code) }).toEqual({
      code: 3,
      changed: [],
      codes: ["E_KEY_NAME"],
    });
  });

  test("doctor finds nothing wrong in a fresh root, and --rebuild loses nothing", async () => {
    const root = makeRoot({});
    await run(["append", "a.txt", "1", "--wait"], { cwd: root });
    const { code, answer } = await ask(["doctor"], { cwd: root });
    expect({ code, errors: answer.filter(({ level }: Answer) => level === "error") }).toEqual({ code: 0, errors: [] });
    expect((await run(["doctor", "--rebuild"], { cwd: root })).code).toBe(0);
    const [line] = (await ask(["log", "changes"], { cwd: root })).answer;
    const again = await ask(["append", "a.txt", "2"], { cwd: root });
    expect(again.answer).toMatchObject({ prev_sha256: line?.["sha256"] });
    expect((await ask(["status"], { cwd: root })).answer).toMatchObject({ files: 1 });
  });
});

describe("ingest", () => {
  const ingest = async (root: string, events: readonly (string | object)[]) => {
    const input = events.map((event) => (typeof event === "string" ? event : JSON.stringify(event))).join("\n");
    const ended = await run(["--json", "ingest"], { cwd: root, input });
    return { code: ended.code, replies: ended.stdout === "" ? [] : lines(ended.stdout), stderr: ended.stderr };
  };

  test("saves, post-save hooks and archives are taken in order, one reply each", async () => {
    const root = makeRoot({});
    put(root, "Data/hook.txt", "already written");
    const { code, replies, stderr } = await ingest(root, [
      { op: "append", file: "a.txt", content: "1\n", chat_name: "c", tags: ["t"], id: "first" },
      { op: "append", file: "a.txt", content: "2\n", mood: "fine" },
      { op: "replace", file: "a.txt", content_base64: Buffer.from([0, 255]).toString("base64"), if_sha256: sha256("1\n2\n") },
      { op: "append", file: "hook.txt", model: "m" },
      { op: "archive", file: "a.txt" },
    ]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(replies.map(({ line, id, op, file }) => [line, id, op, file])).toEqual([
      [1, "first", "append", "a.txt"],
      [2, undefined, "append", "a.txt"],
      [3, undefined, "replace", "a.txt"],
      [4, undefined, "append", "hook.txt"],
      [5, undefined, "archive", "a.txt"],
    ]);
    expect(replies[1]?.["warnings"]).toEqual(['the unknown field "mood" was ignored']);
    expect(replies[2]?.["sha256"]).toBe(sha256(Buffer.from([0, 255])));
    expect(existsSync(join(root, "Data/a.txt"))).toBe(false);
  });

  test("a bad line answers an error under its number, and the rest goes on", async () => {
    const root = makeRoot({});
    const good = { op: "append", file: "a.txt", content: "x" };
    const bad = [
      "{",
      "null",
      "[]",
      "",
      { op: "append", file: "../out.txt", content: "x" },
      { op: "append", file: "a.txt", contnt: "x" },
    ];
    const { code, replies } = await ingest(root, [
      ...bad,
      { op: "move", file: "a.txt", id: 7 },
      { ...good, if_sha256: sha256("") },
      good,
    ]);
    expect(code).toBe(3);
    expect(replies.map(({ line, error }) => [line, error?.code])).toEqual([
      [1, "E_INGEST"],
      [2, "E_INGEST"],
      [3, "E_INGEST"],
      [5, "E_KEY_OUTSIDE"],
      [6, "E_INGEST"],
      [7, "E_INGEST"],
      [8, "E_STALE"],
      [9, undefined],
    ]);
    expect(replies[5]?.["id"]).toBe(7);
    expect(read(root, "Data/a.txt")).toBe("x");
  });

  test("half a character is refused, wherever it stands; nothing is saved as something else in silence", async () => {
    const root = makeRoot({});
    const half = (event: string) => event.replace("HALF", "\\ud800");
    const { code, replies } = await ingest(root, [
      half('{"op":"append","file":"a.txt","content":"HALF"}'),
      half('{"op":"append","file":"a.txt","content":"x","tags":["HALF"]}'),
      half('{"op":"append","file":"HALF.txt","content":"x"}'),
      '{"op":"append","file":"a.txt","content":"\\ud83d\\ude00"}',
    ]);
    expect(code).toBe(3);
    expect(replies.slice(0, 3).map(({ error }) => [error?.code, error?.message])).toEqual(
      ["content", "tags.0", "file"].map((field) => [
        "E_INGEST",
        `this is no save event: ${field}: not valid Unicode: half of a surrogate pair`,
      ]),
    );
    expect(read(root, "Data/a.txt")).toBe("\u{1F600}");
  });

  test("nothing taken exits with the worst; no events exit 0", async () => {
    const root = makeRoot({});
    expect((await ingest(root, [{ op: "append", file: "../x", content: "" }, "{"])).code).toBe(2);
    expect(await ingest(root, [])).toMatchObject({ code: 0, replies: [] });
  });

  test("bytes that are not UTF-8 and a very long line harm no other line", async () => {
    const root = makeRoot({});
    const event = '{"op":"append","file":"a.txt","content":"x"}\n';
    const long = `{"op":"append","file":"a.txt","content":"${"y".repeat(65 << 20)}"}\n`;
    const input = Buffer.concat([Buffer.from([0xff, 0x0a]), Buffer.from(event), Buffer.from(long), Buffer.from(event)]);
    const { code, stdout } = await run(["ingest"], { cwd: root, input });
    expect(code).toBe(3);
    expect(lines(stdout).map(({ line, error }) => [line, error?.message])).toEqual([
      [1, "the line is not UTF-8"],
      [2, undefined],
      [3, "the line is longer than 64 MiB"],
      [4, undefined],
    ]);
  });

  test("--llama takes each event once, also when the file grows or a bad one is corrected", async () => {
    const root = makeRoot({});
    const event = (content: string) => ({ op: "append", file: "a.txt", content });
    const llama = async (output: string) => {
      put(root, "llama/output.json", output);
      const { code, stdout, stderr } = await run(["ingest", "--llama"], { cwd: root });
      return { code, replies: stdout === "" ? 0 : lines(stdout).length, stderr };
    };
    expect(await llama(JSON.stringify([event("1"), { op: "oops" }]))).toMatchObject({ code: 3, replies: 2 });
    expect(await llama(JSON.stringify([event("1"), { op: "oops" }]))).toMatchObject({ code: 1, replies: 1 });
    expect(await llama(JSON.stringify([event("1"), event("2"), event("3")]))).toMatchObject({ code: 0, replies: 2 });
    const same = await llama(JSON.stringify([event("1"), event("2"), event("3")]));
    expect(same).toMatchObject({ code: 0, replies: 0, stderr: expect.stringContaining("3 events") });
    const other = await llama(JSON.stringify(event("4")));
    expect(other).toMatchObject({
      code: 0,
      replies: 1,
      stderr: expect.stringContaining("not the file that was read the last time"),
    });
    const jsonLines = `${JSON.stringify(event("4"))}\n${JSON.stringify(event("5"))}\n`;
    expect(await llama(`${jsonLines}{"op":"app`)).toMatchObject({ code: 0, replies: 1 });
    expect(await llama(jsonLines + JSON.stringify(event("6")))).toMatchObject({ code: 0, replies: 1 });
    expect(read(root, "Data/a.txt")).toBe("123456");
    expect(await llama("[{")).toMatchObject({
      code: 1,
      replies: 0,
      stderr: expect.stringContaining("Nothing was taken from it"),
    });
  });
});

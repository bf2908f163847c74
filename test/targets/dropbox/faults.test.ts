import { createServer } from "node:net";
import { inspect } from "node:util";
import { describe, expect, it, test } from "vitest";
import { hexOf } from "../../../src/core/digest.ts";
import { parseKey } from "../../../src/core/key.ts";
import { clearDropbox, openDropboxTarget } from "../../../src/targets/dropbox.ts";
import { bytesOf, sourceOf } from "../../../src/testing/source.ts";
import { contentHash, type Fault } from "./emulator.ts";
import { contextFor, memoryOf, onDropbox, openAt } from "./place.ts";

const NOTE = parseKey("Core/Note.txt");
const AT = "/Drive/MemoryVDB/Core/Note.txt";
const containing = (text: string) => expect.stringContaining(text) as string;
const api = (status: number, tag: string, extra: object = {}): Fault => ({
  status,
  body: { error_summary: `${tag}/...`, error: { ".tag": tag, ...extra } },
});
const path = (tag: string): Fault => ({
  status: 409,
  body: { error_summary: `path/${tag}/..`, error: { ".tag": "path", reason: { ".tag": tag }, upload_session_id: "x" } },
});

describe("what Dropbox answers", () => {
  it.each<readonly [Fault, object]>([
    [
      { ...api(429, "too_many_requests"), headers: { "retry-after": "7" } },
      { kind: "throttled", code: "E_TARGET_THROTTLED", retryAfterMs: 7000 },
    ],
    [
      { status: 429, body: { error_summary: "x", error: { reason: { ".tag": "too_many_write_operations" }, retry_after: 3 } } },
      { kind: "throttled", retryAfterMs: 3000 },
    ],
    [{ status: 429, body: "slow" }, { kind: "throttled" }],
    [
      { status: 503, body: "", headers: { "retry-after": "2" } },
      { kind: "transient", code: "E_TARGET_TRANSIENT", retryAfterMs: 2000 },
    ],
    [{ status: 500, body: "oops" }, { kind: "transient" }],
    [path("insufficient_space"), { kind: "quota", code: "E_TARGET_QUOTA" }],
    [path("no_write_permission"), { kind: "unsupported", code: "E_TARGET_FORBIDDEN" }],
    [path("disallowed_name"), { kind: "unsupported", code: "E_TARGET_UNSUPPORTED", hint: containing("Rename") }],
    [path("malformed_path"), { kind: "unsupported", hint: containing("Rename") }],
    [api(409, "content_hash_mismatch"), { kind: "transient" }],
    [
      api(401, "missing_scope", { required_scope: "files.content.write" }),
      { kind: "auth", code: "E_SIGN_IN_SCOPE", hint: containing("connect box") },
    ],
    [api(401, "invalid_access_token"), { kind: "auth", code: "E_AUTH" }],
    [api(401, "expired_access_token"), { kind: "auth", code: "E_SIGN_IN_EXPIRED", hint: containing("DROPBOX_TOKEN") }],
    [api(401, "user_suspended"), { kind: "auth", code: "E_SIGN_IN_POLICY" }],
    [
      { status: 400, body: "The given OAuth 2 access token is malformed." },
      { kind: "auth", code: "E_AUTH" },
    ],
    [
      { status: 400, body: "Error in call to API function" },
      { kind: "unsupported", code: "E_TARGET_UNSUPPORTED" },
    ],
    [
      { status: 200, body: "<html>Log in to the hotel</html>" },
      { kind: "transient", hint: containing("log-in page") },
    ],
    [
      { status: 302, body: "", headers: { location: "http://127.0.0.1:1/" } },
      { kind: "transient", hint: containing("log-in page") },
    ],
    [
      { status: 403, body: "<html>proxy</html>" },
      { kind: "transient", hint: containing("log-in page") },
    ],
  ])("%j", async (fault, expected) => {
    const { box, target } = await onDropbox();
    box.faults.push({ ...fault, times: 2 });
    await expect(target.put(NOTE, sourceOf("x"))).rejects.toMatchObject(expected);
    expect(box.read(AT)).toBeUndefined();
  });

  it("nobody is there", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    await new Promise((resolve) => server.close(resolve));
    const target = openDropboxTarget(contextFor(`http://127.0.0.1:${port}/`, "sl.token"));
    await expect(target.stat(NOTE)).rejects.toMatchObject({ kind: "transient", code: "E_TARGET_UNREACHABLE" });
  });

  it("a token goes to no plain http but the loopback's", async () => {
    const target = openDropboxTarget(contextFor("http://dropbox.example/", "sl.token"));
    await expect(target.stat(NOTE)).rejects.toMatchObject({ kind: "unsupported" });
    await expect(target.put(NOTE, sourceOf("x"))).rejects.toMatchObject({ kind: "unsupported" });
  });

  it("a read that breaks off never looks complete", async () => {
    const { box, target } = await onDropbox();
    box.write(AT, Buffer.alloc(100_000, 1));
    box.faults.push({ route: "files/download", cut: "half" });
    await expect(target.read(NOTE, bytesOf)).rejects.toMatchObject({ kind: "transient" });
  });

  it("close ends what is under way", async () => {
    const { box, target } = await onDropbox();
    box.write(AT, Buffer.alloc(4_000_000, 1));
    const reading = target.read(NOTE, async (bytes) => {
      for await (const _ of bytes) await target.close();
    });
    await expect(reading).rejects.toMatchObject({ kind: "transient" });
  });
});

test("the token is in no error", async () => {
  const { box, open } = await onDropbox();
  const secret = "sl.u.VerySecretTokenOfMara";
  const target = open({ env: { DROPBOX_TOKEN: secret } });
  box.faults.push({ status: 400, body: `Error: Bearer ${secret} is bad, access_token=${secret}` });
  const error: unknown = await target.stat(NOTE).catch((fault: unknown) => fault);
  expect(inspect(error, { depth: 9 })).not.toContain("VerySecret");
  await expect(target.stat(NOTE)).rejects.toMatchObject({ code: "E_AUTH" });
});

describe("the proof", () => {
  it("Dropbox's hash is computed as its documents say", async () => {
    // known values of another implementation: one byte sequence, one block, one block and a byte
    const block = Uint8Array.from({ length: 4 * 1024 * 1024 }, (_, at) => at % 256);
    const hashOf = (bytes: Uint8Array | string) => hexOf(() => sourceOf(bytes, 1_000_003).open(), "dropbox");
    expect(await hashOf("hello rdrop2")).toBe("1aa2b7623dfff520c4abdc1227d10bc4e229b74005b66b3458345830e556f4de");
    expect(await hashOf(block)).toBe("894bbb52d1212d6bcbe9967f1a2169138c4d4af0c8dfbaeae86cd1d3f0c03faf");
    expect(await hashOf(Buffer.concat([block, Uint8Array.of(255)]))).toBe(
      "9149387a91f71c7c2149b8427d15526b71c1a38d6c6f999ad71486a2ce788d57",
    );
    expect(await hashOf("")).toBe(contentHash(new Uint8Array()));
    expect(await hexOf(() => sourceOf("x").open(), "unheard-of")).toBeUndefined();
  });

  it("another content hash than that of our bytes is no success", async () => {
    const { box, target } = await onDropbox();
    const said = { name: "Note.txt", rev: "0123456789a", size: 4, content_hash: "0".repeat(64) };
    box.faults.push({ route: "files/upload", status: 200, body: said });
    await expect(target.put(NOTE, sourceOf("ours"))).rejects.toMatchObject({ kind: "corrupt" });
  });

  it("the sha256 is told of bytes that were compared, and of no others", async () => {
    const { box, target, open } = await onDropbox();
    const { sha256 } = sourceOf("ours");
    expect((await target.put(NOTE, sourceOf("ours"))).hash).toEqual({ algo: "sha256", hex: sha256 });
    expect((await open().stat(NOTE))?.hash).toEqual({ algo: "sha256", hex: sha256 });
    const listed = [];
    for await (const entry of target.list("")) listed.push(entry.hash);
    expect(listed).toEqual([{ algo: "sha256", hex: sha256 }]);
    expect((await open({ memory: memoryOf() }).stat(NOTE))?.hash?.algo).toBe("dropbox");
    box.write(AT, Buffer.from("them"));
    expect((await target.stat(NOTE))?.hash).toEqual({ algo: "dropbox", hex: contentHash(Buffer.from("them")) });
  });
});

describe("guards", () => {
  it("someone who comes in between is not overwritten", async () => {
    const { box, target } = await onDropbox();
    box.faults.push({ route: "files/upload", meanwhile: () => box.write(AT, Buffer.from("them")) });
    await expect(target.put(NOTE, sourceOf("ours"), { expect: "absent" })).rejects.toMatchObject({ kind: "conflict" });
    const seen = await target.stat(NOTE);
    box.faults.push({ route: "files/upload", meanwhile: () => box.write(AT, Buffer.from("more")) });
    await expect(target.put(NOTE, sourceOf("ours"), { expect: seen })).rejects.toMatchObject({ kind: "conflict" });
    box.faults.push({ route: "files/delete_v2", meanwhile: () => box.write(AT, Buffer.from("last")) });
    await expect(target.remove(NOTE, { expect: await target.stat(NOTE) })).rejects.toMatchObject({ kind: "conflict" });
    expect(box.read(AT)?.toString()).toBe("last");
  });

  it("what was expected and is gone is not-found, and is not made anew", async () => {
    const { box, target } = await onDropbox();
    const seen = await target.put(NOTE, sourceOf("ours"));
    box.faults.push({ route: "files/upload", meanwhile: () => box.drop(AT) });
    await expect(target.put(NOTE, sourceOf("more"), { expect: seen })).rejects.toMatchObject({ kind: "not-found" });
    expect(box.read(AT)).toBeUndefined();
  });

  it("the same bytes from someone else are no success of ours", async () => {
    const { box, target } = await onDropbox();
    box.write(AT, Buffer.from("ours"));
    await expect(target.put(NOTE, sourceOf("ours"), { expect: "absent" })).rejects.toMatchObject({ kind: "conflict" });
  });

  it("an answer that was lost is a success when it is tried again", async () => {
    const { box, retrying } = await onDropbox();
    for (const route of ["files/upload", "files/upload", "files/copy_v2", "files/delete_v2"])
      box.faults.push({ route, cut: "after" });
    const first = await retrying.put(NOTE, sourceOf("ours"), { expect: "absent" });
    expect(await retrying.put(NOTE, sourceOf("more"), { expect: first })).toMatchObject({ size: 4 });
    await retrying.copy(NOTE, parseKey("Core/Copy.txt"));
    await retrying.remove(NOTE);
    expect(box.paths()).toEqual(["/Drive/MemoryVDB/Core/Copy.txt"]);
    expect(box.faults).toEqual([]);
  });

  it("a copy of what changed meanwhile is taken back", async () => {
    const { box, target } = await onDropbox();
    const seen = await target.put(NOTE, sourceOf("seen"));
    box.faults.push({ route: "files/copy_v2", meanwhile: () => box.write(AT, Buffer.from("them")) });
    await expect(target.copy(NOTE, parseKey("Copy.txt"), { expect: seen })).rejects.toMatchObject({ kind: "conflict" });
    expect(box.paths()).toEqual([AT]);
  });

  it("one change at a time: Dropbox refuses two", async () => {
    const { box, target } = await onDropbox();
    const keys = Array.from({ length: 12 }, (_, at) => parseKey(`Many/${at}.txt`));
    await Promise.all(keys.map((key) => target.put(key, sourceOf(key))));
    await Promise.all(keys.map((key, at) => (at % 2 === 0 ? target.remove(key) : target.copy(key, parseKey(`To/${at}.txt`)))));
    expect(box.paths()).toHaveLength(12);
    // another machine's
    const other = openAt(box);
    const both = await Promise.allSettled([target.put(NOTE, sourceOf("a")), other.put(parseKey("b"), sourceOf("b"))]);
    const refused = both.flatMap((one) => (one.status === "rejected" ? [one.reason as object] : []));
    for (const reason of refused) expect(reason).toMatchObject({ kind: "throttled", retryAfterMs: 1000 });
  });
});

describe("names", () => {
  it("a folder in the way is told, and never removed or replaced", async () => {
    const { box, target } = await onDropbox();
    box.write(`${AT}/inner.txt`, Buffer.from("x"));
    expect(await target.stat(NOTE)).toBeUndefined();
    await expect(target.read(NOTE, bytesOf)).rejects.toMatchObject({ kind: "not-found" });
    await target.remove(NOTE);
    await expect(target.put(NOTE, sourceOf("x"))).rejects.toMatchObject({ kind: "unsupported", hint: containing("folder") });
    expect(box.paths()).toEqual([`${AT}/inner.txt`]);
    await expect(target.put(parseKey("Core/Note.txt/inner.txt/x"), sourceOf("x"))).rejects.toMatchObject({ kind: "unsupported" });
  });

  it("what Dropbox does not take is refused with what to do", async () => {
    const { target } = await onDropbox({ emoji: false });
    for (const name of ["emoji/🦙.txt", "Core/.dropbox", "Core/~$report.docx"])
      await expect(target.put(parseKey(name), sourceOf("x"))).rejects.toMatchObject({
        kind: "unsupported",
        hint: containing("Rename"),
      });
  });

  it("folders are listed as they are spelled, by whom ever", async () => {
    const { box, target } = await onDropbox({ pageSize: 2 });
    box.write("/drive/memoryvdb/NOTES/Deep/Öl.txt", Buffer.from("x"));
    box.spell("/drive/memoryvdb/notes", "Notes");
    const keys = [];
    for await (const { key } of target.list("")) keys.push(key);
    expect(keys).toEqual(["Notes/Deep/Öl.txt"]);
  });

  it("a memory at the top of Dropbox", async () => {
    const { box, open } = await onDropbox();
    const target = open({ root: "" });
    await target.put(NOTE, sourceOf("x"));
    expect(box.paths()).toEqual(["/Core/Note.txt"]);
    const keys = [];
    for await (const { key } of target.list("Core/")) keys.push(key);
    expect(keys).toEqual([NOTE]);
  });
});

test("forgetting says what Dropbox keeps", async () => {
  const { box, target, values } = await onDropbox();
  await target.put(NOTE, sourceOf("secret"));
  expect(await target.purge?.(NOTE)).toEqual([containing("30 days")]);
  expect(box.read(AT)).toBeUndefined();
  expect([...values]).toEqual([]);
  expect(await target.purge?.(parseKey("never/there.txt"))).toEqual([]);
});

test("a scratch folder goes with all that is in it, and nothing else does", async () => {
  const { box } = await onDropbox();
  box.write("/Drive/scratch/a/b.txt", Buffer.from("x"));
  box.write("/Drive/other.txt", Buffer.from("x"));
  const context = contextFor(box.url, box.token(), { root: "Drive/scratch/" });
  await clearDropbox(context);
  await clearDropbox(context);
  expect(box.paths()).toEqual(["/Drive/other.txt"]);
  await expect(clearDropbox({ ...context, root: "" })).rejects.toMatchObject({ kind: "unsupported" });
});

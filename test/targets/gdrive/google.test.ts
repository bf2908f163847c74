import { createHash, randomBytes } from "node:crypto";
import { beforeEach, describe, expect, it } from "vitest";
import { TargetError } from "../../../src/core/errors.ts";
import { type DriveApi, type DriveFile, FOLDER } from "../../../src/targets/gdrive/api.ts";
import { createGoogleApi, type GoogleOptions } from "../../../src/targets/gdrive/google.ts";
import { type DriveEmulator, type DriveEmulatorOptions, startDriveEmulator } from "../../../src/testing/drive-emulator.ts";
import { bytesOf, signIn, undo } from "./loopback.ts";

let drive: DriveEmulator;
let api: DriveApi;

async function start(options: DriveEmulatorOptions = {}, more: Partial<GoogleOptions> = {}): Promise<void> {
  drive = await startDriveEmulator(options);
  undo.push(() => drive.close());
  api = await apiWith(more);
}
async function apiWith(
  more: Partial<GoogleOptions> = {},
  token: object = { access_token: drive.accessToken() },
): Promise<DriveApi> {
  const credentials = await signIn(drive.rootUrl, drive.tokenUrl, { ...drive.authorizedUser({}), ...token });
  return createGoogleApi({ credentials, rootUrl: drive.rootUrl, timeoutMs: 5000, name: "drive", ...more });
}
beforeEach(() => start());

const KiB = 1024;
const hash = (algo: string, bytes: Uint8Array) => createHash(algo).update(bytes).digest("hex");
const newId = async () => (await api.generateIds(1))[0] ?? "";
async function all(query: string): Promise<DriveFile[]> {
  const found: DriveFile[] = [];
  for await (const file of api.search(query)) found.push(file);
  return found;
}
const folder = async (name = "MemoryVDB") => (await api.createFolder(await newId(), { name, parents: ["root"] })).id;
const write = async (name: string, bytes: Uint8Array, parent = "root") =>
  api.create(await newId(), { name, parents: [parent] }, bytes);
async function* split(bytes: Uint8Array, size = 50_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
const chunk = (bytes: Uint8Array, offset: number, length: number) => ({
  offset,
  length,
  total: bytes.length,
  bytes: split(bytes.subarray(offset, offset + length)),
});

describe("a file", () => {
  it.each([
    ["Rules.txt", "text/plain", "be kind"],
    ['it\'s a \\ "name" / with 💚', "application/octet-stream", Buffer.from([0, 255, 13, 10])],
    ["empty.md", "text/markdown", ""],
    ["n".repeat(200), "application/octet-stream", "x"],
  ])("named %s is written, described by the answer, found, and read back", async (name, mimeType, content) => {
    const bytes = Buffer.from(content);
    const [id, parent] = [await newId(), await folder()];
    const file = await api.create(id, { name, parents: [parent], appProperties: { key: "k1", version: "v1" } }, bytes);
    expect(file).toMatchObject({
      id,
      name,
      mimeType,
      parents: [parent],
      trashed: false,
      size: bytes.length,
      md5: hash("md5", bytes),
      sha256: hash("sha256", bytes),
      rev: expect.any(String),
      etag: expect.any(String),
      createdTime: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      appProperties: { key: "k1", version: "v1" },
      canEdit: true,
    });
    expect(await api.get(id)).toEqual(file);
    expect(await all(`'${parent}' in parents and trashed = false`)).toEqual([{ ...file, etag: undefined }]);
    expect(await bytesOf(await api.download(id))).toEqual(bytes);
  });

  it("is one file, however often it is created", async () => {
    const id = await newId();
    await api.create(id, { name: "a" }, Buffer.from("1"));
    await expect(api.create(id, { name: "a" }, Buffer.from("2"))).rejects.toMatchObject({ kind: "conflict" });
    await expect(api.createFolder(id, { name: "a" })).rejects.toMatchObject({ kind: "conflict" });
    expect(drive.account.tree().filter(({ name }) => name === "a").length).toBe(1);
  });

  it("whose parent is gone is not created", async () => {
    await expect(write("a", Buffer.from("1"), await newId())).rejects.toMatchObject({ kind: "not-found" });
  });

  it("is emptied by an update with no bytes", async () => {
    const { id, etag, rev } = await write("a.txt", Buffer.from("full"));
    const emptied = await api.update(id, {}, Buffer.alloc(0), etag);
    expect(emptied).toMatchObject({ id, size: 0, sha256: hash("sha256", Buffer.alloc(0)), name: "a.txt" });
    expect(emptied.rev).not.toBe(rev);
    expect(drive.account.content(id).length).toBe(0);
  });

  it("is updated only while its etag is the one that was seen, and the refusal changes nothing", async () => {
    const { id, etag } = await write("a.txt", Buffer.from("ours"));
    drive.account.edit(id, "theirs");
    await expect(api.update(id, {}, Buffer.from("ours again"), etag)).rejects.toMatchObject({
      kind: "conflict",
      code: "E_CONFLICT",
    });
    await expect(api.remove(id, etag)).rejects.toMatchObject({ kind: "conflict" });
    expect(drive.account.content(id).toString()).toBe("theirs");
    const seen = await api.get(id);
    await api.update(id, { name: "a.txt" }, Buffer.from("ours again"), seen.etag);
    expect(drive.account.content(id).toString()).toBe("ours again");
  });

  it("keeps the properties that an update does not name, and loses those that are null", async () => {
    const { id } = await api.create(await newId(), { name: "a", appProperties: { a: "1", b: "2" } }, Buffer.from("x"));
    expect((await api.update(id, { appProperties: { b: "3", c: "4" } }, Buffer.from("y"), undefined)).appProperties).toEqual({
      a: "1",
      b: "3",
      c: "4",
    });
    expect((await api.patch(id, { appProperties: { a: null } })).appProperties).toEqual({ b: "3", c: "4" });
  });

  it("is moved and renamed under the same id and content", async () => {
    const [from, to] = [await folder("from"), await folder("to")];
    const { id, rev } = await write("a", Buffer.from("x"), from);
    const moved = await api.patch(id, { name: "b", addParents: [to], removeParents: [from] });
    expect(moved).toMatchObject({ id, name: "b", parents: [to], rev });
  });

  it("is copied at the server under the id that was asked for; a property that is null does not travel", async () => {
    const to = await folder("Archive");
    const { id } = await api.create(await newId(), { name: "a", appProperties: { key: "k", v: "1" } }, Buffer.from("x"));
    const copyId = await newId();
    const facts = { name: "a_2026", parents: [to], appProperties: { key: null } };
    expect(await api.copy(id, copyId, facts)).toMatchObject({
      id: copyId,
      name: "a_2026",
      parents: [to],
      appProperties: { v: "1" },
    });
    await expect(api.copy(id, copyId, facts)).rejects.toMatchObject({ kind: "conflict" });
    expect(drive.account.content(copyId).toString()).toBe("x");
  });

  it("is trashed, and is still answered; or removed for ever, also twice", async () => {
    const { id, etag } = await write("a", Buffer.from("x"));
    await api.trash(id);
    expect(await api.get(id)).toMatchObject({ trashed: true });
    expect(etag).not.toBe((await api.get(id)).etag);
    await api.remove(id, undefined);
    await api.remove(id, undefined);
    await expect(api.get(id)).rejects.toMatchObject({ kind: "not-found", code: "E_TARGET_ABSENT" });
  });

  it("keeps its revisions, oldest first, and one that is pinned for ever", async () => {
    const { id, rev = "" } = await write("a", Buffer.from("one"));
    const second = await api.update(id, {}, Buffer.from("three"), undefined);
    await api.pin(id, rev);
    expect(await api.revisions(id)).toMatchObject([
      { id: rev, md5: hash("md5", Buffer.from("one")), size: 3, keepForever: true },
      { id: second.rev, size: 5, keepForever: false },
    ]);
  });
});

describe("a folder", () => {
  it("is made under the id that was reserved, and says what may be done in it", async () => {
    const id = await newId();
    const made = await api.createFolder(id, { name: "MemoryVDB", parents: ["root"], appProperties: { path: "p" } });
    expect(made).toMatchObject({ id, mimeType: FOLDER, size: undefined, rev: undefined, appProperties: { path: "p" } });
    expect(await api.get(id)).toMatchObject({ mimeType: FOLDER, canAddChildren: true, etag: expect.any(String) });
  });

  it("is searched to the end of its pages", async () => {
    const parent = await folder();
    const names = Array.from({ length: 1100 }, (_, n) => `${n}.txt`);
    for (const name of names) drive.account.addFile(`MemoryVDB/${name}`, "x");
    const reader = await apiWith({}, { access_token: drive.accessToken({ scope: "https://www.googleapis.com/auth/drive" }) });
    drive.resetLedger();
    const found: string[] = [];
    for await (const { name } of reader.search(`'${parent}' in parents`)) found.push(name);
    expect(found.toSorted()).toEqual(names.toSorted());
    expect(drive.counts()["files.list"]).toBe(2);
  });
});

describe("a resumable upload", () => {
  const big = randomBytes(700 * KiB);
  const piece = 256 * KiB;

  it("ends in one file with the right hash, and says on the way what is stored", async () => {
    const id = await newId();
    const session = await api.startSession(
      { create: id },
      { name: "big.bin", parents: ["root"], appProperties: { k: "1" } },
      big.length,
    );
    expect(await api.askSession(session, big.length)).toEqual({ sent: 0 });
    expect(await api.sendChunk(session, chunk(big, 0, piece))).toEqual({ sent: piece });
    expect(await api.sendChunk(session, chunk(big, piece, piece))).toEqual({ sent: 2 * piece });
    expect(await api.askSession(session, big.length)).toEqual({ sent: 2 * piece });
    const last = await api.sendChunk(session, chunk(big, 2 * piece, big.length - 2 * piece));
    const file = { id, name: "big.bin", size: big.length, sha256: hash("sha256", big), appProperties: { k: "1" } };
    expect(last).toMatchObject({ done: { ...file, etag: expect.any(String) } });
    expect(await api.askSession(session, big.length)).toMatchObject({ done: file });
    expect(drive.account.content(id).equals(big)).toBe(true);
  });

  it("goes on where Drive has it after a piece that arrived in part or whose connection broke", async () => {
    const id = await newId();
    const session = await api.startSession({ create: id }, { name: "big.bin" }, big.length);
    drive.faults.add({ when: { api: "upload.chunk", nth: 1 }, do: { kind: "partial-308", keep: piece } });
    expect(await api.sendChunk(session, chunk(big, 0, 2 * piece))).toEqual({ sent: piece });
    drive.faults.add({ when: { api: "upload.chunk", times: 1 }, do: { kind: "cut", afterBytes: piece } });
    await expect(api.sendChunk(session, chunk(big, piece, piece * 1.5))).rejects.toMatchObject({ kind: "transient" });
    const at = await api.askSession(session, big.length);
    const sent = "sent" in at ? at.sent : 0;
    expect(sent).toBeGreaterThanOrEqual(piece);
    expect(await api.sendChunk(session, chunk(big, sent, big.length - sent))).toMatchObject({
      done: { sha256: hash("sha256", big) },
    });
  });

  it("of the next revision is guarded at its start, and gone once it is dropped", async () => {
    const { id, etag } = await write("a", Buffer.from("x"));
    drive.account.edit(id, "theirs");
    await expect(api.startSession({ update: id, etag }, {}, big.length)).rejects.toMatchObject({ kind: "conflict" });
    const session = await api.startSession({ update: id, etag: (await api.get(id)).etag }, {}, big.length);
    await api.dropSession(session);
    await api.dropSession(session);
    expect(await api.askSession(session, big.length)).toEqual({ gone: true });
    expect(drive.account.content(id).toString()).toBe("theirs");
  });

  it("of a taken id is refused", async () => {
    const { id } = await write("a", Buffer.from("x"));
    await expect(
      api.startSession({ create: id }, { name: "a" }, 1).then((session) => api.sendChunk(session, chunk(Buffer.from("y"), 0, 1))),
    ).rejects.toMatchObject({ kind: "conflict" });
  });

  it("of no bytes makes an empty file", async () => {
    const id = await newId();
    const session = await api.startSession({ create: id }, { name: "empty" }, 0);
    expect(await api.sendChunk(session, chunk(Buffer.alloc(0), 0, 0))).toMatchObject({ done: { id, size: 0 } });
  });
});

describe("the account", () => {
  it("says who, how much is used, and what time it is at Google", async () => {
    await write("a", Buffer.from("abc"));
    const { email, limit, usage, serverTime } = await api.about();
    expect({ email, limit, usage }).toEqual({ email: drive.account.email, limit: 15 * 2 ** 30, usage: 3 });
    expect(Math.abs(Date.now() - (serverTime ?? 0))).toBeLessThan(60_000);
  });

  it("reserves as many ids as are asked for, each another", async () => {
    expect(new Set(await api.generateIds(1000)).size).toBe(1000);
  });

  it("whose storage is full says so, and nothing is tried again", async () => {
    await start({ storageBytes: 10 });
    drive.resetLedger();
    await expect(write("a", Buffer.alloc(11))).rejects.toMatchObject({ kind: "quota", code: "E_TARGET_QUOTA" });
    expect(drive.counts()).toMatchObject({ writes: 1 });
  });
});

describe("a shared drive", () => {
  it("is looked at, written to and searched as a place of its own", async () => {
    const { id } = drive.account.addSharedDrive("Team");
    api = await apiWith({ sharedDrive: id });
    expect(await api.sharedDrive(id)).toEqual({ name: "Team", canAddChildren: true });
    const file = await write("a.txt", Buffer.from("x"), id);
    const session = await api.startSession({ create: await newId() }, { name: "b.txt", parents: [id] }, 1);
    await api.sendChunk(session, chunk(Buffer.from("y"), 0, 1));
    await api.update(file.id, {}, Buffer.from("z"), file.etag);
    expect(await bytesOf(await api.download(file.id))).toEqual(Buffer.from("z"));
    expect((await all(`'${id}' in parents`)).map(({ name }) => name).toSorted()).toEqual(["a.txt", "b.txt"]);
    const listed = drive.requests.findLast(({ api: name }) => name === "files.list");
    expect(listed?.query).toMatchObject({ corpora: "drive", driveId: id, includeItemsFromAllDrives: "true" });
    await api.trash(file.id);
    await api.remove(file.id, undefined);
    expect((await api.about()).limit).toBeNull();
  });
});

describe("faults of the server", () => {
  it("an expired token is renewed and the write done once", async () => {
    drive.faults.add({ when: { api: "v2.files.insert", times: 1 }, do: { kind: "token-expired" } });
    drive.resetLedger();
    const id = await newId();
    await api.create(id, { name: "a" }, Buffer.from("x"));
    expect(drive.counts()).toMatchObject({ tokens: 1, writes: 2 });
    expect(drive.account.find("a").length).toBe(1);
  });

  it("a sign-in that was revoked says how to sign in again", async () => {
    drive.account.revokeTokens();
    await expect(api.get("root")).rejects.toMatchObject({
      kind: "auth",
      code: "E_SIGN_IN_EXPIRED",
      hint: expect.stringContaining("connect drive"),
    });
  });

  it("an answer that is lost after the write leaves one file, which a second try finds", async () => {
    drive.faults.add({ when: { api: "v2.files.insert", times: 1 }, do: { kind: "reply-lost" } });
    const id = await newId();
    await expect(api.create(id, { name: "a" }, Buffer.from("x"))).rejects.toMatchObject({ kind: "transient" });
    await expect(api.create(id, { name: "a" }, Buffer.from("x"))).rejects.toMatchObject({ kind: "conflict" });
    expect(await api.get(id)).toMatchObject({ sha256: hash("sha256", Buffer.from("x")) });
  });

  it.each([{ reason: "userRateLimitExceeded" }, { info: "RATE_LIMIT_EXCEEDED" }])(
    "%j with a Retry-After is throttled",
    async (how) => {
      drive.faults.add({ when: { kind: "write" }, do: { kind: "status", status: 403, retryAfter: 7, ...how } });
      await expect(write("a", Buffer.from("x"))).rejects.toMatchObject({ kind: "throttled", retryAfterMs: 7000 });
    },
  );

  it("a stalled answer ends", async () => {
    drive.faults.add({ when: { api: "v2.files.get" }, do: { kind: "stall" } });
    api = await apiWith({ timeoutMs: 200 });
    await expect(api.get("root")).rejects.toBeInstanceOf(TargetError);
  });
});

import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Clock } from "../../../src/core/clock.ts";
import { parseKey } from "../../../src/core/key.ts";
import type { Target } from "../../../src/core/target.ts";
import { FOLDER } from "../../../src/targets/gdrive/api.ts";
import { createInjectedApi, type DriveClient } from "../../../src/targets/gdrive/injected.ts";
import { createGdriveTarget } from "../../../src/targets/gdrive.ts";
import { bytesOf, type DriveEmulator, mockDrive, sourceOf, startDriveEmulator, targetSuite } from "../../../src/testing/index.ts";
import { claims, memoryOf } from "./place.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytes = (content: string) => new TextEncoder().encode(content);
const list = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
};
const clock: Clock = { now: () => Date.now(), sleep: (ms, signal) => pause(ms, undefined, signal ? { signal } : {}) };

/** The driver over a client of the caller's. */
function driverOver(client: unknown, memory = memoryOf()): Target {
  return createGdriveTarget({
    name: "drive",
    root: "Drive/MemoryVDB/",
    options: { auth: "user", root_url: "", token_url: "", scope: "", writes_per_second: "off", write_burst: 20 },
    tokenFile: "/nonexistent",
    clientFile: "/nonexistent",
    timeoutMs: null,
    env: {},
    memory,
    claim: claims(),
    clock,
    client,
  });
}

/** Google's own client, whose requests end at the emulator. */
async function googleClient(emulator: DriveEmulator): Promise<DriveClient> {
  const { auth, drive } = await import("googleapis/build/src/apis/drive/index.js");
  const client = new auth.OAuth2();
  client.setCredentials({ access_token: emulator.accessToken() });
  const made = drive({ version: "v3", auth: client, rootUrl: emulator.rootUrl });
  return made;
}

let emulator: DriveEmulator;
beforeAll(async () => {
  emulator = await startDriveEmulator();
});
afterAll(() => emulator.close());

// A type error here means that a client, as callers have it, does not fit any more.
const mocked: DriveClient = mockDrive();
const handMade: DriveClient = { files: { create: async () => ({ data: { id: "1" } }) } };

describe.each<[string, () => DriveClient | Promise<DriveClient>]>([
  ["mockDrive", () => mockDrive()],
  ["Google's own client", () => googleClient(emulator)],
])("%s, injected", (_, open) => {
  const start = async () => {
    const api = createInjectedApi(await open());
    const [id = "", other = "", folder = ""] = await api.generateIds(3);
    await api.createFolder(folder, { name: `Folder ${folder}`, parents: ["root"] });
    return { api, id, other, folder };
  };

  test("promises neither guards nor sessions", async () => {
    const { api, id } = await start();
    expect(api).toMatchObject({ guarded: false, sessions: false });
    await expect(api.startSession({ create: id }, {}, 1)).rejects.toMatchObject({ kind: "unsupported" });
    await expect(api.askSession("", 1)).rejects.toMatchObject({ kind: "unsupported" });
    await expect(api.dropSession("")).rejects.toMatchObject({ kind: "unsupported" });
  });

  test("makes, reads, changes and removes a file, each byte as it was", async () => {
    const { api, id, folder } = await start();
    const raw = Uint8Array.from({ length: 70_000 }, (_, index) => (index * 7) % 256);
    const facts = { name: "O'Neil \\ ü.bin", parents: [folder], appProperties: { a: "1", b: "2" } };
    const made = await api.create(id, facts, raw);
    expect(made).toMatchObject({ id, name: facts.name, parents: [folder], size: raw.length, sha256: sourceOf(raw).sha256 });
    expect(made).toMatchObject({ appProperties: facts.appProperties, trashed: false });
    expect(await bytesOf(await api.download(id))).toEqual(raw);

    const emptied = await api.update(id, { appProperties: { a: null, b: "3" } }, new Uint8Array(), undefined);
    expect(emptied).toMatchObject({ id, size: 0, sha256: sourceOf("").sha256, appProperties: { b: "3" } });
    expect(emptied.rev).not.toBe(made.rev);
    expect(await bytesOf(await api.download(id))).toHaveLength(0);
    expect((await api.revisions(id)).map(({ size }) => size)).toEqual([raw.length, 0]);
    await api.pin(id, emptied.rev!);
    expect((await api.revisions(id)).map(({ keepForever }) => keepForever)).toEqual([false, true]);

    const patched = await api.patch(id, { name: "b", addParents: ["root"], removeParents: [folder] });
    expect(patched).toMatchObject({ name: "b", rev: emptied.rev });
    expect(patched.parents).not.toContain(folder);
    await api.trash(id);
    expect((await api.get(id)).trashed).toBe(true);
    await api.remove(id, undefined);
    await api.remove(id, "etag");
    await expect(api.get(id)).rejects.toMatchObject({ kind: "not-found" });
  });

  test("JSON and text come back as they are", async () => {
    const { api, id, other, folder } = await start();
    await api.create(id, { name: "a.json", parents: [folder] }, bytes('{ "a":1 }'));
    await api.create(other, { name: "a.txt", parents: [folder] }, Uint8Array.of(0xff, 0xfe, 10));
    expect(text(await bytesOf(await api.download(id)))).toBe('{ "a":1 }');
    expect(await bytesOf(await api.download(other))).toEqual(Uint8Array.of(0xff, 0xfe, 10));
  });

  test("copies at the server", async () => {
    const { api, id, other, folder } = await start();
    const made = await api.create(id, { name: "a", parents: [folder], appProperties: { a: "1" } }, bytes("one"));
    const copy = await api.copy(id, other, { name: "b", parents: [folder], appProperties: { a: null, c: "2" } });
    expect(copy).toMatchObject({ id: other, name: "b", parents: [folder], sha256: made.sha256, appProperties: { c: "2" } });
    expect(await api.get(id)).toEqual(made);
  });

  test("an id that is taken is a conflict, a parent that is not there not found", async () => {
    const { api, id, folder, other } = await start();
    await api.create(id, { name: "a", parents: [folder] }, bytes("a"));
    await expect(api.create(id, { name: "a", parents: [folder] }, bytes("b"))).rejects.toMatchObject({ kind: "conflict" });
    await expect(api.createFolder(folder, { name: "a" })).rejects.toMatchObject({ kind: "conflict" });
    await expect(api.copy(id, folder, { name: "a" })).rejects.toMatchObject({ kind: "conflict" });
    await expect(api.create(other, { name: "a", parents: ["nowhere"] }, bytes("a"))).rejects.toMatchObject({ kind: "not-found" });
    await expect(api.update("nothing", {}, bytes("a"), undefined)).rejects.toMatchObject({ kind: "not-found" });
  });

  test("without an id Drive chooses one", async () => {
    const { api, folder } = await start();
    const [a, b] = [
      await api.create("", { name: "a", parents: [folder] }, bytes("a")),
      await api.createFolder("", { name: "b" }),
    ];
    expect(new Set([a.id, b.id, ""]).size).toBe(3);
    expect(b.mimeType).toBe(FOLDER);
    await expect(api.get("")).rejects.toMatchObject({ kind: "not-found" });
  });

  test("searches all pages of the language that the driver speaks", async () => {
    const { api, folder } = await start();
    for (const name of ["a's", "b", "B"]) await api.create("", { name, parents: [folder] }, bytes(name));
    const names = async (q: string) => (await list(api.search(q))).map(({ name }) => name).toSorted();
    expect(await names(`'${folder}' in parents and trashed = false`)).toEqual(["B", "a's", "b"]);
    expect(await names(`'${folder}' in parents and name = 'a\\'s' and trashed = false`)).toEqual(["a's"]);
    expect(await names(`('${folder}' in parents or 'x' in parents) and createdTime > '2000-01-01T00:00:00.000Z'`)).toHaveLength(
      3,
    );
    await expect(names("nonsense")).rejects.toMatchObject({ kind: "unsupported" });
  });

  test("says what is stored", async () => {
    const { api } = await start();
    const about = await api.about();
    expect(about.limit).toBeGreaterThan(about.usage);
    expect(about.email).toMatch(/@/);
  });

  test("an abort that came first makes no request", async () => {
    const { api } = await start();
    const before = emulator.requests.length;
    await expect(api.get("root", { signal: AbortSignal.abort() })).rejects.toMatchObject({ name: "AbortError" });
    expect(emulator.requests).toHaveLength(before);
  });
});

test("Google's own client: what it was told about its root holds for uploads too, and nothing is repeated", async () => {
  const api = createInjectedApi(await googleClient(emulator));
  emulator.resetLedger();
  await api.create("", { name: "a" }, bytes("a"));
  expect(emulator.counts()).toMatchObject({ "files.create": 1, total: 1 });
  const undo = emulator.faults.add({ when: { api: "files.get" }, do: { kind: "status", status: 503 } });
  await expect(api.get("x")).rejects.toMatchObject({ kind: "transient" });
  undo();
  expect(emulator.counts()).toMatchObject({ "files.get": 1, total: 2 });
});

describe("a client written by hand", () => {
  test("without generateIds reserves none", async () => {
    expect(await createInjectedApi(handMade).generateIds(10)).toEqual([]);
    expect(await createInjectedApi({}).generateIds(10)).toEqual([]);
  });

  test("what it leaves out is what it was told, but never the proof of the content", async () => {
    const file = await createInjectedApi(handMade).create("", { name: "a", parents: ["p"] }, bytes("a"));
    expect(file).toMatchObject({ id: "1", name: "a", parents: ["p"], size: undefined, sha256: undefined, md5: undefined });
  });

  test("without files.get a file is looked for in the list, and is not there when nothing lists it", async () => {
    const files = { list: () => Promise.resolve({ data: { files: [{ id: "a", name: "A.txt" }] } }) };
    expect((await createInjectedApi({ files }).get("a")).name).toBe("A.txt");
    await expect(createInjectedApi({ files }).get("b")).rejects.toMatchObject({ kind: "not-found" });
  });

  test("a method that is missing is unsupported, and named", async () => {
    const api = createInjectedApi(handMade);
    for (const [name, work] of Object.entries({
      "files.list": () => list(api.search("")),
      "files.update": () => api.patch("1", {}),
      "files.copy": () => api.copy("1", "2", {}),
      "files.delete": () => api.remove("1", undefined),
      "revisions.list": () => api.revisions("1"),
      "revisions.update": () => api.pin("1", "2"),
      "about.get": () => api.about(),
      "drives.get": () => api.sharedDrive("1"),
    }))
      await expect(work()).rejects.toMatchObject({ kind: "unsupported", message: expect.stringContaining(name) });
  });

  test("that answers nothing has not succeeded", async () => {
    for (const answer of [undefined, {}, { data: undefined }, { data: {} }]) {
      const api = createInjectedApi({ files: { create: async () => answer as { data: object } } });
      await expect(api.create("", { name: "a" }, bytes("a"))).rejects.toMatchObject({ kind: "transient" });
    }
  });

  test("may be an object of a class", async () => {
    class Files {
      readonly id = "1";
      async create() {
        return { data: { id: this.id } };
      }
    }
    expect((await createInjectedApi({ files: new Files() }).create("", {}, bytes("a"))).id).toBe("1");
  });

  test.each<[string, () => unknown]>([
    ["a text", () => "äb"],
    ["a Buffer", () => Buffer.from("äb")],
    ["an ArrayBuffer", () => Uint8Array.from(bytes("äb")).buffer],
    ["a Blob", () => new Blob(["äb"])],
    [
      "a stream of texts",
      () =>
        (async function* () {
          yield* ["ä", "b"];
        })(),
    ],
  ])("may answer a download with %s", async (_, data) => {
    const api = createInjectedApi({ files: { get: async () => ({ data: data() }) } });
    expect(text(await bytesOf(await api.download("1")))).toBe("äb");
  });

  test("a download that is no bytes, or fewer than announced, fails", async () => {
    const none = createInjectedApi({ files: { get: async () => ({ data: { id: "1" } }) } });
    await expect(none.download("1").then(bytesOf)).rejects.toMatchObject({ kind: "unsupported" });
    const headers = new Headers({ "content-length": "3" });
    const few = createInjectedApi({ files: { get: async () => ({ data: "ab", headers }) } });
    await expect(few.download("1").then(bytesOf)).rejects.toMatchObject({ kind: "transient" });
  });

  test("a shared drive's name and rights", async () => {
    const drives = { get: async () => ({ data: { name: "Team", capabilities: { canAddChildren: true } } }) };
    expect(await createInjectedApi({ drives }).sharedDrive("1")).toEqual({ name: "Team", canAddChildren: true });
  });
});

describe("mockDrive", () => {
  test("notes every call and fails as it is told, also after the commit", async () => {
    const drive = mockDrive();
    const api = createInjectedApi(drive);
    drive.fail(
      { method: "files.create", status: 403, reason: "userRateLimitExceeded", retryAfter: 2 },
      { status: 404, reason: "notFound" },
      { method: "files.create", status: "ECONNRESET", after: true },
    );
    await expect(api.create("", { name: "a" }, bytes("a"))).rejects.toMatchObject({ kind: "throttled", retryAfterMs: 2000 });
    await expect(api.get("root")).rejects.toMatchObject({ kind: "not-found" });
    expect(drive.tree()).toEqual([]);
    await expect(api.create("", { name: "a" }, bytes("a"))).rejects.toMatchObject({ kind: "transient" });
    expect(drive.tree()).toMatchObject([{ path: "a", text: "a" }]);
    await api.create("", { name: "b" }, bytes("b"));
    expect(drive.calls.map(({ method }) => method)).toEqual(["files.create", "files.get", "files.create", "files.create"]);
    expect(drive.calls.at(-1)!.params).toMatchObject({ requestBody: { name: "b" } });
  });

  test("what lies in a trashed folder is trashed, and goes with it", async () => {
    const drive = mockDrive();
    const { id } = drive.edit("Folder/a.txt", "one");
    expect(drive.edit("Folder/a.txt", "two").id).toBe(id);
    const [folder] = drive.tree();
    const api = createInjectedApi(drive);
    await api.trash(folder!.id);
    expect(drive.tree()).toMatchObject([
      { path: "Folder", trashed: true, text: undefined },
      { path: "Folder/a.txt", text: "two", trashed: true },
    ]);
    await api.remove(folder!.id, undefined);
    expect(drive.tree()).toEqual([]);
  });

  test("pages", async () => {
    const drive = mockDrive();
    for (const name of ["a", "b", "c"]) drive.edit(name, name);
    const first = await drive.files.list({ pageSize: 2 });
    expect(first.data.files.map(({ name }) => name)).toEqual(["a", "b"]);
    const second = await drive.files.list({ pageSize: 2, pageToken: first.data.nextPageToken! });
    expect(second.data).toMatchObject({ files: [{ name: "c" }] });
    expect(second.data).not.toHaveProperty("nextPageToken");
  });

  test("fits where Google's client is asked for", () => expect(createInjectedApi(mocked).guarded).toBe(false));
});

describe.each([true, false])("the driver over mockDrive, generateIds: %s", (generateIds) => {
  targetSuite({
    test,
    options: { manyEntries: 30 },
    open: () => {
      const drive = mockDrive({ generateIds });
      const memory = memoryOf();
      return {
        target: driverOver(drive, memory),
        reopen: () => driverOver(drive, memory),
        foreignWrite: (key, content) => void drive.edit(`MemoryVDB/${key}`, content),
        cleanup: () => undefined,
      };
    },
  });

  test("a body of more than 5 MiB goes in one piece", async () => {
    const drive = mockDrive({ generateIds });
    const big = sourceOf(new Uint8Array(5 * 1024 * 1024 + 1).fill(7));
    const entry = await driverOver(drive).put(parseKey("Core/Big.bin"), big, { expect: "absent" });
    expect(entry).toMatchObject({ size: big.size, hash: { algo: "sha256", hex: big.sha256 } });
    expect(drive.tree().map(({ path }) => path)).toContain("MemoryVDB/Core/Big.bin");
  });
});

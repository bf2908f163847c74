import { createHash, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DriveEmulator, startDriveEmulator } from "../../src/testing/index.ts";
import { call, client, FOLDER, json, multipart, reasonOf, type Answer } from "./drive-emulator.helper.ts";

let drive: DriveEmulator;
let api: Awaited<ReturnType<typeof client>>;
beforeAll(async () => {
  drive = await startDriveEmulator({ seed: 7 });
  api = await client(drive);
});
afterAll(() => drive.close());

const bytes = (length: number) => randomBytes(length);
const md5 = (data: Uint8Array | string) => createHash("md5").update(data).digest("hex");
const sha256 = (data: Uint8Array | string) => createHash("sha256").update(data).digest("hex");
const full =
  "id,name,mimeType,parents,trashed,explicitlyTrashed,md5Checksum,sha1Checksum,sha256Checksum,size,headRevisionId,version,appProperties";
const create = async (name: string, body: string, more: object = {}) =>
  (await api.v3.files.create({ requestBody: { name, ...more }, media: { body: Readable.from([body]) }, fields: full })).data;
describe("files, through googleapis", () => {
  test("binary content survives multipart, media and download, with all its hashes at once", async () => {
    const body = Buffer.concat([Buffer.from([0, 13, 10, 255, 13, 10, 45, 45]), bytes(70_000), Buffer.from("\r\n")]);
    const made = (await api.v3.files.create({ requestBody: { name: "b" }, media: { body: Readable.from([body]) }, fields: full }))
      .data;
    expect(made).toMatchObject({ size: String(body.length), md5Checksum: md5(body), sha256Checksum: sha256(body) });
    expect(made.sha1Checksum).toBe(createHash("sha1").update(body).digest("hex"));
    const got = await api.v3.files.get({ fileId: made.id!, alt: "media" }, { responseType: "arraybuffer" });
    expect(Buffer.from(got.data as unknown as ArrayBuffer).equals(body)).toBe(true);
    const updated = await api.v3.files.update({ fileId: made.id!, media: { body: Readable.from([]) }, fields: full });
    expect(updated.data).toMatchObject({ id: made.id, size: "0", md5Checksum: md5("") });
  });

  test("one name, two files; ids that were reserved make one file only", async () => {
    const [first, second] = [await create("twin", "1"), await create("twin", "2")];
    expect(first.id).not.toBe(second.id);
    expect(drive.account.find("twin").map(({ id }) => id)).toEqual([first.id, second.id]);
    const [id = "", folder = "", link = ""] = (await api.v3.files.generateIds({ count: 3 })).data.ids ?? [];
    await create("mine", "1", { id });
    expect(await reasonOf(create("mine", "1", { id }))).toBe("409 fileIdInUse");
    await api.v3.files.update({ fileId: id, requestBody: { trashed: true } });
    expect(await reasonOf(create("mine", "1", { id }))).toBe("409 fileIdInUse");
    await api.v3.files.delete({ fileId: id });
    expect(await reasonOf(create("mine", "1", { id }))).toBe("409 fileIdInUse");
    expect((await create("f", "", { id: folder })).id).toBe(folder);
    expect(await reasonOf(create("mine", "1", { id: "1AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" }))).toBe("400 invalid");
    const shortcut = { id: link, mimeType: "application/vnd.google-apps.shortcut", shortcutDetails: { targetId: first.id! } };
    expect(await reasonOf(api.v3.files.create({ requestBody: shortcut }))).toBe("400 invalid");
    const { ids } = (await api.v3.files.generateIds({ count: 1000, type: "shortcuts" })).data;
    expect(new Set(ids).size).toBe(1000);
    expect((await api.v3.files.create({ requestBody: { ...shortcut, id: ids![0]! } })).data.id).toBe(ids![0]);
    expect(await reasonOf(api.v3.files.generateIds({ count: 1001 }))).toBe("400 invalid");
  });

  test("folders go by id; what lies in a trashed one counts as trashed, and goes with it", async () => {
    const top = drive.account.addFolder("top");
    const inner = (
      await api.v3.files.create({ requestBody: { name: "inner", mimeType: FOLDER, parents: [top.id] }, fields: "*" })
    ).data;
    expect(inner).toMatchObject({ parents: [top.id], mimeType: FOLDER });
    expect([inner.size, inner.headRevisionId, inner.md5Checksum]).toEqual([undefined, undefined, undefined]);
    const leaf = await create("leaf", "x", { parents: [inner.id!] });
    expect(await reasonOf(create("x", "x", { parents: ["1nowhere"] }))).toBe("404 notFound");
    expect(await reasonOf(create("x", "x", { parents: [top.id, inner.id!] }))).toBe("403 teamDrivesParentLimit");
    await api.v3.files.update({ fileId: top.id, requestBody: { trashed: true } });
    const get = async (fileId: string) => (await api.v3.files.get({ fileId, fields: full })).data;
    expect(await get(leaf.id!)).toMatchObject({ trashed: true, explicitlyTrashed: false });
    expect(await get(top.id)).toMatchObject({ trashed: true, explicitlyTrashed: true });
    expect(await create("late", "x", { parents: [inner.id!] })).toMatchObject({ trashed: true });
    await api.v3.files.update({ fileId: top.id, requestBody: { trashed: false } });
    expect(await get(leaf.id!)).toMatchObject({ trashed: false });
    await api.v3.files.delete({ fileId: top.id });
    expect(await reasonOf(get(leaf.id!))).toBe("404 notFound");
  });

  test("the trash is emptied", async () => {
    const gone = await create("gone", "x");
    await api.v3.files.update({ fileId: gone.id!, requestBody: { trashed: true } });
    await api.v3.files.emptyTrash();
    expect(await reasonOf(api.v3.files.get({ fileId: gone.id! }))).toBe("404 notFound");
  });

  test("moves: out first, then in; never two parents, never a circle", async () => {
    const [a, b] = [drive.account.addFolder("mv/a"), drive.account.addFolder("mv/b")];
    const file = drive.account.addFile("mv/a/f", "x");
    const move = (fileId: string, addParents: string | undefined, removeParents?: string) =>
      api.v3.files.update({
        fileId,
        ...(addParents && { addParents }),
        ...(removeParents && { removeParents }),
        fields: "parents",
      });
    expect((await move(file.id, b.id, a.id)).data.parents).toEqual([b.id]);
    expect((await move(file.id, b.id, b.id)).data.parents).toEqual([b.id]);
    expect(await reasonOf(move(file.id, a.id))).toBe("403 cannotAddParent");
    expect(await reasonOf(move(file.id, undefined, b.id))).toBe("403 cannotRemoveLastParent");
    const inner = drive.account.addFolder("mv/a/inner");
    expect(await reasonOf(move(a.id, inner.id, a.parents[0]))).toBe("400 invalid");
    expect((await move(file.id, "root", b.id)).data.parents).toEqual([drive.account.rootId]);
  });

  test("a copy keeps what is not said, and takes what is", async () => {
    const source = await create("src", "copied", { appProperties: { key: "k", mark: "live" }, description: "d" });
    const [id = ""] = (await api.v3.files.generateIds({ count: 1 })).data.ids ?? [];
    const parent = drive.account.addFolder("archive").id;
    const copy = async (requestBody: object) =>
      (await api.v3.files.copy({ fileId: source.id!, requestBody, fields: `${full},description` })).data;
    const made = await copy({ id, name: "n", parents: [parent], appProperties: { mark: null, more: "1" } });
    expect(made).toMatchObject({ id, name: "n", parents: [parent], md5Checksum: md5("copied"), description: "d" });
    expect(made.appProperties).toEqual({ key: "k", more: "1" });
    expect(made.headRevisionId).not.toBe(source.headRevisionId);
    expect(await copy({})).toMatchObject({ name: "Copy of src", parents: source.parents });
    expect(await reasonOf(copy({ id }))).toBe("409 fileIdInUse");
    expect(await reasonOf(api.v3.files.copy({ fileId: parent, requestBody: {} }))).toBe("403 cannotCopyFile");
  });

  test("properties merge, null removes, and they have limits", async () => {
    const { id } = await create("props", "x", { appProperties: { a: "1", b: "2" } });
    const update = async (appProperties: Record<string, string | null>) =>
      (
        await api.v3.files.update({
          fileId: id!,
          requestBody: { appProperties: appProperties as Record<string, string> },
          fields: "appProperties",
        })
      ).data;
    expect(await update({ b: null, c: "3" })).toEqual({ appProperties: { a: "1", c: "3" } });
    expect(await update({ k: "v".repeat(123) })).toMatchObject({ appProperties: { a: "1" } });
    expect(await reasonOf(update({ k: "é".repeat(62) }))).toBe("400 invalid");
    expect(await reasonOf(update(Object.fromEntries(Array.from({ length: 28 }, (_, n) => [`n${n}`, "1"]))))).toBe("400 invalid");
    const other = await client(drive, { token: drive.accessToken({ app: "another" }) });
    expect((await other.v3.files.get({ fileId: id!, fields: "appProperties,name" })).data).toEqual({ name: "props" });
  });

  test("masks are honoured; int64 is text; etag is no field of version 3", async () => {
    const { id } = await create("mask", "12345", { appProperties: { a: "1", b: "2" } });
    const get = async (fields?: string) =>
      (await api.v3.files.get({ fileId: id!, ...(fields !== undefined && { fields }) })).data;
    expect(Object.keys(await get())).toEqual(["kind", "id", "name", "mimeType"]);
    expect(await get("")).toEqual(await get());
    expect(await get("size,appProperties/a,capabilities(canEdit,canTrash)")).toEqual({
      size: "5",
      appProperties: { a: "1" },
      capabilities: { canEdit: true, canTrash: true },
    });
    expect((await get("*")).version).toMatch(/^\d+$/);
    expect(await reasonOf(get("id,etag"))).toBe("400 invalidParameter");
    expect(await reasonOf(get("id,nmae"))).toBe("400 invalidParameter");
    expect(await reasonOf(get("capabilities(canEdit"))).toBe("400 invalidParameter");
    const before = drive.account.tree().length;
    expect(await reasonOf(api.v3.files.create({ requestBody: { name: "no" }, fields: "nope" }))).toBe("400 invalidParameter");
    expect(drive.account.tree().length).toBe(before);
    expect(await reasonOf(api.v3.files.list({ fields: "files(etag)" }))).toBe("400 invalidParameter");
  });

  test("the version jumps on content, moves on what nobody sees, and the head's id only with content", async () => {
    const made = await create("ver", "1");
    const next = (await api.v3.files.update({ fileId: made.id!, media: { body: Readable.from(["2"]) }, fields: full })).data;
    expect(Number(next.version) - Number(made.version)).toBeGreaterThan(1);
    expect(next.headRevisionId).not.toBe(made.headRevisionId);
    const renamed = (await api.v3.files.update({ fileId: made.id!, requestBody: { name: "ver2" }, fields: full })).data;
    expect(renamed.headRevisionId).toBe(next.headRevisionId);
    expect(Number(renamed.version)).toBeGreaterThan(Number(next.version));
    const touched = drive.account.touch(made.id!);
    expect(touched).toMatchObject({ headRevisionId: next.headRevisionId, md5: md5("2") });
    expect(touched.version).toBeGreaterThan(Number(renamed.version));
    const edited = drive.account.edit("ver2", "3");
    expect(edited.headRevisionId).not.toBe(next.headRevisionId);
    expect(drive.account.content(made.id!).toString()).toBe("3");
  });

  test("pages, orders, and a token that is not one", async () => {
    const parent = drive.account.addFolder("pages").id;
    for (const name of ["b 10", "b 9", "a", "C"]) drive.account.addFile(`pages/${name}`, name);
    const list = async (orderBy: string, pageSize: number) => {
      const names: string[] = [];
      let pageToken: string | undefined;
      do {
        const { data } = await api.v3.files.list({
          q: `'${parent}' in parents`,
          orderBy,
          pageSize,
          ...(pageToken && { pageToken }),
        });
        names.push(...data.files!.map(({ name }) => name!));
        pageToken = data.nextPageToken ?? undefined;
      } while (pageToken !== undefined);
      return names;
    };
    expect(await list("name_natural", 3)).toEqual(["a", "b 9", "b 10", "C"]);
    expect(await list("name desc", 1)).toEqual(["C", "b 9", "b 10", "a"]);
    expect(await list("createdTime", 1000)).toEqual(["b 10", "b 9", "a", "C"]);
    expect(await reasonOf(list("colour", 3))).toBe("400 invalid");
    expect(await reasonOf(api.v3.files.list({ pageToken: "made up" }))).toBe("400 invalid");
  });

  test("ranges", async () => {
    const { id } = drive.account.addFile("range", "0123456789");
    const get = async (range: string) => {
      const { status, headers, text } = await call(drive, "GET", `drive/v3/files/${id}?alt=media`, { headers: { range } });
      return [status, text, headers.get("content-range")];
    };
    expect(await get("bytes=2-4")).toEqual([206, "234", "bytes 2-4/10"]);
    expect(await get("bytes=7-")).toEqual([206, "789", "bytes 7-9/10"]);
    expect(await get("bytes=-3")).toEqual([206, "789", "bytes 7-9/10"]);
    expect(await get("bytes=0-99")).toEqual([206, "0123456789", "bytes 0-9/10"]);
    expect((await get("bytes=10-"))[0]).toBe(416);
    expect((await get("lines=1-2"))[0]).toBe(200);
  });

  test("times are kept to the millisecond and come back in UTC", async () => {
    const modifiedTime = "2020-02-29T12:00:00.123456+01:00";
    const made = await api.v3.files.create({ requestBody: { name: "t", modifiedTime }, fields: "modifiedTime,size" });
    expect(made.data).toEqual({ modifiedTime: "2020-02-29T11:00:00.123Z", size: "0" });
    expect(await reasonOf(api.v3.files.create({ requestBody: { name: "t", modifiedTime: "yesterday" } }))).toBe("400 invalid");
  });
});

describe("multipart bodies", () => {
  const nasty = Buffer.from("--x\r\n\r\n--y--\n\r\0\xff", "latin1");
  for (const [kind, eol] of [
    ["CRLF", "\r\n"],
    ["LF", "\n"],
  ] as const)
    test(`with ${kind}`, async () => {
      for (const content of [nasty, Buffer.alloc(0), Buffer.from("\r"), Buffer.from("\n")]) {
        const { body, type } = multipart({ name: kind }, content, eol);
        const made = await json(
          drive,
          "POST",
          "upload/drive/v3/files?uploadType=multipart&fields=md5Checksum,mimeType",
          body,
          type,
        );
        expect(made).toEqual({ md5Checksum: md5(content), mimeType: "text/x-nasty" });
      }
    });

  test("a torn one is refused and makes nothing", async () => {
    const before = drive.account.tree().length;
    const { body, type } = multipart({ name: "torn" }, nasty, "\r\n");
    const answer = await call(drive, "POST", "upload/drive/v3/files?uploadType=multipart", {
      body: body.subarray(0, -10),
      headers: { "content-type": type },
    });
    expect([answer.status, drive.account.tree().length]).toEqual([400, before]);
  });
});

describe("version 2", () => {
  const insert = async (title: string, body: string) =>
    (await api.v2.files.insert({ requestBody: { title }, media: { body: Readable.from([body]) } })).data;

  test("its own words", async () => {
    const made = await insert("two", "v2");
    expect(made).toMatchObject({
      title: "two",
      fileSize: "2",
      md5Checksum: md5("v2"),
      sha256Checksum: sha256("v2"),
      labels: { trashed: false },
      parents: [{ id: drive.account.rootId, isRoot: true }],
    });
    const properties = [{ key: "k", value: "v", visibility: "PRIVATE" }];
    const body = { properties, modifiedDate: "2021-01-01T00:00:00.000Z" };
    const get = async (more: object) => (await api.v2.files.update({ fileId: made.id!, requestBody: body, ...more })).data;
    expect((await get({})).modifiedDate).not.toBe(body.modifiedDate);
    expect(await get({ setModifiedDate: true })).toMatchObject({ modifiedDate: body.modifiedDate });
    expect((await api.v3.files.get({ fileId: made.id!, fields: "appProperties" })).data).toEqual({ appProperties: { k: "v" } });
    expect((await api.v2.files.list({ q: "title = 'TWO' and trashed=false", fields: "items(title)" })).data).toEqual({
      items: [{ title: "two" }],
    });
    expect(await reasonOf(api.v2.files.list({ q: "name = 'two'" }))).toBe("400 invalid");
  });

  test("If-Match guards every way of writing", async () => {
    const { id, etag } = await insert("guarded", "1");
    const fileId = id!;
    const stale = { headers: { "If-Match": etag! } };
    const put = (headers: object) => api.v2.files.update({ fileId, media: { body: Readable.from(["2"]) } }, headers);
    const next = (await put(stale)).data.etag!;
    expect(next).not.toBe(etag);
    expect(await reasonOf(put(stale))).toBe("412 conditionNotMet");
    expect(await reasonOf(api.v2.files.patch({ fileId, requestBody: { title: "x" } }, stale))).toBe("412 conditionNotMet");
    expect(await reasonOf(api.v2.files.copy({ fileId, requestBody: { title: "x" } }, stale))).toBe("412 conditionNotMet");
    expect(await reasonOf(api.v2.files.trash({ fileId }, stale))).toBe("412 conditionNotMet");
    expect(await reasonOf(api.v2.files.delete({ fileId }, stale))).toBe("412 conditionNotMet");
    const start = await call(drive, "PUT", `upload/drive/v2/files/${fileId}?uploadType=resumable`, {
      headers: { "if-match": etag! },
    });
    expect(start.status).toBe(412);
    expect(drive.account.find("guarded")).toMatchObject([{ md5: md5("2") }]);
    const touched = drive.account.touch(fileId).etag;
    expect(await reasonOf(put({ headers: { "If-Match": next } }))).toBe("412 conditionNotMet");
    expect((await put({ headers: { "If-Match": touched } })).status).toBe(200);
    expect((await api.v2.files.trash({ fileId }, { headers: { "If-Match": "*" } })).data.labels!.trashed).toBe(true);
  });

  test("version 3 sends the etag as a header and ignores If-Match", async () => {
    const { id, etag } = await insert("unguarded", "1");
    const got = await api.v3.files.get({ fileId: id! });
    expect((got.headers as unknown as Headers).get("etag")).toBe(etag);
    const patched = await api.v3.files.update(
      { fileId: id!, requestBody: { name: "u" } },
      { headers: { "If-Match": '"wrong"' } },
    );
    expect(patched.status).toBe(200);
  });

  test("newRevision=false overwrites in place", async () => {
    const { id } = await insert("inplace", "1");
    await api.v2.files.update({ fileId: id!, newRevision: false, media: { body: Readable.from(["2"]) } });
    expect(drive.account.find("inplace")[0]!.revisions).toMatchObject([{ md5: md5("2") }]);
  });
});

describe("revisions", () => {
  test("the head changes, old ones are listed, only kept ones can be downloaded, and pins are one-way", async () => {
    const { id } = await create("rev", "1");
    const fileId = id!;
    await api.v3.files.update({ fileId, media: { body: Readable.from(["2"]) }, keepRevisionForever: true });
    await api.v3.files.update({ fileId, media: { body: Readable.from(["3"]) } });
    const { revisions = [] } = (await api.v3.revisions.list({ fileId, fields: "revisions(id,keepForever,md5Checksum,size)" }))
      .data;
    expect(revisions.map((one) => [one.keepForever, one.md5Checksum])).toEqual([
      [false, md5("1")],
      [true, md5("2")],
      [false, md5("3")],
    ]);
    const [first = "", second = ""] = revisions.map((one) => one.id!);
    const load = async (revisionId: string) =>
      (await api.v3.revisions.get({ fileId, revisionId, alt: "media" }, { responseType: "text" })).data;
    expect(await load(second)).toBe("2");
    expect(await reasonOf(load(first))).toBe("403 download_restricted_for_revision");
    const pin = (revisionId: string, keepForever: boolean) =>
      api.v3.revisions.update({ fileId, revisionId, requestBody: { keepForever } });
    await pin(first, true);
    expect(await load(first)).toBe("1");
    expect(await reasonOf(pin(first, false))).toBe("400 illegalKeepForeverModification");
    await api.v3.revisions.delete({ fileId, revisionId: first });
    expect(await reasonOf(load(first))).toBe("404 notFound");
    await api.v3.revisions.delete({ fileId, revisionId: second });
    const [last] = drive.account.find("rev")[0]!.revisions;
    expect(await reasonOf(api.v3.revisions.delete({ fileId, revisionId: last!.id }))).toBe("400 cannotDeleteOnlyRevision");
  });

  test("100 unpinned ones are kept, and 200 pinned ones", async () => {
    const { id } = drive.account.addFile("many", "0");
    for (let n = 1; n <= 120; n++) drive.account.edit(id, String(n));
    expect(drive.account.find("many")[0]!.revisions).toHaveLength(100);
    for (let n = 0; n < 200; n++) {
      drive.account.edit(id, `pin ${n}`);
      await call(drive, "PATCH", `drive/v3/files/${id}?keepRevisionForever=true`, { body: "{}" });
    }
    drive.account.edit(id, "one more");
    const answer = await call(drive, "PATCH", `drive/v3/files/${id}?keepRevisionForever=true`, { body: "{}" });
    expect(answer.status).toBe(403);
  });
});

test("changes: oldest first, the last of each file, with the token to go on", async () => {
  const { startPageToken } = (await api.v3.changes.getStartPageToken({})).data;
  const [a, b] = [await create("ch a", "1"), await create("ch b", "1")];
  drive.account.edit(a.id!, "2");
  await api.v3.files.delete({ fileId: b.id! });
  const read = async (pageToken: string) => (await api.v3.changes.list({ pageToken, fields: "*" })).data;
  const { changes, newStartPageToken } = await read(startPageToken!);
  expect(changes).toMatchObject([
    { fileId: a.id, removed: false, file: { md5Checksum: md5("2") } },
    { fileId: b.id, removed: true },
  ]);
  expect((await read(newStartPageToken!)).changes).toEqual([]);
  const first = (await api.v3.changes.list({ pageToken: startPageToken!, pageSize: 1 })).data;
  expect(first.newStartPageToken).toBeUndefined();
  expect((await read(first.nextPageToken!)).changes).toMatchObject([{ fileId: b.id }]);
});

test("about: user, storage in text, and fields are required", async () => {
  const { data } = await api.v3.about.get({ fields: "user(emailAddress),storageQuota" });
  expect(data).toMatchObject({ user: { emailAddress: drive.account.email }, storageQuota: { limit: String(15 * 2 ** 30) } });
  expect(data.storageQuota!.usage).toMatch(/^\d+$/);
  expect(await reasonOf(api.v3.about.get())).toBe("400 required");
});

test("batches answer each part, errors too", async () => {
  const { id } = drive.account.addFile("batched", "x");
  const part = (n: number, path: string) =>
    `--b\nContent-Type: application/http\nContent-ID: <call + ${n}>\n\nGET /drive/v3/files/${path} HTTP/1.1\nHost: x\n\n\n`;
  const body = `${part(1, `${id}?fields=name`)}${part(2, "1gone")}--b--`;
  const answer = await call(drive, "POST", "batch/drive/v3", {
    body,
    headers: { "content-type": "multipart/mixed; boundary=b" },
  });
  expect(answer.text).toContain("Content-ID: <response-call + 1>");
  expect(answer.text).toContain('"name": "batched"');
  expect(answer.text).toContain("HTTP/1.1 404");
});

test("the ledger names every request and sums it up", async () => {
  const quiet = await startDriveEmulator({ seed: 1 });
  const auth = await client(quiet);
  const made = await auth.v3.files.create({ requestBody: { name: "l" }, media: { body: Readable.from(["12345"]) } });
  await auth.v3.files.get({ fileId: made.data.id!, alt: "media" }, { responseType: "text" });
  await auth.v3.files.list({});
  expect(quiet.requests.map(({ api: name, status, units }) => [name, status, units])).toEqual([
    ["files.create", 200, 50],
    ["files.download", 200, 200],
    ["files.list", 200, 100],
  ]);
  expect(quiet.requests[1]).toMatchObject({ method: "GET", fileId: made.data.id, bytesOut: 5 });
  expect(quiet.counts()).toMatchObject({ reads: 2, writes: 1, uploads: 0, tokens: 0, total: 3, units: 350, "files.list": 1 });
  quiet.resetLedger();
  expect([quiet.requests, quiet.counts()["total"]]).toEqual([[], 0]);
  await quiet.close();
});

test("unknown addresses and methods", async () => {
  const answers: Answer[] = [await call(drive, "GET", "drive/v3/nothing"), await call(drive, "PUT", "drive/v3/files/1x")];
  expect(answers.map(({ status }) => status)).toEqual([404, 404]);
});

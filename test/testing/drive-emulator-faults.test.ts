import { createHash, randomBytes } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  anySeed,
  type DriveEmulator,
  type DriveEmulatorOptions,
  type Fault,
  rateLimit,
  startDriveEmulator,
} from "../../src/testing/index.ts";
import { type Answer, call, json } from "./drive-emulator.helper.ts";

const KB256 = 256 * 1024;
const md5 = (data: Uint8Array | string) => createHash("md5").update(data).digest("hex");

let now: number;
let drive: DriveEmulator;
/** In place of the one that runs. */
const restart = async (options: DriveEmulatorOptions) => {
  await drive.close();
  await start(options);
};
const start = async (options: DriveEmulatorOptions = {}) => {
  drive = await startDriveEmulator({ seed: 11, clock: { now: () => now }, ...options });
};
beforeEach(async () => {
  now = Date.parse("2026-11-21T00:00:00Z");
  await start();
});
afterEach(() => drive.close());

const create = (name: string, more: Parameters<typeof call>[3] = {}) =>
  call(drive, "POST", "drive/v3/files", { body: JSON.stringify({ name }), ...more });
const broken = (work: Promise<Answer>) => expect(work).rejects.toThrow(TypeError);
const errorOf = ({ status, text }: Answer) => {
  const { error } = JSON.parse(text) as {
    error: { code: number; errors?: Array<{ reason: string }>; details?: Array<{ reason: string }>; status?: string };
  };
  return { status, reason: error.errors?.[0]?.reason, info: error.details?.[0]?.reason };
};
const names = () => drive.account.tree().map(({ name }) => name);

describe("faults", () => {
  const cases: Array<[string, Fault["do"], { status: number; reason?: string; info?: string }, string[]]> = [
    ["5xx before", { kind: "5xx-before", status: 502 }, { status: 502, reason: "backendError" }, []],
    ["5xx after the commit", { kind: "5xx-after-commit" }, { status: 500, reason: "internalError" }, ["a"]],
    ["storage full", { kind: "storage-full" }, { status: 403, reason: "storageQuotaExceeded" }, []],
    [
      "any status",
      { kind: "status", status: 403, reason: "dailyLimitExceeded" },
      { status: 403, reason: "dailyLimitExceeded" },
      [],
    ],
    ["a rate limit", rateLimit(), { status: 403, reason: "userRateLimitExceeded" }, []],
    ["the other spelling", rateLimit({ spelling: "errorInfo", status: 429 }), { status: 429, info: "RATE_LIMIT_EXCEEDED" }, []],
    ["both", rateLimit({ spelling: "both" }), { status: 403, reason: "userRateLimitExceeded", info: "RATE_LIMIT_EXCEEDED" }, []],
  ];
  for (const [title, action, answer, there] of cases)
    test(title, async () => {
      drive.faults.add({ when: { api: "files.create", nth: 1 }, do: action });
      expect(errorOf(await create("a"))).toEqual({ reason: undefined, info: undefined, ...answer });
      expect(names()).toEqual(there);
      expect((await create("b")).status).toBe(200);
      expect(drive.requests.map(({ fault }) => fault)).toEqual([action.kind, undefined]);
    });

  test("Retry-After", async () => {
    drive.faults.add({ when: { times: 1 }, do: rateLimit({ status: 429, retryAfter: 7 }) });
    expect((await create("a")).headers.get("retry-after")).toBe("7");
    expect((await create("a")).headers.get("retry-after")).toBeNull();
  });

  test("a lost reply is done, a cut one is not", async () => {
    const takeAway = drive.faults.add({ when: { kind: "write" }, do: { kind: "reply-lost" } });
    await broken(create("lost"));
    takeAway();
    drive.faults.add({ when: ({ api }) => api === "files.create", do: { kind: "cut" } });
    await broken(create("cut"));
    expect(names()).toEqual(["lost"]);
    expect(drive.requests.map(({ status, fault }) => [status, fault])).toEqual([
      [0, "reply-lost"],
      [0, "cut"],
    ]);
    drive.faults.clear();
    expect((await create("fine")).status).toBe(200);
  });

  test("an expired token is dead from then on", async () => {
    const token = drive.accessToken();
    drive.faults.add({ when: { nth: 2 }, do: { kind: "token-expired" } });
    const statuses = [];
    for (let n = 0; n < 3; n++) statuses.push((await create("t", { token })).status);
    expect(statuses).toEqual([200, 401, 401]);
  });

  test("stalls end with the caller's patience, at the start or in the middle of an answer", async () => {
    const { id } = drive.account.addFile("f", "0123456789");
    const patience = () => AbortSignal.timeout(150);
    drive.faults.add({ when: { nth: 1 }, do: { kind: "stall" } });
    const url = `${drive.rootUrl}drive/v3/files/${id}?alt=media`;
    const headers = { authorization: `Bearer ${drive.accessToken()}` };
    await expect(fetch(url, { headers, signal: patience() })).rejects.toThrow("timeout");
    drive.faults.clear();
    drive.faults.add({ when: {}, do: { kind: "stall", afterBytes: 4 } });
    const response = await fetch(url, { headers, signal: patience() });
    const got: Uint8Array[] = [];
    const read = async () => {
      for await (const chunk of response.body!) got.push(chunk as Uint8Array);
    };
    await expect(read()).rejects.toThrow();
    expect(Buffer.concat(got).toString()).toBe("0123");
  });

  test("a slow body takes its time and is whole", async () => {
    const { id } = drive.account.addFile("f", "x".repeat(300));
    drive.faults.add({ when: {}, do: { kind: "slow", bytesPerSecond: 3000 } });
    const began = performance.now();
    const { text } = await call(drive, "GET", `drive/v3/files/${id}?alt=media`);
    expect([text.length, performance.now() - began > 80]).toEqual([300, true]);
  });

  test("a foreign edit comes between a check and its write", async () => {
    const { id, etag } = drive.account.addFile("f", "mine");
    drive.faults.add({ when: { api: "v2.files.update", nth: 1 }, do: { kind: "foreign-edit", text: "theirs" } });
    const put = (tag: string) =>
      call(drive, "PUT", `upload/drive/v2/files/${id}?uploadType=media`, { body: "new", headers: { "if-match": tag } });
    expect(errorOf(await put(etag))).toMatchObject({ status: 412, reason: "conditionNotMet" });
    expect(drive.account.content(id).toString()).toBe("theirs");
    expect((await put(drive.account.find("f")[0]!.etag)).status).toBe(200);
    drive.faults.add({
      when: { api: "files.create" },
      do: { kind: "foreign-edit", edit: () => void drive.account.addFile("twin", "x") },
    });
    await create("twin");
    expect(drive.account.find("twin")).toHaveLength(2);
  });

  test("every n-th, and a probability that follows from the seed", async () => {
    drive.faults.add({ when: { api: "files.create", everyNth: 3 }, do: { kind: "5xx-before" } });
    const statuses = [];
    for (let n = 0; n < 6; n++) statuses.push((await create("e")).status);
    expect(statuses).toEqual([200, 200, 503, 200, 200, 503]);
  });

  test("a run repeats exactly with its seed, and not with another", async () => {
    const seed = anySeed();
    const run = async (seed: number) => {
      const emulator = await startDriveEmulator({ seed, clock: { now: () => now } });
      emulator.faults.add({ when: { kind: "write", probability: 0.3 }, do: { kind: "5xx-after-commit" } });
      emulator.faults.add({ when: { probability: 0.2 }, do: rateLimit() });
      for (let n = 0; n < 30; n++) await call(emulator, "POST", "drive/v3/files", { body: JSON.stringify({ name: `f${n}` }) });
      const seen = [emulator.requests.map(({ status, fault }) => [status, fault]), emulator.account.tree()];
      await emulator.close();
      return seen;
    };
    expect(await run(seed), `seed ${seed}`).toEqual(await run(seed));
    expect(await run(seed), `seed ${seed}`).not.toEqual(await run(seed + 1));
  });
});

describe("resumable uploads", () => {
  const open = async (path: string, headers: Record<string, string> = {}, body = "{}", method = "POST") => {
    const answer = await call(drive, method, path, { body, headers });
    expect(answer.status, answer.text).toBe(200);
    return answer.headers.get("location")!;
  };
  const send = (uri: string, body: Uint8Array | string, range?: string, method = "PUT") =>
    call(drive, method, uri, { body, token: "", headers: range === undefined ? {} : { "content-range": range } });
  const ask = (uri: string, total: number | "*" = "*") => send(uri, "", `bytes */${total}`);
  const stored = ({ status, headers }: Answer) => [status, headers.get("range")];
  const content = randomBytes(3 * KB256 + 17);
  const total = content.length;
  const piece = (from: number, to: number) => [content.subarray(from, to), `bytes ${from}-${to - 1}/${total}`] as const;
  const fresh = () =>
    open("upload/drive/v3/files?uploadType=resumable&fields=md5Checksum,size", {}, JSON.stringify({ name: "big" }));
  const whole = { status: 200, text: JSON.stringify({ md5Checksum: md5(content), size: String(total) }, undefined, 1) };

  test("chunks by PUT or POST, questions between, and the end asked again", async () => {
    const uri = await fresh();
    expect(stored(await ask(uri))).toEqual([308, null]);
    expect(stored(await send(uri, ...piece(0, KB256)))).toEqual([308, `bytes=0-${KB256 - 1}`]);
    expect(stored(await send(uri, ...piece(KB256, 2 * KB256), "POST"))).toEqual([308, `bytes=0-${2 * KB256 - 1}`]);
    expect(stored(await ask(uri, total))).toEqual([308, `bytes=0-${2 * KB256 - 1}`]);
    expect(names()).toEqual([]);
    expect(await send(uri, ...piece(2 * KB256, total))).toMatchObject(whole);
    expect(await ask(uri, total)).toMatchObject(whole);
    expect(await send(uri, ...piece(2 * KB256, total))).toMatchObject(whole);
    expect(names()).toEqual(["big"]);
    expect(drive.account.content("big").equals(content)).toBe(true);
    expect(drive.counts()).toMatchObject({ writes: 1, uploads: 7, "upload.chunk": 4, "upload.status": 3 });
  });

  test("all at once, without a range, and nothing at all", async () => {
    expect(await send(await fresh(), content)).toMatchObject(whole);
    expect(await send(await fresh(), "")).toMatchObject({ status: 200, text: expect.stringContaining(md5("")) });
  });

  test("an unknown length becomes known at the end", async () => {
    const uri = await fresh();
    await send(uri, content.subarray(0, KB256), `bytes 0-${KB256 - 1}/*`);
    expect(JSON.parse((await ask(uri, KB256)).text)).toEqual({
      md5Checksum: md5(content.subarray(0, KB256)),
      size: String(KB256),
    });
  });

  test("chunks that do not fit are refused, those that overlap are not stored twice", async () => {
    const uri = await fresh();
    expect((await send(uri, content.subarray(0, 1000), `bytes 0-999/${total}`)).status).toBe(400);
    expect((await send(uri, ...piece(KB256, 2 * KB256))).status).toBe(400);
    expect((await send(uri, content.subarray(0, 10), `bytes 0-${KB256 - 1}/${total}`)).status).toBe(400);
    expect((await send(uri, "x", "bytes and pieces")).status).toBe(400);
    expect(stored(await ask(uri))).toEqual([308, null]);
    await send(uri, ...piece(0, 2 * KB256));
    expect(await send(uri, ...piece(KB256, total))).toMatchObject(whole);
  });

  test("what a broken connection leaves is a multiple of 256 KiB, and goes on from there", async () => {
    const uri = await fresh();
    drive.faults.add({ when: { api: "upload.chunk", nth: 1 }, do: { kind: "cut", afterBytes: KB256 + 1000 } });
    await broken(send(uri, ...piece(0, total)));
    expect(stored(await ask(uri))).toEqual([308, `bytes=0-${KB256 - 1}`]);
    expect(await send(uri, ...piece(KB256, total))).toMatchObject(whole);
  });

  test("a partial 308, with and without its range", async () => {
    const uri = await fresh();
    drive.faults.add({ when: { api: "upload.chunk", nth: 1 }, do: { kind: "partial-308", keep: 2 * KB256 + 5 } });
    drive.faults.add({ when: { api: "upload.chunk", nth: 1 }, do: { kind: "partial-308", keep: 0, range: false } });
    expect(stored(await send(uri, ...piece(0, total)))).toEqual([308, `bytes=0-${2 * KB256 - 1}`]);
    expect(stored(await send(uri, ...piece(2 * KB256, total)))).toEqual([308, null]);
    expect(await send(uri, ...piece(0, total))).toMatchObject(whole);
  });

  test("sessions die: by DELETE, by a fault, after a week, all at once", async () => {
    const uris = [await fresh(), await fresh(), await fresh()];
    expect((await call(drive, "DELETE", uris[0]!, { token: "" })).status).toBe(204);
    expect((await ask(uris[0]!)).status).toBe(404);
    drive.faults.add({ when: { api: "upload.chunk" }, do: { kind: "lost-session" } });
    expect((await send(uris[1]!, content)).status).toBe(404);
    drive.faults.clear();
    expect((await ask(uris[1]!)).status).toBe(404);
    now += 6 * 24 * 3600 * 1000;
    expect((await ask(uris[2]!)).status).toBe(308);
    now += 24 * 3600 * 1000;
    expect((await ask(uris[2]!)).status).toBe(404);
    const late = await fresh();
    drive.account.loseSessions();
    expect((await ask(late)).status).toBe(404);
    expect(names()).toEqual([]);
  });

  test("updates in both versions; the end of a session does not look at the etag again", async () => {
    const { id, etag } = drive.account.addFile("f", "1");
    const v3 = await open(`upload/drive/v3/files/${id}?uploadType=resumable`, {}, "", "PATCH");
    await send(v3, "2");
    expect(drive.account.content(id).toString()).toBe("2");
    const stale = await call(drive, "PUT", `upload/drive/v2/files/${id}?uploadType=resumable`, { headers: { "if-match": etag } });
    expect(stale.status).toBe(412);
    const fits = drive.account.find("f")[0]!.etag;
    const v2 = await open(
      `upload/drive/v2/files/${id}?uploadType=resumable`,
      { "if-match": fits },
      JSON.stringify({ title: "g" }),
      "PUT",
    );
    drive.faults.add({ when: { api: "upload.chunk" }, do: { kind: "foreign-edit" } });
    expect((await send(v2, content)).status).toBe(200);
    const [after] = drive.account.find("g");
    expect(after!.revisions.slice(-2).map((one) => one.md5)).toEqual([expect.not.stringMatching(md5("2")), md5(content)]);
  });

  test("what cannot end well is refused at the start", async () => {
    drive.account.setStorage(10);
    const big = await call(drive, "POST", "upload/drive/v3/files?uploadType=resumable", {
      headers: { "x-upload-content-length": "11" },
    });
    expect(errorOf(big)).toMatchObject({ status: 403, reason: "storageQuotaExceeded" });
    const { ids } = (await json(drive, "GET", "drive/v3/files/generateIds?count=1")) as { ids: string[] };
    const twice = () =>
      call(drive, "POST", "upload/drive/v3/files?uploadType=resumable", { body: JSON.stringify({ id: ids[0], name: "x" }) });
    const [first, second] = [await twice(), await twice()];
    expect((await send(first.headers.get("location")!, "1")).status).toBe(200);
    expect((await send(second.headers.get("location")!, "2")).status).toBe(409);
    expect((await twice()).status).toBe(409);
  });
});

describe("lag", () => {
  const found = async (q: string) =>
    ((await json(drive, "GET", `drive/v3/files?q=${encodeURIComponent(q)}&fields=files(id)`)) as { files: object[] }).files
      .length;

  test("by name, by property, by parent and in the feed; never by id", async () => {
    await restart({ lag: { nameMs: 3000, propertyMs: 2000, parentMs: 1000, changesMs: 4000 } });
    const { startPageToken } = await json(drive, "GET", "drive/v3/changes/startPageToken");
    now += 10_000;
    const body = JSON.stringify({ name: "slow", appProperties: { k: "v" } });
    const { id } = (await json(drive, "POST", "drive/v3/files", body)) as { id: string };
    expect((await call(drive, "GET", `drive/v3/files/${id}`)).status).toBe(200);
    const look = async () => [
      await found("name = 'slow'"),
      await found("name != 'other'"),
      await found("appProperties has { key='k' and value='v' }"),
      await found("'root' in parents"),
      await found("trashed=false"),
      ((await json(drive, "GET", `drive/v3/changes?pageToken=${String(startPageToken)}`)) as { changes: object[] }).changes
        .length,
    ];
    expect(await look()).toEqual([0, 0, 0, 0, 1, 0]);
    now += 1000;
    expect(await look()).toEqual([0, 0, 0, 1, 1, 0]);
    now += 1000;
    expect(await look()).toEqual([0, 0, 1, 1, 1, 0]);
    now += 1000;
    expect(await look()).toEqual([1, 1, 1, 1, 1, 0]);
    now += 1000;
    expect(await look()).toEqual([1, 1, 1, 1, 1, 1]);
    await json(drive, "PATCH", `drive/v3/files/${id}`, JSON.stringify({ name: "new" }));
    expect([await found("name = 'slow'"), await found("name = 'new'")]).toEqual([1, 0]);
    now += 3000;
    expect([await found("name = 'slow'"), await found("name = 'new'")]).toEqual([0, 1]);
  });

  test("an etag that settles moves once more, with nothing else", async () => {
    await restart({ settleMs: 500 });
    const { id, etag } = (await json(drive, "POST", "upload/drive/v2/files?uploadType=media", "x")) as {
      id: string;
      etag: string;
    };
    const get = () => json(drive, "GET", `drive/v2/files/${id}?fields=etag`);
    expect((await get())["etag"]).toBe(etag);
    now += 500;
    const later = (await get())["etag"];
    expect(later).not.toBe(etag);
    now += 5000;
    expect((await get())["etag"]).toBe(later);
  });
});

test("latency is waited per request", async () => {
  await restart({ latencyMs: 60 });
  const began = performance.now();
  await create("slow");
  expect(performance.now() - began).toBeGreaterThan(55);
});

test("a write rate: a burst, then so many per second; reads are free", async () => {
  await restart({ writeRate: { perSecond: 2, burst: 3 } });
  const statuses = [];
  for (let n = 0; n < 4; n++) statuses.push((await create("w")).status);
  expect(statuses).toEqual([200, 200, 200, 403]);
  expect((await call(drive, "GET", "drive/v3/files")).status).toBe(200);
  expect(errorOf(await create("w"))).toMatchObject({ status: 403, reason: "userRateLimitExceeded" });
  now += 500;
  expect([(await create("w")).status, (await create("w")).status]).toEqual([200, 403]);
});

test("storage fills up, and is freed again", async () => {
  await restart({ storageBytes: 10 });
  const put = (body: string) => call(drive, "POST", "upload/drive/v3/files?uploadType=media", { body });
  const { id } = JSON.parse((await put("12345678")).text) as { id: string };
  expect(errorOf(await put("123"))).toMatchObject({ status: 403, reason: "storageQuotaExceeded" });
  expect((await put("12")).status).toBe(200);
  const usage = async () =>
    ((await json(drive, "GET", "drive/v3/about?fields=storageQuota")) as { storageQuota: object }).storageQuota;
  expect(await usage()).toMatchObject({ limit: "10", usage: "10" });
  expect((await call(drive, "DELETE", `drive/v3/files/${id}`)).status).toBe(204);
  expect(await usage()).toMatchObject({ usage: "2" });
  drive.account.setStorage(null);
  expect((await put("123456789012345")).status).toBe(200);
  expect(await usage()).not.toHaveProperty("limit");
});

test("structural limits", async () => {
  await restart({ childrenPerFolder: 2 });
  const { id } = drive.account.addFolder("full");
  const put = () => create("x", { body: JSON.stringify({ name: "x", parents: [id] }) });
  const answers = [await put(), await put(), await put()];
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 403]);
  expect(errorOf(answers[2]!).reason).toBe("numChildrenInNonRootLimitExceeded");
  const deep = drive.account.addFolder(Array.from({ length: 100 }, () => "d").join("/"));
  const below = await create("x", { body: JSON.stringify({ name: "x", parents: [deep.id] }) });
  expect(errorOf(below).reason).toBe("myDriveHierarchyDepthLimitExceeded");
});

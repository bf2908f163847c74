/** What loses or leaks data with Google's client, as known from others' losses; each trap is a test of what really leaves. */
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { setTimeout as later } from "node:timers/promises";
import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { TargetError } from "../../../src/core/errors.ts";
import { createGoogleApi } from "../../../src/targets/gdrive/google.ts";
import { bytesOf, driveAt, type Handler, json, type Request, serve, signIn, undo } from "./loopback.ts";

const FILE = { id: "id1", title: "Rules.txt", fileSize: "3", md5Checksum: "aa", etag: '"e1"', labels: { trashed: false } };
const stored: Handler = (_, response) => void json(response, 200, FILE);
const failure = (status: number, reason: string) => ({
  error: { code: status, message: "why", errors: [{ reason, message: "why" }] },
});
const text = (value: string) => new TextEncoder().encode(value);
async function* chunks(...parts: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts;
}

/** The parts of a multipart body, as bytes. */
function partsOf({ headers, body }: Request): Array<{ readonly type: string; readonly bytes: Buffer }> {
  const boundary = /boundary=(\S+)/.exec(headers["content-type"] ?? "")?.[1] ?? "";
  return body
    .toString("latin1")
    .split(`--${boundary}`)
    .slice(1, -1)
    .map((part) => {
      const gap = part.indexOf("\r\n\r\n");
      const type = /content-type: (\S+)/i.exec(part.slice(0, gap))?.[1] ?? "";
      return { type, bytes: Buffer.from(part.slice(gap + 4, -2), "latin1") };
    });
}

const every = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));

describe("uploads", () => {
  it("go to root_url, on paths that Google knows, and say that shared drives are understood", async () => {
    const { api, seen, credentials } = await driveAt(stored);
    // Without what rewrites addresses: the calls themselves must not name Google's.
    const { request } = credentials.client.transporter.interceptors;
    request.clear();
    request.add({
      resolved: async (config) => {
        expect(config.url.hostname).toBe("127.0.0.1");
        return config;
      },
    });
    await api.create("id1", { name: "Rules.txt", parents: ["folder"] }, every);
    await api.update("id1", { name: "Rules.txt" }, every, '"e1"');
    expect(
      seen.map(({ method, path, query }) => [method, path, query.get("uploadType"), query.get("supportsAllDrives")]),
    ).toEqual([
      ["POST", "/upload/drive/v2/files", "multipart", "true"],
      ["PUT", "/upload/drive/v2/files/id1", "multipart", "true"],
    ]);
    expect(seen[1]?.headers["if-match"]).toBe('"e1"');
    expect(seen[1]?.query.has("newRevision")).toBe(false);
  });

  it.each([
    ["no bytes", Buffer.alloc(0)],
    ["every byte", every],
    ["JSON with odd spaces", Buffer.from('{ "a" :\t1 }\r\n')],
    ["text that is not UTF-8", Buffer.from([0xff, 0xfe, 0x80])],
    ["1 MiB", Buffer.alloc(1024 * 1024, "aftersave\r\n--")],
  ])("send %s beside the metadata as they are", async (_, bytes) => {
    const { api, seen } = await driveAt(stored);
    await api.create("id1", { name: "x.json", parents: ["folder"], appProperties: { key: "k" } }, bytes);
    await api.update("id1", { appProperties: { key: null } }, bytes, undefined);
    const [created, updated] = seen.map(partsOf);
    expect(JSON.parse(created?.[0]?.bytes.toString() ?? "")).toEqual({
      id: "id1",
      title: "x.json",
      mimeType: "application/json",
      parents: [{ id: "folder" }],
      properties: [{ key: "key", value: "k", visibility: "PRIVATE" }],
    });
    expect(created?.[1]?.type).toBe("application/json");
    expect(created?.[1]?.bytes.equals(bytes)).toBe(true);
    expect(updated?.[1]?.bytes.equals(bytes)).toBe(true);
  });
});

describe("downloads", () => {
  it.each([
    ["application/json", Buffer.from('{ "a" :\t1 }\r\n')],
    ["text/plain", Buffer.from([0xff, 0xfe, 0x80, 0x0d, 0x0a])],
    ["application/octet-stream", every],
    ["text/plain", Buffer.alloc(0)],
  ])("of %s are byte for byte what is there", async (type, bytes) => {
    const { api, seen } = await driveAt((_, response) => void response.writeHead(200, { "content-type": type }).end(bytes));
    expect((await bytesOf(await api.download("id1"))).equals(bytes)).toBe(true);
    expect(seen[0]?.headers["accept-encoding"]).toBe("identity");
  });

  it.each(["content-length", "transfer-encoding"])("that end early do not look complete (%s)", async (how) => {
    const { api } = await driveAt((_, response) => {
      response.writeHead(200, how === "content-length" ? { "content-length": "10" } : {});
      response.write("half", () => response.destroy());
    });
    await expect(api.download("id1").then(bytesOf)).rejects.toMatchObject({ name: "TargetError", kind: "transient" });
  });

  it("whose connection broke before they were read say so then", async () => {
    let broke: Promise<unknown> | undefined;
    const { api } = await driveAt((_, response) => {
      broke = once(response, "close");
      response.writeHead(200, { "content-length": "10" });
      response.write("half", () => setImmediate(() => response.destroy()));
    });
    const chunks = await api.download("id1");
    await broke;
    await expect(bytesOf(chunks)).rejects.toMatchObject({ kind: "transient" });
  });

  it("of what is gone throw, and do not hand out the words of the refusal", async () => {
    const { api } = await driveAt((_, response) => void json(response, 404, failure(404, "notFound")));
    await expect(api.download("id1")).rejects.toMatchObject({
      kind: "not-found",
      message: "could not download id1: why (notFound)",
    });
  });
});

describe("a time limit", () => {
  it.each([
    ["before the answer", () => undefined],
    [
      "in the middle of the answer",
      (_, response) => void response.writeHead(200, { "content-type": "application/json" }).write("{"),
    ],
  ] satisfies Array<[string, Handler]>)("ends a request that stalls %s", async (_, handler) => {
    const { api } = await driveAt(handler, { timeoutMs: 150 });
    await expect(api.get("id1")).rejects.toMatchObject({
      kind: "transient",
      message: expect.stringMatching(/no progress for 0.15 s/),
    });
  });

  it("ends a download that stalls, and leaves alone one whose reader is slow", async () => {
    const { api } = await driveAt(
      (request, response) => {
        response.writeHead(200, { "content-length": "8" });
        response.write("half");
        if (request.path.endsWith("whole")) response.end("full");
      },
      { timeoutMs: 150 },
    );
    await expect(api.download("id1").then(bytesOf)).rejects.toMatchObject({ kind: "transient" });
    const parts: Uint8Array[] = [];
    for await (const part of await api.download("whole")) {
      parts.push(part);
      await later(300);
    }
    expect(Buffer.concat(parts).toString()).toBe("halffull");
  });

  it("ends a sign-in that stalls", async () => {
    const { url } = await serve(() => undefined);
    const credentials = await signIn(url, `${url}token`, { expiry_date: 1 });
    const api = createGoogleApi({ credentials, rootUrl: url, timeoutMs: 150 });
    await expect(api.get("id1")).rejects.toMatchObject({ kind: "transient", message: expect.stringContaining("no progress") });
  }, 15_000); // the token call has a longer limit of its own

  it("runs again once a slow source has come to its end", async () => {
    const { api, url } = await driveAt(() => undefined, { timeoutMs: 150 });
    async function* slow() {
      await later(200);
      yield text("a");
    }
    const chunk = { offset: 0, length: 1, total: 1, bytes: slow() };
    await expect(api.sendChunk(`${url}s`, chunk)).rejects.toMatchObject({ message: expect.stringContaining("no progress") });
  });

  it("is not one on our own side: a source that takes its time is waited for", async () => {
    const { api } = await driveAt(stored, { timeoutMs: 150 });
    async function* slow() {
      for (const part of ["a", "b", "c"]) {
        await later(200);
        yield text(part);
      }
    }
    const { url } = await driveAt(stored);
    await expect(api.sendChunk(`${url}s`, { offset: 0, length: 3, total: 3, bytes: slow() })).rejects.toMatchObject({
      kind: "unsupported", // another server's address
    });
    const { api: own, url: at } = await driveAt(stored, { timeoutMs: 150 });
    expect(await own.sendChunk(`${at}s`, { offset: 0, length: 3, total: 3, bytes: slow() })).toMatchObject({
      done: { id: "id1" },
    });
  });
});

describe("the caller's abort", () => {
  it.each(["get", "download"] as const)("ends %s with its own reason", async (verb) => {
    const stop = new AbortController();
    const reason = new Error("enough");
    const { api, seen } = await driveAt(() => stop.abort(reason));
    await expect(api[verb]("id1", { signal: stop.signal })).rejects.toBe(reason);
    await expect(api[verb]("id1", { signal: stop.signal })).rejects.toBe(reason);
    expect(seen.length).toBe(1);
  });
});

describe("nothing is repeated unseen", () => {
  const calls: ReadonlyArray<readonly [string, (api: Awaited<ReturnType<typeof driveAt>>["api"]) => Promise<unknown>]> = [
    ["get", (api) => api.get("id1")],
    ["create", (api) => api.create("id1", { name: "x" }, every)],
    ["update", (api) => api.update("id1", {}, every, '"e1"')],
    ["remove", (api) => api.remove("id1", '"e1"')],
    ["copy", (api) => api.copy("id1", "id2", {})],
    ["search", (api) => api.search("trashed = false")[Symbol.asyncIterator]().next()],
    ["download", (api) => api.download("id1")],
    ["startSession", (api) => api.startSession({ create: "id1" }, {}, 3)],
  ];
  const refusals = [
    [500, "backendError", "transient"],
    [503, "backendError", "transient"],
    [429, "rateLimitExceeded", "throttled"],
    [403, "userRateLimitExceeded", "throttled"],
    [403, "forbidden", "unsupported"],
  ] as const;

  it.each(calls)("%s: one request for each refusal, and one for a connection that breaks", async (_, call) => {
    for (const [status, reason, kind] of refusals) {
      // Without an end of its own the token would be renewed by Google's client after any 403, and the request sent again.
      const { api, seen, credentials } = await driveAt((_, response) => void json(response, status, failure(status, reason)));
      credentials.client.credentials.expiry_date = null;
      credentials.client.credentials.refresh_token = "1//refresh";
      await expect(call(api)).rejects.toMatchObject({ kind });
      expect(seen.length).toBe(1);
    }
    const { api, seen } = await driveAt((_, response) => void response.destroy());
    await expect(call(api)).rejects.toMatchObject({ kind: "transient" });
    expect(seen.length).toBe(1);
  });

  it("but a token that is refused is renewed once, also by several requests at once, and what was in memory sent again", async () => {
    const { api, seen } = await driveAt((request, response) =>
      request.headers.authorization === "Bearer ya29.second"
        ? void json(response, 200, FILE)
        : void json(response, 401, failure(401, "authError")),
    );
    await Promise.all([api.create("id1", { name: "x" }, every), api.get("id1"), api.get("id1")]);
    expect(seen.filter(({ path }) => path === "/token").length).toBe(1);
    const uploads = seen.filter(({ method, path }) => method === "POST" && path !== "/token");
    expect(uploads.map((upload) => partsOf(upload)[1]?.bytes.equals(every))).toEqual([true, true]);
  });

  it("and a refusal that comes after another call's renewal costs no second one", async () => {
    let late: (() => void) | undefined;
    const { api, seen } = await driveAt((request, response) => {
      const refuse = () => json(response, 401, failure(401, "authError"));
      if (request.headers.authorization === "Bearer ya29.first")
        return request.path.endsWith("late") ? void (late = refuse) : refuse();
      json(response, 200, FILE);
    });
    const second = api.get("late");
    while (late === undefined) await new Promise(setImmediate);
    await api.get("id1");
    late();
    await second;
    expect(seen.filter(({ path }) => path === "/token").length).toBe(1);
  });

  it("and one that is refused again ends the call", async () => {
    const { api, seen } = await driveAt((_, response) => void json(response, 401, failure(401, "authError")));
    await expect(api.get("id1")).rejects.toMatchObject({
      kind: "auth",
      code: "E_AUTH",
      hint: expect.stringContaining("connect drive"),
    });
    expect(seen.map(({ path }) => path)).toEqual(["/drive/v2/files/id1", "/token", "/drive/v2/files/id1"]);
  });
});

describe("ids", () => {
  const never: Handler = () => {
    throw new Error("a request was made");
  };

  it.each(["trash", "generateIds", "", "a/b", "..", "Drive/MemoryVDB/", "a?b"])(
    "%j is refused wherever an id goes",
    async (id) => {
      const { api, seen } = await driveAt(never);
      const uses = [
        () => api.get(id),
        () => api.remove(id, undefined),
        () => api.trash(id),
        () => api.patch(id, {}),
        () => api.update(id, {}, every, undefined),
        () => api.create(id, {}, every),
        () => api.createFolder(id, {}),
        () => api.copy(id, "id2", {}),
        () => api.copy("id1", id, {}),
        () => api.download(id),
        () => api.revisions(id),
        () => api.pin(id, "r"),
        () => api.startSession({ update: id, etag: undefined }, {}, 1),
        () => api.create("id1", { parents: [id] }, every),
        () => api.createFolder("id1", { parents: [id] }),
        () => api.patch("id1", { addParents: [id] }),
        () => api.patch("id1", { removeParents: [id] }),
      ];
      for (const use of uses) await expect(use()).rejects.toMatchObject({ name: "TargetError", kind: "unsupported" });
      expect(seen).toEqual([]);
    },
  );

  it("root may be looked at and be a parent, and is never written to", async () => {
    const { api, seen } = await driveAt(stored);
    await api.get("root");
    await api.create("id1", { parents: ["root"] }, every);
    const writes = [() => api.remove("root", undefined), () => api.trash("root"), () => api.patch("root", {})];
    for (const write of writes) await expect(write()).rejects.toBeInstanceOf(TargetError);
    expect(seen.length).toBe(2);
  });
});

describe("upload sessions", () => {
  const where =
    (location: string): Handler =>
    (_, response) =>
      void response.writeHead(200, { location }).end();

  it("begin at Google's address and go on at root_url, though Google names its own host", async () => {
    const google = "https://www.googleapis.com/upload/drive/v2/files?uploadType=resumable&upload_id=SECRET";
    const { api, seen } = await driveAt((request, response) =>
      request.method === "POST" ? where(google)(request, response) : void json(response, 200, FILE),
    );
    const session = await api.startSession({ create: "id1" }, { name: "a.txt", parents: ["f"] }, 3);
    expect(session).toBe(google);
    const answer = await api.sendChunk(session, { offset: 0, length: 3, total: 3, bytes: chunks(text("ab"), text("c")) });
    expect(answer).toMatchObject({ done: { id: "id1", etag: '"e1"' } });
    const [begun, sent] = seen;
    expect(JSON.parse(begun?.body.toString() ?? "")).toMatchObject({ id: "id1", title: "a.txt", parents: [{ id: "f" }] });
    expect(begun?.headers).toMatchObject({ "x-upload-content-length": "3", "x-upload-content-type": "text/plain" });
    expect(sent?.query.get("upload_id")).toBe("SECRET");
    expect(sent?.headers).toMatchObject({ "content-length": "3", "content-range": "bytes 0-2/3" });
    expect(sent?.headers["transfer-encoding"]).toBeUndefined();
    expect(sent?.body.toString()).toBe("abc");
  });

  it("an update is guarded from its start", async () => {
    const { api, seen } = await driveAt(where("/s"));
    await api.startSession({ update: "id1", etag: '"e1"' }, {}, 3);
    expect(seen[0]).toMatchObject({ method: "PUT", path: "/upload/drive/v2/files/id1", headers: { "if-match": '"e1"' } });
  });

  it.each([
    ["bytes=0-262143", 262_144],
    ["", 0],
  ])("a 308 says what is stored (%j), and is not followed elsewhere", async (range, sent) => {
    const { api, url, seen } = await driveAt((_, response) => {
      response.writeHead(308, { location: "/elsewhere", ...(range && { range }) }).end();
    });
    const chunk = { offset: 0, length: 3, total: 9, bytes: chunks(text("abc")) };
    expect(await api.sendChunk(`${url}s`, chunk)).toEqual({ sent });
    expect(await api.askSession(`${url}s`, 9)).toEqual({ sent });
    expect(seen.map(({ path, headers }) => [path, headers["content-range"]])).toEqual([
      ["/s", "bytes 0-2/9"],
      ["/s", "bytes */9"],
    ]);
  });

  it.each([404, 410, 400])("a %i means that the session is gone, and to drop one that is gone is fine", async (status) => {
    const { api, url } = await driveAt(
      (request, response) => void response.writeHead(request.method === "DELETE" ? 404 : status).end(),
    );
    expect(await api.askSession(`${url}s`, 9)).toEqual({ gone: true });
    await api.dropSession(`${url}s`);
  });

  it("a token that is refused in the middle is renewed, and the piece asked for again by whoever has its bytes", async () => {
    const { api, url, seen } = await driveAt((_, response) => void json(response, 401, failure(401, "authError")));
    const chunk = { offset: 0, length: 3, total: 9, bytes: chunks(text("abc")) };
    const error = { kind: "transient", message: expect.stringContaining("had to be renewed") };
    await expect(api.sendChunk(`${url}s`, chunk)).rejects.toMatchObject(error);
    expect(seen.map(({ path }) => path)).toEqual(["/s", "/token"]);
  });

  it("what the bytes throw comes out unchanged", async () => {
    const { api, url } = await driveAt(stored);
    const error = new Error("the disk is gone");
    async function* broken() {
      yield text("ab");
      throw error;
    }
    await expect(api.sendChunk(`${url}s`, { offset: 0, length: 3, total: 3, bytes: broken() })).rejects.toBe(error);
  });

  it.each(["ab", "abcd"])("bytes that are not as many as was said (%s for 3) are not sent as if they were", async (said) => {
    const { api, url, seen } = await driveAt(stored);
    const chunk = { offset: 0, length: 3, total: 3, bytes: chunks(text(said.slice(0, 2)), text(said.slice(2))) };
    await expect(api.sendChunk(`${url}s`, chunk)).rejects.toMatchObject({ kind: "corrupt" });
    expect(seen).toEqual([]);
  });

  it("a refusal before all is sent ends the source as well", async () => {
    let close = (): void => undefined;
    const closed = new Promise<void>((done) => (close = done));
    async function* endless() {
      try {
        for (;;) yield Buffer.alloc(65_536);
      } finally {
        close();
      }
    }
    const refusal = JSON.stringify(failure(403, "storageQuotaExceeded"));
    const head = `HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length: ${refusal.length}\r\n\r\n`;
    const server = createServer(
      (socket) => void socket.once("data", () => socket.write(head + refusal)).on("error", () => undefined),
    );
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    undo.push(() => server.close());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const api = createGoogleApi({ credentials: await signIn(url, `${url}token`), rootUrl: url, timeoutMs: 5000 });
    const chunk = { offset: 0, length: 2 ** 40, total: 2 ** 40, bytes: endless() };
    await expect(api.sendChunk(`${url}s`, chunk)).rejects.toMatchObject({ code: "E_TARGET_QUOTA" });
    await closed;
  });
});

describe("no request leaves for another place", () => {
  const elsewhere = "http://127.0.0.1:9/upload/drive/v2/files?upload_id=SECRET";
  const places = [
    elsewhere,
    "https://example.com/s?upload_id=SECRET",
    "https://www.googleapis.com.example.com/s?upload_id=SECRET",
  ];

  it.each(places)("than root_url: a session at %s is refused before anything is sent", async (session) => {
    const { api, seen } = await driveAt(stored);
    const chunk = { offset: 0, length: 1, total: 1, bytes: chunks(text("a")) };
    const uses = [() => api.askSession(session, 1), () => api.dropSession(session), () => api.sendChunk(session, chunk)];
    for (const use of uses) {
      const error: unknown = await use().catch((error: unknown) => error);
      expect(error).toMatchObject({ kind: "unsupported" });
      expect(inspect(error, { depth: 8 })).not.toContain("SECRET");
    }
    expect(seen).toEqual([]);
  });

  it("nor by a redirect", async () => {
    const { api, seen } = await driveAt(
      (_, response) => void response.writeHead(302, { location: "https://example.com/" }).end(),
    );
    await expect(api.get("id1")).rejects.toMatchObject({ kind: "transient" });
    expect(seen.length).toBe(1);
  });

  it("nor through a proxy, to loopback", async () => {
    process.env["HTTPS_PROXY"] = "http://127.0.0.1:9/";
    undo.push(() => delete process.env["HTTPS_PROXY"]);
    const { api, seen } = await driveAt(stored);
    await api.create("id1", { name: "x" }, every);
    expect(seen.length).toBe(1);
  });
});

describe("a search", () => {
  const pages: Handler = (request, response) =>
    request.query.has("pageToken")
      ? void json(response, 400, failure(400, "invalid"))
      : void json(response, 200, { files: [{ id: "id1", name: "a" }], nextPageToken: "next" });
  const read = async (handler: Handler) => {
    const { api } = await driveAt(handler);
    for await (const { id } of api.search("trashed = false")) expect(id).toBe("id1");
  };

  it("whose page token has grown too old has to start again, and a wrong one does not", async () => {
    await expect(read(pages)).rejects.toMatchObject({ kind: "transient" });
    await expect(read((_, response) => void json(response, 400, failure(400, "invalid")))).rejects.toMatchObject({
      kind: "unsupported",
    });
  });

  it("that left something out is not complete", async () => {
    const part: Handler = (_, response) => void json(response, 200, { files: [], incompleteSearch: true });
    await expect(read(part)).rejects.toMatchObject({ kind: "transient" });
  });
});

describe("an answer that is not Google's", () => {
  it.each([
    ["a page with status 200", "text/html", "<html>Welcome to the airport's network</html>"],
    ["JSON of something else", "application/json", "{}"],
    ["JSON of nothing", "application/json", "null"],
    ["JSON that ends early", "application/json", '{"id": "id1", "ti'],
  ])("%s is no file, no empty listing and no success", async (_, type, body) => {
    const { api, url } = await driveAt((_, response) => void response.writeHead(200, { "content-type": type }).end(body));
    const uses = [
      () => api.get("id1"),
      () => api.create("id1", { name: "x" }, every),
      () => api.search("trashed = false")[Symbol.asyncIterator]().next(),
      () => api.revisions("id1"),
      () => api.generateIds(1),
      () => api.trash("id1"),
      () => api.about(),
      () => api.sharedDrive("id1"),
      () => api.startSession({ create: "id1" }, {}, 1),
      () => api.askSession(`${url}s`, 1),
      () => api.pin("id1", "r"),
      () => api.remove("id1", undefined),
    ];
    for (const use of uses) await expect(use()).rejects.toMatchObject({ kind: "transient" });
  });
});

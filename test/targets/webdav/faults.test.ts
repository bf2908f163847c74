import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { TargetError } from "../../../src/core/errors.ts";
import { parseKey } from "../../../src/core/key.ts";
import { stack, type Target } from "../../../src/core/target.ts";
import { clearWebdav } from "../../../src/targets/webdav.ts";
import { bytesOf, sourceOf } from "../../../src/testing/source.ts";
import { withRetry } from "../../../src/wraps/retry.ts";
import { contextFor, memoryOf, openAt, PASSWORD, ROOT } from "./place.ts";
import { type Dav, type Fault, type Settings, startDav } from "./server.ts";

const NOTE = parseKey("Core/Note.txt");
const AT = `${ROOT}${NOTE}`;
const SMALL = 64 * 1024;

let dav: Dav;
let target: Target;
const opened: Array<{ close(): Promise<void> }> = [];

async function start(settings: Partial<Settings> = {}): Promise<void> {
  dav = await startDav(settings);
  target = await openAt(dav.url, { tuning: { smallBytes: SMALL } });
  opened.push(target, dav);
}
beforeEach(() => start());
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
});

const failure = async (work: Promise<unknown>): Promise<TargetError> => {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof TargetError)) throw new Error(`expected a TargetError, got ${String(error)}`);
  return error;
};

describe("what a server answers", () => {
  const answers: Array<[Exclude<Fault, string>, Partial<TargetError>]> = [
    [
      { status: 301, headers: { location: "https://elsewhere.example/dav/?token=hidden" } },
      { kind: "transient", code: "E_TARGET_UNREACHABLE" },
    ],
    [
      { status: 200, body: "<html>please log in</html>" },
      { kind: "transient", code: "E_TARGET_UNREACHABLE" },
    ],
    [
      { status: 207, body: "<html>nonsense" },
      { kind: "transient", code: "E_TARGET_UNREACHABLE" },
    ],
    [{ status: 403 }, { kind: "unsupported", code: "E_TARGET_FORBIDDEN" }],
    [{ status: 405 }, { kind: "unsupported", code: "E_TARGET_UNSUPPORTED" }],
    [{ status: 413 }, { kind: "unsupported", code: "E_TARGET_UNSUPPORTED" }],
    [{ status: 423 }, { kind: "transient", code: "E_TARGET_TRANSIENT" }],
    [
      { status: 429, headers: { "retry-after": "7" } },
      { kind: "throttled", retryAfterMs: 7000 },
    ],
    [
      { status: 503, headers: { "retry-after": "2" } },
      { kind: "throttled", retryAfterMs: 2000 },
    ],
    [{ status: 503 }, { kind: "transient", code: "E_TARGET_TRANSIENT" }],
    [{ status: 507 }, { kind: "quota", code: "E_TARGET_QUOTA" }],
  ];
  it.each(answers)("%o", async (answer, expected) => {
    dav.fault = () => answer;
    const error = await failure(target.stat(NOTE));
    expect(error).toMatchObject(expected);
    expect(error.hint).toBeTruthy();
    expect(error.message).not.toContain("hidden");
  });

  it("a redirect is not followed, so the password goes nowhere else", async () => {
    const elsewhere = await startDav();
    opened.push(elsewhere);
    await target.put(NOTE, sourceOf("x"));
    dav.fault = ({ method }) => (method === "GET" ? { status: 307, headers: { location: `${elsewhere.url}${AT}` } } : undefined);
    expect((await failure(target.read(NOTE, bytesOf))).message).toContain(elsewhere.url);
    expect(elsewhere.requests).toEqual([]);
  });

  it("no room: nothing changes and nothing is left", async () => {
    await target.put(NOTE, sourceOf("old"));
    dav.room = 10;
    for (const size of [100, 2 * SMALL])
      expect(await failure(target.put(NOTE, sourceOf(Buffer.alloc(size))))).toMatchObject({ kind: "quota" });
    expect(dav.files()).toEqual([AT]);
    expect(Buffer.from(await target.read(NOTE, bytesOf)).toString()).toBe("old");
  });

  it("the folder of `url` is not there: nothing is made in its place", async () => {
    const absent = await openAt(`${dav.url}no/`);
    opened.push(absent);
    for (const work of [absent.stat(NOTE), absent.put(NOTE, sourceOf("x"))])
      expect(await failure(work)).toMatchObject({ kind: "transient", code: "E_TARGET_UNREACHABLE" });
    expect([...dav.folders]).toEqual(["/dav"]);
  });
});

describe("signing in", () => {
  it("a wrong password is refused once, and appears in no error", async () => {
    const wrong = await openAt(dav.url, { password: "hunter2-hunter2" });
    opened.push(wrong);
    const error = await failure(wrong.stat(NOTE));
    expect(error).toMatchObject({ kind: "auth", code: "E_AUTH" });
    expect(dav.requests.length).toBe(2);
    expect(inspect(error, { depth: 10 }) + String(error.stack)).not.toMatch(/hunter2|aHVudGVy|YWxpY2U6/);
  });

  it("no password, or no user where one is needed: not signed in", async () => {
    const none = await openAt(dav.url, { password: undefined });
    const nobody = await openAt(dav.url, { options: { user: undefined } });
    opened.push(none, nobody);
    for (const one of [none, nobody])
      expect(await failure(one.stat(NOTE))).toMatchObject({ kind: "auth", code: "E_TOKEN_MISSING" });
  });

  it("the password is read from its file, without the line's end", async () => {
    const folder = await mkdtemp(join(tmpdir(), "aftersave-dav-"));
    const file = join(folder, "password");
    await writeFile(file, `${PASSWORD}\n`, { mode: 0o600 });
    const signed = await openAt(dav.url, { password: undefined, options: { password_file: file } });
    opened.push(signed);
    expect(await signed.stat(NOTE)).toBeUndefined();
    await rm(folder, { recursive: true });
  });

  it("Digest: the password is never sent, and a nonce that ends is replaced, also for a body", async () => {
    await start({ auth: "digest" });
    for (let at = 0; at < 30; at++)
      await target.put(parseKey(`Many/${at}.txt`), sourceOf(Buffer.alloc(at % 5 === 0 ? 2 * SMALL : 9)));
    expect(dav.files().length).toBe(30);
    for (const { headers } of dav.requests) expect(headers.authorization ?? "Digest").toMatch(/^Digest/);
    const wrong = await openAt(dav.url, { password: "wrong" });
    opened.push(wrong);
    expect(await failure(wrong.stat(NOTE))).toMatchObject({ code: "E_AUTH" });
  });
});

describe("what breaks on the way", () => {
  it("nobody listens", async () => {
    const server = createServer();
    const port = await new Promise<number>((done) => {
      server.listen(0, "127.0.0.1", () => done((server.address() as AddressInfo).port));
    });
    await new Promise((done) => server.close(done));
    const nowhere = await openAt(`http://127.0.0.1:${port}/`);
    expect(await failure(nowhere.stat(NOTE))).toMatchObject({ kind: "transient", code: "E_TARGET_UNREACHABLE" });
  });

  it.each([{}, { conditions: false }])(
    "a lost answer to any request of a put is no conflict with oneself (%o)",
    async (settings) => {
      await start(settings);
      const again = stack(target, withRetry({ attempts: 4, baseMs: 1 }));
      let seen = await again.put(NOTE, sourceOf("0"));
      for (const size of [10, 2 * SMALL])
        for (const method of ["PROPFIND", "PUT", "GET", "MOVE"]) {
          let isLost = false;
          dav.fault = (request) => {
            if (isLost || request.method !== method) return undefined;
            isLost = true;
            return "lose";
          };
          const content = sourceOf(Buffer.alloc(size, `${method} ${size}`));
          seen = await again.put(NOTE, content, { expect: seen });
          expect(seen.hash?.hex).toBe(content.sha256);
        }
      dav.fault = () => undefined;
      expect(dav.files()).toEqual([AT]);
    },
  );

  it("an answer that is cut never looks complete", async () => {
    await target.put(NOTE, sourceOf(Buffer.alloc(3 * SMALL, "x")));
    dav.fault = () => "cut";
    expect(await failure(target.read(NOTE, bytesOf))).toMatchObject({ kind: "transient" });
    expect(await failure(target.stat(NOTE))).toMatchObject({ kind: "transient" });
  });
});

describe("promises", () => {
  it.each([10, 2 * SMALL])("bytes that the server spoils are not taken for ours (%i)", async (size) => {
    await target.put(NOTE, sourceOf("old"));
    dav.spoil = (bytes) => Buffer.from(bytes).fill("!", 3, 4);
    expect(await failure(target.put(NOTE, sourceOf(Buffer.alloc(size, "x"))))).toMatchObject({ code: "E_TARGET_CORRUPT" });
    if (size > SMALL) expect(Buffer.from(await target.read(NOTE, bytesOf)).toString()).toBe("old");
  });

  it("a folder is never replaced or removed by a file of its name", async () => {
    await start({ conditions: false });
    await target.put(parseKey("Core/Note.txt/in it.txt"), sourceOf("precious"));
    for (const work of [() => target.put(NOTE, sourceOf("x")), () => target.remove(NOTE), () => target.stat(NOTE)])
      expect(await failure(work())).toMatchObject({ code: "E_KEY_FOLDER" });
    expect(dav.files()).toEqual([`${AT}/in it.txt`]);
  });

  it("what killed writers left is swept away after a day, and never listed", async () => {
    await target.put(NOTE, sourceOf("x"));
    const [old, young] = [`${ROOT}.aftersave/tmp/00`, `${ROOT}.aftersave/tmp/11`];
    for (const path of [old, young]) dav.write(path, Buffer.from("half"));
    dav.age(old, 2 * 24 * 60 * 60 * 1000);
    const next = await openAt(dav.url);
    opened.push(next);
    await next.put(NOTE, sourceOf("y"));
    const keys: string[] = [];
    for await (const { key } of next.list("")) keys.push(key);
    expect(keys).toEqual([NOTE]);
    expect(dav.files()).toEqual([AT, young]);
  });

  it("what the server can do is tried out once, and leaves nothing", async () => {
    const memory = memoryOf();
    for (const round of [1, 2]) {
      const one = await openAt(dav.url, { memory });
      opened.push(one);
      const before = dav.requests.length;
      await one.put(parseKey(`Core/${round}.txt`), sourceOf("x"));
      if (round === 2)
        expect(dav.requests.slice(before).map(({ method }) => method)).toEqual([
          "PROPFIND",
          "PROPFIND",
          "PROPFIND",
          "PROPFIND",
          "PUT",
          "GET",
        ]);
    }
    expect(dav.files()).toEqual([`${ROOT}Core/1.txt`, `${ROOT}Core/2.txt`]);
  });

  const costs: Array<[string, Partial<Settings>, string, string]> = [
    ["Apache", {}, "PUT GET", "PROPFIND PUT GET MOVE PROPFIND"],
    [
      "nginx",
      { conditions: false, etags: false, dates: true },
      "PROPFIND PUT MOVE PROPFIND GET PROPFIND",
      "PROPFIND PROPFIND PUT GET MOVE PROPFIND",
    ],
    ["rclone", { conditions: false }, "PUT MOVE GET", "PROPFIND PUT GET MOVE PROPFIND"],
  ];
  it.each(costs)("what a new file costs on one like %s", async (_, settings, small, big) => {
    await start(settings);
    await target.put(NOTE, sourceOf("x"));
    for (const [size, cost] of [
      [10, small],
      [2 * SMALL, big],
    ] as const) {
      const before = dav.requests.length;
      await target.put(parseKey(`Core/${size}`), sourceOf(Buffer.alloc(size)), { expect: "absent" });
      expect(
        dav.requests
          .slice(before)
          .map(({ method }) => method)
          .join(" "),
      ).toBe(cost);
    }
  });

  it("names are found again behind a proxy that shows another path", async () => {
    await start({ behind: "/outside" });
    await target.put(parseKey("Core/Ü & ü.txt"), sourceOf("x"));
    const keys: string[] = [];
    for await (const { key } of target.list("Co")) keys.push(key);
    expect(keys).toEqual(["Core/Ü & ü.txt"]);
  });

  it("clears a scratch folder and nothing else", async () => {
    await target.put(NOTE, sourceOf("kept"));
    const scratch = { root: "scratch/" };
    const other = await openAt(dav.url, scratch);
    opened.push(other);
    await other.put(NOTE, sourceOf("x"));
    await clearWebdav(contextFor(dav.url, scratch));
    expect(dav.files()).toEqual([AT]);
    await expect(clearWebdav(contextFor(dav.url, { root: "" }))).rejects.toMatchObject({ kind: "unsupported" });
  });
});

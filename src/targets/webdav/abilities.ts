/**
 * What a WebDAV server really does. Many ignore a condition without a word, so it is tried out once for each place, on
 * helper files of our own, and remembered.
 * @module
 */
import { randomBytes } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { TargetError } from "../../core/errors.ts";
import type { Call, DriverMemory } from "../../core/target.ts";
import { type Answer, bareOf, type Found, type Server } from "./http.ts";

export interface Abilities {
  /** A small PUT may go straight to its name: it obeys `If-None-Match: *` and `If`, and shows nothing before it is whole. */
  readonly direct: boolean;
  /** MOVE obeys `Overwrite: F`. */
  readonly create: boolean;
  /** MOVE obeys the ETag of what it replaces, in `If`. */
  readonly replace: boolean;
  /** So does DELETE. */
  readonly remove: boolean;
  /** A listing and a download tell one ETag. */
  readonly etags: boolean;
  /** Two contents of one size within a second look alike. */
  readonly coarse: boolean;
  /** The `Date` of a PUT becomes the file's time (nginx). */
  readonly dates: boolean;
  readonly caseSensitive: boolean;
  /** A listing leaves out names that begin with a dot (nginx). */
  readonly hidesDots: boolean;
}

const MEMORY = "abilities";
const HALF = 64 * 1024;

export async function recall(memory: DriverMemory, place: string): Promise<Abilities | undefined> {
  const text = await memory.get(MEMORY);
  if (text === undefined) return undefined;
  const known = JSON.parse(text) as { place: string; abilities: Abilities };
  return known.place === place ? known.abilities : undefined;
}

/** The condition that what lies at `url` still has this ETag. */
export const ifEtag = (url: string, etag: string) => `<${url}> (["${etag}"])`;

export const bodyOf = (bytes: Uint8Array) => ({
  size: bytes.length,
  async *open() {
    yield bytes;
  },
});

/**
 * Tries it out with some twenty small requests and remembers it. Fails as any request may, and then remembers nothing.
 *
 * @param folder The folder of our helpers, which is there; encoded, with a slash at its end.
 */
export async function findOut(
  server: Server,
  memory: DriverMemory,
  place: string,
  folder: string,
  call: Call,
): Promise<Abilities> {
  const doing = "try out what the server can do";
  const made = new Set<string>();
  const name = () => {
    const path = `${folder}try-${randomBytes(8).toString("hex")}`;
    made.add(path);
    return path;
  };
  const urlOf = (path: string) => server.base.origin + path;
  const put = (path: string, text: string, headers: Record<string, string> = {}) =>
    server.ask(doing, call, { method: "PUT", path, headers, body: bodyOf(Buffer.from(text)) });
  const found = async (path: string): Promise<Found | undefined> => (await server.look(doing, call, path, 0))?.found[0];
  const textAt = async (path: string): Promise<string> => {
    const got = await server.read(doing, call, path, async (bytes) => {
      const parts: Uint8Array[] = [];
      for await (const part of bytes) parts.push(part);
      return Buffer.concat(parts).toString();
    });
    return got?.done ?? "";
  };
  const etagOf = async (path: string) => (await found(path))?.etag ?? "";
  /** Whether it is refused where it must be, and done where it may. */
  const isRefused = async (work: Promise<Answer>) => (await tried(work)) === 412;
  const isDone = async (work: Promise<Answer>) => (await tried(work)) < 300;

  try {
    const [a, b] = [name(), name()];
    await put(a, "aaaa");
    await put(b, "bbbb");

    const listed = await etagOf(b);
    const loaded = await server.read(doing, call, b, (_, headers) => Promise.resolve(bareOf(headers.etag)));
    const etags = listed !== "" && listed === loaded?.done;
    const caseSensitive = (await found(folder + b.slice(folder.length).toUpperCase())) === undefined;

    const move = (from: string, to: string, headers: Record<string, string>) =>
      server.ask(doing, call, { method: "MOVE", path: from, headers: { destination: urlOf(to), ...headers } });
    const create = (await isRefused(move(a, b, { overwrite: "F" }))) && (await textAt(b)) === "bbbb";

    let [replace, remove, direct] = [false, false, false];
    if (etags) {
      await put(a, "aaaa");
      const right = () => etagOf(b).then((etag) => ifEtag(urlOf(b), etag));
      const wrong = ifEtag(urlOf(b), "no-such-etag");
      replace =
        (await isRefused(move(a, b, { overwrite: "T", if: wrong }))) &&
        (await isDone(move(a, b, { overwrite: "T", if: await right() })));
      const sent = (headers: Record<string, string>, path = b) =>
        server.ask(doing, call, { method: "PUT", path, headers, body: bodyOf(Buffer.from("cccc")) });
      direct =
        (await isRefused(sent({ "if-none-match": "*" }))) &&
        (await isDone(sent({ "if-none-match": "*" }, name()))) &&
        (await isRefused(sent({ if: wrong }))) &&
        (await isDone(sent({ if: await right() }))) &&
        (await isWhole(b));
      const drop = (If: string) => server.ask(doing, call, { method: "DELETE", path: b, headers: { if: If } });
      remove = (await isRefused(drop(wrong))) && (await isDone(drop(await right())));
    }

    const dotted = `${folder}.${a.slice(folder.length)}`;
    made.add(dotted);
    await put(dotted, "dots");
    const own = decodeURIComponent(dotted);
    const hidesDots =
      (await server.look(doing, call, folder, 1))?.found.every(({ path }) => !path.endsWith(own.slice(own.lastIndexOf("/")))) ===
      true;

    const time = "Sat, 01 Jan 2022 00:00:00 GMT";
    await put(a, "1111", { date: time });
    const dates = (await found(a))?.modified === Date.parse(time);
    let coarse = false;
    for (let round = 0; round < 3 && !coarse; round++) {
      const seen = new Set<string>();
      for (const text of ["1111", "2222"]) {
        await put(a, text);
        const now = await found(a);
        seen.add(etags ? (now?.etag ?? "") : String(now?.modified));
        await pause(20);
      }
      coarse = seen.size < 2;
    }
    const abilities: Abilities = { direct, create, replace, remove, etags, coarse, dates, caseSensitive, hidesDots };
    await memory.set(MEMORY, JSON.stringify({ place, abilities }));
    return abilities;
  } finally {
    const swept = Promise.all(
      [...made].map((path) => server.ask(doing, undefined, { method: "DELETE", path, expects: [404] }).catch(passOver)),
    );
    if (call.signal?.aborted !== true) await swept;
  }

  /** Whether half a PUT shows, or stays when it breaks. */
  async function isWhole(path: string): Promise<boolean> {
    const broken = new Error("half of it was sent");
    const before = await textAt(path);
    let showed = false;
    async function* open() {
      yield Buffer.alloc(HALF, "h");
      for (let look = 0; look < 3 && !showed; look++) {
        await pause(30);
        showed = (await textAt(path)) !== before;
      }
      throw broken;
    }
    await server.ask(doing, call, { method: "PUT", path, body: { size: 2 * HALF, open } }).catch((error: unknown) => {
      if (!(error instanceof TargetError) && error !== broken) throw error;
    });
    await pause(30);
    return !showed && (await textAt(path)) === before;
  }
}

function passOver(error: unknown): void {
  if (!(error instanceof TargetError)) throw error;
}

/** The status of what a server may refuse to do. */
async function tried(work: Promise<Answer>): Promise<number> {
  try {
    return (await work).status;
  } catch (error) {
    const status = error instanceof TargetError ? Number(error.details["status"] ?? 0) : 0;
    if (status === 0 || status === 401 || status === 429 || status === 503 || status === 507) throw error;
    return status;
  }
}

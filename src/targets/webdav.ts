/**
 * A folder of a WebDAV server as a target. What the server does with conditions is tried out once (webdav/abilities.ts);
 * bytes are proven by reading them back, since WebDAV reports no hash. Facts: docs/targets/webdav.md.
 * @module
 */
import { createHash, randomBytes } from "node:crypto";
import { untilAborted } from "../core/chunks.ts";
import { TargetError } from "../core/errors.ts";
import { foldKey, type Key, OWN_FOLDER } from "../core/key.ts";
import type { Call, Chunks, Entry, Guard, Source, Target } from "../core/target.ts";
import { createLines } from "./shared/in-line.ts";
import type { DriverContext } from "./shared/driver.ts";
import { keyOf } from "./shared/names.ts";
import { type Abilities, bodyOf, findOut, ifEtag, recall } from "./webdav/abilities.ts";
import { stranger } from "./webdav/faults.ts";
import { type Answer, type Asked, bareOf, type Found, openServer, type Server } from "./webdav/http.ts";

export interface WebdavTuning {
  /** Bodies up to here are held in memory and may go straight to their name; 1 MiB. */
  readonly smallBytes?: number | undefined;
}

const MOST_AT_ONCE = 8;
/** Tries of one unconditional write that others keep disturbing. */
const ROUNDS = 4;
/** The clock that file systems stamp with ticks this slowly: an edit after it shows. */
const GRAIN_MS = 10;
const DAY = 24 * 60 * 60 * 1000;
const HELPERS = `${OWN_FOLDER}/tmp/`;
/** What servers answer to a write whose folder is not there: 409 as they should, nginx 404, rclone 403, Apache's MOVE 500. */
const PARENTLESS = new Set([403, 404, 409, 500]);
/** What can stand in a condition between quotes. */
const ETAG = /^[\x21\x23-\x7e]+$/;

/** In the driver's memory: keys that a listing of the server leaves out. */
const DOTTED = "dotted/";
const hasDot = (key: Key) => /(^|\/)\./.test(key);

const encoded = (path: string) => path.split("/").map(encodeURIComponent).join("/");
const parentOf = (path: string) => path.slice(0, path.replace(/\/$/, "").lastIndexOf("/") + 1);
const statusOf = (error: unknown) => (error instanceof TargetError ? Number(error.details["status"] ?? 0) : 0);

const wrongBody = () => new TargetError("corrupt", "the body's bytes are not what its size and sha256 say");

/** The bytes of `body`; the last part is kept back until all of them are proven to be the ones that it promises. */
async function* proven(body: Source): Chunks {
  const hash = createHash("sha256");
  let size = 0;
  let kept: Uint8Array | undefined;
  for await (const chunk of body.open()) {
    if (kept) yield kept;
    size += chunk.length;
    if (size > body.size) throw wrongBody();
    kept = Buffer.from(chunk);
    hash.update(kept);
  }
  if (size !== body.size || hash.digest("hex") !== body.sha256) throw wrongBody();
  if (kept) yield kept;
}

async function collect(body: Source, signal?: AbortSignal): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of untilAborted(proven(body), signal)) parts.push(part);
  return Buffer.concat(parts);
}

/** Opens the target; nothing is asked for before the first verb. */
export async function openWebdavTarget(context: DriverContext, { smallBytes = 1024 * 1024 }: WebdavTuning = {}): Promise<Target> {
  const { name, memory, clock } = context;
  const shown = context.root === "" || context.root.endsWith("/") ? context.root : `${context.root}/`;
  const place = JSON.stringify([context.options["url"], shown]);

  let known: Abilities | undefined = await recall(memory, place);
  let opening: Promise<Server> | undefined;
  let asking: Promise<Abilities> | undefined;
  let isThere = false;
  let isSwept = false;
  const making = new Map<string, Promise<void>>();
  const inTurn = createLines();

  const server = () =>
    (opening ??= openServer(context).catch((error: unknown) => {
      opening = undefined;
      throw error;
    }));

  const pathOf = (key: Key) => shown + key;
  const absentFault = (key: Key) => new TargetError("not-found", `${pathOf(key)} is not on ${name}`);
  const conflict = (key: Key, what: string) => new TargetError("conflict", `${pathOf(key)} ${what}`);
  const changed = (key: Key) => conflict(key, "was changed by someone else");
  const standsInTheWay = (path: string, what: string, wanted: string) =>
    new TargetError("unsupported", `${what} stands at ${path}, where a ${wanted} should be`, {
      code: "E_KEY_FOLDER",
      hint: "Rename what is in the way at the server.",
    });

  const at = (on: Server, path: string) => on.base.pathname + encoded(shown + path);
  const fileOf = (on: Server, key: Key) => {
    if (key.startsWith(HELPERS))
      throw new TargetError("unsupported", `${pathOf(key)} is a name that aftersave uses for its temporary files`, {
        hint: "Rename the file.",
      });
    return at(on, key);
  };
  const conditionOf = (on: Server, path: string, etag: string | undefined): Record<string, string> =>
    etag === undefined ? {} : { if: ifEtag(urlOf(on, path), etag) };
  const urlOf = (on: Server, path: string) => on.base.origin + path;

  /** A server that answers "absent" to everything may be the wrong one: the first such answer is checked. */
  const assertBase = async (on: Server, call: Call | undefined): Promise<void> => {
    if (isThere) return;
    const base = await on.look("look at the folder", call, on.base.pathname, 0);
    if (base?.found[0]?.isFolder !== true)
      throw new TargetError("transient", `the folder that \`url\` of ${name} names is not there`, {
        code: "E_TARGET_UNREACHABLE",
        hint: `Create it at the server, or correct \`url\` at targets.${name} in paths.json; it is never created here.`,
      });
    isThere = true;
  };

  const makeFolder = (on: Server, path: string): Promise<void> => {
    const underway = making.get(path);
    if (underway) return underway;
    const work = (async () => {
      if (path === on.base.pathname) return assertBase(on, undefined);
      const doing = `make the folder ${decodeURIComponent(path)}`;
      const mkcol = () => on.ask(doing, undefined, { method: "MKCOL", path, expects: [404, 405, 409] });
      let { status } = await mkcol();
      if (status === 404 || status === 409) {
        await makeFolder(on, parentOf(path));
        ({ status } = await mkcol());
      }
      if (status < 300) return;
      const there = await on.look(doing, undefined, path, 0);
      if (there === undefined) throw new TargetError("transient", `could not ${doing}: the server answered ${status}`);
      if (there.found[0]?.isFolder !== true) throw standsInTheWay(decodeURIComponent(path), "a file", "folder");
    })().finally(() => making.delete(path));
    making.set(path, work);
    return work;
  };

  /** Does what writes `path`; where its folder is missing it is made, and then it is done once more. */
  const inFolder = async (on: Server, path: string, call: Call, work: () => Promise<Answer>): Promise<Answer> => {
    try {
      return await work();
    } catch (error) {
      if (!PARENTLESS.has(statusOf(error))) throw error;
      await makeFolder(on, parentOf(path));
      call.signal?.throwIfAborted();
      return work();
    }
  };

  const abilities = async (call: Call): Promise<Abilities> => {
    if (known) return known;
    const on = await server();
    // several callers wait for one answer; the one whose signal aborts leaves the others without it, and they ask anew
    asking ??= (async () => {
      await makeFolder(on, at(on, HELPERS));
      return findOut(on, memory, place, at(on, HELPERS), call);
    })().finally(() => (asking = undefined));
    try {
      return (known = await asking);
    } catch (error) {
      call.signal?.throwIfAborted();
      if (error instanceof TargetError) throw error;
      return abilities(call);
    }
  };

  const revOf = ({ etag, modified, size }: Found, doing: string): string => {
    if (etag !== "") return etag;
    if (!Number.isNaN(modified)) return `${(modified / 1000).toString(16)}-${size.toString(16)}`;
    throw new TargetError("unsupported", `could not ${doing}: the server tells neither an ETag nor a time of its files`, {
      hint: "Changes by others could not be noticed there. Use another server.",
    });
  };

  /** Where times are whole seconds, what is younger than that is looked at again: the next edit of that second would look the same. */
  const settled = async (on: Server, doing: string, call: Call | undefined, path: string, depth: 0 | 1) => {
    for (let round = 0; ; round++) {
      const seen = await on.look(doing, call, path, depth);
      const isYoung = seen?.found.some(({ isFolder, modified }) => !isFolder && modified > seen.date - 1000) === true;
      if (known?.coarse !== true || !isYoung || round === 8) return seen;
      await clock.sleep(250, call?.signal);
    }
  };

  const look = async (
    on: Server,
    key: Key,
    call: Call | undefined,
  ): Promise<(Entry & { readonly modified: number }) | undefined> => {
    const doing = `look at ${pathOf(key)}`;
    const seen = await settled(on, doing, call, fileOf(on, key), 0);
    const found = seen?.found[0];
    if (!found) {
      if (seen) throw stranger(doing, { name });
      await assertBase(on, call);
      return undefined;
    }
    isThere = true;
    if (found.isFolder) throw standsInTheWay(pathOf(key), "a folder", "file");
    return { key, size: found.size, rev: revOf(found, doing), modified: found.modified };
  };

  /** What the server has, read and hashed here. */
  const readBack = async (
    on: Server,
    path: string,
    doing: string,
    call: Call,
    onProgress?: (count: number) => void,
  ): Promise<{ readonly etag: string; readonly size: number; readonly sha256: string } | undefined> => {
    const got = await on.read(doing, call, path, async (bytes, headers) => {
      const hash = createHash("sha256");
      let size = 0;
      for await (const chunk of bytes) {
        hash.update(chunk);
        size += chunk.length;
        onProgress?.(size);
      }
      return { etag: bareOf(headers.etag), size, sha256: hash.digest("hex") };
    });
    return got?.done;
  };

  const hashed = async (on: Server, key: Key, call: Call): Promise<Entry | undefined> => {
    const path = fileOf(on, key);
    const doing = `read ${pathOf(key)}`;
    const inOne = known?.etags === true && !known.coarse;
    for (let round = 0; round < ROUNDS; round++) {
      const before = inOne ? undefined : await look(on, key, call);
      if (!inOne && !before) return undefined;
      const got = await readBack(on, path, doing, call);
      if (!got) return undefined;
      const entry = (rev: string): Entry => ({ key, size: got.size, rev, hash: { algo: "sha256", hex: got.sha256 } });
      if (inOne && got.etag !== "") return entry(got.etag);
      const after = await look(on, key, call);
      if (before && after?.rev === before.rev && after.size === got.size) return entry(after.rev);
    }
    throw new TargetError("transient", `${pathOf(key)} changed while it was read`);
  };

  const assertExpected = (key: Key, expect: Guard["expect"], found: Entry | undefined): void => {
    if (expect === undefined) return;
    if (expect === "absent") {
      if (found) throw conflict(key, "is already there");
    } else if (!found) throw absentFault(key);
    else if (found.rev !== expect.rev) throw changed(key);
  };

  const drop = async (on: Server, path: string): Promise<void> => {
    await on.ask("remove a temporary file", undefined, { method: "DELETE", path, expects: [404] }).catch((error: unknown) => {
      // it is swept away some day
      if (!(error instanceof TargetError)) throw error;
    });
  };

  /** Once in a run: removes what killed writers left. */
  const sweep = async (on: Server, call: Call): Promise<void> => {
    if (isSwept) return;
    isSwept = true;
    const left = await on.look("look for temporary files that were left", call, at(on, HELPERS), 1);
    for (const { path, isFolder, modified } of left?.found ?? [])
      if (!isFolder && (left?.date ?? 0) - modified > DAY)
        await drop(on, at(on, HELPERS + path.slice(path.lastIndexOf("/") + 1)));
  };

  const write = (on: Server, doing: string, call: Call, asked: Asked) =>
    inFolder(on, asked.path, call, () => on.ask(doing, call, asked));

  const move = (on: Server, doing: string, from: string, to: string, call: Call, headers: Readonly<Record<string, string>>) =>
    inFolder(on, to, call, () =>
      on.ask(doing, call, { method: "MOVE", path: from, headers: { destination: urlOf(on, to), ...headers } }),
    );

  /**
   * Runs `go` with the condition that must hold. Where the server does not check it, it is looked at immediately before. Without an
   * expectation it is what is there now, so that a folder in the way is never replaced.
   */
  const guarded = async (
    on: Server,
    key: Key,
    guard: Guard,
    checks: { readonly absent: boolean; readonly seen: boolean },
    go: (condition: { readonly absent: boolean; readonly etag: string | undefined }) => Promise<unknown>,
  ): Promise<void> => {
    for (let round = 1; ; round++) {
      let { expect } = guard;
      const isChecked = expect === "absent" ? checks.absent : expect !== undefined && checks.seen && ETAG.test(expect.rev);
      if (!isChecked) {
        const found = await look(on, key, guard);
        assertExpected(key, expect, found);
        expect ??= found ?? "absent";
      }
      guard.signal?.throwIfAborted();
      try {
        const etag = expect !== undefined && expect !== "absent" && checks.seen && ETAG.test(expect.rev) ? expect.rev : undefined;
        await go({ absent: expect === "absent", etag });
        return;
      } catch (error) {
        if (statusOf(error) !== 412) throw error;
        assertExpected(key, guard.expect, await look(on, key, guard));
        if (guard.expect === undefined && round < ROUNDS) continue;
        throw new TargetError("transient", `others write ${pathOf(key)} at the same time`, { cause: error });
      }
    }
  };

  /** Moves what lies at `tmp`, whole, to the name of `key`. */
  const moveInto = (on: Server, can: Abilities, doing: string, tmp: string, key: Key, guard: Guard) =>
    guarded(on, key, guard, { absent: can.create, seen: can.replace }, ({ absent, etag }) => {
      const to = fileOf(on, key);
      return move(on, doing, tmp, to, guard, {
        overwrite: absent ? "F" : "T",
        ...conditionOf(on, to, etag),
      });
    });

  /** A time that no other content of this key had, for servers that take it from us and tell whole seconds only. */
  const timeFor = async (on: Server, key: Key, guard: Guard): Promise<number> => {
    const hour = 60 * 60 * 1000;
    const found = await look(on, key, guard);
    const start = clock.now() - hour + Math.floor(Math.random() * (hour / 2));
    const next = (found?.modified ?? 0) + 1000;
    return next > start && next < clock.now() - 2000 ? next : start;
  };

  const put = async (key: Key, body: Source, bytes: Buffer | undefined, guard: Guard): Promise<Entry> => {
    const on = await server();
    const can = await abilities(guard);
    const doing = `write ${pathOf(key)}`;
    await sweep(on, guard);
    const content = bytes ? bodyOf(bytes) : { size: body.size, open: () => proven(body) };
    const done = (rev: string): Entry => ({ key, size: body.size, rev, hash: { algo: "sha256", hex: body.sha256 } });
    const hint = "It is sent again with the next try. If it goes on, check the server's disk and what lies between.";
    let tmp: string | undefined;
    try {
      if (bytes && can.direct)
        await guarded(on, key, guard, { absent: true, seen: true }, ({ absent, etag }) => {
          const path = fileOf(on, key);
          const headers = absent ? { "if-none-match": "*" } : conditionOf(on, path, etag);
          return write(on, doing, guard, { method: "PUT", path, headers, body: content });
        });
      else {
        tmp = at(on, HELPERS + randomBytes(12).toString("hex"));
        // sooner than after all of it was sent
        if (!bytes && guard.expect !== undefined) assertExpected(key, guard.expect, await look(on, key, guard));
        const headers: Record<string, string> =
          can.coarse && can.dates ? { date: new Date(await timeFor(on, key, guard)).toUTCString() } : {};
        await write(on, doing, guard, { method: "PUT", path: tmp, headers, body: content });
        if (!bytes) {
          const got = await readBack(on, tmp, `read back ${pathOf(key)}`, guard, guard.onProgress);
          if (got?.sha256 !== body.sha256 || got.size !== body.size)
            throw new TargetError("corrupt", `what was read back for ${pathOf(key)} is not what was sent`, { hint });
        }
        await moveInto(on, can, doing, tmp, key, guard);
        tmp = undefined;
      }
      isThere = true;
      if (can.hidesDots && hasDot(key)) await memory.set(DOTTED + key, "");
      if (!bytes) {
        const now = await look(on, key, guard);
        if (now?.size === body.size) return done(now.rev);
        throw changed(key);
      }
      await clock.sleep(GRAIN_MS, guard.signal);
      const there = await hashed(on, key, guard);
      if (there?.hash?.hex === body.sha256) {
        guard.onProgress?.(body.size);
        return done(there.rev);
      }
      throw new TargetError("transient", `${pathOf(key)} holds something else right after it was written`, {
        code: "E_TARGET_CORRUPT",
        hint,
      });
    } finally {
      if (tmp !== undefined) await drop(on, tmp);
    }
  };

  const copy = async (from: Key, to: Key, guard: Guard): Promise<Entry> => {
    const on = await server();
    const can = await abilities(guard);
    const doing = `copy ${pathOf(from)} to ${pathOf(to)}`;
    const source = await look(on, from, guard);
    if (!source) throw absentFault(from);
    assertExpected(from, guard.expect, source);
    if (await look(on, to, guard)) throw conflict(to, "is already there");
    const tmp = at(on, HELPERS + randomBytes(12).toString("hex"));
    let isLeft = true;
    try {
      await inFolder(on, tmp, guard, () =>
        on.ask(doing, guard, {
          method: "COPY",
          path: fileOf(on, from),
          headers: { destination: urlOf(on, tmp), overwrite: "F", depth: "0" },
        }),
      );
      const got = await readBack(on, tmp, doing, guard);
      const now = await look(on, from, guard);
      if (!now) throw absentFault(from);
      if (now.rev !== source.rev)
        throw guard.expect === undefined
          ? new TargetError("transient", `${pathOf(from)} changed while it was copied`)
          : changed(from);
      if (got?.size !== source.size)
        throw new TargetError("corrupt", `the copy of ${pathOf(from)} has ${got?.size ?? 0} bytes instead of ${source.size}`);
      await moveInto(on, can, doing, tmp, to, { signal: guard.signal, expect: "absent" });
      isLeft = false;
      if (can.hidesDots && hasDot(to)) await memory.set(DOTTED + to, "");
      const copied = await look(on, to, guard);
      if (copied?.size !== got.size) throw new TargetError("transient", `${pathOf(to)} was changed right after it was written`);
      return { key: to, size: got.size, rev: copied.rev, hash: { algo: "sha256", hex: got.sha256 } };
    } finally {
      if (isLeft) await drop(on, tmp);
    }
  };

  const remove = async (key: Key, guard: Guard): Promise<void> => {
    const on = await server();
    const can = guard.expect === undefined ? known : await abilities(guard);
    const path = fileOf(on, key);
    const found = await look(on, key, guard);
    if (!found) return;
    assertExpected(key, guard.expect, found);
    const isChecked = guard.expect !== undefined && can?.remove === true && ETAG.test(found.rev);
    const headers = conditionOf(on, path, isChecked ? found.rev : undefined);
    try {
      await on.ask(`remove ${pathOf(key)}`, guard, { method: "DELETE", path, headers, expects: [404, 410] });
    } catch (error) {
      if (statusOf(error) !== 412) throw error;
      if (await look(on, key, guard)) throw changed(key);
    }
  };

  async function* list(prefix: string, call: Call = {}): AsyncGenerator<Entry> {
    call.signal?.throwIfAborted();
    if (prefix.startsWith("/") || prefix.split("/").includes("..")) return;
    const on = await server();
    const doing = `list ${shown}${prefix}`;
    const given = new Set<Key>();
    const folders = [prefix.slice(0, prefix.lastIndexOf("/") + 1)];
    for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
      const path = at(on, folder);
      const seen = await settled(on, doing, call, path, 1).catch(async (error: unknown) => {
        // Apache's answer where a file has the folder's name
        if (statusOf(error) !== 400) throw error;
        const file = await on.look(doing, call, path.slice(0, -1), 0);
        if (file?.found[0]?.isFolder !== false) throw error;
        return { found: [], date: NaN };
      });
      if (!seen) {
        await assertBase(on, call);
        continue;
      }
      isThere = true;
      const wanted = decodeURIComponent(path);
      // a proxy may show the same tree under another path: the shortest name is then the folder's own
      const own = seen.found.some((one) => one.path.startsWith(wanted))
        ? wanted
        : seen.found.reduce((least, one) => (one.path.length < least.length ? one.path : least), seen.found[0]?.path ?? wanted);
      for (const found of seen.found) {
        if (!found.path.startsWith(own)) continue;
        const rest = found.path.slice(own.length).replaceAll(/^\/|\/$/g, "");
        if (rest === "" || rest.includes("/")) continue;
        const full = folder + rest;
        if (found.isFolder) {
          const below = `${full}/`;
          if (below !== HELPERS && (below.startsWith(prefix) || prefix.startsWith(below))) folders.push(below);
          continue;
        }
        const key = full.startsWith(prefix) ? keyOf(full) : undefined;
        // a decomposed name is another file than the key's own
        if (key === undefined || key !== full) continue;
        call.signal?.throwIfAborted();
        given.add(key);
        yield { key, size: found.size, rev: revOf(found, doing) };
      }
    }
    for (const [entry] of await memory.list(DOTTED + prefix)) {
      const key = keyOf(entry.slice(DOTTED.length));
      if (key === undefined || given.has(key)) continue;
      const found = await look(on, key, call);
      if (found) yield { key, size: found.size, rev: found.rev };
    }
  }

  /** One after the other for a name. */
  const inLine = <T>(key: Key, work: () => Promise<T>): Promise<T> => inTurn(foldKey(key), work);

  return {
    kind: "webdav",
    traits: {
      atomicPut: true,
      get guardedPut() {
        return known !== undefined && known.create && known.replace;
      },
      identity: "path",
      listing: "immediate",
      get caseSensitive() {
        return known?.caseSensitive ?? true;
      },
      hashes: ["sha256"],
      maxConcurrency: MOST_AT_ONCE,
    },
    pathOf,
    list,
    async stat(key, wish) {
      wish?.signal?.throwIfAborted();
      const on = await server();
      if (wish?.hash === true) return hashed(on, key, wish);
      const found = await look(on, key, wish);
      return found && { key, size: found.size, rev: found.rev };
    },
    async read(key, use, call) {
      call?.signal?.throwIfAborted();
      const on = await server();
      const doing = `read ${pathOf(key)}`;
      const open = () => on.read(doing, call, fileOf(on, key), use);
      let got = await open();
      if (!got) {
        // some servers remove a file before they move another to its name
        await clock.sleep(5 * GRAIN_MS, call?.signal);
        got = await open();
      }
      if (got) return got.done;
      await assertBase(on, call);
      throw absentFault(key);
    },
    async put(key, body, guard = {}) {
      guard.signal?.throwIfAborted();
      const bytes = body.size <= smallBytes ? await collect(body, guard.signal) : undefined;
      return inLine(key, () => put(key, body, bytes, guard));
    },
    copy: (from, to, guard = {}) => inLine(to, () => copy(from, to, guard)),
    remove: (key, guard = {}) => inLine(key, () => remove(key, guard)),
    async close() {
      const on = await opening?.catch(() => undefined);
      on?.close();
    },
  };
}

/** Removes the folder `root` of the context and all below it. */
export async function clearWebdav(context: DriverContext): Promise<void> {
  const root = context.root.replaceAll(/^\/+|\/+$/g, "");
  if (root === "") throw new TargetError("unsupported", "without a root there is no folder of ours to remove");
  const on = await openServer(context);
  try {
    const path = `${on.base.pathname}${encoded(root)}/`;
    await on.ask(`remove the folder ${root}`, undefined, { method: "DELETE", path, expects: [404, 410] });
  } finally {
    on.close();
  }
}

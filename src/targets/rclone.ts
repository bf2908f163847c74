/**
 * Any remote of rclone as a target: OneDrive, SFTP, pCloud, Box and some sixty others. A rclone that is installed does the
 * work (rclone/daemon.ts). What the remote can do is asked for once and remembered. Facts: docs/targets/rclone.md.
 * @module
 */
import { createHash, randomBytes } from "node:crypto";
import * as fs from "node:fs/promises";
import { join } from "node:path";
import { untilAborted } from "../core/chunks.ts";
import { inWords, TargetError } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import type { Call, Chunks, Entry, Guard, Hash, Source, Target } from "../core/target.ts";
import { createRclone, type Rclone } from "./rclone/daemon.ts";
import { cleaned, faultOf } from "./rclone/faults.ts";
import { bestOf, isCommon, sumOf } from "./rclone/hashes.ts";
import { createLines } from "./shared/in-line.ts";
import type { DriverContext } from "./shared/driver.ts";
import { keyOf } from "./shared/names.ts";

const DAY = 24 * 60 * 60 * 1000;
const MIB = 1024 * 1024;
const SECOND_NS = 1_000_000_000;
/** Times that a body is sent anew because its time could not be told from the one before it. */
const ROUNDS = 3;
const FACTS = "facts";
const PROOFS = "proof/";

/** Bytes on their way, named after the time they were begun. */
const helper = /(?:^|\/)\.([0-9a-z]{8,9})-[0-9a-f]{12}\.aftersave-tmp$/;

/** What is known of a remote. */
interface Facts {
  /** Of hashes that can be compared here, the best it has. */
  readonly algo: string | null;
  /** It computes them only when asked, by reading the file. */
  readonly slow: boolean;
  /** Keys in a flat space, where a file shows only when it is whole. */
  readonly bucket: boolean;
  readonly move: boolean;
  readonly caseSensitive: boolean;
  /** Nanoseconds between two times that it can tell apart, null where it takes no times from us. */
  readonly precision: number | null;
  /** Its files have ids of their own: a service, where a file shows only when it is whole. */
  readonly ids: boolean;
}

interface Item {
  readonly Path: string;
  readonly Size: number;
  readonly ModTime?: string;
  readonly ID?: string;
  readonly Hashes?: Readonly<Record<string, string>>;
}

interface Found {
  readonly item: Item;
  readonly entry: Entry;
  readonly time: number;
}

/** A body on this machine's disk, proven to be what it promises. */
interface Spooled {
  readonly folder: string;
  readonly name: string;
  readonly size: number;
  readonly sha256: string;
  /** In the remote's own hash, where it has one that can be compared. */
  readonly sum: string | undefined;
}

function noRoomHere(error: unknown): never {
  throw new TargetError("transient", `could not keep the bytes on this machine while they are sent: ${inWords(error)}`, {
    cause: error,
    code: "E_NO_SPACE",
    hint: "Free some space in the folder for temporary files (TMPDIR).",
  });
}

const optionsOf = ({ options, env, client }: DriverContext): { readonly remote: string; readonly rclone: Rclone } => {
  const text = (key: string) => (typeof options[key] === "string" ? options[key] : undefined);
  const rclone = (client as Rclone | undefined) ?? createRclone({ program: text("program"), config: text("config"), env });
  return { remote: String(options["remote"]), rclone };
};

const bareFolder = (root: string) => root.replaceAll(/^\/+|\/+$/g, "");

/** Removes the folder `root` of the context with all that lies in it. A folder without a name is left alone. */
export async function clearRclone(context: DriverContext): Promise<void> {
  const { remote, rclone } = optionsOf(context);
  const folder = bareFolder(context.root);
  if (folder === "") return;
  try {
    await rclone.call("operations/purge", { fs: remote, remote: folder });
  } catch (error) {
    const fault = faultOf(error, `remove ${context.root}`, remote);
    if (!(fault instanceof TargetError) || fault.kind !== "not-found") throw fault;
  } finally {
    if (context.client === undefined) await rclone.close();
  }
}

/** Opens the target; rclone is started by the first verb. */
export async function openRcloneTarget(context: DriverContext): Promise<Target> {
  const { name, memory, clock } = context;
  const { remote, rclone } = optionsOf(context);
  const shown = context.root === "" || context.root.endsWith("/") ? context.root : `${context.root}/`;
  const below = bareFolder(shown);
  const top = /[:/]$/.test(remote) || below === "" ? remote + below : `${remote}/${below}`;

  const remembered = await memory.get(FACTS).then((value) => value && (JSON.parse(value) as { of: string; facts: Facts }));
  let facts: Facts | undefined = remembered && remembered.of === remote ? remembered.facts : undefined;
  let isThere = false;

  const pathOf = (key: Key) => shown + key;
  const absentFault = (key: Key) => new TargetError("not-found", `${pathOf(key)} is not on ${name}`);
  const changed = (key: Key) => new TargetError("conflict", `${pathOf(key)} was changed by someone else`);

  async function attempt<T>(doing: string, call: Call | undefined, work: () => Promise<T>): Promise<T> {
    try {
      call?.signal?.throwIfAborted();
      return await work();
    } catch (error) {
      throw faultOf(error, doing, remote, call?.signal);
    }
  }

  const ask = (command: string, parameters: Readonly<Record<string, unknown>>, call?: Call) =>
    rclone.call(`operations/${command}`, parameters, call?.signal);

  /** The same, where what is not there is an answer. */
  const unlessAbsent = async <T>(work: Promise<T>, alsoFile = false): Promise<T | undefined> => {
    try {
      return await work;
    } catch (error) {
      const fault = faultOf(error, "", remote);
      if (!(fault instanceof TargetError)) throw error;
      if (fault.kind === "not-found" || (alsoFile && fault.code === "E_KEY_FOLDER")) return undefined;
      throw error;
    }
  };

  async function keep(found: Facts): Promise<Facts> {
    facts = found;
    await memory.set(FACTS, JSON.stringify({ of: remote, facts }));
    return facts;
  }

  async function known(call?: Call): Promise<Facts> {
    if (facts) return facts;
    if (remote.includes("]"))
      throw new TargetError("unsupported", `the remote of ${name} has a ] in it`, {
        hint: "Make a remote of these settings with `rclone config`, and name that one.",
      });
    const said = (await ask("fsinfo", { fs: remote }, call)) as {
      Features: Record<string, boolean>;
      Hashes: readonly string[] | null;
      Precision: number;
    };
    return keep({
      algo: bestOf(said.Hashes ?? []) ?? null,
      slow: said.Features["SlowHash"] === true,
      bucket: said.Features["BucketBased"] === true,
      move: said.Features["Move"] === true,
      caseSensitive: said.Features["CaseInsensitive"] !== true,
      precision: said.Precision > 3600 * SECOND_NS ? null : said.Precision,
      ids: false,
    });
  }

  /** The place that `remote` names must be there: a folder that vanished looks like a mirror with nothing in it. */
  async function assertPlace({ bucket }: Facts, call?: Call): Promise<void> {
    if (isThere || bucket) return;
    const opt = { noModTime: true, noMimeType: true, dirsOnly: true };
    if ((await unlessAbsent(ask("list", { fs: remote, remote: "", opt }, call))) === undefined)
      throw new TargetError("transient", `${cleaned(remote, remote)} is not there`, {
        code: "E_TARGET_UNREACHABLE",
        hint: "Make the folder that `remote` names (`rclone mkdir REMOTE:FOLDER`), or correct `remote`. It is never made by itself.",
      });
    isThere = true;
  }

  /** What a look asks for: the place's hash is the rev where it is told for nothing, else time and size are. */
  const looking = ({ algo, slow }: Facts, hash: boolean) => ({
    noMimeType: true,
    noModTime: algo !== null && !slow,
    ...(algo !== null && (hash || !slow) && { showHash: true, hashTypes: [algo] }),
  });

  const hashOf = (now: Facts, item: Item): Hash | undefined => {
    const hex = now.algo === null ? undefined : item.Hashes?.[now.algo]?.toLowerCase();
    return now.algo === null || hex === undefined || hex === "" ? undefined : { algo: now.algo, hex };
  };

  function foundAs(now: Facts, key: Key, item: Item): Found {
    const hash = hashOf(now, item);
    const rev = hash && !now.slow ? `${hash.algo}:${hash.hex}:${item.Size}` : `${item.ModTime ?? ""}/${item.Size}`;
    const entry = { key, size: item.Size, rev, ...(hash && isCommon(hash.algo) && { hash }) };
    return { item, entry, time: Date.parse(item.ModTime ?? "") };
  }

  async function look(key: Key, call?: Call, hash = false, path: string = key): Promise<Found | undefined> {
    if (helper.test(key))
      throw new TargetError("unsupported", `${pathOf(key)} is a name that aftersave uses for its temporary files`, {
        hint: "Rename the file.",
      });
    const now = await known(call);
    const one = async (opt: object) =>
      (await unlessAbsent(ask("stat", { fs: top, remote: path, opt: { ...opt, filesOnly: true } }, call)))?.["item"] as
        Item | null | undefined;
    let item = await one(looking(now, hash));
    // some of a service's files may lack the hash that others have; then their time counts
    if (item && now.algo !== null && !now.slow && hashOf(now, item) === undefined)
      item = await one({ ...looking(now, hash), noModTime: false });
    if (!item || item.Size < 0) {
      await assertPlace(now, call);
      return undefined;
    }
    if (item.ID && !now.ids) await keep({ ...now, ids: true });
    return foundAs(now, key, item);
  }

  function assertExpected(key: Key, expect: Guard["expect"], found: Found | undefined): void {
    if (expect === undefined) return;
    if (expect === "absent") {
      if (found) throw new TargetError("conflict", `${pathOf(key)} is already there`);
    } else if (!found) throw absentFault(key);
    else if (found.entry.rev !== expect.rev) throw changed(key);
  }

  async function read<T>(key: Key, call: Call | undefined, use: (bytes: Chunks) => Promise<T>): Promise<T> {
    const doing = `read ${pathOf(key)}`;
    const opened = await attempt(doing, call, async () => {
      const now = await known(call);
      const got = await unlessAbsent(rclone.open(top, key, call?.signal));
      if (got) return got;
      await assertPlace(now, call);
      throw absentFault(key);
    });
    const { stream, size } = opened;
    // what breaks after its last byte was used breaks nothing
    stream.on("error", () => undefined);
    async function* bytes(): Chunks {
      let count = 0;
      try {
        for await (const chunk of untilAborted(stream as Chunks, call?.signal)) {
          count += chunk.length;
          yield chunk;
        }
      } catch (error) {
        throw faultOf(error, doing, remote, call?.signal);
      }
      if (count !== size) throw new TargetError("transient", `${pathOf(key)} ended after ${count} of ${size} bytes`);
    }
    try {
      return await use(bytes());
    } finally {
      stream.destroy();
    }
  }

  /** With a hash that anybody can compare: the place's own, what its own was compared with, or the bytes read back. */
  async function hashed(key: Key, found: Found, call?: Call): Promise<Entry> {
    const now = await known(call);
    if (now.algo === null || found.entry.hash) return found.entry;
    const [rev, proven] = (await memory.get(PROOFS + key))?.split(" ") ?? [];
    if (rev === found.entry.rev && proven !== undefined) return { ...found.entry, hash: { algo: "sha256", hex: proven } };
    const hex = await read(key, call, async (bytes) => {
      const hash = createHash("sha256");
      for await (const part of bytes) hash.update(part);
      return hash.digest("hex");
    });
    if ((await look(key, call))?.entry.rev !== found.entry.rev)
      throw new TargetError("transient", `${pathOf(key)} changed while it was read`);
    await memory.set(PROOFS + key, `${found.entry.rev} ${hex}`);
    return { ...found.entry, hash: { algo: "sha256", hex } };
  }

  async function spool(body: Source, { algo }: Facts, signal?: AbortSignal): Promise<Spooled> {
    const folder = await rclone.folder(signal);
    const file = randomBytes(12).toString("hex");
    const [sha256, own] = [createHash("sha256"), sumOf(algo ?? "sha256")];
    const handle = await fs.open(join(folder, file), "wx", 0o600).catch(noRoomHere);
    try {
      let size = 0;
      for await (const chunk of untilAborted(body.open(), signal)) {
        size += chunk.length;
        if (size > body.size) break;
        sha256.update(chunk);
        own.update(chunk);
        await handle.writeFile(chunk);
      }
      if (size !== body.size || sha256.digest("hex") !== body.sha256)
        throw new TargetError("corrupt", "the body's bytes are not what its size and sha256 say");
      return { folder, name: file, size, sha256: body.sha256, sum: algo === null ? undefined : own.end() };
    } catch (error) {
      await fs.rm(join(folder, file), { force: true });
      throw error;
    } finally {
      await handle.close();
    }
  }

  /** A time that no later edit by someone else can have, and that is later than what it replaces. */
  async function stamp({ folder, name: file }: Spooled, { precision }: Facts, before: Found | undefined): Promise<void> {
    const fine = precision !== null && precision <= SECOND_NS / 1000;
    const early = fine ? clock.now() - Math.random() * 1000 : Math.floor(clock.now() / 1000) * 1000 - 60_000;
    // two steps, for one may be lost to rounding
    const least = before && Number.isFinite(before.time) ? before.time + 2 * Math.max(1, (precision ?? 0) / 1e6) : 0;
    const seconds = Math.max(early, least) / 1000;
    await fs.utimes(join(folder, file), seconds, seconds);
  }

  /** Writes even what looks the same to rclone; a hash that costs reading the file is asked for once, by us. */
  const settings = () => ({
    _config: { IgnoreTimes: true, IgnoreChecksum: facts !== undefined && facts.algo !== null && facts.slow },
  });

  async function send(body: Spooled, to: string, guard: Guard): Promise<void> {
    const group = `aftersave/${body.name}`;
    const over = new AbortController();
    const stop = () => over.abort();
    guard.signal?.addEventListener("abort", stop, { once: true });
    const parameters = { srcFs: body.folder, srcRemote: body.name, dstFs: top, dstRemote: to, ...settings(), _group: group };
    const sending = ask("copyfile", parameters, guard).finally(stop);
    const watching = guard.onProgress && body.size > MIB ? watch(group, body.size, guard.onProgress, over.signal) : undefined;
    try {
      await sending;
    } finally {
      await watching;
      guard.signal?.removeEventListener("abort", stop);
      await rclone.call("core/stats-delete", { group }).catch(() => undefined);
    }
  }

  /** Tells how much of it is gone until `signal` ends the watch. A look that fails says nothing. */
  async function watch(group: string, size: number, onProgress: (sent: number) => void, signal: AbortSignal): Promise<void> {
    let most = 0;
    while (!signal.aborted)
      try {
        await clock.sleep(500, signal);
        const { bytes } = (await rclone.call("core/stats", { group }, signal)) as { bytes?: number };
        if (typeof bytes !== "number" || bytes <= most || bytes > size) continue;
        onProgress((most = bytes));
      } catch {
        if (!signal.aborted) continue;
      }
  }

  const helperFor = (key: Key) =>
    `${key.slice(0, key.lastIndexOf("/") + 1)}.${clock.now().toString(36).padStart(8, "0")}-${randomBytes(6).toString("hex")}.aftersave-tmp`;

  const discard = async (path: string) => {
    await ask("deletefile", { fs: top, remote: path }).catch(() => undefined);
  };

  const notWhatWasSent = (key: Key) =>
    new TargetError("corrupt", `what ${name} holds as ${pathOf(key)} is not what was sent`, {
      hint: "It is sent again with the next try. If it goes on, check the service and what lies between.",
    });

  /** Whether what lies at the place is what was sent, by its size and by the place's hash where it tells one. */
  const isSame = (body: { readonly size: number; readonly sum: string | undefined }, now: Facts, { item }: Found) => {
    const said = hashOf(now, item);
    return item.Size === body.size && (said === undefined || body.sum === undefined || said.hex === body.sum);
  };

  /**
   * Brings bytes to `key` by `fill`. Where a half-written file would show, they go to a hidden name first, and get their own
   * when they are proven; what is there is removed just before, for rclone knows no other way.
   */
  async function place(
    key: Key,
    body: { readonly size: number; readonly sum: string | undefined },
    before: Found | undefined,
    check: () => Promise<void>,
    fill: (to: string) => Promise<void>,
    call: Call,
  ): Promise<Found> {
    const now = await known(call);
    const lost = () => new TargetError("transient", `${pathOf(key)} was gone right after it was written`);
    if (now.bucket || now.ids || !now.move) {
      await check();
      await fill(key);
      const done = await look(key, call, true);
      if (!done) throw lost();
      if (!isSame(body, now, done)) throw notWhatWasSent(key);
      return done;
    }
    const hidden = helperFor(key);
    let there: Found | undefined;
    try {
      for (let round = 1; round <= ROUNDS; round++) {
        await fill(hidden);
        there = await look(key, call, true, hidden);
        if (!there) throw lost();
        if (!isSame(body, now, there)) throw notWhatWasSent(key);
        // a place that stamps its own times may have had this one already
        if (there.entry.rev !== before?.entry.rev || hashOf(now, there.item) !== undefined) break;
        await clock.sleep(1000, call.signal);
      }
      await check();
      call.signal?.throwIfAborted();
      await ask("movefile", { srcFs: top, srcRemote: hidden, dstFs: top, dstRemote: key, ...settings() });
    } catch (error) {
      await discard(hidden);
      throw error;
    }
    const done = await look(key, call, !now.slow);
    if (!done) throw lost();
    if (!isSame(body, now, done) || (now.precision !== null && done.entry.rev !== there?.entry.rev)) throw changed(key);
    return now.slow ? { ...done, entry: { ...done.entry, hash: there?.entry.hash } } : done;
  }

  /** One after the other for a file. */
  const inLine = createLines();

  return {
    kind: "rclone",
    traits: {
      get atomicPut() {
        return facts !== undefined && (facts.bucket || facts.ids);
      },
      guardedPut: false,
      identity: "path",
      listing: "immediate",
      get caseSensitive() {
        return facts?.caseSensitive === true;
      },
      get hashes() {
        const algo = facts?.algo ?? null;
        return algo === null ? [] : [...new Set([...(isCommon(algo) ? [algo] : []), "sha256"])];
      },
      maxConcurrency: 4,
    },
    pathOf,

    async *list(prefix, call) {
      const folder = prefix.slice(0, Math.max(0, prefix.lastIndexOf("/")));
      // what no key can begin with is nowhere, and must not lead out of the mirror
      if (prefix.startsWith("/") || (folder !== "" && keyOf(folder) !== folder)) return call?.signal?.throwIfAborted();
      const doing = `list ${shown}${prefix}`;
      const [now, items] = await attempt(doing, call, async () => {
        const about = await known(call);
        const listing = (recurse: boolean) =>
          unlessAbsent(
            ask("list", { fs: top, remote: folder, opt: { ...looking(about, false), filesOnly: true, recurse } }, call),
            folder !== "",
          );
        const said = await listing(true);
        if (said) return [about, said["list"] as readonly Item[]] as const;
        // a folder below it that vanished meanwhile is answered in the same words
        if (await listing(false)) throw new TargetError("transient", `could not ${doing}: it changed meanwhile`);
        await assertPlace(about, call);
        return [about, []] as const;
      });
      for (const item of items) {
        call?.signal?.throwIfAborted();
        const begun = helper.exec(item.Path)?.[1];
        if (begun !== undefined && clock.now() - Number.parseInt(begun, 36) > DAY) await discard(item.Path);
        if (begun !== undefined || item.Size < 0 || !item.Path.startsWith(prefix)) continue;
        const key = keyOf(item.Path);
        if (key === undefined || key !== item.Path) continue;
        if (now.algo === null || now.slow || hashOf(now, item)) yield foundAs(now, key, item).entry;
        else {
          const found = await attempt(doing, call, () => look(key, call));
          if (found) yield found.entry;
        }
      }
    },

    stat: (key, look_) =>
      attempt(`look at ${pathOf(key)}`, look_, async () => {
        const found = await look(key, look_, look_?.hash === true);
        return found && look_?.hash === true ? hashed(key, found, look_) : found?.entry;
      }),

    read: (key, use, call) => read(key, call, use),

    put: (key, body, guard = {}) =>
      inLine(key, async () => {
        const doing = `write ${pathOf(key)}`;
        const now = await attempt(doing, guard, () => known(guard));
        const before = await attempt(doing, guard, () => look(key, guard));
        assertExpected(key, guard.expect, before);
        const spooled = await spool(body, now, guard.signal);
        try {
          return await attempt(doing, guard, async () => {
            const check = async () => {
              if (guard.expect !== undefined) assertExpected(key, guard.expect, await look(key, guard));
            };
            const fill = async (to: string) => {
              await stamp(spooled, now, before);
              await send(spooled, to, guard);
            };
            const { entry } = await place(key, spooled, before, check, fill, guard);
            guard.onProgress?.(spooled.size);
            if (now.algo === null) return entry;
            const hash = entry.hash ?? { algo: "sha256", hex: spooled.sha256 };
            if (!entry.hash) await memory.set(PROOFS + key, `${entry.rev} ${spooled.sha256}`);
            return { ...entry, hash };
          });
        } finally {
          await fs.rm(join(spooled.folder, spooled.name), { force: true });
        }
      }),

    copy: (from, to, guard = {}) =>
      inLine(to, () =>
        attempt(`copy ${pathOf(from)} to ${pathOf(to)}`, guard, async () => {
          const now = await known(guard);
          const source = await look(from, guard, true);
          if (!source) throw absentFault(from);
          assertExpected(from, guard.expect, source);
          const check = async () => {
            assertExpected(to, "absent", await look(to, guard));
            const still = await look(from, guard);
            if (still?.entry.rev === source.entry.rev) return;
            if (guard.expect !== undefined) throw changed(from);
            throw new TargetError("transient", `${pathOf(from)} changed while it was copied`);
          };
          await check();
          const fill = async (path: string) =>
            void (await ask("copyfile", { srcFs: top, srcRemote: from, dstFs: top, dstRemote: path, ...settings() }, guard));
          const body = { size: source.item.Size, sum: hashOf(now, source.item)?.hex };
          return hashed(to, await place(to, body, undefined, check, fill, guard), guard);
        }),
      ),

    remove: (key, guard = {}) =>
      inLine(key, () =>
        attempt(`remove ${pathOf(key)}`, guard, async () => {
          const found = await look(key, guard);
          if (!found) return;
          assertExpected(key, guard.expect, found);
          await unlessAbsent(ask("deletefile", { fs: top, remote: key }, guard));
          await memory.delete(PROOFS + key);
        }),
      ),

    purge: (key, call) =>
      inLine(key, () =>
        attempt(`remove ${pathOf(key)} for good`, call, async () => {
          const now = await known(call);
          if (await look(key, call)) await unlessAbsent(ask("deletefile", { fs: top, remote: key }, call));
          await memory.delete(PROOFS + key);
          if (!now.bucket && !now.ids) return [];
          return [
            `Older versions of ${pathOf(key)}, and what the service behind ${name} keeps in its trash, are out of rclone's reach.`,
          ];
        }),
      ),

    async close() {
      // one that was handed in is somebody else's
      if (context.client === undefined) await rclone.close();
    },
  };
}

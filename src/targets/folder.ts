/**
 * A folder on a disk of this machine, or on one that is mounted here, as a target. Crash-safe: a file appears under
 * its name only when its bytes are on the disk and have been read back.
 * @module
 */
import { createHash } from "node:crypto";
import { type BigIntStats, constants, lstatSync, renameSync, unlinkSync } from "node:fs";
import * as fs from "node:fs/promises";
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { untilAborted } from "../core/chunks.ts";
import type { Clock } from "../core/clock.ts";
import { errnoOf, inWords, saidOf, TargetError } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import type { Call, Chunks, Entry, Guard, Source, Target } from "../core/target.ts";
import {
  absence,
  cannot,
  chunksOf,
  entryOf,
  faultOfErrno,
  probeCase,
  revOf,
  sameFile,
  sha256Of,
  syncFolder,
  unless,
  vanished,
  wrongTypeHint,
} from "./folder/disk.ts";
import { keyOf } from "./shared/names.ts";

export interface FolderOptions {
  /** A folder that exists, for example the mount point of a disk. It is never created. */
  readonly path: string;
  /** The folder below it that holds the mirror, as people read it: `Drive/MemoryVDB/`. Created when needed. */
  readonly root: string;
  /** The desktop client whose folder it is. What it makes of the files cannot be seen from here, so no hash is reported. */
  readonly handedTo?: string | undefined;
  readonly clock?: Pick<Clock, "now"> | undefined;
  /** A number in [0, 1), as `Math.random` gives. */
  readonly random?: (() => number) | undefined;
}

const DAY = 24 * 60 * 60 * 1000;
const SWEEP_NAMES = 10_000;

/** Names of our own helpers: `tmp` holds bytes that are not in place yet, `old` what a guarded write just replaced. */
const helper = /^\..*\.[0-9a-f]{12}\.aftersave-(tmp|old)$/s;
const helperEnd = /^[0-9a-f]{12}\.aftersave-(tmp|old)$/;

/** Carries an error of the caller's own code past the translation of system errors. */
class CallersError extends Error {}

async function* bodyOf(body: Source, signal?: AbortSignal): Chunks {
  try {
    yield* untilAborted(body.open(), signal);
  } catch (cause) {
    throw new CallersError("the body failed", { cause });
  }
}

/**
 * A folder as a target. Nothing is read or written before the first verb, except that asking for
 * `traits.caseSensitive` makes and removes one hidden file, once.
 */
export function createFolderTarget({ path, root, handedTo, clock = Date, random = Math.random }: FolderOptions): Target {
  const base = resolve(path);
  const shown = root === "" || root.endsWith("/") ? root : `${root}/`;
  const top = resolve(base, shown);
  const swept = new Set<string>();
  let caseSensitive: boolean | undefined;

  const pathOf = (key: Key) => shown + key;
  const token = () =>
    Math.floor(random() * 2 ** 48)
      .toString(16)
      .padStart(12, "0");
  /** 40 characters keep the whole name below 255 bytes in any script. */
  const helperStem = (file: string) => `.${Array.from(basename(file)).slice(0, 40).join("")}.`;
  const helperOf = (file: string, kind: "tmp" | "old") => join(dirname(file), `${helperStem(file)}${token()}.aftersave-${kind}`);

  const absentFault = (key: Key) => new TargetError("not-found", `${pathOf(key)} is not on the target`);
  const conflict = (key: Key, what: string) => new TargetError("conflict", `${pathOf(key)} ${what}`);
  const standsInTheWay = (key: Key, what: string) =>
    new TargetError("unsupported", `${what} stands at ${pathOf(key)}, where a file should be`, {
      code: "E_KEY_FOLDER",
      hint: wrongTypeHint,
    });

  async function assertBase(): Promise<void> {
    const folder = await unless(vanished, fs.stat(base));
    if (folder?.isDirectory() === true) return;
    const why = folder === undefined ? "is not there" : "is not a folder";
    const hint = "Connect the disk, or create the folder that the target's path names.";
    throw new TargetError("transient", `the target's folder ${base} ${why}`, { code: "E_TARGET_UNREACHABLE", hint });
  }

  async function translated(error: unknown, doing: string, signal?: AbortSignal): Promise<unknown> {
    if (error instanceof CallersError) return error.cause;
    if (error instanceof TargetError || (signal?.aborted === true && error === signal.reason)) return error;
    const errno = errnoOf(error);
    if (!errno.startsWith("E")) return error;
    if (errno === "ENOENT") await assertBase();
    const [kind, code, hint] = faultOfErrno[errno] ?? ["transient"];
    const message = `could not ${doing}: ${inWords(error)}`;
    return new TargetError(kind, message, { cause: error, ...(code && { code }), ...(hint && { hint }) });
  }

  async function attempt<T>(doing: string, call: Call | undefined, work: () => Promise<T>): Promise<T> {
    try {
      call?.signal?.throwIfAborted();
      return await work();
    } catch (error) {
      throw await translated(error, doing, call?.signal);
    }
  }

  function fileOf(key: Key): string {
    const file = join(top, ...key.split("/"));
    if (helper.test(basename(file)))
      throw new TargetError("unsupported", `${pathOf(key)} is a name that aftersave uses for its temporary files`, {
        hint: "Rename the file.",
      });
    return file;
  }

  async function assertInside(folder: string): Promise<void> {
    const way = relative(await fs.realpath(top), await fs.realpath(folder));
    if (way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way)) return;
    throw new TargetError("unsupported", `${folder} leads out of the target through a symbolic link`, {
      hint: "Replace the symbolic link at the target by a folder.",
    });
  }

  async function look(key: Key): Promise<BigIntStats | undefined> {
    const file = fileOf(key);
    const found = await unless(
      absence,
      assertInside(dirname(file)).then(() => fs.lstat(file, { bigint: true })),
    );
    if (found === undefined) await assertBase();
    else if (found.isSymbolicLink()) throw standsInTheWay(key, "a symbolic link");
    else if (!found.isFile()) throw standsInTheWay(key, found.isDirectory() ? "a folder" : "a special file");
    return found;
  }

  function assertExpected(key: Key, expect: Guard["expect"], found: BigIntStats | undefined): void {
    if (expect === undefined) return;
    if (expect === "absent") {
      if (found !== undefined) throw conflict(key, "is already there");
    } else if (found === undefined) throw absentFault(key);
    else if (revOf(found) !== expect.rev) throw conflict(key, "was changed by someone else");
  }

  async function makeFolder(folder: string): Promise<void> {
    const below = folder.startsWith(top);
    const found = await unless(vanished, below ? assertInside(folder).then(() => true) : fs.access(folder).then(() => true));
    if (found === true) return;
    if (folder === base) return assertBase();
    await makeFolder(dirname(folder));
    await unless(new Set(["EEXIST"]), fs.mkdir(folder));
    await syncFolder(dirname(folder));
    if (below) await assertInside(folder);
  }

  /** Once per folder and run: removes what killed writers left. An `old` that has no other name stays: it may be a person's. */
  async function sweep(folder: string): Promise<void> {
    if (swept.has(folder)) return;
    swept.add(folder);
    let names = 0;
    for await (const { name } of await fs.opendir(folder)) {
      if (++names > SWEEP_NAMES) break;
      const kind = helper.exec(name)?.[1];
      if (kind === undefined) continue;
      const left = await unless(vanished, fs.lstat(join(folder, name)));
      if (left?.isFile() !== true || clock.now() - Math.max(left.mtimeMs, left.ctimeMs) < DAY) continue;
      if (kind === "tmp" || left.nlink > 1) await unless(vanished, fs.unlink(join(folder, name)));
    }
  }

  async function write(tmp: string, body: Source, guard: Guard, mode: number | undefined): Promise<void> {
    const file = await fs.open(tmp, "wx");
    try {
      if (mode !== undefined) await unless(cannot, file.chmod(mode));
      const hash = createHash("sha256");
      let sent = 0;
      for await (const chunk of bodyOf(body, guard.signal)) {
        sent += chunk.length;
        if (sent > body.size) break;
        hash.update(chunk);
        await file.writeFile(chunk);
        guard.onProgress?.(sent);
      }
      if (sent !== body.size || hash.digest("hex") !== body.sha256)
        throw new TargetError("corrupt", "the body's bytes are not what its size and sha256 say");
      // The system's clock ticks in milliseconds. A time between two ticks makes any later edit show, however soon it comes.
      const time = Math.floor(clock.now() / 1000) - 1 + random();
      await unless(cannot, file.utimes(time, time));
      await file.sync();
    } finally {
      await file.close();
    }
  }

  async function readBack(tmp: string, key: Key, body: Source, signal?: AbortSignal): Promise<BigIntStats> {
    const file = await fs.open(tmp, "r");
    try {
      const written = await file.stat({ bigint: true });
      if (written.size !== BigInt(body.size) || (await sha256Of(file, written.size, signal)) !== body.sha256)
        throw new TargetError("corrupt", `what was read back for ${pathOf(key)} is not what was written`, {
          hint: "Check the target's disk.",
        });
      return written;
    } finally {
      await file.close();
    }
  }

  async function placeNew(tmp: string, file: string, key: Key): Promise<void> {
    try {
      try {
        await fs.link(tmp, file);
      } catch (error) {
        if (!cannot.has(errnoOf(error))) throw error;
        // Without hard links the name is claimed with an empty file, which the rename replaces.
        await (await fs.open(file, "wx")).close();
        try {
          return await fs.rename(tmp, file);
        } catch (failed) {
          await fs.unlink(file);
          throw failed;
        }
      }
    } catch (error) {
      if (errnoOf(error) === "EEXIST") throw conflict(key, "is already there");
      throw error;
    }
    await fs.unlink(tmp);
  }

  /**
   * Takes `file` away, or puts `fresh` in its place, if it still is `seen`. A second, hidden name keeps the old bytes
   * within reach, so that a write into them at the last moment is noticed and put back. The calls between the last
   * look and the change are synchronous on purpose: that is the whole window in which a replacement can go unnoticed.
   */
  async function changeGuarded(file: string, key: Key, seen: BigIntStats, fresh?: { path: string; ino: bigint }): Promise<void> {
    const old = helperOf(file, "old");
    const changed = () => conflict(key, "was changed by someone else");
    const missing = () => (fresh === undefined ? changed() : absentFault(key));
    let linked = true;
    try {
      await fs.link(file, old);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") throw missing();
      if (!cannot.has(errnoOf(error))) throw error;
      linked = false;
    }
    const now = lstatSync(file, { bigint: true, throwIfNoEntry: false });
    if (now === undefined || !sameFile(now, seen)) {
      if (linked) unlinkSync(old);
      throw now === undefined ? missing() : changed();
    }
    if (fresh === undefined) unlinkSync(file);
    else renameSync(fresh.path, file);
    if (!linked) return;
    if (sameFile(lstatSync(old, { bigint: true }), seen)) return fs.unlink(old);
    const there = lstatSync(file, { bigint: true, throwIfNoEntry: false });
    renameSync(old, there === undefined || there.ino === fresh?.ino ? file : `${file}.${token()}.kept`);
    throw changed();
  }

  async function place(key: Key, body: Source, guard: Guard, found?: BigIntStats, check?: () => Promise<void>): Promise<Entry> {
    const file = fileOf(key);
    const folder = dirname(file);
    await makeFolder(folder);
    await sweep(folder);
    const tmp = helperOf(file, "tmp");
    try {
      await write(tmp, body, guard, found && Number(found.mode & 0o777n));
      const written = await readBack(tmp, key, body, guard.signal);
      await check?.();
      const now = await look(key);
      assertExpected(key, guard.expect, now);
      guard.signal?.throwIfAborted();
      if (guard.expect === "absent") await placeNew(tmp, file, key);
      else if (guard.expect !== undefined && now !== undefined)
        await changeGuarded(file, key, now, { path: tmp, ino: written.ino });
      else await fs.rename(tmp, file);
      await syncFolder(folder);
      const placed = await unless(vanished, fs.lstat(file, { bigint: true }));
      // Everything but ctime is from before: an edit since then makes the next guarded put fail.
      return entryOf(key, written, handedTo === undefined ? body.sha256 : undefined, placed?.ctimeNs);
    } catch (error) {
      await fs.rm(tmp, { force: true });
      throw saidOf(error, tmp, file);
    }
  }

  async function opened<T>(key: Key, use: (file: fs.FileHandle, stats: BigIntStats) => Promise<T>): Promise<T> {
    if ((await look(key)) === undefined) throw absentFault(key);
    const file = await unless(vanished, fs.open(fileOf(key), constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0)));
    if (file === undefined) throw absentFault(key);
    try {
      return await use(file, await file.stat({ bigint: true }));
    } finally {
      await file.close();
    }
  }

  async function hashed(key: Key, signal?: AbortSignal): Promise<readonly [BigIntStats, string]> {
    return opened(key, async (file, stats) => {
      const sha256 = await sha256Of(file, stats.size, signal);
      if (!sameFile(stats, await file.stat({ bigint: true })))
        throw new TargetError("transient", `${pathOf(key)} changed while it was read`);
      return [stats, sha256] as const;
    });
  }

  return {
    kind: "folder",
    traits: {
      atomicPut: true,
      guardedPut: false,
      identity: "path",
      listing: "immediate",
      hashes: handedTo === undefined ? ["sha256"] : [],
      maxConcurrency: 4,
      ...(handedTo === undefined ? {} : { handedTo }),
      get caseSensitive() {
        caseSensitive ??= probeCase(top, token()) ?? probeCase(base, token());
        return caseSensitive ?? (process.platform !== "darwin" && process.platform !== "win32");
      },
    },
    pathOf,

    async *list(prefix, call) {
      const folders = [""];
      for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
        try {
          call?.signal?.throwIfAborted();
          const handle = await unless(absence, fs.opendir(join(top, folder)));
          if (handle === undefined) await assertBase();
          else
            for await (const dirent of handle) {
              call?.signal?.throwIfAborted();
              const name = (folder + dirent.name).normalize("NFC");
              if (dirent.isDirectory() && (`${name}/`.startsWith(prefix) || prefix.startsWith(`${name}/`)))
                folders.push(`${folder}${dirent.name}/`);
              if (!dirent.isFile() || helper.test(dirent.name) || !name.startsWith(prefix)) continue;
              const entry = await listed(folder + dirent.name);
              if (entry !== undefined) yield entry;
            }
        } catch (error) {
          throw await translated(error, `list ${shown}${prefix}`, call?.signal);
        }
      }
    },

    stat: (key, look_) =>
      attempt(`look at ${pathOf(key)}`, look_, async () => {
        const found = await look(key);
        if (found === undefined || look_?.hash !== true || handedTo !== undefined) return found && entryOf(key, found);
        return entryOf(key, ...(await hashed(key, look_.signal)));
      }),

    read: (key, use, call) => {
      const doing = `read ${pathOf(key)}`;
      return attempt(doing, call, () =>
        opened(key, async (file, { size }) => {
          async function* bytes(): Chunks {
            let got = 0n;
            try {
              for await (const chunk of chunksOf(file, size, call?.signal)) {
                got += BigInt(chunk.length);
                yield chunk;
              }
            } catch (error) {
              throw await translated(error, doing, call?.signal);
            }
            if (got < size) throw new TargetError("transient", `${pathOf(key)} ended after ${got} of ${size} bytes`);
          }
          try {
            return await use(bytes());
          } catch (cause) {
            throw new CallersError("the reader failed", { cause });
          }
        }),
      );
    },

    put: (key, body, guard = {}) =>
      attempt(`write ${pathOf(key)}`, guard, async () => {
        const found = await look(key);
        assertExpected(key, guard.expect, found);
        return place(key, body, guard, found);
      }),

    copy: (from, to, guard = {}) => {
      const doing = `copy ${pathOf(from)} to ${pathOf(to)}`;
      return attempt(doing, guard, async () => {
        const found = await look(from);
        if (found === undefined) throw absentFault(from);
        assertExpected(from, guard.expect, found);
        assertExpected(to, "absent", await look(to));
        const [{ size }, sha256] = await hashed(from, guard.signal);
        const assertSame = async () => {
          const now = await look(from);
          if (now !== undefined && revOf(now) === revOf(found)) return;
          if (guard.expect !== undefined) throw conflict(from, "was changed by someone else");
          throw new TargetError("transient", `${pathOf(from)} changed while it was copied`);
        };
        async function* open(): Chunks {
          const file = await fs.open(fileOf(from), "r");
          try {
            yield* chunksOf(file, size, guard.signal);
          } catch (error) {
            throw await translated(error, doing, guard.signal);
          } finally {
            await file.close();
          }
        }
        try {
          return await place(to, { size: Number(size), sha256, open }, { ...guard, expect: "absent" }, found, assertSame);
        } catch (error) {
          if (error instanceof TargetError && error.kind === "corrupt") await assertSame();
          throw error;
        }
      });
    },

    remove: (key, guard = {}) =>
      attempt(`remove ${pathOf(key)}`, guard, async () => {
        const found = await look(key);
        if (found === undefined) return;
        assertExpected(key, guard.expect, found);
        if (guard.expect === undefined) await unless(vanished, fs.unlink(fileOf(key)));
        else await changeGuarded(fileOf(key), key, found);
        await syncFolder(dirname(fileOf(key)));
      }),

    /** What a writer that was killed left beside the file goes too, however young it is. */
    purge: (key, call) =>
      attempt(`remove ${pathOf(key)} for good`, call, async () => {
        const found = await look(key);
        const [file, stem] = [fileOf(key), helperStem(fileOf(key))];
        const beside = (await unless(absence, fs.readdir(dirname(file)))) ?? [];
        const ours = beside.filter((name) => name.startsWith(stem) && helperEnd.test(name.slice(stem.length)));
        for (const name of ours) await unless(vanished, fs.unlink(join(dirname(file), name)));
        if (found !== undefined) await unless(vanished, fs.unlink(file));
        if (found !== undefined || ours.length > 0) await syncFolder(dirname(file));
        return [];
      }),

    close: () => Promise.resolve(),
  };

  /** Skips what is not a key, and a decomposed name on a system where it is another file than the key's own. */
  async function listed(name: string): Promise<Entry | undefined> {
    const key = keyOf(name);
    if (key === undefined) return undefined;
    const found = await unless(absence, fs.lstat(join(top, name), { bigint: true }));
    if (found === undefined || key === name) return found && entryOf(key, found);
    const composed = await unless(absence, fs.lstat(join(top, key), { bigint: true }));
    return composed?.ino === found.ino ? entryOf(key, found) : undefined;
  }
}

/** The target that paths.json describes; throws `E_TARGET_UNREACHABLE` where no folder of the desktop client was found. */
export function openFolderTarget(
  root: string,
  { path, client, looked }: Readonly<Record<string, unknown>>,
  clock: Pick<Clock, "now">,
): Target {
  const handedTo = typeof client === "string" ? client : undefined;
  if (typeof path === "string") return createFolderTarget({ path, root, handedTo, clock });
  throw new TargetError(
    "transient",
    `there is no folder of ${handedTo} on this machine now (looked at ${Array.isArray(looked) ? looked.join(", ") : "more than one"})`,
    {
      code: "E_TARGET_UNREACHABLE",
      hint: 'Start the client, or name its folder with the target\'s "path" in paths.json.',
    },
  );
}

/** Removes the folder `root` below `path`, with all that lies in it. */
export async function clearFolder(path: string, root: string): Promise<void> {
  const folder = join(resolve(path), root);
  try {
    await fs.rm(folder, { recursive: true, force: true });
  } catch (error) {
    const [kind, , hint] = faultOfErrno[errnoOf(error)] ?? ["transient"];
    const message = `could not remove ${folder}: ${inWords(error)}`;
    throw new TargetError(kind, message, { cause: error, ...(hint && { hint }) });
  }
}

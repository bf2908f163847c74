/**
 * Bytes to disk so that they are there after a power cut: the one way in which this room writes files.
 * @module
 */
import { open, mkdir, readdir, rename, stat, utimes, writeFile, type FileHandle } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import writeFileAtomic from "write-file-atomic";
import { errnoOf, saidOf } from "../core/errors.ts";
import type { Chunks } from "../core/target.ts";
import { fsyncFolder } from "../logs/files.ts";

export type Bytes = Uint8Array | (() => Chunks);

/** Our writes date the file this much before now: any later write by others shows, even within one tick of the file system's clock. */
const SEAL_MS = 100;
const GRAIN_NS = 20_000_000n;
const COARSE_GRAIN_NS = 2_100_000_000n; // FAT counts in 2 s
const SECOND_NS = 1_000_000_000n;

interface Times {
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

/** Identity of a file's content as far as the file system tells it without reading. */
export const stampOf = (s: Times): string => `${s.ino}:${s.size}:${s.mtimeNs}:${s.ctimeNs}`;

/** `stampOf`, or null when a write within the same tick of the clock could hide behind it. `seenMs`: when it was looked at. */
export function settledStamp(s: Times, seenMs: number): string | null {
  const grain = s.mtimeNs % SECOND_NS === 0n ? COARSE_GRAIN_NS : GRAIN_NS;
  const newest = s.ctimeNs > s.mtimeNs ? s.ctimeNs : s.mtimeNs; // who puts the time back still moves ctime
  return newest + grain < BigInt(Math.trunc(seenMs)) * 1_000_000n ? stampOf(s) : null;
}

/** `stampOf` of a file that we dated `sealed`, or null when its date says that someone wrote after us. */
function sealedStamp(s: Times, sealed: number): string | null {
  const distance = s.mtimeNs - BigInt(Math.trunc(sealed * 1000)) * 1_000n;
  return distance > -2_000_000n && distance < 2_000_000n ? stampOf(s) : null;
}

// oxlint-disable-next-line aftersave/no-wall-clock -- compared with what the kernel stamps on files, which no test can hold
const sealTime = () => Date.now() - SEAL_MS;

/** Makes a folder and its missing parents; the names are on disk when it resolves. */
export async function makeFolder(path: string, mode?: number): Promise<void> {
  try {
    await mkdir(path, mode); // not recursive: that says ENOENT on a read-only file system
  } catch (error) {
    if (errnoOf(error) === "EEXIST") return;
    if (errnoOf(error) !== "ENOENT" || dirname(path) === path) throw error;
    await makeFolder(dirname(path), mode);
    return makeFolder(path, mode);
  }
  await fsyncFolder(dirname(path));
}

async function writeAll(handle: FileHandle, bytes: Bytes): Promise<void> {
  if (typeof bytes !== "function") return handle.writeFile(bytes);
  for await (const chunk of bytes()) await handle.writeFile(chunk); // at the current position, looping over short writes
}

const windowsLocks = new Set(["EPERM", "EACCES", "EBUSY"]);

async function retryOnWindowsLocks<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (process.platform !== "win32" || tries >= 8 || !windowsLocks.has(errnoOf(error))) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10 * tries)); // a virus scanner or an editor has it open for a moment
    }
  }
}

/** The file of write-file-atomic's that a failure to write `path` speaks of: `<path>.<digits>`. */
function temporaryIn(error: unknown, path: string): string {
  const at = typeof error === "object" && error !== null && "path" in error ? String(error.path) : "";
  return at.startsWith(`${path}.`) && /^\d+$/.test(at.slice(path.length + 1)) ? at : path;
}

export interface WriteOptions {
  /** Permissions of a new file; an existing file keeps its own. */
  readonly mode?: number | undefined;
  /** Runs when the new bytes are written beside the file and nothing is replaced yet; throwing keeps the old file. */
  readonly beforeRename?: (() => Promise<void>) | undefined;
}

/**
 * Replaces or creates a whole file: all of it is there, or the old one is. Temporary file in the same folder, fsync,
 * rename, fsync of the folder. The bytes go in by write-file-atomic's hook, because its own write puts a truncated
 * file in place on a full disk. Answers the new file's stamp; null when someone wrote to it at the same moment.
 */
export async function writeDurably(path: string, bytes: Bytes, options: WriteOptions = {}): Promise<string | null> {
  const folder = dirname(path);
  await makeFolder(folder);
  const sealed = sealTime();
  await retryOnWindowsLocks(() =>
    writeFileAtomic(path, "", {
      ...(options.mode === undefined ? {} : { mode: options.mode & 0o7777 }),
      // oxlint-disable-next-line typescript/no-misused-promises -- the library waits for it; its types do not say so
      tmpfileCreated: async (temporary: string) => {
        if (typeof bytes !== "function") await writeFile(temporary, bytes);
        else {
          const handle = await open(temporary, "r+");
          try {
            await writeAll(handle, bytes);
          } finally {
            await handle.close();
          }
        }
        await utimes(temporary, sealed / 1000, sealed / 1000);
        await options.beforeRename?.();
      },
    }).catch((error: unknown) => {
      throw saidOf(error, temporaryIn(error, path), path);
    }),
  );
  await fsyncFolder(folder);
  return sealedStamp(await stat(path, { bigint: true }), sealed);
}

/** What `writeDurably` left beside a file when its process was killed: write-file-atomic calls it `<name>.<digits>`. Memory files may be called so too. */
export async function temporariesOf(path: string): Promise<string[]> {
  const names = await readdir(dirname(path)).catch((error: unknown) => {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  });
  const begins = `${basename(path)}.`;
  return names
    .filter((name) => name.startsWith(begins) && /^\d{6,10}$/.test(name.slice(begins.length)))
    .map((name) => join(dirname(path), name));
}

/** Creates a file of our own (a head, a spooled body) that no one else touches; refuses to replace one. */
export async function createDurably(path: string, bytes: Bytes, mode: number): Promise<void> {
  await makeFolder(dirname(path), 0o700);
  const handle = await open(path, "wx", mode);
  try {
    await writeAll(handle, bytes);
    await handle.datasync();
  } finally {
    await handle.close();
  }
  await fsyncFolder(dirname(path));
}

export interface Appended {
  /** Size of the file afterwards. Larger than expected when another program wrote at the same time. */
  readonly size: number;
  readonly ino: bigint;
  readonly stamp: string | null;
}

/**
 * Adds bytes at the end of a file, wherever the end is by now, so that no other writer's bytes are overwritten. The
 * file is not rewritten. On an error part of the bytes may be there: the caller takes them back.
 */
export async function appendDurably(path: string, bytes: Uint8Array): Promise<Appended> {
  const handle = await open(path, "a");
  try {
    await handle.writeFile(bytes);
    const sealed = sealTime();
    await handle.utimes(sealed / 1000, sealed / 1000);
    await handle.datasync();
    const after = await handle.stat({ bigint: true });
    return { size: Number(after.size), ino: after.ino, stamp: sealedStamp(after, sealed) };
  } finally {
    await handle.close();
  }
}

/**
 * Makes what others wrote survive a power cut, which may otherwise keep a file's size and times and lose its bytes: it
 * would then be taken for what was looked at. A file that is gone is no news here.
 */
export async function syncTheirs(path: string): Promise<void> {
  try {
    const handle = await open(path, process.platform === "win32" ? "r+" : "r");
    try {
      await handle.datasync();
    } finally {
      await handle.close();
    }
    await fsyncFolder(dirname(path));
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
  }
}

/** Cuts a file to `size` bytes. Only ever called for bytes that are known to be ours. */
export async function cutDurably(path: string, size: number): Promise<void> {
  const handle = await open(path, "r+");
  try {
    await handle.truncate(size);
    await handle.datasync();
  } finally {
    await handle.close();
  }
}

/** Moves a file of our own within one file system. */
export async function moveDurably(from: string, to: string): Promise<void> {
  await makeFolder(dirname(to), 0o700);
  await rename(from, to);
  await fsyncFolder(dirname(to));
}

export const inFolder = (folder: string, key: string): string => join(folder, ...key.split("/"));

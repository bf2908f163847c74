/**
 * What the folder driver asks of a file system: facts about files, streams of their bytes, and the system's errors in
 * the words of a target.
 * @module
 */
import { createHash } from "node:crypto";
import { type BigIntStats, closeSync, lstatSync, openSync, unlinkSync } from "node:fs";
import * as fs from "node:fs/promises";
import { join } from "node:path";
import { untilAborted } from "../../core/chunks.ts";
import { type ErrorCode, errnoOf, type FaultKind } from "../../core/errors.ts";
import type { Key } from "../../core/key.ts";
import type { Chunks, Entry } from "../../core/target.ts";

const READ_SIZE = 256 * 1024;

type Row = readonly [kind: FaultKind, code?: ErrorCode, hint?: string];
const full: Row = ["quota", undefined, "Free some space on the target's disk."];
const refused: Row = ["auth", "E_PERMISSION", "Check the owner and mode of this folder and of the file in it."];
const gone: Row = ["transient", "E_TARGET_UNREACHABLE", "Connect the disk again."];
const unnamable: Row = ["unsupported", undefined, "The target's file system cannot hold this name; choose another."];
export const wrongTypeHint = "Rename what stands in the way at the target.";
const wrongType: Row = ["unsupported", "E_KEY_FOLDER", wrongTypeHint];
/** What a system error means for a target; what is not here may pass. */
export const faultOfErrno: Record<string, Row> = {
  ENOSPC: full,
  EDQUOT: full,
  EACCES: refused,
  EPERM: refused,
  EROFS: ["auth", "E_READ_ONLY", "Make the target's file system writable."],
  ENODEV: gone,
  ENXIO: gone,
  ENOTCONN: gone,
  ESTALE: gone,
  EHOSTDOWN: gone,
  EHOSTUNREACH: gone,
  ENAMETOOLONG: unnamable,
  EILSEQ: unnamable,
  EINVAL: unnamable,
  EFBIG: ["unsupported", undefined, "The target's file system cannot hold a file of this size."],
  EISDIR: wrongType,
  ENOTDIR: wrongType,
  ENOTEMPTY: wrongType,
  ELOOP: wrongType,
  EIO: ["transient", undefined, "Check the target's disk; the system's log names the fault."],
};
/** What simpler file systems answer to hard links, times and modes. */
export const cannot = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"]);
const noFolderSync = new Set(["EINVAL", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"]);

export const sameFile = (a: BigIntStats, b: BigIntStats) => a.ino === b.ino && a.size === b.size && a.mtimeNs === b.mtimeNs;

/** The system changes `ctime` with every link and rename, so it is taken last, and never from before our own. */
export const revOf = (file: BigIntStats, ctimeNs = file.ctimeNs) =>
  [file.ino, file.size, file.mtimeNs, ctimeNs].map((part) => part.toString(36)).join("-");

export const entryOf = (key: Key, file: BigIntStats, sha256?: string, ctimeNs = file.ctimeNs): Entry => ({
  key,
  size: Number(file.size),
  rev: revOf(file, ctimeNs),
  ...(sha256 === undefined ? {} : { hash: { algo: "sha256", hex: sha256 } }),
});

export async function unless<T>(harmless: ReadonlySet<string>, work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (harmless.has(errnoOf(error))) return undefined;
    throw error;
  }
}
export const absence = new Set(["ENOENT", "ENOTDIR"]);
export const vanished = new Set(["ENOENT"]);

export async function syncFolder(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const folder = await fs.open(path, "r");
  try {
    await unless(noFolderSync, folder.sync());
  } finally {
    await folder.close();
  }
}

/** Whether `folder` tells `a` from `A`; undefined when that cannot be tried. */
export function probeCase(folder: string, token: string): boolean | undefined {
  const name = `.case.${token}.aftersave-tmp`;
  try {
    closeSync(openSync(join(folder, name), "wx"));
  } catch (error) {
    if (errnoOf(error) !== "") return undefined;
    throw error;
  }
  try {
    return lstatSync(join(folder, name.toUpperCase()), { throwIfNoEntry: false }) === undefined;
  } finally {
    unlinkSync(join(folder, name));
  }
}

export async function* chunksOf(file: fs.FileHandle, size: bigint, signal?: AbortSignal): Chunks {
  if (size === 0n) return;
  const stream = file.createReadStream({ start: 0, end: Number(size) - 1, autoClose: false, highWaterMark: READ_SIZE });
  yield* untilAborted(stream as AsyncIterable<Uint8Array>, signal);
}

export async function sha256Of(file: fs.FileHandle, size: bigint, signal?: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of chunksOf(file, size, signal)) hash.update(chunk);
  return hash.digest("hex");
}

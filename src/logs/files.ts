/**
 * What the files of this room share: how a log is opened, how a name is taken without overwriting, how a folder is made durable.
 * @module
 */
import { constants } from "node:fs";
import { mkdir, open, rename, rm, type FileHandle } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { AftersaveError, asAftersaveError, errnoOf } from "../core/errors.ts";

/** A new log is readable by its owner only: reasons and chat names stand in it. */
export const LOG_MODE = 0o600;

/** Turns a fault of a log file into an `AftersaveError`; a path that cannot be a log is `E_LOG_PLACE`. */
export function logFault(error: unknown, doing: string, path: string): AftersaveError {
  if (!["EISDIR", "ENOTDIR", "EEXIST", "ELOOP"].includes(errnoOf(error))) return asAftersaveError(error, doing);
  return notALog(path, error);
}

const notALog = (path: string, cause?: unknown) =>
  new AftersaveError("E_LOG_PLACE", `the log ${path} is not a file, or lies below something that is not a folder`, {
    hint: "Name another file in paths.json, or move what is in the way.",
    cause,
  });

const FLAGS = {
  r: constants.O_RDONLY,
  "r+": constants.O_RDWR,
  "a+": constants.O_RDWR | constants.O_APPEND,
};

/** Opens a log that exists; `undefined` when there is none. Only plain files are opened. */
export async function openLog(path: string, flags: keyof typeof FLAGS): Promise<FileHandle | undefined> {
  let file: FileHandle;
  try {
    file = await open(path, FLAGS[flags]);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw logFault(error, `opening the log ${path}`, path);
  }
  try {
    if (!(await file.stat()).isFile()) throw notALog(path);
    return file;
  } catch (error) {
    await file.close();
    throw logFault(error, `opening the log ${path}`, path);
  }
}

/** How a log stands. */
export interface Standing {
  readonly size: number;
  /** The file's identity, in decimal: another one means that it was replaced or rotated. Empty when there is no file. */
  readonly ino: string;
}

/** How the log stands; size 0 and no identity when it is absent. */
export async function standing(file: FileHandle | undefined): Promise<Standing> {
  if (file === undefined) return { size: 0, ino: "" };
  const { size, ino } = await file.stat({ bigint: true });
  return { size: Number(size), ino: String(ino) };
}

/** Makes the names in a folder survive a power cut. Windows has no such call and needs none. */
export async function fsyncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Creates the log and the folders above it, and makes their names durable. Someone else may have been faster. */
export async function createLog(path: string): Promise<void> {
  try {
    const folder = dirname(resolve(path));
    const first = await mkdir(folder, { recursive: true });
    await (await open(path, "a", LOG_MODE)).close();
    const top = first === undefined ? folder : dirname(first);
    for (let at = folder; ; at = dirname(at)) {
      await fsyncFolder(at);
      if (at === top || at === dirname(at)) return;
    }
  } catch (error) {
    throw logFault(error, `creating the log ${path}`, path);
  }
}

/**
 * Renames `path` to the first of `names` that is free, and returns that name. Nothing is ever overwritten: the name is
 * taken exclusively before the rename replaces our own empty placeholder.
 */
export async function moveAside(path: string, names: Iterable<string>): Promise<string> {
  for (const name of names) {
    try {
      await (await open(name, "wx", LOG_MODE)).close();
    } catch (error) {
      if (errnoOf(error) === "EEXIST") continue;
      throw asAftersaveError(error, `moving ${path} aside`);
    }
    try {
      await rename(path, name);
    } catch (error) {
      await rm(name, { force: true });
      throw asAftersaveError(error, `moving ${path} aside`);
    }
    await fsyncFolder(dirname(resolve(path)));
    return name;
  }
  throw new AftersaveError("E_INTERNAL", `no free name was offered for ${path}`);
}

/** `<stem>`, `<stem>_2`, `<stem>_3` … */
export function* counted(stem: string, from = 1): Generator<string> {
  for (let n = from; ; n += 1) yield n === 1 ? stem : `${stem}_${n}`;
}

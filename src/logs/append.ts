/**
 * Appending to a log: whole lines, one write, all or nothing. That no two of our own processes append at once is the
 * caller's claim; other programs are met with a courtesy lock, and are safe without it.
 * @module
 */
import type { FileHandle } from "node:fs/promises";
import { AftersaveError } from "../core/errors.ts";
import { createLog, logFault, openLog, standing, type Standing } from "./files.ts";
import { withCourtesy } from "./lock.ts";
import { setAside, type Torn } from "./repair.ts";

export interface AppendOptions {
  /** The size that the log must have (0: absent will do). Another size throws `LogSizeError`, and nothing is written. */
  readonly expectedSize?: number | undefined;
  /** The identity that the log must have, when it is there; checked with `expectedSize`. */
  readonly expectedIno?: string | undefined;
  /** Return only when the lines would survive a power cut. */
  readonly sync?: boolean | undefined;
}

export interface Appended extends Standing {
  /** A torn end that was set aside before the lines were written. */
  readonly torn?: Torn;
}

/** The log is not as the caller knows it: lines of a crashed export, another program's lines, or a cut. Ask `reconcile`. */
export class LogSizeError extends AftersaveError {
  readonly size: number;
  readonly ino: string;

  constructor(path: string, expected: number, found: Standing) {
    super("E_LOG_FOREIGN", `the log ${path} has ${found.size} bytes where ${expected} were expected`, {
      hint: "If another program writes this log, give aftersave another name in paths.json.",
      details: { expected, size: found.size },
    });
    this.size = found.size;
    this.ino = found.ino;
  }
}

/**
 * Appends `lines` (each without a line end) with one write. Either all of them are there afterwards, or it throws and
 * none is, unless another program wrote behind a write that the disk cut short. Creates the log (mode 0600) and its folder.
 * A torn last line is set aside first. Lines end in `\n` on every system.
 */
export async function appendLines(path: string, lines: readonly string[], options: AppendOptions = {}): Promise<Appended> {
  if (lines.some((line) => line.includes("\n"))) throw new AftersaveError("E_INTERNAL", "a log line holds a line break");
  const data = Buffer.from(lines.map((line) => `${line}\n`).join(""), "utf8");
  let file = await openLog(path, "a+");
  if (file === undefined) {
    if ((options.expectedSize ?? 0) > 0) throw new LogSizeError(path, options.expectedSize ?? 0, { size: 0, ino: "" });
    await createLog(path);
    file = await openLog(path, "a+");
    if (file === undefined) throw new AftersaveError("E_NOT_FOUND", `the log ${path} was removed while it was opened`);
  }
  const log = file;
  try {
    return await withCourtesy(path, () => appendTo(log, path, data, options));
  } catch (error) {
    throw logFault(error, `appending to the log ${path}`, path);
  } finally {
    await log.close();
  }
}

async function appendTo(file: FileHandle, path: string, data: Buffer, options: AppendOptions): Promise<Appended> {
  let before = await standing(file);
  const { expectedSize = before.size, expectedIno = before.ino } = options;
  if (before.size !== expectedSize || before.ino !== expectedIno) throw new LogSizeError(path, expectedSize, before);
  let torn: Torn | undefined;
  if (!(await endsLine(file, before.size))) {
    torn = await setAside(path);
    before = await standing(file);
  }
  let wrote = 0;
  try {
    wrote = data.length === 0 ? 0 : (await file.write(data, 0, data.length, null)).bytesWritten;
    if (wrote < data.length)
      throw new AftersaveError("E_NO_SPACE", `the disk took only ${wrote} of ${data.length} bytes of the log ${path}`, {
        hint: "Free some space on this disk.",
      });
    if (options.sync === true) await file.sync();
  } catch (error) {
    // What cannot be cut off now is a torn end, which the next append finds; the first error is the one to tell.
    await takeBack(path, before, data.subarray(0, wrote), file).catch(() => undefined);
    throw error;
  }
  return { ...(await standing(file)), ...(torn?.moved ? { torn } : {}) };
}

async function endsLine(file: FileHandle, size: number): Promise<boolean> {
  if (size === 0) return true;
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 1);
  return buffer[0] === 0x0a;
}

/** Cuts off what a failed append left at the end, if it is still the end: what others wrote behind it is not ours to cut. */
async function takeBack(path: string, before: Standing, ours: Buffer, file: FileHandle): Promise<void> {
  const { size, ino } = await standing(file);
  const start = size - ours.length;
  if (ours.length === 0 || start < before.size) return;
  const { buffer } = await file.read(Buffer.alloc(ours.length), 0, ours.length, start);
  if (!buffer.equals(ours)) return;
  // An appending handle cannot truncate on Windows.
  const cutter = await openLog(path, "r+");
  try {
    if (cutter !== undefined && (await standing(cutter)).ino === ino) await cutter.truncate(start);
  } finally {
    await cutter?.close();
  }
}

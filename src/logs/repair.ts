/**
 * After a crash or a power cut: what is torn is set aside, never read and never lost; what is whole stays where it is.
 * @module
 */
import { open, type FileHandle } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { fsyncFolder, LOG_MODE, logFault, openLog, standing, type Standing } from "./files.ts";
import { linesBackward, linesForward, type RawLine } from "./lines.ts";
import { withCourtesy } from "./lock.ts";
import { rotatedFiles } from "./rotated.ts";

const BLOCK = 1024 * 1024;

export interface Torn {
  /** How many bytes were moved; 0 when nothing was torn. */
  readonly bytes: number;
  /** Where they are now. */
  readonly moved: string | null;
}

const blank = (bytes: Buffer) => /^[ \t\r]*$/.test(bytes.toString("latin1"));

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8").replace(/^\uFEFF/, ""));
  } catch {
    return undefined;
  }
}

const isObject = (value: unknown) => typeof value === "object" && value !== null && !Array.isArray(value);

/** Whether a line may stay: any JSON if a newline ends it; without one only a whole object, as `12` may have been `123`. */
function stands({ bytes, whole }: RawLine): boolean {
  if (bytes === null) return whole;
  const value = parsed(bytes);
  return whole ? value !== undefined : isObject(value);
}

/** Where the torn tail of a file begins, and whether the last line that stays lacks its newline. */
async function tear(file: FileHandle, size: number): Promise<{ cut: number; unended: boolean }> {
  let cut = size;
  for await (const line of linesBackward(file, size)) {
    if (line.bytes !== null && line.whole && blank(line.bytes)) continue;
    if (stands(line)) return { cut, unended: !line.whole };
    cut = line.offset;
  }
  return { cut, unended: false };
}

/** Appends the bytes from `cut` to `size` to the `.torn` file, durably. */
async function keep(file: FileHandle, cut: number, size: number, path: string): Promise<void> {
  const torn = await open(path, "a", LOG_MODE);
  try {
    let last = 0;
    for (let at = cut; at < size;) {
      const { buffer, bytesRead } = await file.read(
        Buffer.allocUnsafe(Math.min(BLOCK, size - at)),
        0,
        Math.min(BLOCK, size - at),
        at,
      );
      if (bytesRead === 0) break;
      await torn.writeFile(buffer.subarray(0, bytesRead));
      last = buffer[bytesRead - 1] ?? 0;
      at += bytesRead;
    }
    if (last !== 0x0a) await torn.writeFile("\n");
    await torn.sync();
  } finally {
    await torn.close();
  }
  await fsyncFolder(dirname(resolve(path)));
}

/** Appended, not written at a place: another program's line may be there by now. */
async function endLine(path: string): Promise<void> {
  const file = await openLog(path, "a+");
  try {
    await file?.write("\n");
    await file?.sync();
  } finally {
    await file?.close();
  }
}

/** `setAsideTorn` for a caller that holds the courtesy lock. `from`: everything behind it goes too, whole or not. */
export async function setAside(path: string, from = Number.POSITIVE_INFINITY): Promise<Torn> {
  const file = await openLog(path, "r+");
  if (file === undefined) return { bytes: 0, moved: null };
  const place = `${path}.torn`;
  try {
    for (;;) {
      const { size } = await file.stat();
      const found = await tear(file, size);
      const cut = Math.min(found.cut, from);
      if (cut >= size) {
        if (found.unended) await endLine(path);
        return { bytes: 0, moved: null };
      }
      await keep(file, cut, size, place);
      // Someone wrote on meanwhile: it was not torn, or is torn further on. Look again, cut nothing.
      if ((await file.stat()).size !== size) continue;
      await file.truncate(cut);
      await file.sync();
      return { bytes: size - cut, moved: place };
    }
  } catch (error) {
    throw logFault(error, `setting aside the torn end of ${path}`, path);
  } finally {
    await file.close();
  }
}

/**
 * Moves a torn end (a last line without its newline, NUL bytes or lines that are not JSON after a power cut) to
 * `<path>.torn`, durably and before the log is cut. A whole JSON object that only lacks its newline gets one. No
 * line that stands is ever cut, and repeating it changes nothing.
 */
export function setAsideTorn(path: string): Promise<Torn> {
  return withCourtesy(path, () => setAside(path));
}

export interface Expectation {
  /** Up to here the log was known good: the size that was confirmed (and synced) last. */
  readonly fromOffset: number;
  /** The identity that it had then; lines are then looked for in the newest rotated file too, if that is the one. */
  readonly ino?: string | undefined;
  /** The lines (without line ends) that may have been appended since, in their order. */
  readonly expected: readonly string[];
}

/** What a crash left, and how the log stands after the repair: it ends with a whole line. */
export interface Reconciled extends Standing {
  /** For each expected line whether it is there. The others are to be appended, in order. */
  readonly present: readonly boolean[];
  readonly missing: number;
  /** Whole lines beyond `fromOffset` that are not ours, and lines there that cannot be read. */
  readonly foreign: number;
  readonly bad: number;
  /** Bytes below `fromOffset` that are gone: a power cut took unsynced lines, or someone cut the file. */
  readonly short: number;
  /** The log was rotated since; the confirmed lines are in this file. */
  readonly rotated: string | null;
  readonly torn: Torn;
}

/**
 * Compares the end of the log with what should stand there. Torn ends are set aside; so is everything behind a hole
 * among our own lines, as long as only our own lines follow, so that they can be appended again in order.
 */
export async function reconcile(path: string, expectation: Expectation): Promise<Reconciled> {
  return withCourtesy(path, async () => {
    const { expected } = expectation;
    const wanted = new Map<string, number[]>();
    for (const [index, line] of expected.entries()) wanted.set(line, [...(wanted.get(line) ?? []), index]);
    const present = expected.map(() => false);
    const torn = await setAside(path);
    const rotated = await rotatedAway(path, expectation.ino);
    const fromOffset = rotated === null ? expectation.fromOffset : 0;
    if (rotated !== null) await look(rotated, expectation.fromOffset, wanted, present);
    const found = await look(path, fromOffset, wanted, present);
    const more = found.hole === undefined ? { bytes: 0, moved: null } : await setAside(path, found.hole);
    const file = await openLog(path, "r");
    try {
      const now = await standing(file);
      return {
        ...now,
        present,
        missing: present.filter((there) => !there).length,
        foreign: found.foreign,
        bad: found.bad,
        short: Math.max(0, fromOffset - found.size),
        rotated,
        torn: { bytes: torn.bytes + more.bytes, moved: torn.moved ?? more.moved },
      };
    } finally {
      await file?.close();
    }
  });
}

async function inoOf(path: string): Promise<string> {
  const file = await openLog(path, "r");
  try {
    return (await standing(file)).ino;
  } finally {
    await file?.close();
  }
}

/** The rotated file that has this identity now, if the log itself has another. */
async function rotatedAway(path: string, ino: string | undefined): Promise<string | null> {
  if (ino === undefined || ino === "" || (await inoOf(path)) === ino) return null;
  const newest = (await rotatedFiles(path)).at(-1);
  return newest !== undefined && (await inoOf(newest)) === ino ? newest : null;
}

/** Marks in `present` which wanted lines a file holds. `hole`: from there on only ours and unreadable lines, out of order. */
async function look(path: string, fromOffset: number, wanted: Map<string, number[]>, present: boolean[]) {
  const found = { size: 0, foreign: 0, bad: 0, hole: undefined as number | undefined };
  const file = await openLog(path, "r");
  if (file === undefined) return found;
  let behind: number[] = [];
  let unread = 0;
  let unreadFrom: number | undefined;
  const settle = () => {
    for (const index of behind) present[index] = true;
    found.bad += unread;
    [behind, unread, unreadFrom, found.hole] = [[], 0, undefined, undefined];
  };
  try {
    found.size = (await standing(file)).size;
    for await (const batch of linesForward(file, (await startsLine(file, fromOffset, found.size)) ? fromOffset : 0))
      for (const line of batch) {
        if (line.bytes !== null && blank(line.bytes)) continue;
        const index = wanted.get(line.bytes?.toString("utf8").replace(/\r$/, "") ?? "")?.shift();
        if (index === undefined && stands(line)) {
          settle();
          if (line.offset >= fromOffset) found.foreign += 1;
        } else if (index === undefined) {
          if (line.offset >= fromOffset) unread += 1;
          unreadFrom ??= line.offset;
        } else if (found.hole === undefined && index === present.indexOf(false)) {
          settle();
          present[index] = true;
        } else {
          found.hole ??= unreadFrom ?? line.offset;
          behind.push(index);
        }
      }
    if (found.hole === undefined) settle();
    return found;
  } finally {
    await file.close();
  }
}

/** Whether a line begins at `offset`; an edited or cut file is looked through from its beginning. */
async function startsLine(file: FileHandle, offset: number, size: number): Promise<boolean> {
  if (offset === 0 || offset > size) return offset === 0;
  return (await file.read(Buffer.alloc(1), 0, 1, offset - 1)).buffer[0] === 0x0a;
}

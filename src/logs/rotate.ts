/**
 * Rotation by size. Nothing is renamed over, and a rotated file keeps its name for ever.
 * @module
 */
import { rm } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { logFault, counted, fsyncFolder, moveAside, openLog } from "./files.ts";
import { withCourtesy } from "./lock.ts";
import { setAside } from "./repair.ts";
import { rotatedFiles, stampOf, timeStamp } from "./rotated.ts";

export interface RotateOptions {
  /** A log of this size or more is rotated. */
  readonly bytes: number;
  /** How many rotated files stay; the oldest are removed. All of them when left out, as the changelog's chain needs. */
  readonly keep?: number | undefined;
  readonly now: Date;
}

/**
 * Renames a log that has grown to `bytes` to `<path>.<YYYY-MM-DDTHH-mm-ssZ>` (`…Z_2` on a collision) and answers that
 * path; `null` when there was nothing to do. The caller holds the claim on the log.
 */
export async function rotateIfNeeded(path: string, { bytes, keep, now }: RotateOptions): Promise<string | null> {
  const file = await openLog(path, "r");
  try {
    if (file === undefined || (await file.stat()).size < bytes) return null;
    return await withCourtesy(path, async () => {
      await setAside(path);
      await file.sync();
      const rotated = await moveAside(path, namesAfter(path, now, (await rotatedFiles(path)).at(-1)));
      if (keep !== undefined) await prune(path, keep);
      return rotated;
    });
  } catch (error) {
    throw logFault(error, `rotating the log ${path}`, path);
  } finally {
    await file?.close();
  }
}

/** Names that sort behind `newest`, also when the clock went backwards: the order of the files is the order of the lines. */
export function namesAfter(path: string, now: Date, newest: string | undefined): Iterable<string> {
  const time = timeStamp(now);
  const last = newest === undefined ? undefined : stampOf(path, basename(newest));
  return last !== undefined && last.time >= time ? counted(`${path}.${last.time}`, last.count + 1) : counted(`${path}.${time}`);
}

async function prune(path: string, keep: number): Promise<void> {
  const rotated = await rotatedFiles(path);
  const old = rotated.slice(0, Math.max(0, rotated.length - keep));
  for (const name of old) await rm(name, { force: true });
  if (old.length > 0) await fsyncFolder(dirname(resolve(path)));
}

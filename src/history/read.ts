/**
 * Parts of files, read at once: thousands of small waits would take longer than the reading.
 * @module
 */
import { closeSync, openSync, readSync } from "node:fs";
import { errnoOf } from "../core/errors.ts";

/**
 * The bytes [from, to) of a file at the beginning of `into`, which by default has room for one more behind them; undefined
 * when it cannot be read so far.
 */
export function readNow(
  path: string,
  from: number,
  to: number,
  into: Buffer = Buffer.allocUnsafe(to - from + 1),
): Buffer | undefined {
  try {
    const file = openSync(path, "r");
    try {
      for (let at = 0; at < to - from;) {
        const n = readSync(file, into, at, to - from - at, from + at);
        if (n === 0) return undefined;
        at += n;
      }
      return into;
    } finally {
      closeSync(file);
    }
  } catch (error) {
    if (errnoOf(error) === "") throw error;
    return undefined; // unreadable is not there
  }
}

/**
 * Parts of files, read at once: thousands of small waits would take longer than the reading.
 * @module
 */
import { closeSync, openSync, readSync } from "node:fs";
import { errnoOf } from "../core/errors.ts";

/** The bytes [from, to) of a file, with room for one more behind them; undefined when it cannot be read so far. */
export function readNow(path: string, from: number, to: number): Buffer | undefined {
  try {
    const file = openSync(path, "r");
    try {
      const bytes = Buffer.allocUnsafe(to - from + 1);
      for (let at = 0; at < to - from;) {
        const n = readSync(file, bytes, at, to - from - at, from + at);
        if (n === 0) return undefined;
        at += n;
      }
      return bytes;
    } finally {
      closeSync(file);
    }
  } catch (error) {
    if (errnoOf(error) === "") throw error;
    return undefined; // unreadable is not there
  }
}

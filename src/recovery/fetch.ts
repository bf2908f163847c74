/**
 * Bytes from a target to this disk, checked on the way.
 * @module
 */
import { createHash } from "node:crypto";
import { open, rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { Key } from "../core/key.ts";
import type { Call, Target } from "../core/target.ts";
import { makeFolder } from "../memory/durable.ts";
import { kindOf } from "../mirror/place.ts";

/** Some bytes, by hash and length. */
export interface Wanted {
  readonly sha256: string;
  readonly size: number;
}

/**
 * Writes the first `size` bytes of `key` at the target to a file of our own, which it replaces, and answers whether they are the
 * ones that are wanted: if not, there is no file. They are on the disk when it resolves.
 */
export async function fetchTo(
  target: Target,
  key: Key,
  { sha256, size }: Wanted,
  path: string,
  call: Call,
): Promise<"fetched" | "absent" | "other"> {
  await makeFolder(dirname(path));
  const take = async (chunks: AsyncIterable<Uint8Array>): Promise<boolean> => {
    const file = await open(path, "w");
    try {
      const hash = createHash("sha256");
      let left = size;
      for await (const chunk of chunks) {
        const piece = chunk.subarray(0, left);
        hash.update(piece);
        await file.writeFile(piece);
        left -= piece.length;
        if (left === 0) break;
      }
      await file.sync();
      return left === 0 && hash.digest("hex") === sha256;
    } finally {
      await file.close();
    }
  };
  let ours = false;
  try {
    ours = await target.read(key, take, call);
    return ours ? "fetched" : "other";
  } catch (error) {
    if (kindOf(error) !== "not-found") throw error;
    return "absent";
  } finally {
    if (!ours) await rm(path, { force: true });
  }
}

/** Runs `work` on every item, up to `most` at a time; the first fault ends it. */
export async function inParallel<T>(items: Iterable<T>, most: number, work: (item: T) => Promise<void>): Promise<void> {
  const left = items[Symbol.iterator]();
  let failed = false;
  const run = async () => {
    for (let next = left.next(); !next.done && !failed; next = left.next())
      try {
        await work(next.value);
      } catch (error) {
        failed = true;
        throw error;
      }
  };
  const ended = await Promise.allSettled(Array.from({ length: Math.max(1, most) }, run));
  const fault = ended.find((one) => one.status === "rejected");
  if (fault) throw fault.reason;
}

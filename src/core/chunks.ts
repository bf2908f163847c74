/**
 * Streams of bytes, without anything that reads or writes them.
 * @module
 */
import { createHash } from "node:crypto";
import type { Chunks, Source } from "./target.ts";

/** The bytes of a text, as a source. */
export function sourceOf(text: string): Source {
  const bytes = Buffer.from(text, "utf8");
  return {
    size: bytes.length,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    async *open() {
      yield bytes;
    },
  };
}

/** `chunks`, until `signal` aborts: then the signal's reason is thrown at once, also while the next chunk is awaited. */
export async function* untilAborted(chunks: Chunks, signal?: AbortSignal): Chunks {
  const iterator = chunks[Symbol.asyncIterator]();
  let stop = (): void => undefined;
  const onAbort = () => stop();
  // One promise for each chunk: racing all of them with a single long-lived one would keep every chunk in memory.
  const next = () =>
    new Promise<IteratorResult<Uint8Array>>((resolve, reject) => {
      stop = () => reject(signal?.reason);
      iterator.next().then(resolve, reject);
    });
  let open = true;
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    for (;;) {
      signal?.throwIfAborted();
      const item = await next();
      if (item.done === true) {
        open = false;
        return;
      }
      yield item.value;
    }
  } catch (error) {
    open = false;
    // A generator that waits answers `return` only after its wait, so this is not awaited.
    iterator.return?.().then(undefined, () => undefined);
    throw error;
  } finally {
    signal?.removeEventListener("abort", onAbort);
    if (open) await iterator.return?.();
  }
}

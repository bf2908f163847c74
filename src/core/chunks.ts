/**
 * Streams of bytes, without anything that reads or writes them.
 * @module
 */
import type { Chunks } from "./target.ts";

/** `chunks`, until `signal` aborts: then the signal's reason is thrown at once, also while the next chunk is awaited. */
export async function* untilAborted(chunks: Chunks, signal?: AbortSignal): Chunks {
  signal?.throwIfAborted();
  const iterator = chunks[Symbol.asyncIterator]();
  let stop = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal?.reason);
  });
  aborted.catch(() => undefined);
  signal?.addEventListener("abort", stop, { once: true });
  let open = true;
  try {
    for (;;) {
      const next = await Promise.race([iterator.next(), aborted]);
      if (next.done === true) {
        open = false;
        return;
      }
      yield next.value;
    }
  } catch (error) {
    open = false;
    // A generator that waits answers `return` only after its wait, so this is not awaited.
    iterator.return?.().then(undefined, () => undefined);
    throw error;
  } finally {
    signal?.removeEventListener("abort", stop);
    if (open) await iterator.return?.();
  }
}

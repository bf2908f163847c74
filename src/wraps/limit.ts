/**
 * Bounds on traffic: how many calls at once, how many bytes per second.
 * @module
 */
import type PQueue from "p-queue";
import type { TokenBucket } from "limiter";
import { untilAborted } from "../core/chunks.ts";
import { type Chunks, forward, type Wrap } from "../core/target.ts";

function assertPositive(name: string, value: number): void {
  if (!Number.isInteger(value) || value < 1)
    throw new RangeError(`expected ${name} to be a whole number from 1 up, got ${value}`);
}

/**
 * At most `most` calls of the inner target run at once; others wait in order, and leave the line when their signal
 * aborts. A listing holds a slot only while it fetches. The `use` of a `read` runs inside the slot: it must not wait
 * for another call of the same target.
 */
export function withSlots(most: number): Wrap {
  assertPositive("the number of slots", most);
  let made: Promise<PQueue> | undefined;
  const queue = () => (made ??= import("p-queue").then(({ default: Queue }) => new Queue({ concurrency: most })));

  async function inSlot<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    signal?.throwIfAborted();
    const line = await queue();
    // Only the wait is ended here; a call that runs ends itself, and its slot is free when it has cleaned up.
    const waiting = new AbortController();
    const leave = () => waiting.abort(signal?.reason);
    signal?.addEventListener("abort", leave, { once: true });
    if (signal?.aborted === true) leave();
    const run = () => {
      signal?.removeEventListener("abort", leave);
      return work();
    };
    return line.add(run, { signal: waiting.signal });
  }

  return (inner) =>
    forward(inner, {
      async *list(prefix, call) {
        const entries = inner.list(prefix, call)[Symbol.asyncIterator]();
        const next = () => inSlot(call?.signal, () => entries.next());
        try {
          for (let item = await next(); item.done !== true; item = await next()) yield item.value;
        } finally {
          await entries.return?.();
        }
      },
      stat: (key, look) => inSlot(look?.signal, () => inner.stat(key, look)),
      read: (key, use, call) => inSlot(call?.signal, () => inner.read(key, use, call)),
      put: (key, body, guard) => inSlot(guard?.signal, () => inner.put(key, body, guard)),
      copy: (from, to, guard) => inSlot(guard?.signal, () => inner.copy(from, to, guard)),
      remove: (key, guard) => inSlot(guard?.signal, () => inner.remove(key, guard)),
      ...(inner.purge && { purge: (key, call) => inSlot(call?.signal, async () => inner.purge?.(key, call) ?? []) }),
    });
}

/** Bodies and reads together flow at no more than `rate` bytes per second, spread evenly. Copies at the place itself are free. */
export function withBytesPerSecond(rate: number): Wrap {
  assertPositive("bytes per second", rate);
  const piece = Math.max(1, Math.min(64 * 1024, Math.floor(rate / 10)));
  let made: Promise<TokenBucket> | undefined;
  const bucket = () =>
    (made ??= import("limiter").then(
      (limiter) => new limiter.TokenBucket({ bucketSize: piece, tokensPerInterval: rate, interval: 1000 }),
    ));

  async function* paced(chunks: Chunks): Chunks {
    const tokens = await bucket();
    for await (const chunk of chunks)
      for (let at = 0; at < chunk.length; at += piece) {
        const part = chunk.subarray(at, at + piece);
        await tokens.removeTokens(part.length);
        yield part;
      }
  }
  const slowly = (chunks: Chunks, signal?: AbortSignal) => untilAborted(paced(chunks), signal);

  return (inner) =>
    forward(inner, {
      read: (key, use, call) => inner.read(key, (bytes) => use(slowly(bytes, call?.signal)), call),
      put: (key, body, guard) => inner.put(key, { ...body, open: () => slowly(body.open(), guard?.signal) }, guard),
    });
}

/**
 * Tries again what can pass, and tells a failure from a success whose answer was lost.
 * @module
 */
import { setMaxListeners } from "node:events";
import { hexOf } from "../core/digest.ts";
import { TargetError } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import { type Call, type Entry, forward, type Guard, type Hash, type Source, type Tries, type Wrap } from "../core/target.ts";

export interface RetryOptions {
  /** Tries of one call that brings no `Call.tries`; 3 by default. */
  readonly attempts?: number | undefined;
  /** The first wait; each further one is twice as long, with a quarter of jitter either way. 2,000 by default. */
  readonly baseMs?: number | undefined;
  /** The longest wait; 60,000 by default. A place that asks for a longer one is not tried again: the failure tells the queue how long. */
  readonly maxMs?: number | undefined;
  /** A number in [0, 1), as `Math.random` gives. */
  readonly random?: (() => number) | undefined;
}

const kindOf = (error: unknown) => (error instanceof TargetError ? error.kind : undefined);

/** The hash of `body` in the algorithm that the place speaks; undefined where only it knows that one. */
async function hashOf(body: Source, algo: string): Promise<string | undefined> {
  if (algo === "sha256") return body.sha256;
  return hexOf(() => body.open(), algo);
}

/**
 * Tries `throttled` and `transient` failures again, and nothing else. Waits 2, 4, 8 … seconds with jitter, at least as
 * long as the place asks; a wait ends when the signal aborts. `Call.tries` bounds all calls of one write together:
 * each further try of any of them adds one to `used`. A `conflict` after a lost answer is a success if what is there
 * is what was sent. A listing goes on where it broke off, and progress never goes back.
 */
export function withRetry(options: RetryOptions = {}): Wrap {
  const { attempts = 3, baseMs = 2000, maxMs = 60_000, random = Math.random } = options;
  const budget = (call: Call | undefined): Tries => call?.tries ?? { used: 1, most: attempts };
  const waitFor = (failures: number, asked: number) =>
    Math.max(asked, Math.min(maxMs, baseMs * 2 ** (failures - 1) * (0.75 + random() / 2)));

  async function repeat<T>(call: Call | undefined, tries: Tries, work: (lost: boolean) => Promise<T>): Promise<T> {
    const { DelegateBackoff, handleWhen, retry } = await import("cockatiel");
    const signal = call?.signal;
    let lost = false;
    let waiting = false;
    let stop = (): void => undefined;
    const aborted = new Promise<never>((_, reject) => {
      stop = () => waiting && reject(signal?.reason);
    });
    const canPass = (error: Error) =>
      error instanceof TargetError && error.canPass && tries.used < tries.most && (error.retryAfterMs ?? 0) <= maxMs;
    const backoff = new DelegateBackoff(({ result }: { result: { error: Error } | { value: unknown } }) => {
      const asked = "error" in result && result.error instanceof TargetError ? result.error.retryAfterMs : undefined;
      waiting = true;
      return waitFor(tries.used++, asked ?? 0);
    });
    // Its timer cannot be cleared when the signal aborts, so it does not hold the process; the interval does, and is.
    const policy = retry(handleWhen(canPass), { maxAttempts: Infinity, backoff }).dangerouslyUnref();
    const hold = setInterval(() => undefined, 2 ** 30);
    // every call under way listens to the one signal of its caller, and leaves it at its end: with a few targets that is
    // more than the ten that Node takes for a leak. A signal derived for each call would leave something behind on Node 20.
    if (signal) setMaxListeners(0, signal);
    signal?.addEventListener("abort", stop, { once: true });
    const run = async () => {
      waiting = false;
      signal?.throwIfAborted();
      try {
        return await work(lost);
      } catch (error) {
        signal?.throwIfAborted();
        lost ||= kindOf(error) === "transient";
        throw error;
      }
    };
    try {
      return await Promise.race([policy.execute(run), aborted]);
    } finally {
      clearInterval(hold);
      signal?.removeEventListener("abort", stop);
    }
  }

  return (inner) => {
    const call = <T>(of: Call | undefined, work: (lost: boolean) => Promise<T>) => repeat(of, budget(of), work);

    /** Runs `work`; a conflict that an earlier, unanswered try of our own may have caused is put to `ours`. */
    async function settled<T>(lost: boolean, work: () => Promise<T>, ours: () => Promise<T | undefined>): Promise<T> {
      try {
        return await work();
      } catch (error) {
        const settledAs = lost && kindOf(error) === "conflict" ? await ours() : undefined;
        if (settledAs === undefined) throw error;
        return settledAs;
      }
    }

    const withHash = (key: Key, { signal }: Guard) => inner.stat(key, { signal, hash: true });
    const sha256At = (key: Key, { signal }: Guard) => inner.read(key, (bytes) => hexOf(() => bytes, "sha256"), { signal });

    async function holds(key: Key, body: Source, guard: Guard): Promise<Entry | undefined> {
      const entry = await withHash(key, guard);
      if (entry === undefined || entry.size !== body.size) return undefined;
      const own = entry.hash && (await hashOf(body, entry.hash.algo));
      const same = own === undefined ? (await sha256At(key, guard)) === body.sha256 : own === entry.hash?.hex;
      return same ? entry : undefined;
    }

    async function isCopy(from: Key, to: Key, guard: Guard): Promise<Entry | undefined> {
      const [source, copy] = await Promise.all([withHash(from, guard), withHash(to, guard)]);
      if (source === undefined || copy === undefined || source.size !== copy.size) return undefined;
      if (typeof guard.expect === "object" && guard.expect.rev !== source.rev) return undefined;
      const known = (a?: Hash, b?: Hash) => a !== undefined && a.algo === b?.algo;
      const same = known(source.hash, copy.hash)
        ? source.hash?.hex === copy.hash?.hex
        : (await sha256At(from, guard)) === (await sha256At(to, guard));
      return same ? copy : undefined;
    }

    return forward(inner, {
      async *list(prefix, of) {
        const tries = budget(of);
        const given = new Set<string>();
        let pass: { entries: AsyncIterator<Entry>; before: ReadonlySet<string> } | undefined;
        const next = () =>
          repeat(of, tries, async () => {
            pass ??= { entries: inner.list(prefix, of)[Symbol.asyncIterator](), before: new Set(given) };
            try {
              for (;;) {
                const item = await pass.entries.next();
                if (item.done === true) return undefined;
                const entry = item.value;
                const name = `${entry.key}\n${entry.id ?? ""}`;
                given.add(name);
                if (!pass.before.has(name)) return entry;
              }
            } catch (error) {
              pass = undefined;
              throw error;
            }
          });
        try {
          for (let entry = await next(); entry !== undefined; entry = await next()) yield entry;
        } finally {
          await pass?.entries.return?.();
        }
      },
      stat: (key, look) => call(look, () => inner.stat(key, look)),
      read: (key, use, of) => call(of, () => inner.read(key, use, of)),
      put(key, body, guard = {}) {
        let most = -1;
        const onProgress = (sent: number) => {
          if (sent > most) guard.onProgress?.((most = sent));
        };
        const once = () => inner.put(key, body, guard.onProgress === undefined ? guard : { ...guard, onProgress });
        return call(guard, (lost) => settled(lost, once, () => holds(key, body, guard)));
      },
      copy: (from, to, guard = {}) =>
        call(guard, (lost) =>
          settled(
            lost,
            () => inner.copy(from, to, guard),
            () => isCopy(from, to, guard),
          ),
        ),
      remove: (key, guard = {}) => call(guard, () => inner.remove(key, guard)),
      ...(inner.purge && { purge: (key, of) => call(of, async () => inner.purge?.(key, of) ?? []) }),
      ...(inner.prepare && { prepare: (keys, of) => call(of, async () => inner.prepare?.(keys, of)) }),
      ...(inner.audit && { audit: (of) => call(of, async () => inner.audit?.(of) ?? []) }),
    });
  };
}

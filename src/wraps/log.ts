/**
 * One record per real attempt.
 * @module
 */
import type { ErrorCode, FaultKind } from "../core/errors.ts";
import { TargetError } from "../core/errors.ts";
import { forward, type Wrap } from "../core/target.ts";

/** What one call did. Names and numbers only: never content, messages, hints or anything else that could hold a secret. */
export interface CallRecord {
  /** The target's name in `paths.json`. */
  readonly target: string;
  readonly verb: "list" | "stat" | "read" | "put" | "copy" | "remove" | "purge";
  /** The key, or a listing's prefix. */
  readonly key: string;
  readonly ms: number;
  readonly outcome: "ok" | "fail" | "aborted";
  readonly kind?: FaultKind | undefined;
  readonly code?: ErrorCode | undefined;
}

export interface LogOptions {
  /** Milliseconds that only go forwards. */
  readonly now?: (() => number) | undefined;
}

/** Hands `sink` one record when a call ends, however it ends. A listing's time includes what its reader did meanwhile. */
export function withLog(target: string, sink: (record: CallRecord) => void, options: LogOptions = {}): Wrap {
  const { now = () => performance.now() } = options;

  function begin(verb: CallRecord["verb"], key: string, signal?: AbortSignal) {
    const start = now();
    const end = (how: Pick<CallRecord, "outcome" | "kind" | "code">) =>
      sink({ target, verb, key, ms: Math.round((now() - start) * 10) / 10, ...how });
    return {
      ok: () => end({ outcome: "ok" }),
      failed(error: unknown) {
        if (error instanceof TargetError) end({ outcome: "fail", kind: error.kind, code: error.code });
        else end({ outcome: signal?.aborted === true ? "aborted" : "fail" });
      },
    };
  }

  async function logged<T>(verb: CallRecord["verb"], key: string, signal: AbortSignal | undefined, work: () => Promise<T>) {
    const record = begin(verb, key, signal);
    let answer: T;
    try {
      answer = await work();
    } catch (error) {
      record.failed(error);
      throw error;
    }
    record.ok();
    return answer;
  }

  return (inner) =>
    forward(inner, {
      async *list(prefix, call) {
        const record = begin("list", prefix, call?.signal);
        let failure: { readonly error: unknown } | undefined;
        try {
          yield* inner.list(prefix, call);
        } catch (error) {
          failure = { error };
          throw error;
        } finally {
          if (failure === undefined) record.ok();
          else record.failed(failure.error);
        }
      },
      stat: (key, look) => logged("stat", key, look?.signal, () => inner.stat(key, look)),
      read: (key, use, call) => logged("read", key, call?.signal, () => inner.read(key, use, call)),
      put: (key, body, guard) => logged("put", key, guard?.signal, () => inner.put(key, body, guard)),
      copy: (from, to, guard) => logged("copy", from, guard?.signal, () => inner.copy(from, to, guard)),
      remove: (key, guard) => logged("remove", key, guard?.signal, () => inner.remove(key, guard)),
      ...(inner.purge && {
        purge: (key, call) => logged("purge", key, call?.signal, async () => inner.purge?.(key, call) ?? []),
      }),
    });
}

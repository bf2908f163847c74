/**
 * Ends calls that hang.
 * @module
 */
import { TargetError } from "../core/errors.ts";
import { type Call, type Chunks, forward, type Wrap } from "../core/target.ts";

interface Watch {
  readonly signal: AbortSignal;
  /** The place did something: its time starts anew. */
  beat(): void;
  /** It is not the place's turn: the time stands still until the next `beat`. */
  rest(): void;
}

async function watched<T>(ms: number, doing: string, call: Call | undefined, work: (watch: Watch) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const stall = () =>
    controller.abort(
      new TargetError("transient", `the target made no progress for ${ms / 1000} s when we tried to ${doing}`, {
        hint: "Check the network and the target; a slow one is given longer with `timeout` in paths.json. It is tried again; `aftersave flush` tries now.",
      }),
    );
  let timer: NodeJS.Timeout | undefined;
  let over = false;
  const rest = () => clearTimeout(timer);
  const beat = () => {
    rest();
    if (!over) timer = setTimeout(stall, ms);
  };
  const stalled = new Promise<never>((_, reject) => {
    controller.signal.addEventListener("abort", () => reject(controller.signal.reason as TargetError), { once: true });
  });
  const signal = call?.signal === undefined ? controller.signal : AbortSignal.any([call.signal, controller.signal]);
  beat();
  try {
    return await Promise.race([work({ signal, beat, rest }), stalled]);
  } finally {
    over = true;
    rest();
  }
}

/** Bytes that come from us: the place's time stands still while they are fetched. */
async function* ours(chunks: Chunks, { beat, rest }: Watch): Chunks {
  try {
    rest();
    for await (const chunk of chunks) {
      beat();
      yield chunk;
      rest();
    }
  } finally {
    beat();
  }
}

/** Bytes that come from the place: its time stands still while they are used. */
async function* theirs(chunks: Chunks, { beat, rest }: Watch): Chunks {
  try {
    beat();
    for await (const chunk of chunks) {
      rest();
      yield chunk;
      beat();
    }
  } finally {
    rest();
  }
}

/**
 * A call during which the place makes no progress for `ms` ends as `transient`. Every part of a body that is taken,
 * every part of a file that arrives and every entry of a listing is progress, so a big file does not time out while it flows.
 */
export function withTimeout(ms: number): Wrap {
  if (!(ms > 0)) throw new RangeError(`expected a timeout above 0 ms, got ${ms}`);
  return (inner) => {
    const within = <C extends Call, T>(doing: string, call: C | undefined, work: (call: C, watch: Watch) => Promise<T>) =>
      watched(ms, doing, call, (watch) => work({ ...call, signal: watch.signal } as C, watch));
    return forward(inner, {
      async *list(prefix, call) {
        const controller = new AbortController();
        const signal = call?.signal === undefined ? controller.signal : AbortSignal.any([call.signal, controller.signal]);
        const entries = inner.list(prefix, { ...call, signal })[Symbol.asyncIterator]();
        const next = () => watched(ms, `list ${prefix}`, { signal }, () => entries.next());
        let stuck = true;
        try {
          for (let item = await next(); item.done !== true; item = await next()) {
            stuck = false;
            yield item.value;
            stuck = true;
          }
        } catch (error) {
          controller.abort(error);
          throw error;
        } finally {
          if (!stuck) await entries.return?.();
        }
      },
      stat: (key, look) => within(`look at ${key}`, look, (call) => inner.stat(key, call)),
      read: (key, use, of) =>
        within(`read ${key}`, of, (call, watch) =>
          inner.read(
            key,
            async (bytes) => {
              watch.rest();
              const answer = await use(theirs(bytes, watch));
              watch.beat();
              return answer;
            },
            call,
          ),
        ),
      put: (key, body, guard) =>
        within(`write ${key}`, guard, (call, watch) => {
          const onProgress = (sent: number) => {
            watch.beat();
            guard?.onProgress?.(sent);
          };
          return inner.put(key, { ...body, open: () => ours(body.open(), watch) }, { ...call, onProgress });
        }),
      copy: (from, to, guard) => within(`copy ${from}`, guard, (call) => inner.copy(from, to, call)),
      remove: (key, guard) => within(`remove ${key}`, guard, (call) => inner.remove(key, call)),
      ...(inner.purge && {
        purge: (key, of) => within(`remove ${key} for good`, of, async (call) => inner.purge?.(key, call) ?? []),
      }),
    });
  };
}

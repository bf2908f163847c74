/**
 * A wrap that fails on purpose, in the ways in which real places fail.
 * @module
 */
import { TargetError } from "../core/errors.ts";
import { type Call, type Chunks, type Entry, forward, type Guard, type Source, type Target, type Wrap } from "../core/target.ts";
import { anySeed, seededRandom } from "./random.ts";

export type FaultName =
  /** Fails before anything was done. */
  | "fail"
  /** Does it, then fails: the answer is lost. */
  | "lost-reply"
  /** The connection is cut midway: half a body, half a file, some entries of a listing. */
  | "cut"
  /** Does it, and answers with a hash that is not that of the bytes. */
  | "wrong-hash"
  /** Asks to slow down, with `retryAfterMs`. */
  | "throttled"
  | "unreachable"
  /** Does nothing until the signal aborts; without one, for ever. */
  | "stall"
  /** `edit` runs first: someone else was quicker. */
  | "foreign-edit";

export type FaultVerb = "list" | "stat" | "read" | "put" | "copy" | "remove";

export interface FaultRule {
  readonly fault: FaultName;
  /** Every verb when left out. */
  readonly verbs?: readonly FaultVerb[] | undefined;
  /** Only calls for this key (of `copy`: the source; of `list`: the prefix). */
  readonly key?: string | undefined;
  /** How often it strikes before it is spent: once by default, without end if there is a `chance`. */
  readonly times?: number | undefined;
  /** Strikes only with this probability, from 0 to 1. */
  readonly chance?: number | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly edit?: ((key: string) => void | Promise<void>) | undefined;
}

export interface Faults extends Wrap {
  readonly seed: number;
  /** What has struck so far, oldest first. */
  readonly struck: ReadonlyArray<{ readonly fault: FaultName; readonly verb: FaultVerb; readonly key: string }>;
  /** More rules, behind those that are there. */
  add(...rules: FaultRule[]): void;
  /** Forgets all rules: from now on everything works. */
  clear(): void;
}

const cutOff = () => new TargetError("transient", "the connection was cut");

function untilAbort(signal?: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal?.aborted === true) reject(signal.reason as Error);
    signal?.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
  });
}

async function* firstHalf(chunks: Chunks, size: number): Chunks {
  let left = Math.floor(size / 2);
  for await (const chunk of chunks) {
    if (left > 0) yield chunk.subarray(0, left);
    left -= chunk.length;
    if (left <= 0) break;
  }
  throw cutOff();
}

const half = (body: Source): Source => ({ ...body, open: () => firstHalf(body.open(), body.size) });
const lied = (entry: Entry): Entry =>
  entry.hash === undefined ? entry : { ...entry, hash: { ...entry.hash, hex: entry.hash.hex.replace(/./g, "0") } };

/** A wrap that applies the first of `rules` that strikes to each call. What `chance` does follows from the seed alone. */
export function withFaults(rules: readonly FaultRule[] = [], seed: number = anySeed()): Faults {
  const random = seededRandom(seed);
  let left = rules.map((rule) => ({ rule, times: rule.times ?? (rule.chance === undefined ? 1 : Infinity) }));
  const struck: Array<{ fault: FaultName; verb: FaultVerb; key: string }> = [];

  function next(verb: FaultVerb, key: string): FaultRule | undefined {
    const hit = left.find(
      ({ rule, times }) =>
        times > 0 &&
        (rule.verbs?.includes(verb) ?? true) &&
        (rule.key ?? key) === key &&
        (rule.chance === undefined || random() < rule.chance),
    );
    if (hit === undefined) return undefined;
    hit.times--;
    struck.push({ fault: hit.rule.fault, verb, key });
    return hit.rule;
  }

  /** What comes before the call itself. */
  async function before(rule: FaultRule | undefined, key: string, call: Call | undefined): Promise<void> {
    const { fault, retryAfterMs } = rule ?? {};
    if (fault === "fail") throw new TargetError("transient", "the place failed");
    if (fault === "unreachable") throw new TargetError("transient", "no way to the place", { code: "E_TARGET_UNREACHABLE" });
    if (fault === "throttled")
      throw new TargetError("throttled", "too many requests", retryAfterMs === undefined ? {} : { retryAfterMs });
    if (fault === "stall") await untilAbort(call?.signal);
    if (fault === "foreign-edit") await rule?.edit?.(key);
  }

  async function struckBy<T>(
    verb: FaultVerb,
    key: string,
    call: Call | undefined,
    work: (cut: boolean) => Promise<T>,
    lie: (answer: T) => T = (answer) => answer,
  ): Promise<T> {
    const rule = next(verb, key);
    await before(rule, key, call);
    const answer = await work(rule?.fault === "cut");
    if (rule?.fault === "lost-reply") throw new TargetError("transient", "the answer was lost");
    return rule?.fault === "wrong-hash" ? lie(answer) : answer;
  }

  const wrap = (inner: Target): Target =>
    forward(inner, {
      async *list(prefix, call) {
        const rule = next("list", prefix);
        await before(rule, prefix, call);
        let given = 0;
        for await (const entry of inner.list(prefix, call)) {
          if (rule?.fault === "cut" && given++ === 1) throw cutOff();
          yield rule?.fault === "wrong-hash" ? lied(entry) : entry;
        }
        if (rule?.fault === "cut" || rule?.fault === "lost-reply") throw cutOff();
      },
      stat: (key, look) =>
        struckBy(
          "stat",
          key,
          look,
          async (cut) => {
            if (cut) throw cutOff();
            return inner.stat(key, look);
          },
          (entry) => entry && lied(entry),
        ),
      read: (key, use, call) =>
        struckBy("read", key, call, async (cut) => {
          const size = cut ? ((await inner.stat(key, call))?.size ?? 0) : 0;
          return inner.read(key, (bytes) => use(cut ? firstHalf(bytes, size) : bytes), call);
        }),
      put: (key, body, guard) => struckBy("put", key, guard, (cut) => inner.put(key, cut ? half(body) : body, guard), lied),
      copy: (from, to, guard: Guard | undefined) =>
        struckBy(
          "copy",
          from,
          guard,
          async (cut) => {
            if (cut) throw cutOff();
            return inner.copy(from, to, guard);
          },
          lied,
        ),
      remove: (key, guard) =>
        struckBy("remove", key, guard, async (cut) => {
          if (cut) throw cutOff();
          return inner.remove(key, guard);
        }),
    });

  return Object.assign(wrap, {
    seed,
    struck,
    add: (...more: FaultRule[]) => {
      left.push(...more.map((rule) => ({ rule, times: rule.times ?? (rule.chance === undefined ? 1 : Infinity) })));
    },
    clear: () => {
      left = [];
    },
  });
}

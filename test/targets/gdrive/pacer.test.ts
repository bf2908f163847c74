import { setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Clock } from "../../../src/core/clock.ts";
import { TargetError } from "../../../src/core/errors.ts";
import type { DriveApi } from "../../../src/targets/gdrive/api.ts";
import { createPacer, paced } from "../../../src/targets/gdrive/pacer.ts";

interface HeldClock extends Clock {
  /** Lets time pass, sleeper by sleeper, until none is left. */
  run(): Promise<void>;
  /** Sets the clock, as a person or a time server does, without waking anyone. */
  set(now: number): void;
}

/** A clock that stands still until it is run. */
function heldClock(): HeldClock {
  let now = 1_000_000;
  let sleepers: Array<{ at: number; wake: () => void }> = [];
  return {
    now: () => now,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        signal?.throwIfAborted();
        const sleeper = { at: now + ms, wake: resolve };
        sleepers.push(sleeper);
        const leave = () => {
          sleepers = sleepers.filter((other) => other !== sleeper);
          reject(signal?.reason);
        };
        signal?.addEventListener("abort", leave, { once: true });
      }),
    async run() {
      await turn();
      while (sleepers.length > 0) {
        const next = sleepers.reduce((first, other) => (other.at < first.at ? other : first));
        sleepers = sleepers.filter((other) => other !== next);
        now = Math.max(now, next.at);
        next.wake();
        await turn();
      }
    },
    set: (to) => (now = to),
  };
}

const slow = (retryAfterMs?: number) =>
  new TargetError("throttled", "slow down", retryAfterMs === undefined ? {} : { retryAfterMs });

/** `count` writes that wait from now on; answers when each started, in seconds from now, in order of their start. */
async function starts(clock: HeldClock, pacer: ReturnType<typeof createPacer>, count: number): Promise<number[]> {
  const since = clock.now();
  const at: number[] = [];
  const writes = Array.from({ length: count }, () => pacer.write(async () => at.push((clock.now() - since) / 1000)));
  await clock.run();
  await Promise.all(writes);
  return at;
}

describe("createPacer", () => {
  test("lets a burst through at once and keeps the rate afterwards", async () => {
    const clock = heldClock();
    const pacer = createPacer({ perSecond: 2, burst: 3, clock });
    expect(await starts(clock, pacer, 6)).toEqual([0, 0, 0, 0.5, 1, 1.5]);
  });

  test("by default: 20 at once, 3 per second", async () => {
    const clock = heldClock();
    const at = await starts(clock, createPacer({ clock }), 26);
    expect(at.filter((time) => time === 0)).toHaveLength(20);
    expect(at.at(-1)).toBeCloseTo(2, 2);
  });

  test("off: nothing waits, but a Retry-After is obeyed", async () => {
    const clock = heldClock();
    const pacer = createPacer({ perSecond: "off", burst: 1, clock });
    expect(new Set(await starts(clock, pacer, 100))).toEqual(new Set([0]));
    pacer.throttled(4000);
    expect(new Set(await starts(clock, pacer, 100))).toEqual(new Set([4]));
  });

  test("a throttled write empties the bucket, halves the rate and waits for the Retry-After", async () => {
    const clock = heldClock();
    const pacer = createPacer({ perSecond: 2, burst: 20, clock });
    const error = slow(5000);
    await expect(pacer.write(() => Promise.reject(error))).rejects.toBe(error);
    // 1 per second and growing by 2/60 per second each second: the first token is there after 0.984 s.
    const [first = 0, second = 0] = await starts(clock, pacer, 2);
    expect(first).toBeCloseTo(5.984, 2);
    expect(second - first).toBeGreaterThan(0.9);
    expect(second - first).toBeLessThan(0.984);
  });

  test("answers to writes that were under way together halve the rate once", async () => {
    const clock = heldClock();
    const pacer = createPacer({ perSecond: 2, burst: 20, clock });
    const writes = Array.from({ length: 8 }, () =>
      pacer.write(async () => {
        await turn();
        throw slow();
      }),
    );
    await Promise.allSettled(writes);
    expect((await starts(clock, pacer, 1))[0]).toBeCloseTo(0.984, 2);
  });

  test("the rate falls to 0.2 per second, and not further", async () => {
    const clock = heldClock();
    const pacer = createPacer({ perSecond: 3, burst: 20, clock });
    for (let time = 0; time < 20; time++) pacer.throttled();
    // 0.2 t + 0.05 t² / 2 = 1
    expect((await starts(clock, pacer, 1))[0]).toBeCloseTo(3.483, 2);
  });

  test("a rate configured lower than that stays what it is", async () => {
    const clock = heldClock();
    const pacer = createPacer({ perSecond: 0.1, burst: 1, clock });
    pacer.throttled();
    expect((await starts(clock, pacer, 2)).map(Math.round)).toEqual([10, 20]);
  });

  test("recovers to the configured rate, and not beyond", async () => {
    const clock = heldClock();
    const pacer = createPacer({ perSecond: 3, burst: 1, clock });
    pacer.throttled();
    const at = await starts(clock, pacer, 300);
    const gaps = at.slice(1).map((time, index) => time - at[index]!);
    expect(gaps[0]).toBeGreaterThan(0.6);
    for (const [index, gap] of gaps.entries()) {
      expect(gap).toBeGreaterThanOrEqual(1 / 3 - 0.001);
      if (at[index]! > 31) expect(gap).toBeLessThan(1 / 3 + 0.003);
    }
  });

  test("other failures change nothing", async () => {
    const clock = heldClock();
    const pacer = createPacer({ perSecond: 2, burst: 2, clock });
    const error = new TargetError("transient", "broken");
    await expect(pacer.write(() => Promise.reject(error))).rejects.toBe(error);
    expect(await starts(clock, pacer, 3)).toEqual([0, 0.5, 1]);
  });

  test("a longer pause than a minute is not waited for, and the failure says how long it is", async () => {
    const clock = heldClock();
    const pacer = createPacer({ clock });
    pacer.throttled(3_600_000);
    let ran = false;
    const write = pacer.write(async () => (ran = true));
    await expect(write).rejects.toMatchObject({ kind: "throttled", retryAfterMs: 3_600_000 });
    expect(ran).toBe(false);
    clock.set(clock.now() + 3_600_000);
    expect((await starts(clock, pacer, 1))[0]).toBeLessThan(1);
  });

  test("who waits leaves the line when its signal aborts; the others keep their places", async () => {
    const clock = heldClock();
    const pacer = createPacer({ perSecond: 1, burst: 1, clock });
    const ran: number[] = [];
    const stops = [0, 1, 2, 3, 4].map(() => new AbortController());
    const writes = stops.map((stop, index) => pacer.write(async () => ran.push(index), stop.signal));
    const left = (index: number) => expect(writes[index]).rejects.toMatchObject({ name: "AbortError" });
    await turn();
    stops[3]!.abort(); // waits behind one that is asleep
    await left(3);
    stops[1]!.abort(); // is asleep at the head of the line
    await left(1);
    await clock.run();
    await Promise.all([writes[0], writes[2], writes[4]]);
    expect(ran).toEqual([0, 2, 4]);
    expect(clock.now()).toBe(1_002_000);
    await expect(pacer.write(async () => ran.push(5), AbortSignal.abort())).rejects.toMatchObject({ name: "AbortError" });
    expect(ran).toHaveLength(3);
  });

  test("a clock that is set back makes nobody wait for it", async () => {
    const clock = heldClock();
    const pacer = createPacer({ perSecond: 2, burst: 1, clock });
    pacer.throttled(1000);
    clock.set(0);
    expect((await starts(clock, pacer, 1))[0]).toBeLessThan(2);
  });

  test.each([{ perSecond: 0 }, { perSecond: NaN }, { burst: 0.5 }])("refuses %j", (options) => {
    expect(() => createPacer({ ...options, clock: heldClock() })).toThrow(RangeError);
  });

  test("property: never above burst + rate × t, in order, after every Retry-After, and everyone gets a turn", async () => {
    const arrival = fc.record({
      after: fc.integer({ min: 0, max: 3000 }),
      takes: fc.integer({ min: 0, max: 2000 }),
      throttled: fc.option(fc.integer({ min: 0, max: 30_000 }), { freq: 6 }),
    });
    const rates = fc.record({
      perSecond: fc.double({ min: 0.05, max: 50, noNaN: true }),
      burst: fc.integer({ min: 1, max: 30 }),
    });
    const property = fc.asyncProperty(rates, fc.array(arrival, { minLength: 1, maxLength: 60 }), async (options, arrivals) => {
      const clock = heldClock();
      const pacer = createPacer({ ...options, clock });
      const started: Array<{ index: number; at: number }> = [];
      const pauses: Array<{ from: number; until: number }> = [];
      const arriving = (async () => {
        const writes: Array<Promise<boolean>> = [];
        for (const [index, { after, takes, throttled }] of arrivals.entries()) {
          await clock.sleep(after);
          const write = pacer.write(async () => {
            started.push({ index, at: clock.now() });
            await clock.sleep(takes);
            if (throttled === null) return;
            pauses.push({ from: clock.now(), until: clock.now() + throttled });
            throw slow(throttled);
          });
          writes.push(
            write.then(
              () => true,
              () => false,
            ),
          );
        }
        return Promise.all(writes);
      })();
      await clock.run();
      expect(await arriving).toEqual(arrivals.map(({ throttled }) => throttled === null));
      expect(started.map(({ index }) => index)).toEqual(arrivals.map((_, index) => index));
      for (const [first, { at: from }] of started.entries())
        for (const [last, { at: to }] of started.entries())
          if (last >= first)
            expect(last - first + 1).toBeLessThanOrEqual(options.burst + (options.perSecond * (to - from)) / 1000 + 1e-6);
      for (const { from, until } of pauses)
        for (const { at } of started) expect(at > from && at < until, `${from} < ${at} < ${until}`).toBe(false);
    });
    await fc.assert(property, { numRuns: 150 });
  });
});

describe("paced", () => {
  const names = {
    writes: ["createFolder", "create", "update", "patch", "startSession", "copy", "remove", "trash", "pin"],
    asks: ["generateIds", "get", "search", "download", "revisions", "about", "sharedDrive"],
    chunks: ["sendChunk", "askSession", "dropSession"],
  } as const;
  type Method = (typeof names)[keyof typeof names][number];
  const all: readonly Method[] = Object.values(names).flat();

  function recorded(answer: (name: Method) => unknown) {
    const calls: Array<[name: string, given: unknown[]]> = [];
    const method = (name: Method) => [name, (...given: unknown[]) => (calls.push([name, given]), answer(name))] as const;
    const api = { guarded: true, sessions: true, ...Object.fromEntries(all.map(method)) };
    return { api: api as unknown as DriveApi, calls };
  }

  test("every method hands its arguments on and its answer back; writes take a turn, nothing else does", async () => {
    const { api, calls } = recorded((name) => (name === "search" ? name : Promise.resolve(name)));
    let turns = 0;
    const pacer = { write: <T>(work: () => Promise<T>) => (turns++, work()), throttled: () => undefined };
    const over = paced(api, pacer) as unknown as Record<Method, (...given: unknown[]) => Promise<unknown>>;
    const most: Partial<Record<Method, number>> = {
      generateIds: 2,
      createFolder: 3,
      create: 4,
      update: 5,
      patch: 3,
      startSession: 4,
    };
    for (const name of all) {
      const given = Array.from({ length: most[name] ?? over[name].length }, (_, index) => `${name}${index}`);
      const before = turns;
      expect(await over[name](...given)).toBe(name);
      expect(calls.pop()).toEqual([name, given]);
      expect(turns - before).toBe((names.writes as readonly string[]).includes(name) ? 1 : 0);
    }
    expect(Object.keys(over).toSorted()).toEqual(["guarded", "sessions", ...all].toSorted());
  });

  test("a chunk that is throttled slows the writes down", async () => {
    const clock = heldClock();
    const error = slow(3000);
    const { api } = recorded((name) => (name === "sendChunk" ? Promise.reject(error) : Promise.resolve({})));
    const pacer = createPacer({ clock });
    const over = paced(api, pacer);
    await expect(over.sendChunk("uri", { offset: 0, length: 0, total: 0, bytes: (async function* () {})() })).rejects.toBe(error);
    let at = 0;
    const write = over.trash("id").then(() => (at = clock.now()));
    await clock.run();
    await write;
    expect(at - 1_000_000).toBeGreaterThan(3000);
  });
});

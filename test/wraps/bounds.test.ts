import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { TargetError } from "../../src/core/errors.ts";
import { parseKey } from "../../src/core/key.ts";
import { forward, stack, type Target } from "../../src/core/target.ts";
import { bytesOf, createMemoryTarget, sourceOf, withFaults } from "../../src/testing/index.ts";
import { withBytesPerSecond, withSlots } from "../../src/wraps/limit.ts";
import { type CallRecord, withLog } from "../../src/wraps/log.ts";
import { withTimeout } from "../../src/wraps/timeout.ts";

const KEY = parseKey("Core/Note.txt");

describe("withSlots", () => {
  /** A target whose `stat` counts how many run at once, and ends when told. */
  function gated() {
    const waiting: Array<() => void> = [];
    const seen = { now: 0, most: 0 };
    const target: Target = forward(createMemoryTarget(), {
      async stat() {
        seen.most = Math.max(seen.most, ++seen.now);
        await new Promise<void>((resolve) => waiting.push(resolve));
        seen.now--;
        return undefined;
      },
    });
    return { target, seen, release: () => waiting.splice(0).forEach((go) => go()), waiting };
  }

  test("lets that many in at once, and all in the end", async () => {
    const { target, seen, release, waiting } = gated();
    const slots = withSlots(3)(target);
    let ended = 0;
    const calls = Array.from({ length: 10 }, () => slots.stat(KEY).then(() => ended++));
    while (ended < 10) {
      await expect.poll(() => waiting.length).toBe(Math.min(3, 10 - ended));
      release();
      await sleep(1);
    }
    await Promise.all(calls);
    expect(seen.most).toBe(3);
  });

  test("who waits leaves the line when its signal aborts, and never starts", async () => {
    const { target, seen, release, waiting } = gated();
    const slots = withSlots(1)(target);
    const first = slots.stat(KEY);
    await expect.poll(() => waiting.length).toBe(1);
    const stop = new AbortController();
    const second = slots.stat(KEY, { signal: stop.signal });
    stop.abort();
    await expect(second).rejects.toMatchObject({ name: "AbortError" });
    release();
    await first;
    expect(seen).toEqual({ now: 0, most: 1 });
  });

  test("one slot is enough for a listing whose reader calls the target", async () => {
    const memory = createMemoryTarget({ pageSize: 1 });
    for (const name of ["a", "b"]) memory.edit(parseKey(name), name);
    const slots = withSlots(1)(memory);
    const read: string[] = [];
    for await (const { key } of slots.list("")) read.push(Buffer.from(await slots.read(key, bytesOf)).toString());
    expect(read).toEqual(["a", "b"]);
  });

  test("refuses what is no number of slots", () => {
    for (const wrong of [0, -1, 1.5, NaN]) expect(() => withSlots(wrong)).toThrow(RangeError);
  });
});

describe("withBytesPerSecond", () => {
  test("bodies and reads take the time their bytes need", async () => {
    const target = withBytesPerSecond(100_000)(createMemoryTarget());
    const start = performance.now();
    await target.put(KEY, sourceOf(new Uint8Array(25_000)));
    const written = performance.now() - start;
    expect(written).toBeGreaterThan(200);
    expect(await target.read(KEY, bytesOf)).toHaveLength(25_000);
    expect(performance.now() - start - written).toBeGreaterThan(140);
  });

  test("a body that waits for its turn ends when the signal aborts", async () => {
    const target = withBytesPerSecond(1)(createMemoryTarget());
    const stop = new AbortController();
    const sending = target.put(KEY, sourceOf(new Uint8Array(1000)), { signal: stop.signal });
    setImmediate(() => stop.abort());
    await expect(sending).rejects.toMatchObject({ name: "AbortError" });
  });
});

describe("withTimeout", () => {
  const stalling = () => stack(createMemoryTarget(), withFaults([{ fault: "stall", times: 99 }]), withTimeout(20));

  test("a call that hangs ends as transient, whichever verb it is", async () => {
    const target = stalling();
    const calls = [
      target.stat(KEY),
      target.read(KEY, bytesOf),
      target.put(KEY, sourceOf("x")),
      target.copy(KEY, parseKey("to")),
      target.remove(KEY),
      target.list("")[Symbol.asyncIterator]().next(),
    ];
    for (const call of calls) await expect(call).rejects.toMatchObject({ kind: "transient", code: "E_TARGET_TRANSIENT" });
  });

  test("so does one that does not even listen to its signal", async () => {
    const deaf = forward(createMemoryTarget(), { stat: () => new Promise(() => undefined) });
    await expect(withTimeout(20)(deaf).stat(KEY)).rejects.toBeInstanceOf(TargetError);
  });

  test("a file that flows may take longer than the time limit, and a slow sender is not the place's fault", async () => {
    const slowPlace = forward(createMemoryTarget(), {
      put: async (key, body, guard) => {
        for await (const part of body.open()) {
          await sleep(30);
          guard?.onProgress?.(part.length);
        }
        return { key, size: body.size, rev: "1" };
      },
    });
    const source = sourceOf(new Uint8Array(10), 1);
    await withTimeout(200)(slowPlace).put(KEY, source);

    async function* slowly() {
      await sleep(150);
      yield* source.open();
    }
    const memory = createMemoryTarget();
    await withTimeout(100)(memory).put(KEY, { ...source, open: slowly });
    await withTimeout(100)(memory).read(KEY, async (bytes) => {
      await sleep(150);
      for await (const part of bytes) if (part.length > 0) await sleep(150);
    });
  });

  test("a place that stops in the middle of a body is left", async () => {
    const stuck = forward(createMemoryTarget(), {
      put: async (key, body) => {
        for await (const part of body.open()) await (part.length > 0 ? new Promise(() => undefined) : undefined);
        return { key, size: 0, rev: "1" };
      },
    });
    await expect(withTimeout(20)(stuck).put(KEY, sourceOf("x"))).rejects.toMatchObject({ kind: "transient" });
  });

  test("a signal of the caller's own still comes through as it is", async () => {
    const stop = new AbortController();
    const target = stack(createMemoryTarget(), withFaults([{ fault: "stall", times: 99 }]), withTimeout(60_000));
    const call = target.stat(KEY, { signal: stop.signal });
    stop.abort();
    await expect(call).rejects.toMatchObject({ name: "AbortError" });
  });
});

describe("withLog", () => {
  test("one record per call, with names and numbers only", async () => {
    const records: CallRecord[] = [];
    let time = 0;
    const faults = withFaults([{ fault: "throttled", verbs: ["stat"] }]);
    const target = stack(
      createMemoryTarget(),
      faults,
      withLog("drive", (record) => records.push(record), { now: () => (time += 5) }),
    );
    await target.put(KEY, sourceOf("the content"));
    await expect(target.stat(KEY)).rejects.toBeInstanceOf(TargetError);
    await expect(target.read(KEY, bytesOf, { signal: AbortSignal.abort() })).rejects.toMatchObject({ name: "AbortError" });
    for await (const entry of target.list("Core/")) expect(entry.key).toBe(KEY);
    expect(records).toEqual([
      { target: "drive", verb: "put", key: KEY, ms: 5, outcome: "ok" },
      { target: "drive", verb: "stat", key: KEY, ms: 5, outcome: "fail", kind: "throttled", code: "E_TARGET_THROTTLED" },
      { target: "drive", verb: "read", key: KEY, ms: 5, outcome: "aborted" },
      { target: "drive", verb: "list", key: "Core/", ms: 5, outcome: "ok" },
    ]);
  });
});

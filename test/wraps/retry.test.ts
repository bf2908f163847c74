import { expect, test, vi } from "vitest";
import { TargetError } from "../../src/core/errors.ts";
import { parseKey } from "../../src/core/key.ts";
import { stack } from "../../src/core/target.ts";
import {
  bytesOf,
  createMemoryTarget,
  type FaultRule,
  type MemoryTargetOptions,
  sourceOf,
  withFaults,
} from "../../src/testing/index.ts";
import { type RetryOptions, withRetry } from "../../src/wraps/retry.ts";

const KEY = parseKey("Core/Note.txt");
const COPY = parseKey("Archive/Note.txt");

function open(rules: FaultRule[], options: RetryOptions = {}, memoryOptions: MemoryTargetOptions = {}) {
  const memory = createMemoryTarget(memoryOptions);
  const faults = withFaults(rules, 1);
  return { memory, faults, target: stack(memory, faults, withRetry({ baseMs: 1, ...options })) };
}
const fails = (kind: string) => expect.objectContaining({ kind }) as TargetError;

test("what can pass is tried three times, the rest once", async () => {
  const passing = open([{ fault: "fail", times: 2 }]);
  await passing.target.put(KEY, sourceOf("x"), { expect: "absent" });
  expect(passing.faults.struck).toHaveLength(2);

  const stubborn = open([{ fault: "unreachable", times: 9 }]);
  await expect(stubborn.target.stat(KEY)).rejects.toMatchObject({ kind: "transient", code: "E_TARGET_UNREACHABLE" });
  expect(stubborn.faults.struck).toHaveLength(3);

  for (const kind of ["not-found", "conflict", "auth", "quota", "corrupt", "unsupported"] as const) {
    let tries = 0;
    const refusing = withRetry({ baseMs: 1 })({
      ...createMemoryTarget(),
      stat: () => Promise.reject((tries++, new TargetError(kind, kind))),
    });
    await expect(refusing.stat(KEY)).rejects.toMatchObject({ kind });
    expect(tries).toBe(1);
  }
});

test("the calls of one write share its tries", async () => {
  const { target, faults, memory } = open([{ fault: "fail", times: 9 }]);
  memory.edit(KEY, "x");
  const tries = { used: 1, most: 3 };
  await expect(target.stat(KEY, { tries })).rejects.toEqual(fails("transient"));
  expect([tries.used, faults.struck.length]).toEqual([3, 3]);
  await expect(target.stat(KEY, { tries })).rejects.toEqual(fails("transient"));
  expect([tries.used, faults.struck.length]).toEqual([3, 4]);

  const one = open([
    { fault: "fail", verbs: ["stat"] },
    { fault: "fail", verbs: ["put"], times: 2 },
  ]);
  const shared = { used: 1, most: 3 };
  await one.target.stat(KEY, { tries: shared });
  await expect(one.target.put(KEY, sourceOf("x"), { tries: shared })).rejects.toEqual(fails("transient"));
  expect(shared.used).toBe(3);
});

/** The waits that were asked of the timer, without waiting for them. */
async function waitsOf(rules: FaultRule[], options: RetryOptions): Promise<number[]> {
  const waits: number[] = [];
  const real = globalThis.setTimeout;
  const spy = vi.spyOn(globalThis, "setTimeout").mockImplementation((run: () => void, ms = 0) => {
    waits.push(ms);
    return real(run, 0);
  });
  try {
    const memory = createMemoryTarget();
    await stack(memory, withFaults(rules, 1), withRetry(options)).stat(KEY);
  } finally {
    spy.mockRestore();
  }
  return waits;
}

test("waits 2, 4, 8 … seconds with jitter, 60 at most, and as long as the place asks", async () => {
  const fail: FaultRule[] = [{ fault: "fail", times: 8 }];
  expect(await waitsOf(fail, { attempts: 9, random: () => 0.5 })).toEqual([2, 4, 8, 16, 32, 60, 60, 60].map((s) => s * 1000));
  const jittered = await waitsOf([{ fault: "fail", times: 3 }], { attempts: 9, random: () => 0 });
  expect(jittered).toEqual([1500, 3000, 6000]);
  expect(await waitsOf([{ fault: "throttled", retryAfterMs: 45_000 }], { random: () => 0.5 })).toEqual([45_000]);
  expect(await waitsOf([{ fault: "throttled", retryAfterMs: 5 }], { random: () => 0.5 })).toEqual([2000]);
});

test("a place that asks for longer than the longest wait is left alone, and says how long", async () => {
  const { target, faults } = open([{ fault: "throttled", retryAfterMs: 600_000, times: 9 }]);
  await expect(target.stat(KEY)).rejects.toMatchObject({ kind: "throttled", retryAfterMs: 600_000 });
  expect(faults.struck).toHaveLength(1);
});

test("a wait ends when the signal aborts", async () => {
  const { target, faults } = open([{ fault: "fail", times: 9 }], { baseMs: 3_600_000, maxMs: 3_600_000 });
  const stop = new AbortController();
  const waiting = target.stat(KEY, { signal: stop.signal });
  await vi.waitUntil(() => faults.struck.length === 1);
  setImmediate(() => stop.abort());
  await expect(waiting).rejects.toMatchObject({ name: "AbortError" });
});

for (const hashes of [["sha256"], ["md5"], [], ["dropbox"]]) {
  const memoryOptions = { hashes: hashes.filter((algo) => algo !== "dropbox") };
  test(`a lost answer is settled, with hashes [${hashes.join()}]`, async () => {
    const { target, memory } = open(
      [{ fault: "lost-reply", verbs: ["put", "copy", "remove"], times: 99 }],
      { attempts: 2 },
      memoryOptions,
    );
    // Every first try works and every answer is lost; only the repeated tries' conflict can tell.
    const first = await target.put(KEY, sourceOf("ours"), { expect: "absent" });
    expect(first).toMatchObject({ key: KEY, size: 4, rev: memory.objects()[0]?.rev });
    const second = await target.put(KEY, sourceOf("more"), { expect: first });
    const copied = await target.copy(KEY, COPY, { expect: second });
    expect(copied).toMatchObject({ key: COPY, size: 4 });
    expect(memory.objects().map(({ key }) => key)).toEqual([KEY, COPY]);
  });
}

test("a conflict that is not of our making stays one", async () => {
  const theirs = open([
    { fault: "foreign-edit", verbs: ["put"], edit: () => void theirs.memory.edit(KEY, "them") },
    { fault: "lost-reply", verbs: ["put"] },
  ]);
  await expect(theirs.target.put(KEY, sourceOf("ours"), { expect: "absent" })).rejects.toEqual(fails("conflict"));

  // The first try failed before it did anything; then someone of the same size was quicker.
  const quicker = open([
    { fault: "fail", verbs: ["put"] },
    { fault: "foreign-edit", verbs: ["put"], edit: () => void quicker.memory.edit(KEY, "them") },
  ]);
  await expect(quicker.target.put(KEY, sourceOf("ours"), { expect: "absent" })).rejects.toEqual(fails("conflict"));
  expect(Buffer.from(quicker.memory.objects()[0]?.bytes ?? []).toString()).toBe("them");

  // Our own put has not failed: what is there is not ours, even if the bytes are the same.
  const same = open([]);
  same.memory.edit(KEY, "ours");
  await expect(same.target.put(KEY, sourceOf("ours"), { expect: "absent" })).rejects.toEqual(fails("conflict"));

  const copy = open([
    { fault: "fail", verbs: ["copy"] },
    { fault: "foreign-edit", verbs: ["copy"], edit: () => void copy.memory.edit(COPY, "them") },
  ]);
  copy.memory.edit(KEY, "ours");
  await expect(copy.target.copy(KEY, COPY)).rejects.toEqual(fails("conflict"));
});

test("a removal whose answer was lost is not done twice to someone else's file", async () => {
  const { target, memory } = open([
    { fault: "lost-reply", verbs: ["remove"] },
    { fault: "foreign-edit", verbs: ["remove"], edit: () => void memory.edit(KEY, "new") },
  ]);
  const seen = memory.edit(KEY, "old");
  await expect(target.remove(KEY, { expect: seen })).rejects.toEqual(fails("conflict"));
  expect(memory.objects()).toHaveLength(1);
});

test("a listing goes on where it broke off, each entry once, twins included", async () => {
  const { target, memory, faults } = open([{ fault: "cut", verbs: ["list"], times: 3 }], { attempts: 9 }, { guardedPut: false });
  for (const name of ["a", "b", "c", "d"]) memory.edit(parseKey(name), name);
  await Promise.all(["1", "2"].map((by) => memory.put(KEY, sourceOf(by), { expect: "absent" })));
  const keys: string[] = [];
  for await (const { key } of target.list("")) keys.push(key);
  expect(keys.toSorted()).toEqual([KEY, KEY, "a", "b", "c", "d"]);
  expect(faults.struck).toHaveLength(3);
});

test("`use` of a read runs again", async () => {
  const { target, memory } = open([{ fault: "cut", verbs: ["read"], times: 2 }]);
  memory.edit(KEY, "a whole content");
  let runs = 0;
  expect(Buffer.from(await target.read(KEY, (bytes) => (runs++, bytesOf(bytes)))).toString()).toBe("a whole content");
  expect(runs).toBe(3);
});

test("progress never goes back, though each try begins anew", async () => {
  const { target } = open([{ fault: "cut", verbs: ["put"], times: 2 }]);
  const told: number[] = [];
  await target.put(KEY, sourceOf(new Uint8Array(5000), 500), { onProgress: (sent) => told.push(sent) });
  expect(told).toEqual([500, 1000, 1500, 2000, 2500, 3000, 3500, 4000, 4500, 5000]);
});

import { afterEach, describe, expect, test } from "vitest";
import type { Key } from "../../src/core/key.ts";
import { forward, stack, type Target, type Wrap } from "../../src/core/target.ts";
import {
  anySeed,
  createMemoryTarget,
  type MemoryTargetOptions,
  seededRandom,
  targetSuite,
  withFaults,
} from "../../src/testing/index.ts";
import { withBytesPerSecond, withSlots } from "../../src/wraps/limit.ts";
import { withLog } from "../../src/wraps/log.ts";
import { withRetry } from "../../src/wraps/retry.ts";
import { withTimeout } from "../../src/wraps/timeout.ts";

function passes(name: string, wraps: () => readonly Wrap[], options: MemoryTargetOptions = {}): void {
  describe(name, () => {
    targetSuite({
      test,
      open() {
        const memory = createMemoryTarget(options);
        const target: Target = stack(memory, ...wraps());
        return {
          target,
          foreignWrite: (key, bytes) => void memory.edit(key, bytes),
          reopen: () => stack(memory, ...wraps()),
          cleanup: () => undefined,
        };
      },
      options: { bigBytes: 300_000 },
    });
  });
}

const quick = { baseMs: 1, attempts: 12 };
const log = () => withLog("drive", () => undefined);

passes("withLog passes the target suite", () => [log()]);
passes("withTimeout passes the target suite", () => [withTimeout(5000)]);
passes("withBytesPerSecond passes the target suite", () => [withBytesPerSecond(500_000_000)]);
passes("withSlots passes the target suite", () => [withSlots(4)]);
passes("withRetry passes the target suite", () => [withRetry(quick)]);

describe("the whole stack over a place that loses 5 % of its answers and fails 5 % of the time", () => {
  const seed = anySeed();
  afterEach(({ task }) => {
    if (task.result?.state === "fail") console.error(`seed ${seed}`);
  });
  const faulty = (): readonly Wrap[] => [
    withFaults(
      [
        { fault: "lost-reply", chance: 0.05 },
        { fault: "fail", chance: 0.03 },
        { fault: "throttled", chance: 0.01, retryAfterMs: 1 },
        { fault: "cut", chance: 0.01 },
      ],
      seed,
    ),
    log(),
    withTimeout(5000),
    withBytesPerSecond(500_000_000),
    withSlots(4),
    withRetry({ ...quick, random: seededRandom(seed) }),
  ];
  for (const hashes of [["sha256"], ["md5"], []])
    passes(`passes the target suite with hashes [${hashes.join()}]`, faulty, { hashes });
});

test("a place that stalls is told in words, with what to do", async () => {
  const stalled = forward(createMemoryTarget(), { stat: () => new Promise(() => undefined) });
  await expect(withTimeout(20)(stalled).stat("Meta/A.txt" as Key)).rejects.toMatchObject({
    kind: "transient",
    message: "the target made no progress for 0.02 s when we tried to look at Meta/A.txt",
    hint: expect.stringContaining("network") as string,
  });
});

test("no wrap answers for what it does not change", () => {
  const memory = createMemoryTarget();
  for (const wrap of [log(), withTimeout(1000), withBytesPerSecond(1000), withSlots(2), withRetry()]) {
    const wrapped = wrap(memory);
    expect([wrapped.kind, wrapped.traits]).toEqual([memory.kind, memory.traits]);
  }
});

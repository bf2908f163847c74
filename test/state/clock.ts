import { setTimeout as pause } from "node:timers/promises";
import type { Clock } from "../../src/core/clock.ts";

export const clock: Clock = { now: () => Date.now(), sleep: (ms, signal) => pause(ms, undefined, signal ? { signal } : {}) };

// What a target holds of the history, and a clock that stands still.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../../src/core/clock.ts";
import { forward, type Target, type Wrap } from "../../src/core/target.ts";
import type { MemoryTarget } from "../../src/testing/memory-target.ts";

export const isSegment = (key: string) => /^\.aftersave\/[0-9a-f]+\/history\//.test(key);

export interface Segment {
  readonly writer: string;
  readonly name: string;
  readonly text: string;
  readonly rev: string;
}

export function segmentsOf(place: MemoryTarget): Segment[] {
  return place
    .objects()
    .filter(({ key }) => isSegment(key))
    .map(({ key, bytes, rev }) => {
      const [, writer = "", , name = ""] = key.split("/");
      return { writer, name, text: Buffer.from(bytes).toString("utf8"), rev };
    })
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** Each writer's history, its segments put together in the order of their names. */
export function histories(place: MemoryTarget): Map<string, string> {
  const told = new Map<string, string>();
  for (const { writer, text } of segmentsOf(place)) told.set(writer, (told.get(writer) ?? "") + text);
  return told;
}

export const changelog = (root: string) => readFileSync(join(root, "logs/memory_changelog.json"), "utf8");

/** Writes down each call. */
export function recording(): Wrap & { readonly calls: string[] } {
  const calls: string[] = [];
  const wrap = (inner: Target): Target =>
    forward(inner, {
      list: (prefix, call) => (calls.push(`list ${prefix}`), inner.list(prefix, call)),
      stat: (key, look) => (calls.push(`stat ${key}`), inner.stat(key, look)),
      read: (key, use, call) => (calls.push(`read ${key}`), inner.read(key, use, call)),
      put: (key, body, guard) => (calls.push(`put ${key}`), inner.put(key, body, guard)),
      copy: (from, to, guard) => (calls.push(`copy ${from}`), inner.copy(from, to, guard)),
    });
  return Object.assign(wrap, { calls });
}

/** A clock that only a test moves. */
export function stillClock(): Clock & { pass(ms: number): void } {
  let now = Date.now();
  return { now: () => now, sleep: () => Promise.resolve(), pass: (ms) => void (now += ms) };
}

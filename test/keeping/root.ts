// Memory roots with two places to mirror to, and rules.
import { readFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import type { Clock } from "../../src/core/clock.ts";
import type { Memory, OpenOptions } from "../../src/open.ts";
import { createMemoryTarget } from "../../src/testing/memory-target.ts";
import { freshRoots } from "../memory/root.ts";

/** A clock that only a test moves; files of the disk are younger than its times unless it is set ahead. */
export function clockAt(iso: string): Clock & { pass(ms: number): void } {
  let now = Date.parse(iso);
  return { now: () => now, sleep: () => turn(), pass: (ms) => void (now += ms) };
}

export const DAY = 86_400_000;

export function keepingRoots() {
  const roots = freshRoots();
  return {
    ...roots,
    /** A root whose `drive` and `usb` are places in memory. */
    async fresh(retention: Record<string, unknown> | undefined, options: OpenOptions = {}) {
      const targets = {
        drive: { type: "folder", enabled: true, path: "./mirror/" },
        usb: { type: "folder", enabled: true, path: "./usb/" },
      };
      const root = roots.make({ targets, guard: "off", ...(retention && { retention }) });
      const places = { drive: createMemoryTarget(), usb: createMemoryTarget() };
      const clock = clockAt("2026-11-20T12:00:00Z");
      const open = (more: OpenOptions = {}) => roots.open(root, { targets: places, clock, env: {}, ...options, ...more });
      return {
        root,
        clock,
        places,
        open,
        memory: await open(),
        there: (key: string) => existsSync(join(root, "Data", key)),
        path: (key: string) => join(root, "Data", key),
        changes: () =>
          readFileSync(join(root, "logs/memory_changelog.json"), "utf8")
            .trimEnd()
            .split("\n")
            .map((line) => JSON.parse(line) as Record<string, unknown>),
        at: (place: "drive" | "usb") => places[place].objects().map(({ key }) => key as string),
      };
    },
  };
}

export type Root = Awaited<ReturnType<ReturnType<typeof keepingRoots>["fresh"]>>;

/** Replaces a file `n` times, a day between two; answers the receipts, oldest first. */
export async function days({ memory, clock }: Pick<Root, "clock"> & { readonly memory: Memory }, key: string, n: number) {
  const receipts = [];
  for (let day = 0; day < n; day++) {
    receipts.push(await memory.replace(key, `${key} on day ${day}\n`.repeat(day + 1)));
    clock.pass(DAY);
  }
  return receipts;
}

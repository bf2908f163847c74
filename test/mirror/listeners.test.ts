/** One signal for many uploads: Node has nothing to warn of while they run, and nothing listens when they are done. */
import { getEventListeners } from "node:events";
import { afterEach, beforeEach, expect, it } from "vitest";
import { createMemoryTarget } from "../../src/testing/memory-target.ts";
import { freshRoots } from "../memory/root.ts";

const roots = freshRoots();
const warnings: Error[] = [];
const onWarning = (warning: Error) => void warnings.push(warning);
beforeEach(() => void process.on("warning", onWarning));
afterEach(() => void process.off("warning", onWarning));

const NAMES = ["one", "two", "three", "four"];

it("a flush to four targets, three files at a time", async () => {
  const config = Object.fromEntries(NAMES.map((name) => [name, { type: "gdrive", enabled: true, root: `${name}/` }]));
  let [under, most] = [0, 0];
  let full = () => {};
  const crowded = new Promise<void>((resolve) => (full = resolve));
  const targets = Object.fromEntries(
    NAMES.map((name) => {
      const memory = createMemoryTarget();
      const put: typeof memory.put = async (key, body, guard) => {
        most = Math.max(most, ++under);
        if (key.startsWith("Meta/") && !key.endsWith("/probe.md")) {
          if (under === NAMES.length * 3) full();
          await crowded;
        }
        under--;
        return memory.put(key, body, guard);
      };
      return [name, { ...memory, put }];
    }),
  );
  const memory = await roots.open(roots.make({ targets: config }), { targets });
  await memory.append("Meta/probe.md", "each target is tried with one file first\n");
  for (let n = 0; n < 6; n++) await memory.append(`Meta/${n}.md`, `file ${n}\n`);
  const { signal } = new AbortController();
  expect(await memory.flush({ signal })).toMatchObject({ uploaded: 28, failed: 0, pending: 0 });
  await new Promise((resolve) => setImmediate(resolve)); // warnings are said a tick later
  expect(most).toBe(12);
  expect(warnings).toEqual([]);
  expect(getEventListeners(signal, "abort")).toEqual([]);
});

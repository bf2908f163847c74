import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Memory } from "../../src/open.ts";
import { freshRoots, sha256 } from "../memory/root.ts";
import { killedAt } from "./killed.ts";

const roots = freshRoots();
const rule = { keep_last: 2 };
const targets = {
  drive: { type: "folder", enabled: true, path: "./mirror/" },
  usb: { type: "folder", enabled: true, path: "./usb/" },
};

async function saved() {
  const root = roots.make({ targets, guard: "off", retention: { "*": { ...rule, on_targets: { usb: rule } } } });
  mkdirSync(join(root, "usb"));
  const memory = await roots.open(root, { env: {} });
  const contents = Array.from({ length: 6 }, (_, n) => `content ${n}\n`);
  const copies: string[] = [];
  for (const content of contents) {
    const { archived_as } = await memory.replace("Meta/A.txt", content);
    if (archived_as) copies.push(archived_as);
  }
  await memory.flush();
  await memory.close();
  const at = { here: join(root, "Data"), drive: join(root, "mirror/Drive/MemoryVDB"), usb: join(root, "usb/Drive/MemoryVDB") };
  return { root, copies, contents, at };
}

const prunes = async (memory: Memory, from: string): Promise<string[]> =>
  (await memory.log("changes"))
    .filter(({ op }) => op === "prune")
    .flatMap(({ details }) => {
      const told = (details as { prunes: { copies: string[]; from: string } }).prunes;
      return told.from === from ? told.copies : [];
    });

test.each([
  ["pruning", 1],
  ["pruned", 1],
  ["removed", 1],
  ["removed", 2],
  ["removed", 4],
  ["ended", 1],
  ["pruned", 2],
  ["removed", 5],
  ["removed", 6],
  ["removed", 8],
])("killed at %s %i: what a line says went is gone after the next open, and nothing else", async (step, n) => {
  const { root, copies, contents, at } = await saved();
  expect(await killedAt(root, step, n)).toBe("SIGKILL");

  const memory = await roots.open(root, { env: {} });
  const here = await prunes(memory, "here");
  expect([0, 4]).toContain(here.length); // old or new
  for (const copy of copies) expect(existsSync(join(at.here, copy)), `${copy} here`).toBe(!here.includes(copy));
  for (const [n, copy] of copies.entries()) {
    const left = Object.values(at)
      .map((folder) => join(folder, copy))
      .filter((path) => existsSync(path));
    expect(left.length, copy).toBeGreaterThan(0);
    for (const path of left) expect(readFileSync(path, "utf8")).toBe(contents[n]);
  }
  expect((await memory.doctor()).filter(({ level, part }) => level === "error" && part !== "clock")).toEqual([]);

  const again = await memory.prune();
  expect(again.left).toEqual([]);
  const kept = copies.slice(-1);
  for (const copy of copies) {
    expect(existsSync(join(at.here, copy)), `${copy} here`).toBe(kept.includes(copy));
    expect(existsSync(join(at.usb, copy)), `${copy} on usb`).toBe(kept.includes(copy));
    expect(existsSync(join(at.drive, copy)), `${copy} on drive`).toBe(true);
  }
  for (const from of ["here", "usb"]) expect((await prunes(memory, from)).toSorted()).toEqual(copies.slice(0, -1));
  expect(sha256(readFileSync(join(at.here, "Meta/A.txt")))).toBe(sha256(contents.at(-1) ?? ""));
});

/** A text is erased while other processes append to the same key, with it and without it. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { children } from "../recovery/children.ts";
import { expectChain, linesOf, makeRoot } from "../recovery/root.ts";
import { expectGone } from "./erase-root.ts";

const SECRET = "told-in-a-crowd-by-many";

it("none of it survives, and no other text that was accepted is lost", { timeout: 120_000 }, async () => {
  const root = makeRoot({ guard: "off" });
  const memory = await root.open();
  await memory.append("Meta/a.txt", `at first ${SECRET}\n`);
  await memory.append("Meta/b.txt", `another ${SECRET}\n`);
  await memory.flush();
  await memory.close();

  const child = (...args: string[]) => ["../keeping/crowd.child.ts", root.path, ...args];
  const ended = await children([
    child("appends", "one", "30", SECRET),
    child("appends", "two", "30", SECRET),
    child("erase", "", "3", SECRET),
    child("flush", "", "8"),
  ]);
  for (const { code, stderr } of ended) expect(stderr || code).toBe(0);
  expect((JSON.parse(ended[2]?.stdout ?? "[]") as number[])[0]).toBeGreaterThan(1);

  const again = await root.open();
  await again.erase({ match: SECRET });
  await again.flush();
  expectGone(root.path, SECRET);
  const text = readFileSync(root.at("Data/Meta/a.txt"), "utf8");
  for (const { stdout } of ended.slice(0, 2)) {
    const told = JSON.parse(stdout) as [string, string][];
    expect(told).toHaveLength(20);
    const places = told.map(([, line]) => text.indexOf(line));
    expect(places).not.toContain(-1);
    expect(places).toEqual(places.toSorted((a, b) => a - b));
    for (const [version, line] of told) {
      const pieces: Uint8Array[] = [];
      for await (const piece of (await again.show("Meta/a.txt", { version })).open()) pieces.push(piece.slice());
      expect(Buffer.concat(pieces).toString().endsWith(line), line).toBe(true);
    }
  }
  const rest = text.split("\n").filter((line) => !/^(one|two) \d/.test(line));
  expect(rest.filter((line) => line !== "" && !line.includes("[erased]"))).toEqual([]);
  expect(readFileSync(root.at("mirror/Drive/MemoryVDB/Meta/a.txt"), "utf8")).toBe(text);
  await expectChain(root.changelog, (await linesOf(root.changelog)).length);
  expect((await again.verify({ target: "drive", download: true })).findings).toEqual([]);
});

/** An erasure that dies at any step leaves what it had not begun, and the next one who opens the memory finishes it. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { codeOf } from "../memory/root.ts";
import { children } from "../recovery/children.ts";
import { linesOf, expectChain, makeRoot } from "../recovery/root.ts";
import { expectGone } from "./erase-root.ts";

const SECRET = "the-secret-of-the-killed";

const steps = [
  ["marked", 1],
  ["prepared", 1],
  ["committed", 1],
  ["swapped", 1],
  ["prepared", 2],
  ["committed", 2],
  ["swapped", 2],
  ["keys", 1],
  ["logs", 1],
  ["loose", 1],
  ["places", 1],
  ["scrubbed", 1],
] as const;

const setUp = async () => {
  const root = makeRoot();
  const memory = await root.open();
  const one = await memory.append("Meta/A.txt", `one ${SECRET}\n`);
  const two = await memory.append("Meta/A.txt", "two\n");
  await memory.replace("Meta/A.txt", `three\n`);
  await memory.append("Meta/B.txt", `B ${SECRET}\n`, { reason: SECRET });
  await memory.append("Meta/C.txt", "clean\n");
  await memory.flush();
  await memory.close();
  return { root, one, two };
};

it.each(steps)("killed at %s (%i)", async (step, nth) => {
  const { root, two } = await setUp();
  const [killed] = await children([["../keeping/erase.child.ts", root.path, step, String(nth), SECRET]]);
  expect(killed?.signal, killed?.stderr).toBe("SIGKILL");

  const memory = await root.open();
  await memory.flush();
  await memory.status();
  expectGone(root.path, SECRET);
  expect(readFileSync(root.at("Data/Meta/B.txt"), "utf8")).toBe("B [erased]\n");
  expect(readFileSync(root.at("Data/Meta/C.txt"), "utf8")).toBe("clean\n");
  expect(readFileSync(root.at("mirror/Drive/MemoryVDB/Meta/B.txt"), "utf8")).toBe("B [erased]\n");
  const shown = await memory.show("Meta/A.txt", { version: two.version });
  const pieces: Uint8Array[] = [];
  for await (const piece of shown.open()) pieces.push(piece);
  expect(Buffer.concat(pieces).toString()).toBe("one [erased]\ntwo\n");
  const lines = await linesOf(root.changelog);
  await expectChain(root.changelog, lines.length);
  expect((await memory.status()).conflicts).toBe(0);
  const found = await memory.doctor();
  expect(found.filter(({ level }) => level === "error")).toEqual([]);
  await memory.append("Meta/A.txt", "on\n");
  await memory.append("Meta/B.txt", "on\n");
  await memory.flush();
});

it.each(["marked", "prepared", "committed", "swapped", "logs", "places"])("of a key, killed at %s", async (step) => {
  const { root } = await setUp();
  const [killed] = await children([["../keeping/erase.child.ts", root.path, step, "1", "Meta/A.txt"]]);
  expect(killed?.signal, killed?.stderr).toBe("SIGKILL");
  const memory = await root.open();
  await memory.flush();
  await memory.status();
  expectGone(root.path, "Meta/A", "A.txt", "one the-secret", "three");
  expect(readFileSync(root.at("Data/Meta/C.txt"), "utf8")).toBe("clean\n");
  const lines = await linesOf(root.changelog);
  await expectChain(root.changelog, lines.length);
  expect((await memory.verify({ target: "drive" })).findings).toEqual([]);
});

it.each(["Meta/A.txt", SECRET])("the same again, of %s, goes on where the killed one was", async (text) => {
  const { root } = await setUp();
  const [killed] = await children([["../keeping/erase.child.ts", root.path, "loose", "1", text]]);
  expect(killed?.signal, killed?.stderr).toBe("SIGKILL");
  const memory = await root.open();
  const { erasing } = await memory.status();
  expect(erasing).toBeGreaterThan(0);
  const wish = text === SECRET ? { match: text } : { key: text };
  const copies = expect.arrayContaining([expect.objectContaining({ where: "drive", outcome: "removed" })]) as unknown;
  expect(await memory.erase(wish)).toMatchObject({ resumed: true, pending: 0, lines: 0, copies });
  expect((await memory.status()).erasing).toBe(0);
  expect(await memory.erasures()).toHaveLength(1);
  if (text !== SECRET) expect(await codeOf(memory.erase(wish))).toBe("E_NOT_FOUND");
});

/** A restore from a target onto a root that has a history, killed at each step of a save: each file is old or new, and the next one ends it. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import type { Memory } from "../../src/open.ts";
import { children } from "./children.ts";
import { expectChain, makeRoot } from "./root.ts";

const steps = [
  ["begun", 1],
  ["archived", 1],
  ["headed", 2],
  ["written", 2],
  ["accepted", 1],
  ["cleaned", 2],
  ["fetched", 1],
  ["fetched", 3],
] as const;

const keys = ["Meta/a.txt", "Core/b.txt", "c.txt"];

async function shown(memory: Memory, key: string, version: string) {
  const pieces: Uint8Array[] = [];
  for await (const piece of (await memory.show(key, { version })).open()) pieces.push(piece.slice());
  return Buffer.concat(pieces).toString();
}

const setUp = async () => {
  const root = makeRoot();
  const memory = await root.open();
  const held: [key: string, version: string, text: string][] = [];
  for (const key of keys) {
    held.push([key, (await memory.append(key, `${key} one\n`)).version, `${key} one\n`]);
    held.push([key, (await memory.append(key, "two\n")).version, `${key} one\ntwo\n`]);
  }
  await memory.flush();
  held.push(["Meta/a.txt", (await memory.replace("Meta/a.txt", "damaged\n")).version, "damaged\n"]);
  held.push(["c.txt", (await memory.append("c.txt", "more\n")).version, "c.txt one\ntwo\nmore\n"]);
  await memory.close();
  writeFileSync(root.at("Data/Core/b.txt"), "by hand\n");
  return { root, held };
};

it("killed at each step, also while it fetches", { timeout: 120_000 }, async () => {
  const roots = [];
  for (const [step, nth] of steps) roots.push({ step, nth, ...(await setUp()) });
  const ended = await children(roots.map(({ step, nth, root }) => ["from-target-kill.child.ts", root.path, step, String(nth)]));
  for (const [n, { step, nth, root, held }] of roots.entries()) {
    const where = `${step} ${nth}`;
    expect(ended[n]?.signal, `${where} ${ended[n]?.stderr}`).toBe("SIGKILL");
    const old: Record<string, string> = {
      "Meta/a.txt": "damaged\n",
      "Core/b.txt": "by hand\n",
      "c.txt": "c.txt one\ntwo\nmore\n",
    };
    const becomes = (key: string) => `${key} one\ntwo\n`;
    for (const key of keys) expect([old[key], becomes(key)], where).toContain(readFileSync(root.at("Data", key), "utf8"));

    const memory = await root.open();
    const { left, missing } = await memory.restoreFrom("drive");
    expect([left, missing], where).toEqual([[], []]);
    for (const key of keys) expect(readFileSync(root.at("Data", key), "utf8"), where).toBe(becomes(key));
    expect(await memory.restoreFrom("drive")).toMatchObject({ changes: [], receipts: [] });
    for (const [key, version, text] of held) expect(await shown(memory, key, version), where).toBe(text);
    const lines = await memory.log("changes");
    expect(
      lines
        .filter(({ op }) => op === "restore")
        .map(({ file }) => String(file))
        .toSorted(),
      where,
    ).toEqual(keys.toSorted());
    const [theirs] = lines.filter(({ op }) => op === "external");
    expect(await shown(memory, "Core/b.txt", String(theirs?.["version"])), where).toBe("by hand\n");
    await expectChain(root.changelog, lines.length);
    expect((await memory.verify()).findings, where).toEqual([]);
    expect(
      (await memory.doctor({ fix: true })).filter(({ level }) => level === "error"),
      where,
    ).toEqual([]);
    const heads = Object.keys(root.files(".aftersave/heads"));
    expect(heads, where).toHaveLength(keys.length);
    const spool = root.at(".aftersave/spool");
    expect(existsSync(spool) ? readdirSync(spool).length : 0, where).toBeLessThan(3); // what was being taken in goes a day later
    await memory.flush();
    expect((await memory.status()).conflicts, where).toBe(0);
  }
});

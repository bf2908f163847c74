/** Real damage, replayed: each shows the alarm, who did it, and the way back. */
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { freshRoots, sha256 } from "../memory/root.ts";
import type { Memory } from "../../src/open.ts";

const roots = freshRoots();

const lines = (count: number, of: (n: number) => string) => Array.from({ length: count }, (_, n) => of(n)).join("");

/** Text of exactly `size` bytes, in lines. */
const textOf = (size: number, word: string) => {
  const whole = lines(Math.ceil(size / 40), (n) => `${`- ${word} ${n} `.padEnd(39, "x")}\n`);
  return `${whole.slice(0, size - 1)}\n`;
};

/** Every chat that any line of the file comes from. */
const authors = async (memory: Memory, key: string) => new Set((await memory.blame(key)).lines.map(({ chat_name }) => chat_name));

it("an agent that overwrites 3,279 bytes with 584", async () => {
  const { memory, read } = await roots.fresh();
  const [good, bad] = [textOf(3279, "fact"), textOf(584, "summary")];
  expect([good.length, bad.length]).toEqual([3279, 584]);
  const first = await memory.replace("Core/Rules.md", good, { chat_name: "Mara", origin: "human" });
  const damage = await memory.replace("Core/Rules.md", bad, { chat_name: "Agent 7", session_id: "s7", origin: "agent" });

  expect(damage.alarms.map(({ rule }) => rule)).toContain("shrink");
  expect(damage.alarms.map(({ says }) => says).join()).toContain(" of 3279 bytes are kept");
  expect(damage.warnings.join()).toContain(`aftersave undo ${damage.version}`);
  const [entry] = (await memory.history({ key: "Core/Rules.md" })).entries;
  expect(entry).toMatchObject({ chat_name: "Agent 7", session_id: "s7" });
  expect(entry?.alarms.map(({ rule }) => rule)).toContain("shrink");
  expect(await authors(memory, "Core/Rules.md")).toEqual(new Set(["Agent 7"]));
  expect((await memory.planPrune()).removes).toEqual([]);

  await memory.undo({ versions: [damage.undo!] });
  expect(read("Core/Rules.md")).toBe(good);
  expect(await authors(memory, "Core/Rules.md")).toEqual(new Set(["Mara"]));
  expect(sha256(await textAt(memory, "Core/Rules.md", damage.version))).toBe(damage.sha256);
  expect(first.alarms).toEqual([]);
});

it("the same where the guard holds: nothing happens to the file before a person says so", async () => {
  const root = roots.make({ guard: { Core: "hold" } });
  const memory = await roots.open(root);
  const [good, bad] = [textOf(3279, "fact"), textOf(584, "summary")];
  await memory.replace("Core/Rules.md", good, { chat_name: "Mara" });
  const held = await memory.replace("Core/Rules.md", bad, { chat_name: "Agent 7" }).catch((error: unknown) => error);
  expect(held).toMatchObject({ code: "E_HELD", details: { version: expect.any(String) as string } });
  const { version } = (held as { details: { version: string } }).details;
  const live = () => readFileSync(join(root, "Data/Core/Rules.md"), "utf8");
  expect(live()).toBe(good);
  expect(await memory.status()).toMatchObject({ held: 1 });
  expect(await textAt(memory, "Core/Rules.md", version)).toBe(bad);
  await memory.append("Core/Rules.md", "and this\n"); // everything else keeps flowing
  await memory.reject(version, { chat_name: "Mara" });
  expect(live()).toBe(`${good}and this\n`);
  expect(await memory.status()).toMatchObject({ held: 0 });
  expect(await textAt(memory, "Core/Rules.md", version)).toBe(bad);
});

it("a consolidation that deletes 23 files", async () => {
  const { memory, files, read } = await roots.fresh();
  const names = Array.from({ length: 30 }, (_, n) => `Meta/note-${String(n).padStart(2, "0")}.md`);
  for (const name of names) await memory.replace(name, `# ${name}\n${textOf(400, name)}`, { chat_name: "Mara" });
  const before = new Map(names.map((name) => [name, read(name)]));
  const meta = { chat_name: "Nightly", session_id: "night-1", origin: "consolidation" as const };
  const rules: string[] = [];
  for (const name of names.slice(0, 23)) rules.push(...(await memory.archive(name, meta)).alarms.map(({ rule }) => rule));

  expect(rules).toContain("spree");
  const [entry] = (await memory.history({ session: "night-1" })).entries;
  expect(entry).toMatchObject({ count: 23, chat_name: "Nightly", origin: "consolidation" });
  expect(files().filter((name) => !name.startsWith("Archive/"))).toHaveLength(7);

  const back = await memory.undo({ session_id: "night-1" });
  expect(back.left).toEqual([]);
  for (const name of names) expect(read(name), name).toBe(before.get(name));
});

it("two sessions that append at once", async () => {
  const { root, memory, read } = await roots.fresh();
  const other = await roots.open(root);
  await memory.append("Meta/log.md", "# Log\n", { chat_name: "Mara" });
  await Promise.all(
    Array.from({ length: 20 }, (_, n) => [
      memory.append("Meta/log.md", `from one: ${n}\n`, { chat_name: "one", session_id: "s1" }),
      other.append("Meta/log.md", `from two: ${n}\n`, { chat_name: "two", session_id: "s2" }),
    ]).flat(),
  );
  for (let n = 0; n < 20; n++) for (const who of ["one", "two"]) expect(read("Meta/log.md")).toContain(`from ${who}: ${n}\n`);
  for (const { text, chat_name } of (await memory.blame("Meta/log.md")).lines.slice(1))
    expect(text.startsWith(`from ${chat_name}: `), text).toBe(true);

  const back = await memory.undo({ session_id: "s2" });
  expect(back.left).toEqual([]);
  expect(read("Meta/log.md")).toBe(`# Log\n${lines(20, (n) => `from one: ${n}\n`)}`);
});

it.each(["saved", "sweep", "the next save"])("an editor that truncates, noticed by %s", async (by) => {
  const { memory, data, read } = await roots.fresh();
  const good = textOf(4000, "thought");
  await memory.replace("Meta/Diary.md", good, { chat_name: "Mara" });
  truncateSync(data("Meta/Diary.md"), 100);
  const receipts =
    by === "saved" ? [await memory.saved("Meta/Diary.md")] : [...(by === "sweep" ? (await memory.sweep()).changed : [])];
  if (by === "the next save") await memory.append("Meta/Diary.md", "\nmore\n", { chat_name: "Agent 7" });

  const { entries } = await memory.history({ key: "Meta/Diary.md", grouped: false });
  const found = entries.find(({ ops }) => ops.external === 1);
  expect(found).toMatchObject({ origin: "unattributed", chat_name: "UNKNOWN" });
  expect(found?.alarms.map(({ rule }) => rule)).toContain("shrink");
  for (const receipt of receipts) expect(receipt.alarms.map(({ rule }) => rule)).toContain("shrink");

  await memory.restore({ file: "Meta/Diary.md", version: by === "the next save" ? "-2" : "-1" });
  expect(read("Meta/Diary.md")).toBe(good);
});

it("an editor that truncates where the guard holds: the targets keep the good content until someone rejects or accepts", async () => {
  const root = roots.make({ guard: "hold" });
  const memory = await roots.open(root);
  const [path, mirrored] = [join(root, "Data/Meta/Diary.md"), join(root, "mirror/Drive/MemoryVDB/Meta/Diary.md")];
  const good = textOf(4000, "thought");
  await memory.replace("Meta/Diary.md", good);
  await memory.flush();
  writeFileSync(path, "");
  const [receipt] = (await memory.sweep()).changed;
  await memory.flush();
  expect(readFileSync(mirrored, "utf8")).toBe(good);
  expect(await memory.status()).toMatchObject({ held: 1 });
  expect(memory.check(await memory.status())).toBe(5);
  await memory.reject(receipt!.version);
  await memory.flush();
  expect(readFileSync(path, "utf8")).toBe(good);
  expect(readFileSync(mirrored, "utf8")).toBe(good);
  expect(await memory.status()).toMatchObject({ held: 0, pending: 0 });
});

async function textAt(memory: Memory, key: string, version: string): Promise<string> {
  const shown = await memory.show(key, { version });
  let text = "";
  for await (const piece of shown.open()) text += Buffer.from(piece).toString("utf8");
  return text;
}

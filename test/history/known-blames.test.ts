/** A blame that took long is not found out twice, and is never another one than it would be without that. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { Key } from "../../src/core/key.ts";
import { actorOf, chain, type Version } from "../../src/core/version.ts";
import { createKnownBlames } from "../../src/history/known-blames.ts";
import type { Memory } from "../../src/open.ts";
import { freshRoots } from "../memory/root.ts";

const { fresh } = freshRoots();
const KEY = "Meta/Long.md";
const by = (chat_name: string) => ({ chat_name, origin: "agent" as const });
const linesOf = async (memory: Memory, version?: string) =>
  (await memory.blame(KEY, { version })).lines.map(({ text, chat_name, moved }) => `${chat_name}${moved ? "*" : ""}: ${text}`);

/** Replaces of so many bytes that a blame of them takes long: the same long line, then `own` lines. */
async function longHistory() {
  const root = await fresh();
  const long = `${"long ".repeat(1_600_000)}\n`;
  const save = (chat: string, own: string) => root.memory.replace(KEY, `${long}${own}`, by(chat));
  const versions: string[] = [];
  for (const [chat, own] of [
    ["A", "alpha is first\nbeta is second\n"],
    ["B", "beta is second\nalpha is first\n"],
    ["C", "beta is second\nalpha is first\ngamma is third\n"],
    ["D", "alpha is first\n"],
    ["E", "alpha is first\ndelta is fourth\n"],
  ] as const)
    versions.push((await save(chat, own)).version);
  const folder = join(root.root, ".aftersave/blames");
  const short = (lines: readonly string[]) => lines.map((line) => line.slice(0, 24).trim());
  return { ...root, versions, folder, save, told: async () => short(await linesOf(root.memory)) };
}

const FIVE = ["A: long long long long l", "A*: alpha is first", "E: delta is fourth"];

describe("a blame that took long", () => {
  test("is kept without text or key, used again, and gone on from", { timeout: 120_000 }, async () => {
    const { root, memory, told, folder, save, archives, versions } = await longHistory();
    expect(await told()).toEqual(FIVE);
    const [name = ""] = readdirSync(folder);
    expect(readdirSync(folder)).toEqual([versions[0]]);
    expect(readFileSync(join(folder, name), "utf8")).not.toMatch(/Long|alpha|beta|delta/);
    const without = async () => {
      const kept = readFileSync(join(folder, name));
      rmSync(folder, { recursive: true });
      const lines = await told();
      writeFileSync(join(folder, name), kept);
      return lines;
    };

    await memory.append(KEY, "open", by("F"));
    await memory.append(KEY, " no more\n", by("G"));
    await save("H", "delta is fourth\nopen no more\nalpha is first\n");
    expect(await told()).toEqual([FIVE[0], FIVE[2], "G: open no more", "A*: alpha is first"]);
    expect(await told()).toEqual(await without());
    const restored = await memory.restore({ file: KEY, version: versions[2] ?? "" }, by("cure"));
    expect(await told()).toEqual([FIVE[0], "A: beta is second", "A*: alpha is first", "C: gamma is third"]);
    expect(await told()).toEqual(await without());
    await memory.undo({ versions: [restored.receipts[0]?.version ?? ""] }, by("cure"));
    expect(await told()).toEqual([FIVE[0], FIVE[2], "G: open no more", "A*: alpha is first"]);

    for (const path of archives().slice(0, 4)) rmSync(join(root, "Data/Archive", path));
    expect(await told()).toEqual([FIVE[0], FIVE[2], "G: open no more", "A*: alpha is first"]);
  });

  test("is found out again when its file was lost or changed, or cannot be written", { timeout: 120_000 }, async () => {
    const { told, folder, versions } = await longHistory();
    expect(await told()).toEqual(FIVE);
    const path = join(folder, versions[0] ?? "");
    const kept = readFileSync(path, "utf8");
    for (const changed of ["", "null", "[]", "[null]", kept.slice(0, -9), kept.replace(/"authors":\[\d+/, '"authors":[3')]) {
      expect(changed).not.toBe(kept);
      writeFileSync(path, changed);
      expect(await told(), changed.slice(0, 80)).toEqual(FIVE);
      expect(readFileSync(path, "utf8")).toBe(kept);
    }
    rmSync(folder, { recursive: true });
    writeFileSync(folder, "in the way");
    expect(await told()).toEqual(FIVE);
  });

  test("is no help when what it is of is gone", { timeout: 120_000 }, async () => {
    const { root, told, save } = await longHistory();
    expect(await told()).toEqual(FIVE);
    const { archived_as } = await save("F", "new is fifth\nalpha is first\n");
    rmSync(join(root, "Data", archived_as ?? ""));
    expect(await told()).toEqual([FIVE[0], "F: new is fifth", FIVE[1]]);
  });

  test("is forgotten when something is erased", { timeout: 120_000 }, async () => {
    const { memory, told, folder } = await longHistory();
    expect(await told()).toEqual(FIVE);
    expect(existsSync(folder)).toBe(true);
    await memory.erase({ match: "delta is fourth" });
    expect(existsSync(folder)).toBe(false);
    await told();
    expect(existsSync(folder)).toBe(false); // its lines are not all what they were
  });
});

describe("the file", () => {
  const folder = mkdtempSync(join(tmpdir(), "aftersave-known-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  const historyOf = (chat: string, count: number): Version[] => {
    const all: Version[] = [];
    for (let place = 1; place <= count; place++)
      all.push(
        chain(
          {
            ...actorOf({ chat_name: place > 2 ? chat : "same" }),
            version: `01K${String(place).padStart(23, "0")}`,
            op: "replace",
            file: KEY as Key,
            sha256: "11".repeat(32),
            size: 3,
            prev_sha256: null,
            archived_as: null,
            timestamp: "2026-01-01T00:00:00.000Z",
            details: null,
          },
          place,
          all.at(-1)?.sum ?? null,
          "00".repeat(16),
        ),
      );
    return all;
  };
  const known = createKnownBlames(folder);
  const all = historyOf("A", 5);
  const blame = { at: 3, authors: Int32Array.of(0, 2, 1, 3), moved: Uint8Array.of(0, 1, 0, 1) };

  test("tells of the history that it is of, however long that is by now, and of no other", () => {
    expect(known.find(all)).toBeUndefined();
    known.keep(all, blame);
    expect(known.find(all)).toEqual(blame);
    expect(known.find(historyOf("A", 9))).toEqual(blame);
    expect(known.find(all.slice(0, 4))).toEqual(blame);
    expect(known.find(all.slice(0, 3))).toBeUndefined();
    expect(known.find(historyOf("B", 9))).toBeUndefined();
    expect(known.find(all.toSpliced(1, 1))).toBeUndefined(); // erased
    expect(known.find(all.with(1, { ...(all[1] as Version), commitment: "00" }))).toBeUndefined(); // redacted
  });

  test("with any byte changed tells nothing, or the same", () => {
    known.keep(all, blame);
    const path = join(folder, all[0]?.version ?? "");
    const bytes = readFileSync(path);
    for (let at = 0; at < bytes.length; at++)
      for (const value of [0x20, 0x31, 0x5d, bytes.readUInt8(at) ^ 1]) {
        const changed = Buffer.from(bytes);
        changed[at] = value;
        writeFileSync(path, changed);
        expect(known.find(all) ?? blame, `byte ${at}`).toEqual(blame);
      }
  });
});

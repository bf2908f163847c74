/** Names and sizes through the whole engine: made, changed, emptied, and found again by a machine that knows no ids. */
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { held, makeDriveRoot, problemsOn } from "../../../scripts/campaign/drive.ts";
import { logLines, removeRoot } from "../../../scripts/campaign/root.ts";
import { parseKey } from "../../../src/core/key.ts";
import { openMemory } from "../../../src/open.ts";
import { startDriveEmulator } from "../../../src/testing/drive-emulator.ts";
import { quoted } from "../../../src/targets/gdrive/folders.ts";
import { sourceOf } from "../../../src/testing/source.ts";
import { memoryOf, onDrive } from "./place.ts";

const undo: Array<() => unknown> = [];
afterEach(async () => {
  for (const back of undo.splice(0).toReversed()) await back();
});

const MIB = 2 ** 20;
const names = [
  "it's 'quoted'.txt",
  "Quinn's \u201cessay\u201d/don't' .txt",
  "or name = 'x' or 'root' in parents.txt",
  "100% + a & b = c #1.txt",
  "emoji 🧠🇩🇪👩‍👩‍👧.md",
  "日本語/メモ.txt",
  "é NFC.txt",
  `${"x".repeat(196)}.txt`,
  `${"ä".repeat(98)}.txt`,
  ".env",
  ".hidden/.deep",
  "..dots.txt",
  "no extension",
  "a..b...c",
  "UPPER.txt",
  "Case/README.txt",
  "trash/generateIds",
  "generateIds",
  "a b/ c/d .e.txt",
];
const bodies: ReadonlyArray<readonly [name: string, bytes: Buffer]> = [
  ["Size/empty.txt", Buffer.alloc(0)],
  ["Size/one.bin", Buffer.from([0])],
  ["Size/binary.bin", Buffer.from(Array.from({ length: 4096 }, (_, n) => (n * 31) % 256))],
  ["Size/text.json", Buffer.from('\uFEFF{"a":1}\r\n')],
  ["Size/exactly 5 MiB.bin", Buffer.alloc(5 * MIB, "5")],
  ["Size/a byte more.bin", Buffer.alloc(5 * MIB + 1, "6")],
];

it("every name and size is made, changed, emptied, and found again by name", async () => {
  const drive = await startDriveEmulator();
  undo.push(() => drive.close());
  const root = makeDriveRoot(drive);
  undo.push(() => removeRoot(root));
  const memory = await openMemory({ root, retryBaseMs: 1 });
  undo.push(() => memory.close());
  for (const name of names) await memory.append(name, `${name}\n`);
  for (const [name, bytes] of bodies) await memory.replace(name, bytes);
  expect(await memory.flush()).toMatchObject({ failed: 0, pending: 0 });
  expect(problemsOn(drive, held(root))).toEqual([]);

  for (const name of names) await memory.append(name, "more\n");
  const [empty, , , , exact, above] = bodies.map(([name]) => name);
  await memory.append(empty ?? "", "no more");
  await memory.replace(exact ?? "", Buffer.alloc(5 * MIB + 1, "7"));
  await memory.replace(above ?? "", "");
  expect(await memory.flush()).toMatchObject({ failed: 0, pending: 0 });
  expect(problemsOn(drive, held(root))).toEqual([]);
  await memory.close();

  const copy = mkdtempSync(join(tmpdir(), "aftersave-root-"));
  undo.push(() => removeRoot(copy));
  cpSync(root, copy, { recursive: true });
  rmSync(join(copy, ".aftersave"), { recursive: true });
  const before = drive.account.tree().filter(({ path }) => !path.includes(".aftersave"));
  const again = await openMemory({ root: copy, retryBaseMs: 1 });
  undo.push(() => again.close());
  expect(await again.flush()).toMatchObject({ failed: 0, pending: 0 });
  const after = drive.account.tree().filter(({ path }) => !path.includes(".aftersave"));
  expect(after.map(({ id, version }) => [id, version])).toEqual(before.map(({ id, version }) => [id, version]));
  for (const name of names) await again.append(name, "from another machine\n");
  expect(await again.flush()).toMatchObject({ failed: 0, pending: 0 });
  expect(problemsOn(drive, held(copy))).toEqual([]);
  expect(await again.status()).toMatchObject({ conflicts: 0 });
  await again.close();
  expect(logLines(copy, "upload_log").filter((line) => line["status"] === "fail")).toEqual([]);
});

it("a root with quotes and backslashes is found again by another machine", async () => {
  expect(quoted("a\\'b")).toBe("'a\\\\\\'b'");
  const on = await onDrive({ root: "Drive/Mara's \\'memory\\/it's 'all' here/" });
  undo.push(() => on.close());
  const key = parseKey("Mara's/'x'.txt");
  await on.target.put(key, sourceOf("one"), { expect: "absent" });
  const other = await on.another({ memory: memoryOf() });
  const seen = await other.stat(key);
  expect(seen?.size).toBe(3);
  await other.put(key, sourceOf("two!"), { expect: seen });
  await other.put(parseKey("Mara's/'y'.txt"), sourceOf("y"), { expect: "absent" });
  const paths = on.drive.account.tree().map(({ path }) => path);
  expect(paths.filter((path) => path.includes("memory"))).toHaveLength(5);
  expect(on.drive.account.content("Mara's \\'memory\\/it's 'all' here/Mara's/'x'.txt").toString()).toBe("two!");
});

it("names that differ only in case are two files there", async () => {
  const drive = await startDriveEmulator();
  undo.push(() => drive.close());
  const root = makeDriveRoot(drive);
  undo.push(() => removeRoot(root));
  const memory = await openMemory({ root, retryBaseMs: 1 });
  undo.push(() => memory.close());
  await memory.append("Case/README.txt", "upper");
  await memory.flush();
  await memory.append("Case/readme.txt", "lower");
  await memory.flush();
  await memory.append("Case/README.txt", " more");
  await memory.flush();
  expect(drive.account.content("MemoryVDB/Case/README.txt").toString()).toBe("upper more");
  expect(drive.account.content("MemoryVDB/Case/readme.txt").toString()).toBe("lower");
  expect(problemsOn(drive, held(root))).toEqual([]);
});

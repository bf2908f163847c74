import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { type Consumer, saveThroughLibrary } from "./consumer.ts";

const mirrored = (consumer: Consumer, key: string) => readFileSync(join(consumer.root, "memory/Drive/MemoryVDB", key), "utf8");

/** One save through the library and one through each binary; each must arrive in the mirror. */
export function expectSaves(consumer: Consumer): void {
  consumer.init();
  const library = consumer.module(saveThroughLibrary);
  expect(library).toMatchObject({ code: 0, stderr: "" });
  expect(JSON.parse(library.stdout)).toMatchObject({
    receipt: { op: "append", file: "Meta/Library.txt" },
    result: { status: "success", attempts: 1, drive_path: "Drive/MemoryVDB/Meta/Library.txt" },
  });
  expect(mirrored(consumer, "Meta/Library.txt")).toBe("from the library\n");

  const line = consumer.bin("aftersave", "--root", "memory", "--json", "append", "Meta/Line.txt", "from the shell\n", "--wait");
  expect(line).toMatchObject({ code: 0, stderr: "" });
  expect(JSON.parse(line.stdout)).toMatchObject({ op: "append", file: "Meta/Line.txt", uploads: [{ status: "success" }] });
  expect(mirrored(consumer, "Meta/Line.txt")).toBe("from the shell\n");

  const hook = consumer.bin("sync-file", "--root", "memory", "--json", "Meta/Line.txt");
  expect(hook).toMatchObject({ code: 0, stderr: "" });
  expect(JSON.parse(hook.stdout)).toMatchObject({ status: "skipped", file: "Meta/Line.txt" });
}

/** Without SQLite nothing is saved, and both cures are named. */
export function expectNoSqlite(consumer: Consumer): void {
  consumer.init();
  const ended = consumer.bin("aftersave", "--root", "memory", "--json", "append", "Meta/Line.txt", "x");
  expect(ended.code).toBe(1);
  const { error } = JSON.parse(ended.stdout) as { error: { code: string; hint: string } };
  expect(error.code).toBe("E_NO_SQLITE");
  expect(error.hint).toMatch(/npm (i|install) .*better-sqlite3/);
  expect(error.hint).toMatch(/\b22\.14\b/);
}

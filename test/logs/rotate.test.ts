import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname } from "node:path";
import { describe, expect, it } from "vitest";
import { appendLines } from "../../src/logs/append.ts";
import { createDiagnosticLog } from "../../src/logs/diagnostic.ts";
import { readLog, tailLog } from "../../src/logs/read.ts";
import { rotatedFiles } from "../../src/logs/rotated.ts";
import { rotateIfNeeded } from "../../src/logs/rotate.ts";
import { freshFolder } from "./folder.ts";

const folder = freshFolder();
const made = (content = "") => {
  const path = folder.next();
  mkdirSync(dirname(path));
  writeFileSync(path, content);
  return path;
};
const now = new Date("2026-11-20T21:07:00.999Z");
const values = async (path: string) => {
  const found: unknown[] = [];
  for await (const { value } of readLog(path, { withRotated: true })) found.push(value["n"]);
  return found;
};

describe("rotateIfNeeded", () => {
  it("does nothing below the size, or without a log", async () => {
    const path = made("{}\n");
    expect(await rotateIfNeeded(path, { bytes: 4, now })).toBeNull();
    expect(await rotateIfNeeded(folder.next(), { bytes: 0, now })).toBeNull();
    expect(readFileSync(path, "utf8")).toBe("{}\n");
  });

  it("keeps every line in order over many rotations within a second and a clock that goes backwards", async () => {
    const path = made();
    for (let n = 0; n < 14; n += 1) {
      await appendLines(path, [JSON.stringify({ n })]);
      await rotateIfNeeded(path, { bytes: 1, now: n < 12 ? now : new Date(0) });
    }
    await appendLines(path, ['{"n":14}']);
    expect(await values(path)).toEqual(Array.from({ length: 15 }, (_, n) => n));
    expect(basename((await rotatedFiles(path))[1] ?? "")).toBe("log.json.2026-11-20T21-07-00Z_2");
    expect(existsSync(`${path}.lock`)).toBe(false);
  });

  it("overwrites nothing, removes only the oldest rotated files, and only when told to", async () => {
    const path = made('{"n":1}\n');
    writeFileSync(`${path}.2026-11-20T21-07-00Z`, '{"n":0}\n');
    writeFileSync(`${path}.torn`, "mine");
    expect(await rotateIfNeeded(path, { bytes: 1, now })).toBe(`${path}.2026-11-20T21-07-00Z_2`);
    await appendLines(path, ['{"n":2}']);
    await rotateIfNeeded(path, { bytes: 1, now });
    expect(await values(path)).toEqual([0, 1, 2]);
    await appendLines(path, ['{"n":3}']);
    await rotateIfNeeded(path, { bytes: 1, keep: 2, now });
    expect(await values(path)).toEqual([2, 3]);
    expect(readFileSync(`${path}.torn`, "utf8")).toBe("mine");
  });

  it("sets a torn end aside, so that no torn line is rotated", async () => {
    const path = made('{"n":1}\n{"n');
    const rotated = await rotateIfNeeded(path, { bytes: 1, now });
    expect(readFileSync(rotated ?? "", "utf8")).toBe('{"n":1}\n');
  });
});

describe("createDiagnosticLog", () => {
  const clock = { now: () => now.getTime() };

  it("writes one line a record, before it returns, and keeps two rotated files", async () => {
    const path = folder.next();
    const log = createDiagnosticLog(path, clock, { bytes: 100 });
    for (let n = 0; n < 50; n += 1) {
      log({ n });
      expect(await tailLog(path, 1, { withRotated: true })).toMatchObject([{ value: { n } }]);
    }
    expect((await rotatedFiles(path)).length).toBe(2);
    const left = await values(path);
    expect(left).toEqual(Array.from({ length: left.length }, (_, i) => 50 - left.length + i));
    expect(left.length).toBeGreaterThan(20);
    expect(log.lost).toBe(0);
  });

  it("shortens what is long, and writes errors and big numbers as something that can be read", async () => {
    const path = folder.next();
    const log = createDiagnosticLog(path, clock);
    log({ long: "x".repeat(100_000), list: Array.from({ length: 1000 }, (_, i) => i), big: 12n });
    log({ error: Object.assign(new Error("cut", { cause: new Error("why") }), { code: "EIO" }) });
    log({
      name: "huge",
      ...Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`f${i}`, "y".repeat(900)])),
      deep: { er: 1 },
    });
    const [first, second, third] = (await tailLog(path, 3)).map(({ value }) => value);
    expect(String(first?.["long"]).length).toBe(1001);
    expect(first).toMatchObject({ big: "12", list: { length: 51 } });
    expect(second).toEqual({ error: { name: "Error", message: "cut", code: "EIO", cause: { name: "Error", message: "why" } } });
    expect(third).toMatchObject({ name: "huge", shortened: true });
    for (const line of readFileSync(path, "utf8").trimEnd().split("\n")) expect(line.length).toBeLessThan(17_000);
  });

  it("never throws, and counts what it lost", () => {
    const inTheWay = createDiagnosticLog(dirname(made()), clock);
    inTheWay({ a: 1 });
    expect(inTheWay.lost).toBe(1);
    const path = made();
    const log = createDiagnosticLog(path, clock);
    const ring: Record<string, unknown> = {};
    ring["ring"] = ring;
    log(ring);
    log({ a: 1 });
    expect(log.lost).toBe(1);
    expect(readFileSync(path, "utf8")).toBe('{"a":1}\n');
    expect(readdirSync(dirname(path))).toEqual(["log.json"]);
  });
});

import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { lock } from "proper-lockfile";
import { describe, expect, it } from "vitest";
import { AftersaveError } from "../../src/core/errors.ts";
import { appendLines, LogSizeError } from "../../src/logs/append.ts";
import { readLog } from "../../src/logs/read.ts";
import { bundled } from "../bundled.ts";
import { child, ended, freshFolder } from "./folder.ts";

const folder = freshFolder();
const made = (content: string | Buffer = "") => {
  const path = folder.next();
  mkdirSync(dirname(path));
  writeFileSync(path, content);
  return path;
};
const code = (error: unknown) => (error instanceof AftersaveError ? error.code : error);

describe("appendLines", () => {
  it("creates the log and its folders, readable by the owner only, and ends each line with a line feed", async () => {
    const path = folder.next("a/b/log.json");
    const at = await appendLines(path, ['{"a":1}', '{"ä":2}'], { sync: true, expectedSize: 0 });
    expect(readFileSync(path, "utf8")).toBe('{"a":1}\n{"ä":2}\n');
    expect(at).toEqual({ size: 17, ino: String(statSync(path).ino) });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(existsSync(`${path}.lock`)).toBe(false);
  });

  it("keeps the mode of a log that exists, and appends nothing for no lines", async () => {
    const path = made('{"a":1}\n');
    const { mode } = statSync(path);
    expect((await appendLines(path, [])).size).toBe(8);
    expect((await appendLines(path, ['{"b":1}'])).size).toBe(16);
    expect(statSync(path).mode).toBe(mode);
  });

  it.each([
    ["grown", '{"a":1}\n{"foreign":1}\n', 8],
    ["cut", "", 8],
  ])("writes nothing to a log that was %s behind our back, and tells its size", async (_name, content, expectedSize) => {
    const path = made(content);
    const error = await appendLines(path, ['{"b":1}'], { expectedSize }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(LogSizeError);
    expect(error).toMatchObject({ code: "E_LOG_FOREIGN", size: content.length });
    expect(readFileSync(path, "utf8")).toBe(content);
  });

  it("writes nothing to another file of the same size, or to one that is gone", async () => {
    const path = made('{"a":1}\n');
    await expect(appendLines(path, ["{}"], { expectedSize: 8, expectedIno: "1" })).rejects.toBeInstanceOf(LogSizeError);
    await expect(appendLines(folder.next(), ["{}"], { expectedSize: 8 })).rejects.toMatchObject({ size: 0, ino: "" });
    expect(readFileSync(path, "utf8")).toBe('{"a":1}\n');
  });

  it("sets a torn last line aside first, and only ends a whole one", async () => {
    const torn = made('{"a":1}\n{"b":');
    const { torn: moved } = await appendLines(torn, ['{"c":1}']);
    expect(moved).toEqual({ bytes: 5, moved: `${torn}.torn` });
    expect(readFileSync(torn, "utf8")).toBe('{"a":1}\n{"c":1}\n');
    expect(readFileSync(`${torn}.torn`, "utf8")).toBe('{"b":\n');
    const whole = made('{"a":1}\n{"b":2}');
    await appendLines(whole, ['{"c":1}']);
    expect(readFileSync(whole, "utf8")).toBe('{"a":1}\n{"b":2}\n{"c":1}\n');
    expect(existsSync(`${whole}.torn`)).toBe(false);
  });

  it("refuses a line with a line break, as it would be two", async () => {
    await expect(appendLines(folder.next(), ["{}\n{}"])).rejects.toMatchObject({ code: "E_INTERNAL" });
  });

  it("refuses a folder, and a path below a file, as E_LOG_PLACE", async () => {
    const path = made();
    expect(code(await appendLines(dirname(path), ["{}"]).catch((thrown: unknown) => thrown))).toBe("E_LOG_PLACE");
    expect(code(await appendLines(join(path, "log.json"), ["{}"]).catch((thrown: unknown) => thrown))).toBe("E_LOG_PLACE");
  });

  it.skipIf(process.platform === "win32")("takes back a write that was cut short", async () => {
    const path = made();
    const limited = spawn(
      "sh",
      ["-c", 'ulimit -f 16; exec "$0" "$@"', process.execPath, await bundled(join(import.meta.dirname, "limit.child.ts")), path],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    expect(await ended(limited)).toMatchObject({ out: "E_NO_SPACE", code: 0 });
    expect(readFileSync(path, "utf8")).toBe('{"first":1}\n');
  });
});

describe("the courtesy lock", () => {
  it("waits for another program that lets go, and is where that program looks, through a symbolic link too", async () => {
    const path = made('{"a":1}\n');
    const link = join(dirname(path), "link.json");
    symlinkSync(path, link);
    const release = await lock(path);
    const appended = appendLines(link, ['{"b":1}']);
    let early = true;
    const check = appended.then(() => expect(early).toBe(false));
    for (let n = 0; n < 5; n += 1) await appendLines(folder.next(), ["{}"]);
    early = false;
    await release();
    await check;
    expect(readFileSync(path, "utf8")).toBe('{"a":1}\n{"b":1}\n');
  });

  it("does not wait long for a holder that was killed, and the next times not at all", async () => {
    const path = made('{"a":1}\n');
    mkdirSync(`${path}.lock`);
    const first = performance.now();
    await appendLines(path, ['{"b":1}']);
    const second = performance.now();
    for (let n = 0; n < 5; n += 1) await appendLines(path, [`{"c":${n}}`]);
    const end = performance.now();
    expect(second - first).toBeGreaterThan(100);
    expect(second - first).toBeLessThan(2000);
    // Five waits would be more than a second.
    expect(end - second).toBeLessThan(700);
    expect(readFileSync(path, "utf8")).toBe('{"a":1}\n{"b":1}\n{"c":0}\n{"c":1}\n{"c":2}\n{"c":3}\n{"c":4}\n');
    expect(existsSync(`${path}.lock`)).toBe(true);
  });

  it("takes over one that is stale, and does without where none can be made", async () => {
    const stale = made();
    mkdirSync(`${stale}.lock`);
    utimesSync(`${stale}.lock`, 0, 0);
    await appendLines(stale, ['{"b":1}']);
    expect(existsSync(`${stale}.lock`)).toBe(false);
    const blocked = made();
    writeFileSync(`${blocked}.lock`, "");
    await appendLines(blocked, ['{"b":1}']);
    expect(readFileSync(blocked, "utf8")).toBe('{"b":1}\n');
  });
});

describe("eight processes × 500 lines", { timeout: 180_000 }, () => {
  it.each(["with a claim", "with nothing but the courtesy lock"])("%s: none torn, interleaved or lost", async (how) => {
    const path = folder.next();
    mkdirSync(dirname(path));
    const claim = how === "with a claim" ? [join(dirname(path), "claim.sqlite")] : [];
    const writers = Array.from({ length: 8 }, async (_, id) =>
      ended(await child("append.child.ts", path, String(id), "500", ...claim)),
    );
    for (const writer of await Promise.all(writers)) expect(writer).toMatchObject({ code: 0, err: "" });
    const bad: unknown[] = [];
    const seen = Array.from({ length: 8 }, () => 0);
    for await (const { value } of readLog(path, { onBad: (line) => bad.push(line) })) {
      const id = Number(value["id"]);
      expect(value["n"]).toBe(seen[id]);
      seen[id] = (seen[id] ?? 0) + 1;
    }
    expect(bad).toEqual([]);
    expect(seen).toEqual(Array.from({ length: 8 }, () => 500));
    expect(existsSync(`${path}.torn`)).toBe(false);
  });
});

import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { describe, expect, it } from "vitest";
import { adopt, type Found } from "../../src/logs/adopt.ts";
import { freshFolder } from "./folder.ts";

const folder = freshFolder();
const made = (content: string | Buffer = "") => {
  const path = folder.next("upload_log.json");
  mkdirSync(dirname(path));
  writeFileSync(path, content);
  return path;
};
const original = '{"timestamp": "2025-05-10T10:00:00", "file": "Meta/A.txt", "status": "success"}';

describe("adopt", () => {
  it.each<[string, Found, string | Buffer]>([
    ["an empty file", "nothing", ""],
    ["the original's lines", "lines", `${original}\n${original}\n`],
    ["one line without its end", "lines", original],
    ["lines with a torn end", "lines", `${original}\n{"timestamp`],
    ["lines with a torn beginning, such as ours after a power cut", "lines", `\0\0\0\n${original}\n`],
    ["lines behind an empty scaffold", "lines", `[]\n${original}\n`],
    ["lines behind a byte order mark, with CRLF", "lines", `\uFEFF${original}\r\n${original}\r\n`],
  ])("leaves %s as it is", async (_name, found, content) => {
    const path = made(content);
    const { mtimeMs } = statSync(path);
    expect(await adopt(path)).toEqual({ found, moved: null });
    expect(readFileSync(path)).toEqual(Buffer.from(content));
    expect(statSync(path).mtimeMs).toBe(mtimeMs);
  });

  it.each<[string, Found, string | Buffer]>([
    ["an empty list", "scaffold", "[]"],
    ["an empty object", "scaffold", "{}\n"],
    ["white space", "scaffold", " \r\n\n"],
    ["a list", "document", `[${original},${original}]`],
    ["a list over several lines", "document", `[\n  ${original},\n  ${original}\n]\n`],
    ["a list that was cut short", "document", `[\n${original}\n,${original}`],
    ["an object over several lines", "document", JSON.stringify({ entries: [JSON.parse(original) as unknown] }, null, 2)],
    ["an object over several lines that was cut short", "document", `{\n"a":\n${original}\n`],
    ["a number", "document", "12\n"],
    ["plain text", "other", "INFO: uploaded Meta/A.txt\nINFO: done\n"],
    ["bytes", "other", Buffer.from([0x89, 0x50, 0x4e, 0x47, 0, 0xff, 0x0a, 0x1a])],
    ["a list of 20 MB", "document", `[\n${`${original},\n`.repeat(250_000)}${original}\n]`],
  ])("moves %s beside, byte for byte", async (_name, found, content) => {
    const path = made(content);
    expect(await adopt(path)).toEqual({ found, moved: `${path}.before-aftersave` });
    expect(existsSync(path)).toBe(false);
    expect(readFileSync(`${path}.before-aftersave`).equals(Buffer.from(content))).toBe(true);
    expect(await adopt(path)).toEqual({ found: "nothing", moved: null });
  });

  it("never overwrites what was moved before, and refuses a folder", async () => {
    const path = made("[]");
    writeFileSync(`${path}.before-aftersave`, "older");
    writeFileSync(`${path}.before-aftersave_2`, "old");
    expect((await adopt(path)).moved).toBe(`${path}.before-aftersave_3`);
    expect(readFileSync(`${path}.before-aftersave`, "utf8")).toBe("older");
    await expect(adopt(dirname(path))).rejects.toMatchObject({ code: "E_LOG_PLACE" });
  });
});

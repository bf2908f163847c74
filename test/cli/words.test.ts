import { describe, expect, test } from "vitest";
import { AftersaveError } from "../../src/index.ts";
import { contentOf } from "../../src/cli/content.ts";
import { exitOfUploads, type Ended } from "../../src/cli/exits.ts";
import { linesOf } from "../../src/cli/lines.ts";
import { wrap } from "../../src/cli/output.ts";
import { pastTimeOf as timeOf } from "../../src/cli/times.ts";
import { bytes, localTime } from "../../src/cli/words.ts";

test("wrapping keeps words, indents and line breaks; colours take no room", () => {
  expect(wrap("one two three\n  four five six", 9)).toBe("one two\nthree\n  four\n  five\n  six");
  expect(wrap("a  b", 9)).toBe("a  b");
  expect(wrap("unbreakable", 4)).toBe("unbreakable");
  expect(wrap("\u001B[31mred\u001B[39m word", 8)).toBe("\u001B[31mred\u001B[39m word");
});

test.each([
  [0, "0 bytes"],
  [1, "1 byte"],
  [999, "999 bytes"],
  [1000, "1.0 kB"],
  [20_400_000, "20 MB"],
  [3e15, "3000 TB"],
])("%d bytes are said as %s", (n, said) => expect(bytes(n)).toBe(said));

test.each<[string, Ended[], number]>([
  ["nothing was uploaded", [], 0],
  ["all went well", [{ status: "success" }, { status: "skipped" }], 0],
  ["some did not", [{ status: "success" }, { status: "conflict", code: "E_CONFLICT" }], 3],
  [
    "all failed: the worst counts",
    [
      { status: "fail", code: "E_TARGET_QUOTA" },
      { status: "fail", code: "E_AUTH" },
    ],
    4,
  ],
  ["a status without a code", [{ status: "blocked" }], 5],
  ["a folder stands in the file's place: an outcome is never wrong usage", [{ status: "fail", code: "E_KEY_FOLDER" }], 1],
])("exit code when %s", (_, uploads, exit) => expect(exitOfUploads(uploads)).toBe(exit));

test("a text that is half a character is refused", async () => {
  await expect(contentOf("\uD800", {})).rejects.toMatchObject({
    code: "E_USAGE",
    message: expect.stringMatching("not valid Unicode"),
  });
  expect(await contentOf("\u{1F600}", {})).toBe("\u{1F600}");
});

test("lines are whole whatever the pieces they come in", async () => {
  const text = Buffer.from('\uFEFF{"a":"ä"}\r\n\n  \nlast', "utf8");
  for (const size of [1, 2, 3, 1000]) {
    const pieces = async function* () {
      for (let at = 0; at < text.length; at += size) yield text.subarray(at, at + size);
    };
    const found = [];
    for await (const { line, text } of linesOf(pieces())) found.push([line, text]);
    expect(found).toEqual([
      [1, '{"a":"ä"}'],
      [4, "last"],
    ]);
  }
});

test("times are taken as ISO 8601 or as people say them; a day begins at midnight", async () => {
  const now = Date.now();
  const local = (year: number, month: number, day: number, hour = 0) => new Date(year, month - 1, day, hour);
  expect(await timeOf("2026-04-13T18:00:00+02:00", "--since")).toEqual(new Date("2026-04-13T16:00:00Z"));
  expect(await timeOf("2026-04-13 18:00", "--since")).toEqual(local(2026, 4, 13, 18));
  expect(await timeOf("2026-04-13", "--since")).toEqual(local(2026, 4, 13));
  expect(Math.abs((await timeOf("2h ago", "--since")).getTime() - (now - 7_200_000))).toBeLessThan(5_000);
  const yesterday = await timeOf("yesterday", "--since");
  expect([yesterday.getHours(), yesterday.getMinutes()]).toEqual([0, 0]);
  expect(now - yesterday.getTime()).toBeGreaterThanOrEqual(86_400_000 - 3_600_000);
  for (const text of ["", "2026-13-99", "some day or other", "yesterday and more"])
    await expect(timeOf(text, "--since")).rejects.toMatchObject({ code: "E_USAGE" });
});

describe("times look back: on Saturday 2026-11-21, at 05:40:30", () => {
  const now = new Date(2026, 10, 21, 5, 40, 30);
  test.each<[string, string]>([
    ["monday", "2026-11-16 00:00:00"],
    ["this monday", "in the future"],
    ["last monday", "2026-11-16 00:00:00"],
    ["monday 9:00", "2026-11-16 09:00:00"],
    ["saturday", "2026-11-21 00:00:00"],
    ["saturday 9:00", "2026-11-14 09:00:00"],
    ["sunday morning", "2026-11-15 06:00:00"],
    ["next monday", "in the future"],
    ["december", "2025-12-01 00:00:00"],
    ["november 30", "2025-11-30 00:00:00"],
    ["1 May", "2026-05-01 00:00:00"],
    ["17:00", "2026-11-20 17:00:00"],
    ["0:30", "2026-11-21 00:30:00"],
    ["noon", "2026-11-20 12:00:00"],
    ["midnight", "2026-11-21 00:00:00"],
    ["yesterday", "2026-11-20 00:00:00"],
    ["today", "2026-11-21 00:00:00"],
    ["now", "2026-11-21 05:40:30"],
    ["yesterday evening", "2026-11-20 20:00:00"],
    ["yesterday at 5pm", "2026-11-20 17:00:00"],
    ["this morning", "in the future"],
    ["last night", "2026-11-20 22:00:00"],
    ["tonight", "in the future"],
    ["tomorrow", "in the future"],
    ["in 3 days", "in the future"],
    ["3 days ago", "2026-11-18 05:40:30"],
    ["last week", "2026-11-14 05:40:30"],
    ["2 months ago", "2026-09-21 05:40:30"],
    ["3 days ago at 10:00", "2026-11-18 10:00:00"],
    ["12.11.2026", "2026-11-12 00:00:00"],
    ["1.5.2026 10:00", "2026-05-01 10:00:00"],
    ["12.12.2026", "in the future"],
    ["2026-11-21 05:41", "in the future"],
    ["2099-01-01T00:00:00Z", "in the future"],
    ["2026/4/13 6pm", "2026-04-13 18:00:00"],
    ["2026-13-01", "not a time"],
    ["2026-25-12", "not a time"],
    ["2026-02-30", "not a time"],
    ["2026-02-30T10:00:00Z", "not a time"],
    ["30.2.2026", "not a time"],
    ["12.13.2026", "not a time"],
    ["12.11.", "not a time"],
    ["12.11", "not a time"],
    ["12/11/2026", "not a time"],
    ["12-11-2026", "not a time"],
    ["1/2", "not a time"],
    ["monday to friday", "not a time"],
  ])("%s: %s", async (text, meaning) => {
    const said = await timeOf(text, "--at", now).then(
      (time) => localTime(time.toISOString()),
      (error: unknown) => (error instanceof AftersaveError ? `${error.code}: ${error.message}` : String(error)),
    );
    expect(said).toMatch(meaning.startsWith("2") ? new RegExp(`^${meaning}$`) : new RegExp(`^E_USAGE: .*${meaning}`));
  });

  test("this morning is over at noon", async () => {
    const noon = new Date(2026, 10, 21, 12);
    expect(await timeOf("this morning", "--at", noon)).toEqual(new Date(2026, 10, 21, 6));
    expect(await timeOf("last night", "--at", noon)).toEqual(new Date(2026, 10, 20, 22));
  });
});

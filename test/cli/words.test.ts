import { expect, test } from "vitest";
import { contentOf } from "../../src/cli/content.ts";
import { exitOfUploads, type Ended } from "../../src/cli/exits.ts";
import { linesOf } from "../../src/cli/lines.ts";
import { wrap } from "../../src/cli/output.ts";
import { timeOf } from "../../src/cli/times.ts";
import { bytes } from "../../src/cli/words.ts";

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

/** What changed between two versions, and since a moment. */
import fc from "fast-check";
import { expect, it } from "vitest";
import type { Diff, Memory } from "../../src/open.ts";
import { anySeed } from "../../src/testing/random.ts";
import { hunksByLine, hunksByWord, type Hunk } from "../../src/text/hunks.ts";
import { diffLines } from "../../src/text/lines.ts";
import { codeOf, freshRoots } from "../memory/root.ts";

const { fresh } = freshRoots();
const seed = anySeed();

const line = fc.constantFrom("a\n", "b\n", "c d e\n", "\n", "a\r\n", "end", "é 🙂 x\n");
const content = fc.array(line, { maxLength: 40 }).map((lines) => lines.join(""));
const linesOf = (text: string) => text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
const side = ({ parts }: Hunk, kind: "added" | "removed") =>
  parts
    .filter((part) => part.kind === "same" || part.kind === kind)
    .map(({ text }) => text)
    .join("");

/** As `patch` does it: each hunk must stand where it says it does. */
function patched(a: string, hunks: readonly Hunk[]): string {
  const lines = linesOf(a);
  let moved = 0;
  let end = -1;
  for (const hunk of hunks) {
    const { from_line, from_lines, to_line, to_lines } = hunk;
    const at = (from_lines === 0 ? from_line : from_line - 1) + moved;
    expect(at).toBeGreaterThan(end); // what touches is one hunk
    end = at + to_lines;
    expect(to_lines === 0 ? to_line : to_line - 1).toBe(at);
    expect(lines.slice(at, at + from_lines).join("")).toBe(side(hunk, "removed"));
    const after = linesOf(side(hunk, "added"));
    expect(after).toHaveLength(to_lines);
    lines.splice(at, from_lines, ...after);
    moved += to_lines - from_lines;
  }
  return lines.join("");
}

it(`hunks, by line and by word, turn one text into the other (seed ${seed})`, async () => {
  await fc.assert(
    fc.asyncProperty(content, content, fc.nat({ max: 4 }), async (a, b, context) => {
      const changes = await diffLines(a, b);
      expect(patched(a, hunksByLine(changes, context))).toBe(b);
      expect(patched(a, await hunksByWord(changes, context))).toBe(b);
    }),
    { seed, numRuns: 500 },
  );
});

it("shows the last change, what changed since a version, and what lies between two", async () => {
  const { memory } = await fresh();
  const one = await memory.replace("Meta/a.sh", "one\n");
  const two = await memory.append("Meta/a.sh", "two\n");
  const three = await memory.append("Meta/a.sh", "three\n");
  const told = async (query?: Parameters<Memory["diff"]>[1]) => {
    const diff = await memory.diff("Meta/a.sh", query);
    return [diff.from?.version ?? null, diff.to.version, diff.added, diff.removed];
  };
  expect(await told()).toEqual([two.version, three.version, 1, 0]);
  expect(await told({ from: one.version })).toEqual([one.version, three.version, 2, 0]);
  expect(await told({ from: "-0", to: "-2" })).toEqual([three.version, one.version, 0, 2]);
  expect(await told({ to: two.version })).toEqual([one.version, two.version, 1, 0]);
  expect(await told({ to: one.version })).toEqual([null, one.version, 1, 0]);
  await memory.archive("Meta/a.sh");
  expect(await told()).toEqual([three.version, expect.any(String), 0, 3]);
  expect(await codeOf(memory.diff("Meta/none.sh"))).toBe("E_NOT_FOUND");
  expect(await codeOf(memory.diff("Meta/a.sh", { from: "ZZZZ" }))).toBe("E_VERSION");
  expect(await codeOf(memory.diff("Meta/a.sh", { by: "letter" as "word" }))).toBe("E_USAGE");
  expect(await codeOf(memory.diff("Meta/a.sh", { context: -1 }))).toBe("E_USAGE");
});

const prose = "The cat sat on the mat.\nIt was a long and quiet day.\n";

it.each([
  ["a.md", prose, prose.replace("cat", "dog"), "word"],
  ["a.txt", "x = 1\n", "x = 2\n", "word"],
  ["notes", prose, prose.replace("cat", "dog"), "word"],
  ["Makefile", "all: build\n\tnode x.js\n", "all: build\n\tnode y.js\n", "line"],
  [".env", "A=1\n", "A=2\n", "line"],
  ["a.csv", "1,2\n", "1,3\n", "line"],
  ["a.json", '{"a":1}', '{"a":2}', "path"],
  ["A.JSON", '{"a":1}', '{"a":2}', "path"],
  ["a.json", '{"a":1}', '{"a":', "line"],
  ["a.json", '{"a":12345678901234567890}', '{"a":12345678901234567891}', "line"],
  ["a.json", '{"a":1}', '{ "a": 1 }\n', "line"],
  ["a.jsonl", '{"a":1}\n', '{"a":2}\n', "line"],
  ["a.md", prose, "a\0b", "none"],
])("%s from %j to %j is compared by the %4$s", async (key, a, b, by) => {
  const { memory } = await fresh();
  await memory.replace(key, a);
  await memory.replace(key, b);
  expect((await memory.diff(key)).by).toBe(by);
});

it("marks words in prose, and names paths in JSON", async () => {
  const { memory } = await fresh();
  await memory.replace("a.md", prose);
  await memory.replace("a.md", prose.replace("cat", "dog"));
  expect(await memory.diff("a.md")).toMatchObject({
    by: "word",
    added: 1,
    removed: 1,
    coarse: false,
    hunks: [
      {
        from_line: 1,
        from_lines: 2,
        to_line: 1,
        to_lines: 2,
        parts: [
          { kind: "same", text: "The " },
          { kind: "removed", text: "cat" },
          { kind: "added", text: "dog" },
          { kind: "same", text: " sat on the mat.\nIt was a long and quiet day.\n" },
        ],
      },
    ],
  });
  await memory.replace("s.json", '{"mood":"calm","log":[1]}');
  await memory.replace("s.json", '{"log":[0,1],"mood":"glad"}');
  expect(await memory.diff("s.json")).toMatchObject({
    by: "path",
    added: 2,
    removed: 1,
    changes: [
      { path: "/mood", op: "change", before: "calm", after: "glad" },
      { path: "/log/0", op: "add", after: 0 },
    ],
  });
  expect((await memory.diff("s.json", { by: "line" })).by).toBe("line");
  expect(await codeOf(memory.diff("a.md", { by: "path" }))).toBe("E_USAGE");
});

it("tells hash and length of what is no text", async () => {
  const { memory } = await fresh();
  const one = await memory.replace("x.bin", Buffer.from([0, 1, 2]));
  const two = await memory.replace("x.bin", Buffer.from([0, 255]));
  expect(await memory.diff("x.bin")).toMatchObject({
    by: "none",
    why: "binary",
    added: null,
    removed: null,
    from: { sha256: one.sha256, size: 3 },
    to: { sha256: two.sha256, size: 2 },
  });
});

it("tells nothing where nothing changed", async () => {
  const { memory } = await fresh();
  await memory.replace("a.md", prose);
  await memory.replace("a.md", "other\n");
  const { sha256 } = await memory.replace("a.md", prose);
  const diff = await memory.diff("a.md", { from: "-2" });
  expect(diff).toMatchObject({ added: 0, removed: 0, from: { sha256 }, to: { sha256 } });
  expect((diff as Diff & { hunks: unknown }).hunks).toEqual([]);
});

it("compares a zone, a folder, a key or everything with a moment", async () => {
  let now = Date.parse("2026-01-01T12:00:00Z");
  const { memory } = await fresh({ clock: { now: () => now, sleep: async () => undefined } });
  await memory.append("Meta/kept.txt", "same\n");
  await memory.append("Meta/deep/changed.txt", "one\ntwo\n");
  await memory.append("Meta/gone.txt", "one\n");
  await memory.append("MetaOther/a.txt", "x\n");
  await memory.append("top.txt", "top\n");
  await memory.append("Core/back.txt", "as before\n");
  await memory.replace("x.bin", Buffer.from([0]));
  now += 60_000;
  await memory.replace("Meta/deep/changed.txt", "one\n2\nthree\n");
  await memory.archive("Meta/gone.txt");
  await memory.append("Meta/new.txt", "1\n2\n");
  await memory.append("Meta/brief.txt", "came and went\n");
  await memory.archive("Meta/brief.txt");
  await memory.append("MetaOther/a.txt", "y\n");
  await memory.append("top.txt", "more\n");
  await memory.replace("Core/back.txt", "for a moment\n");
  await memory.replace("Core/back.txt", "as before\n");
  await memory.replace("x.bin", Buffer.from([0, 1]));
  const told = async (prefix?: string) => {
    const { files, compared } = await memory.diffAsOf("2026-01-01T12:00:30Z", prefix);
    return [compared, ...files.map(({ file, change, added, removed }) => [file, change, added, removed])];
  };
  const changed = ["Meta/deep/changed.txt", "changed", 2, 1];
  const meta = [changed, ["Meta/gone.txt", "removed", 0, 1], ["Meta/new.txt", "added", 2, 0]];
  const root = [
    ["top.txt", "changed", 1, 0],
    ["x.bin", "changed", null, null],
  ];
  expect(await told()).toEqual([8, ...meta, ["MetaOther/a.txt", "changed", 1, 0], ...root]);
  expect(await told("Meta")).toEqual([4, ...meta]);
  expect(await told("Meta/")).toEqual([4, ...meta]);
  expect(await told("Meta/deep")).toEqual([1, changed]);
  expect(await told("Meta/deep/changed.txt")).toEqual([1, changed]);
  expect(await told("Root")).toEqual([2, ...root]);
  expect(await told("Core")).toEqual([1]);
  expect(await codeOf(memory.diffAsOf("2026-01-01T12:00:30Z", "Met"))).toBe("E_NOT_FOUND");
  expect(await codeOf(memory.diffAsOf("never"))).toBe("E_USAGE");
  const first = await memory.diffAsOf("2025-01-01T00:00:00Z");
  expect([first.place, first.files.length]).toEqual([0, 7]);
  expect((await memory.diffAsOf(new Date("2027-01-01T00:00:00Z"))).files).toEqual([]);
});

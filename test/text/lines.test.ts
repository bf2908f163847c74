/** What changed, told by line: whatever the texts are, the changes lead from one to the other. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { anySeed } from "../../src/testing/random.ts";
import { countChange, diffLines, isText, trim, type LineChange } from "../../src/text/lines.ts";

const seed = anySeed();

/** Few different lines, so that texts have much in common. */
const text = fc
  .array(fc.constantFrom("a\n", "b\n", "c", "\n", "a\r\n", "  a\n", "é\u0301\n", "🙂\n", "x y z\n"), { maxLength: 30 })
  .map((lines) => lines.join(""));
const any = fc.oneof(text, fc.string({ unit: "binary", maxLength: 40 }));
/** Any two, and two of which one is the other with a part of it taken out or put in. */
const pair = fc.oneof(
  fc.tuple(any, any),
  fc.tuple(text, fc.nat(), fc.nat(), text).map(([a, from, to, more]): [string, string] => {
    const at = from % (a.length + 1);
    return [a, a.slice(0, at) + more + a.slice(Math.min(a.length, at + (to % 5)))];
  }),
  fc
    .tuple(fc.constantFrom("a\n", "a\nb\n", "\n"), fc.nat({ max: 5 }), fc.nat({ max: 5 }))
    .map(([line, n, m]): [string, string] => [line.repeat(n), line.repeat(m)]),
);

const side = (changes: readonly LineChange[], kind: "added" | "removed") =>
  changes
    .filter((change) => change.kind === "same" || change.kind === kind)
    .flatMap(({ lines }) => lines)
    .join("");

/** The fewest lines that can come and go, by the textbook's table. */
function fewest(a: readonly string[], b: readonly string[]): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (const [i, line] of a.entries()) {
    const next = [i + 1];
    for (const [j, other] of b.entries()) next.push(line === other ? row[j]! : Math.min(row[j + 1]!, next[j]!) + 1);
    row = next;
  }
  return row[b.length]!;
}
const lines = (of: string) => of.match(/[^\n]*\n|[^\n]+$/g) ?? [];

it(`the changes lead from one text to the other, and are as few as can be (seed ${seed})`, async () => {
  await fc.assert(
    fc.asyncProperty(pair, async ([a, b]) => {
      const changes = await diffLines(a, b);
      expect(side(changes, "removed")).toBe(a);
      expect(side(changes, "added")).toBe(b);
      expect(changes.every(({ lines: some }) => some.length > 0)).toBe(true);
      const changed = changes.filter(({ kind }) => kind !== "same").flatMap(({ lines: some }) => some).length;
      expect(changed).toBe(fewest(lines(a), lines(b)));
      expect(await countChange(a, b)).toEqual(
        isText(Buffer.from(a)) && isText(Buffer.from(b))
          ? {
              added: changes.filter(({ kind }) => kind === "added").flatMap(({ lines: some }) => some).length,
              removed: changes.filter(({ kind }) => kind === "removed").flatMap(({ lines: some }) => some).length,
            }
          : null,
      );
    }),
    { seed, numRuns: 2000 },
  );
});

it(`what is trimmed is whole lines, and all that both begin and end with (seed ${seed})`, () => {
  fc.assert(
    fc.property(pair, ([a, b]) => {
      const { head, a: inA, b: inB, tail } = trim(a, b);
      expect(head + inA + tail).toBe(a);
      expect(head + inB + tail).toBe(b);
      if (a === b) return;
      expect(head === "" || head.endsWith("\n")).toBe(true);
      expect(lines(inA)[0] === lines(inB)[0] && inA !== "").toBe(false);
      expect(lines(inA).at(-1) === lines(inB).at(-1) && inA !== "").toBe(false);
    }),
    { seed, numRuns: 2000 },
  );
});

it.each([
  ["nothing", "", "", { added: 0, removed: 0 }],
  ["an append", "a\n", "a\nb\nc\n", { added: 2, removed: 0 }],
  ["an append to a line without an end", "a", "a\nb", { added: 2, removed: 1 }],
  ["line ends of another system", "a\r\nb\r\n", "a\nb\n", { added: 2, removed: 2 }],
  ["the end of the last line", "a\nb", "a\nb\n", { added: 1, removed: 1 }],
  ["everything", "a\nb\n", "", { added: 0, removed: 2 }],
])("counts %s", async (_, a, b, count) => {
  expect(await countChange(a, b)).toEqual(count);
  expect(await countChange(Buffer.from(a), Buffer.from(b))).toEqual(count);
});

it("counts nothing in what is no text", async () => {
  expect(isText(Buffer.from("a\0b"))).toBe(false);
  expect(isText(Buffer.from([0xff, 0xfe, 0x41]))).toBe(false);
  expect(isText(Buffer.from(""))).toBe(true);
  expect(await countChange(Buffer.from([0xff]), Buffer.from("a\n"))).toBeNull();
  expect(await countChange(Buffer.from("a\n"), Buffer.from("a\0\n"))).toBeNull();
});

it("says so when the texts are too different to be compared in time", async () => {
  // the same lines in an order that shares nothing
  const shuffled = (factor: number) => Array.from({ length: 20_011 }, (_, n) => `${(n * factor) % 20_011}\n`).join("");
  const [a, b] = [`first\n${shuffled(1)}last\n`, `first\n${shuffled(7919)}last\n`];
  const changes = await diffLines(a, b, { timeoutMs: 20 });
  expect(side(changes, "removed")).toBe(a);
  expect(side(changes, "added")).toBe(b);
  expect(changes.map(({ kind, coarse }) => [kind, coarse])).toEqual([
    ["same", undefined],
    ["removed", true],
    ["added", true],
    ["same", undefined],
  ]);
});

it("an append to a long text, and two long texts that share little, cost no search", async () => {
  const long = Array.from({ length: 200_000 }, (_, n) => `line ${n}\n`).join("");
  const other = Array.from({ length: 200_000 }, (_, n) => `Line ${n}\n`).join("");
  expect((await diffLines(long, `${long}more\n`, { timeoutMs: -1 })).map(({ kind, coarse }) => [kind, coarse])).toEqual([
    ["same", undefined],
    ["added", undefined],
  ]);
  expect((await diffLines(long, other, { timeoutMs: -1 })).map(({ kind, coarse }) => [kind, coarse])).toEqual([
    ["removed", undefined],
    ["added", undefined],
  ]);
});

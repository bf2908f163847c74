/** What changed, told by word. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { anySeed } from "../../src/testing/random.ts";
import { diffWords, type Part } from "../../src/text/words.ts";

const seed = anySeed();

const word = fc.constantFrom(
  "the",
  "cat",
  "sat",
  "café",
  "e\u0301",
  "🙂",
  "日本語",
  "คำ",
  "don't",
  ",",
  "--",
  "\r",
  "\u00a0",
  "",
);
const blank = fc.constantFrom(" ", "  ", "\n", "\r\n", "\t", "", " ");
const text = fc.array(fc.tuple(word, blank), { maxLength: 14 }).map((words) => words.flat().join(""));
const any = fc.oneof(text, fc.string({ unit: "binary", maxLength: 30 }));

const side = (parts: readonly Part[], kind: Part["kind"]) =>
  parts
    .filter((part) => part.kind === "same" || part.kind === kind)
    .map((part) => part.text)
    .join("");
const marked = (parts: readonly Part[]) =>
  parts.map(({ kind, text: of }) => (kind === "same" ? of : kind === "added" ? `{+${of}+}` : `[-${of}-]`)).join("");

it(`the parts are both texts, whatever these are (seed ${seed})`, async () => {
  await fc.assert(
    fc.asyncProperty(any, any, async (a, b) => {
      const parts = await diffWords(a, b);
      expect(side(parts, "removed")).toBe(a);
      expect(side(parts, "added")).toBe(b);
      expect(parts.every((part) => part.text !== "")).toBe(true);
      expect(parts.every(({ kind }, at) => kind !== parts[at + 1]?.kind)).toBe(true);
      if (a === b) expect(parts.every(({ kind }) => kind === "same")).toBe(true);
    }),
    { seed, numRuns: 1000 },
  );
});

it.each([
  ["The cat sat.\n", "The dog sat.\n", "The [-cat-]{+dog+} sat.\n"],
  ["The cat sat.\n", "The old cat sat.\n", "The{+ old+} cat sat.\n"],
  ["The cat sat.\n", "A The cat sat.\n", "{+A +}The cat sat.\n"],
  ["one two\n", "one  two\n", "one{+ +} two\n"],
  ["one\r\n", "one\n", "one[-\r-]\n"],
  ["one", "one\n", "one{+\n+}"],
  ["", "all new\n", "{+all new\n+}"],
  ["alpha, beta\n", "gamma, delta\n", "[-alpha, beta-]{+gamma, delta+}\n"],
  ["日本語です\n", "日本人です\n", "日本[-語-]{+人+}です\n"],
  ["a naïve café\n", "a naive café\n", "a [-naïve-]{+naive+} café\n"],
])("%j to %j", async (a, b, expected) => {
  expect(marked(await diffWords(a, b))).toBe(expected);
});

it("gives up on texts that are too different in time, and stays true", async () => {
  const shuffled = (factor: number) => Array.from({ length: 20_011 }, (_, n) => `w${(n * factor) % 20_011} `).join("");
  const [a, b] = [shuffled(1), shuffled(7919)];
  const parts = await diffWords(a, b, 10);
  expect(parts.map(({ kind }) => kind).toSorted()).toEqual(["added", "removed", "same"].slice(0, parts.length).toSorted());
  expect(side(parts, "removed")).toBe(a);
  expect(side(parts, "added")).toBe(b);
});

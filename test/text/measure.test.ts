/** How much of a content is kept: the same whichever way it is read, and never more than there was. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { anySeed } from "../../src/testing/random.ts";
import { COMPARED, COUNTED, measure, type Measurable } from "../../src/text/measure.ts";

const seed = anySeed();
const line = fc.oneof(
  fc.constantFrom("", "# One", "## Two", "- item", "* [x] done", "3. third", "plain text", "  indented", "| a | b |"),
  fc.string({ unit: "grapheme", maxLength: 30 }).map((text) => text.replaceAll("\n", " ")),
);
const text = fc.array(line, { maxLength: 25 }).map((lines) => lines.join("\n"));

const inMemory = (content: string): Measurable => {
  const bytes = Buffer.from(content);
  return { size: bytes.length, bytes, open: () => pieces(bytes) };
};
/** One buffer again and again, as files are read. */
async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.alloc(7);
  for (let at = 0; at < bytes.length; at += 7) {
    buffer.set(bytes.subarray(at, at + 7));
    yield buffer.subarray(0, Math.min(7, bytes.length - at));
  }
}
const streamed = (content: string): Measurable => ({ ...inMemory(content), bytes: undefined });

it(`what is kept is at most what was there, all of it when nothing went, and nothing when all did (seed ${seed})`, async () => {
  await fc.assert(
    fc.asyncProperty(text, text, async (before, after) => {
      const { before: had, kept } = await measure(inMemory(before), inMemory(after), "x.md");
      for (const what of ["bytes", "lines", "headings", "items"] as const) expect(kept[what]).toBeLessThanOrEqual(had[what]);
      const same = await measure(inMemory(before), inMemory(before), "x.md");
      expect(same.kept).toEqual(same.before);
      expect(same.empties || same.breaks).toBe(false);
      const turned = before.split("\n").toReversed().join("\r\n   ");
      const moved = await measure(inMemory(before), inMemory(turned), "x.md");
      expect(moved.kept).toMatchObject({ ...moved.before, bytes: expect.any(Number) as number });
      const gone = await measure(inMemory(before), inMemory(" \n"), "x.md");
      expect(gone).toMatchObject({ empties: before.trim() !== "", kept: { lines: 0, headings: 0, items: 0 } });
    }),
    { seed, numRuns: 500 },
  );
});

it(`a content that is read in pieces measures the same, unless it only grew (seed ${seed})`, async () => {
  await fc.assert(
    fc.asyncProperty(text, text, async (before, after) => {
      fc.pre(!after.startsWith(before));
      expect(await measure(streamed(before), streamed(after), "x.md")).toEqual(
        await measure(inMemory(before), inMemory(after), "x.md"),
      );
    }),
    { seed, numRuns: 500 },
  );
});

it("JSON is what it says, however it is laid out, until it is none", async () => {
  const value = { name: "x", list: Array.from({ length: 50 }, (_, n) => ({ n, text: `text ${n}` })) };
  const [tight, wide] = [JSON.stringify(value), JSON.stringify(value, null, 4)];
  const { before, kept, breaks } = await measure(inMemory(wide), inMemory(tight), "a.json");
  expect([kept, breaks]).toEqual([before, false]);
  expect(await measure(inMemory(tight), inMemory(tight.slice(0, -1)), "a.json")).toMatchObject({ breaks: true });
  expect(await measure(inMemory('"a"'), inMemory("a"), "a.json")).toMatchObject({ breaks: true });
  expect(await measure(inMemory("12"), inMemory("12 apples"), "a.txt")).toMatchObject({ breaks: false });
  expect(await measure(inMemory('{"a":1}'), inMemory('{"a":1}\n{"b":2}'), "a.jsonl")).toMatchObject({ breaks: false });
  expect(await measure(inMemory("[link](x) and text"), inMemory("other"), "a.md")).toMatchObject({ breaks: false });
});

const value = fc.jsonValue({ maxDepth: 4 });

it(`JSON keeps its places whatever the values are, and what moved is kept too (seed ${seed})`, async () => {
  const other = (of: unknown): unknown =>
    Array.isArray(of)
      ? of.map(other)
      : typeof of === "object" && of !== null
        ? Object.fromEntries(Object.entries(of).map(([name, one]) => [name, other(one)]))
        : `${String(of)} no more`;
  const of = (before: unknown, after: unknown) =>
    measure(inMemory(JSON.stringify(before)), inMemory(JSON.stringify(after, null, 3)), "a.json");
  await fc.assert(
    fc.asyncProperty(value, value, async (one, two) => {
      const { before: had, kept } = await of(one, two);
      expect(kept.lines).toBeLessThanOrEqual(had.lines);
      expect(kept.bytes).toBeLessThanOrEqual(had.bytes);
      for (const same of [one, other(one), [one, two]]) {
        const { before, kept: all, empties, breaks } = await of(one, same);
        expect([all.lines, empties, breaks]).toEqual([before.lines, false, false]);
      }
    }),
    { seed, numRuns: 100 },
  );
});

it("JSON of which most entries went is told, however it is laid out; nested deeper than the stack it is measured all the same", async () => {
  const entries = Array.from({ length: 100 }, (_, n) => ({ id: n, text: `text ${n}` }));
  const byName = Object.fromEntries(entries.map((one) => [`e${one.id}`, one]));
  for (const [indentBefore, indentAfter] of [
    [0, 0],
    [4, 0],
    [0, 4],
  ]) {
    const of = (before: unknown, after: unknown) =>
      measure(inMemory(JSON.stringify(before, null, indentBefore)), inMemory(JSON.stringify(after, null, indentAfter)), "a.json");
    expect(await of(entries, entries.slice(80))).toMatchObject({ before: { lines: 200 }, kept: { lines: 40 } });
    expect(await of(byName, Object.fromEntries(Object.entries(byName).slice(70)))).toMatchObject({ kept: { lines: 60 } });
    expect(await of(entries, entries.slice(5))).toMatchObject({ kept: { lines: 190 } });
    expect(await of(entries, [])).toMatchObject({ kept: { lines: 0 }, empties: true });
    expect(
      await of(
        entries,
        entries.map(({ id }) => ({ id, text: { of: id } })),
      ),
    ).toMatchObject({ kept: { lines: 200 } });
  }
  const deep = (inner: string) => "[".repeat(50_000) + inner + "]".repeat(50_000);
  expect(await measure(inMemory(deep("1")), inMemory(deep("2,3")), "a.json")).toMatchObject({
    before: { lines: 1 },
    kept: { lines: 1 },
  });
});

it(`JSON that is too long to be read counts as it would be read (seed ${seed})`, async () => {
  const pad = " ".repeat(COMPARED);
  const root = fc.oneof(fc.array(value, { maxLength: 5 }), fc.dictionary(fc.string(), value));
  await fc.assert(
    fc.asyncProperty(root, root, async (one, two) => {
      const [before, after] = [JSON.stringify(one, null, 2), JSON.stringify(two)];
      const [read, other] = [
        await measure(inMemory(before), inMemory(after), "x"),
        await measure(inMemory(after), inMemory(before), "x"),
      ];
      const counted = await measure(inMemory(pad + before), inMemory(after), "x");
      expect(counted.before).toMatchObject({ bytes: Buffer.byteLength(JSON.stringify(one)), lines: read.before.lines });
      expect(counted.kept.lines).toBe(Math.min(read.before.lines, other.before.lines));
      expect(counted).toMatchObject({ json: true, empties: read.before.lines > 0 && other.before.lines === 0 });
    }),
    { seed, numRuns: 10 },
  );
  for (const text of ["[link](x) and more", '{"a":1}\n{"b":2}', '{"a":"b', "[1]]", "12", '"text"', ""]) {
    const bytes = Buffer.from(text + pad);
    const long = {
      size: bytes.length,
      async *open() {
        yield bytes;
      },
    };
    expect((await measure(long, long, "x.md")).json).toBeUndefined();
  }
});

it("a long content is counted, a very long one only weighed, and neither is held in memory", async () => {
  const one = Buffer.from("- an item of a list that goes on and on and on\n".repeat(1000));
  const long = (size: number): Measurable => ({
    size,
    async *open() {
      if (size > COUNTED) throw new Error("it was read");
      for (let at = 0; at < size; at += one.length) yield one;
    },
  });
  const size = Math.ceil(COMPARED / one.length + 1) * one.length;
  const counted = await measure(long(size), long(2 * one.length), "x.md");
  expect(counted).toMatchObject({ before: { items: size / 47 }, kept: { items: 2000 }, empties: false });
  const weighed = await measure(long(COUNTED + 1), long(COUNTED / 4), "x.md").catch((error: unknown) => error);
  expect(weighed).toMatchObject({ before: { bytes: COUNTED + 1, lines: 0 }, kept: { bytes: COUNTED / 4 } });
});

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { NOTHING, replaced, type Attributed } from "../../src/history/attribution.ts";

const contentOf = (lines: readonly string[]) => Buffer.from(lines.map((line) => `${line}\n`).join(""));

/** Lines as they are told: text, author, whether moved. */
const told = ({ bytes, starts, authors, moved }: Attributed) =>
  Array.from(authors, (author, n) => ({
    text: Buffer.from(bytes).toString("utf8", starts[n], (starts[n + 1] ?? 0) - 1),
    author,
    moved: moved[n] === 1,
  }));

const after = (...contents: string[][]): Attributed =>
  contents.reduce((now, lines, author) => replaced(now, contentOf(lines), author), NOTHING);

const authorsOf = (...contents: string[][]) => told(after(...contents)).map(({ author }) => author);

describe("who wrote each line", () => {
  test("what stays keeps its author, what came is the newcomer's", () => {
    expect(authorsOf(["one", "two", "three"], ["one", "TWO", "three"])).toEqual([0, 1, 0]);
    expect(authorsOf(["one", "two"], ["zero", "one", "two", "three"])).toEqual([1, 0, 0, 1]);
    expect(authorsOf(["one", "two", "three"], ["three"], [])).toEqual([]);
    expect(authorsOf(["a"], [], ["a"])).toEqual([2]);
  });

  test("a line that is there twice is taken once", () => {
    expect(authorsOf(["same"], ["same", "same"]).toSorted((a, b) => a - b)).toEqual([0, 1]);
    expect(authorsOf(["x", "", "y"], ["x", "", "new", "", "y"]).filter((author) => author === 0)).toHaveLength(3);
  });

  test("a block that was moved keeps its authors and says so", () => {
    const rows = (name: string, n: number) => Array.from({ length: n }, (_, at) => `${name} row ${at}`);
    const [a, b, c] = [rows("alpha", 30), rows("beta", 40), rows("gamma", 50)];
    const lines = told(after([...a, ...b, ...c], [...c, ...a, "news", ...b]));
    expect(lines.filter(({ author }) => author === 1).map(({ text }) => text)).toEqual(["news"]);
    expect(lines.filter(({ moved }) => moved).length).toBeGreaterThanOrEqual(30);
    expect(lines.filter(({ moved }) => !moved).length).toBeGreaterThan(50);
  });

  test("blank lines and brackets are not followed across the file, but with their neighbours", () => {
    expect(authorsOf(["}", "first line", "second line"], ["first line", "changed", "}"])).toEqual([0, 1, 1]);
    const moved = after(
      ["to be moved", "", "along with it", "stays one", "stays two", "stays three"],
      ["stays one", "stays two", "stays three", "to be moved", "", "along with it"],
    );
    expect(told(moved).every(({ author }) => author === 0)).toBe(true);
  });

  test("two lines that changed places: one of them was moved", () => {
    const lines = told(after(["first line", "second line"], ["second line", "first line"]));
    expect(lines.map(({ author }) => author)).toEqual([0, 0]);
    expect(lines.filter(({ moved }) => moved)).toHaveLength(1);
  });

  test("other line ends are no change", () => {
    const crlf = Buffer.from("one\r\ntwo\r\nthree\r\nfour\r\n");
    const lines = replaced(after(["one", "two", "three", "four"]), crlf, 1);
    expect([...lines.authors]).toEqual([0, 0, 0, 0]);
    expect([...lines.moved]).toEqual([0, 0, 0, 0]);
  });
});

describe("random histories", () => {
  const edit = fc.record({
    kind: fc.constantFrom("insert", "delete", "change", "move", "rewrite"),
    at: fc.nat(1000),
    count: fc.integer({ min: 1, max: 40 }),
    to: fc.nat(1000),
  });

  test("where every line is another, each is known wherever it goes", () => {
    fc.assert(
      fc.property(fc.array(fc.array(edit, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 8 }), (versions) => {
        let fresh = 0;
        let lines: { text: string; author: number }[] = [];
        let now = NOTHING;
        for (const [author, edits] of versions.entries()) {
          const made = (n: number) => Array.from({ length: n }, () => ({ text: `line number ${fresh++}`, author }));
          for (const { kind, at, count, to } of edits) {
            const from = lines.length === 0 ? 0 : at % (lines.length + 1);
            if (kind === "insert") lines.splice(from, 0, ...made(count));
            if (kind === "delete") lines.splice(from, count);
            if (kind === "change") lines.splice(from, count, ...made(Math.min(count, lines.length - from)));
            if (kind === "move") {
              const block = lines.splice(from, count);
              lines.splice(to % (lines.length + 1), 0, ...block);
            }
            if (kind === "rewrite") lines = lines.flatMap((line, n) => (n % 3 === 0 ? made(2) : n % 3 === 1 ? [] : [line]));
          }
          now = replaced(now, contentOf(lines.map(({ text }) => text)), author);
        }
        expect(told(now).map(({ text, author }) => ({ text, author }))).toEqual(lines);
        expect([...now.starts]).toEqual([...replaced(NOTHING, now.bytes, 0).starts]);
      }),
      { numRuns: 300 },
    );
  });

  test("where lines repeat, the text is always right, and a line's author had that very line", () => {
    const line = fc.constantFrom("", "}", "- item", "alpha", "beta", "gamma", "delta");
    fc.assert(
      fc.property(fc.array(fc.array(line, { maxLength: 60 }), { minLength: 1, maxLength: 6 }), (contents) => {
        const lines = told(after(...contents));
        expect(lines.map(({ text }) => text)).toEqual(contents.at(-1));
        for (const { text, author } of lines) expect(contents[author]).toContain(text);
        const [last, prior] = [contents.at(-1) ?? [], contents.at(-2) ?? []];
        let head = 0;
        while (head < Math.min(last.length, prior.length) && last[head] === prior[head]) head++;
        for (const { author } of lines.slice(0, head)) expect(author).toBeLessThan(Math.max(1, contents.length - 1));
      }),
      { numRuns: 500 },
    );
  });
});

import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { Key } from "../../src/core/key.ts";
import { merged, redact } from "../../src/keeping/redact.ts";
import { createFingerprints, formsOf, printsOf } from "../../src/keeping/tombstone.ts";
import { anySeed, seededRandom } from "../../src/testing/random.ts";

const key = "Meta/A.txt" as Key;
const find = (text: string, piece: string) => {
  const start = Buffer.from(text).indexOf(piece);
  return { start, end: start + Buffer.byteLength(piece) };
};

describe("a redaction", () => {
  it("moves each end with what is before it; an end inside is behind the mark", () => {
    const text = "abc SECRET def";
    const { content, sizeOf } = redact(Buffer.from(text), [find(text, "SECRET")]);
    expect(content.toString()).toBe("abc [erased] def");
    for (let size = 0; size <= text.length; size++) {
      const now = content.subarray(0, sizeOf(size)).toString();
      expect(now, String(size)).toBe(
        size <= 4 ? text.slice(0, size) : size < 10 ? "abc [erased]" : `abc [erased]${text.slice(10, size)}`,
      );
    }
  });

  it.each([
    ['{"a":"x SECRET y"}', "SECRET", { a: "x [erased] y" }],
    ['{"a":12345,"b":1}', "12345", { a: "[erased]", b: 1 }],
    ['{"a":1,"secret":{"b":2},"c":3}', '"secret":{"b":2},', { a: 1, "[erased]": null, c: 3 }],
    ['[1,"SECRET",3]', '"SECRET"', [1, "[erased]", 3]],
    ['{"SECRET":1}', "SECRET", { "[erased]": 1 }],
  ])("of %s stays JSON", (text, piece, expected) => {
    const { content, broken } = redact(Buffer.from(text), [find(text, piece)]);
    expect(JSON.parse(content.toString())).toEqual(expected);
    expect(broken).toBe(false);
  });

  it("says when it could not", () => {
    const text = '{"a":[1,2]}';
    expect(redact(Buffer.from(text), [find(text, "[1,2]}")]).broken).toBe(true);
  });
});

describe("fingerprints", () => {
  it("find what indexOf finds, and nothing else", () => {
    const seed = anySeed();
    const random = seededRandom(seed);
    const prints = createFingerprints(randomBytes(32));
    for (let round = 0; round < 200; round++) {
      const letters = (n: number) => Array.from({ length: n }, () => "ab"[Math.floor(random() * 2)]).join("");
      const text = letters(200);
      const pieces = Array.from({ length: 3 }, () => letters(3 + Math.floor(random() * 40)));
      const expected = merged(
        pieces.flatMap((piece) =>
          text.split("").flatMap((_, at) => (text.startsWith(piece, at) ? [{ start: at, end: at + piece.length }] : [])),
        ),
      );
      const { find: found } = prints.finder(pieces.map((piece) => prints.ofText(Buffer.from(piece))));
      expect(found(Buffer.from(text), null), `seed ${seed}`).toEqual(expected);
    }
  });

  it("of short lines count for whole lines of their key only; of another machine for nothing", () => {
    const prints = createFingerprints(randomBytes(32));
    const text = Buffer.from("pin 4711\n}\n");
    const made = printsOf(prints, text, [{ start: 0, end: text.length }], key);
    expect(made).toHaveLength(1);
    const { find: found } = prints.finder(made);
    expect(found(Buffer.from("  pin 4711  \nx"), key)).toEqual([{ start: 2, end: 10 }]);
    expect(found(Buffer.from("my pin 4711"), key)).toEqual([]);
    expect(found(Buffer.from("pin 4711"), "Meta/B.txt" as Key)).toEqual([]);
    expect(createFingerprints(randomBytes(32)).finder(made).find(text, key)).toEqual([]);
  });

  it("of a text know how JSON and other systems write it", () => {
    const forms = formsOf('Zoë said "hi"\n').map((form) => form.toString());
    expect(forms).toContain('Zo\\u00eb said \\"hi\\"\\n');
    expect(forms).toContain('Zoë said \\"hi\\"\\n');
    expect(forms).toContain('Zoë said "hi"\r\n');
    expect(forms).toContain('Zoe\u0308 said "hi"\n');
  });
});

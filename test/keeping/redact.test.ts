import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { Key } from "../../src/core/key.ts";
import { merged, redact } from "../../src/keeping/redact.ts";
import { createFingerprints, formsOf, printsOf } from "../../src/keeping/tombstone.ts";
import { anySeed, seededRandom } from "../../src/testing/random.ts";

const key = "Meta/A.txt" as Key;
const TRICKY = `Zoë & Co said "a/b" isn't < c`;
const ascii = (text: string) =>
  text.replace(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
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

  it.each([
    ["JSON in a JSON string", JSON.stringify(JSON.stringify({ x: TRICKY }))],
    ["the same from a writer of ASCII", JSON.stringify(ascii(JSON.stringify({ x: TRICKY })))],
    ["hex digits in capitals", '"' + ascii(JSON.stringify(TRICKY).slice(1, -1)).replace("u00eb", "u00EB") + '"'],
    ["PHP", ascii(JSON.stringify(TRICKY)).replaceAll("/", "\\/")],
    ["PHP with JSON_UNESCAPED_UNICODE", JSON.stringify(TRICKY).replaceAll("/", "\\/")],
    ["Go", JSON.stringify(TRICKY).replace("&", "\\u0026").replace("<", "\\u003c")],
    ["Gson", JSON.stringify(TRICKY).replace("&", "\\u0026").replace("<", "\\u003c").replace("'", "\\u0027")],
    [".NET", '"Zo\\u00EB \\u0026 Co said \\u0022a/b\\u0022 isn\\u0027t \\u003C c"'],
  ])("of a text find it as JSON has it: %s", (_, written) => {
    const prints = createFingerprints(randomBytes(32));
    let read: unknown = JSON.parse(written);
    if (typeof read === "string" && read.startsWith("{")) read = (JSON.parse(read) as { x: unknown }).x;
    expect(read).toBe(TRICKY);
    const { find } = prints.finder(formsOf(TRICKY).map((form) => prints.ofText(form)));
    const [found, ...more] = find(Buffer.from(`before ${written} behind`), null);
    expect(more).toEqual([]);
    expect((found?.end ?? 0) - (found?.start ?? 0)).toBeGreaterThanOrEqual(written.length - 20);
    expect(formsOf(TRICKY).length).toBeLessThan(80);
    expect(formsOf("D-7788 of Q").length).toBeLessThan(20);
  });

  it("of what versions brought find its lines in JSON too", () => {
    const prints = createFingerprints(randomBytes(32));
    const bytes = Buffer.from(`${TRICKY}\nplain words that are long enough\n`);
    const made = printsOf(prints, bytes, [{ start: 0, end: bytes.length }], key);
    expect(made.filter(({ json }) => !json)).toHaveLength(2);
    for (const written of [JSON.stringify(bytes.toString()), ascii(JSON.stringify(bytes.toString()))].map((text) =>
      Buffer.from(text),
    ))
      expect(String(redact(written, prints.finder(made).find(written, "Meta/B.json" as Key)).content)).toBe(
        '"[erased]\\n[erased]\\n"',
      );
  });

  it("of a text find it in addresses and in base64, wherever it begins there", () => {
    const text = "Zoë's key: a/b~c+d";
    const prints = createFingerprints(randomBytes(32));
    const { find } = prints.finder(formsOf(text).map((form) => prints.ofText(form)));
    const found = (written: string) =>
      find(Buffer.from(`<${written}>`), null).map(({ start, end }) => written.slice(start - 1, end - 1));
    const percent = encodeURIComponent(text);
    const lower = percent.replace(/%[\dA-F]{2}/g, (code) => code.toLowerCase());
    const form = new URLSearchParams({ q: text }).toString().slice(2);
    for (const written of [percent, lower, encodeURI(text), form, percent.replaceAll("%20", "+")])
      expect(found(written)).toEqual([written]);
    for (let before = 0; before < 7; before++)
      for (const alphabet of ["base64", "base64url"] as const) {
        const around = Buffer.from(`${"x".repeat(before)}${text}${"x".repeat(before)}`);
        const written = around.toString(alphabet);
        const [run = "", ...more] = found(written);
        expect(more).toEqual([]);
        const left = written.length - run.length;
        expect(left).toBeLessThanOrEqual(Math.ceil((8 * before) / 3) + 4);
        // nothing of the text but what its first and last byte share a digit with
        const rest = Buffer.from(written.replace(run, "A".repeat(run.length)), alphabet).toString("latin1");
        expect(rest).not.toMatch(/[Zkeyabcd/~+:]{2}/);
      }
    for (const short of ["a key", "12 34"]) expect(formsOf(short).map(String)).not.toContain(short.replace(" ", "+"));
    expect(formsOf("word").map(String)).toEqual(["word"]);
  });

  it("of what an erasure left leave its mark out", () => {
    const prints = createFingerprints(randomBytes(32));
    const key = "Meta/A.txt" as Key;
    const content = Buffer.from('[erased]\n- [erased]\n  "[erased]": null,\na pin: [erased]\nlong enough to be told [erased]\n');
    const made = printsOf(prints, content, [{ start: 0, end: content.length }], key);
    const found = prints.finder(made).find(content, key);
    expect(found.map(({ start, end }) => content.toString("utf8", start, end))).toEqual(["long enough to be told"]);
    expect(made.filter(({ line }) => line !== undefined)).toEqual([]);
  });
});

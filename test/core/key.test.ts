import fc from "fast-check";
import { posix } from "node:path";
import { describe, expect, test } from "vitest";
import { AftersaveError } from "../../src/core/errors.ts";
import {
  archiveKey,
  assertSavable,
  foldKey,
  isArchiveKey,
  MAX_SEGMENT_BYTES,
  ownKey,
  parseKey,
  zoneOf,
} from "../../src/core/key.ts";
import { originOf } from "../../src/core/route.ts";

const ARCHIVE = "Archive/";

function codeOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (error instanceof AftersaveError) {
      expect(error.exit).toBe(2);
      expect(error.hint).toBeTruthy();
      return error.code;
    }
    throw error;
  }
  return "accepted";
}

const isKey = (text: string) => codeOf(() => parseKey(text)) === "accepted";
const isSavable = (text: string) => isKey(text) && codeOf(() => assertSavable(parseKey(text), ARCHIVE)) === "accepted";

/** Names that are likely to be trouble, mixed with ordinary ones. */
const segment = fc.oneof(
  fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 }),
  fc.string({ unit: "binary", minLength: 1, maxLength: 12 }),
  fc.constantFrom(
    ".env",
    ".env.local",
    "a",
    "a.txt",
    "A.TXT",
    "a.tar.gz",
    "Root",
    "Archive",
    "é",
    "e\u0301",
    "Ω",
    "\u2126",
    "CON",
    "..",
    ".",
    "x_2026-11-20T21-07-00Z",
    "x_2026-11-20T21-07-00Z_2",
    "x_2026-11-20T21-07-00Z_2.txt",
  ),
);
const text = fc.array(segment, { minLength: 1, maxLength: 4 }).map((segments) => segments.join("/"));
const key = text.filter(isKey).map(parseKey);
const savable = text.filter(isSavable).map(parseKey);
const instant = fc
  .date({ min: new Date("1970-01-01"), max: new Date("9999-12-31"), noInvalidDate: true })
  .map((date) => date.toISOString());

describe("what is refused", () => {
  test.each([
    ["", "E_KEY_EMPTY"],
    ["..", "E_KEY_OUTSIDE"],
    ["../x", "E_KEY_OUTSIDE"],
    ["Meta/../../x", "E_KEY_OUTSIDE"],
    ["Meta/..", "E_KEY_OUTSIDE"],
    ["/etc/passwd", "E_KEY_OUTSIDE"],
    ["/", "E_KEY_OUTSIDE"],
    ["a\0b", "E_KEY_CONTROL"],
    ["a\nb", "E_KEY_CONTROL"],
    ["a\u007f", "E_KEY_CONTROL"],
    ["a\u0085", "E_KEY_CONTROL"],
    ["a\u2028", "E_KEY_CONTROL"],
    ["a\ud800", "E_KEY_CONTROL"],
    [".", "E_KEY_NAME"],
    ["./a", "E_KEY_NAME"],
    ["a//b", "E_KEY_NAME"],
    ["a/", "E_KEY_NAME"],
    ["a\\b", "E_KEY_NAME"],
    ["C:/x", "E_KEY_NAME"],
    ["a?", "E_KEY_NAME"],
    ["con", "E_KEY_NAME"],
    ["Meta/NUL.txt", "E_KEY_NAME"],
    ["LPT¹/a", "E_KEY_NAME"],
    ["com0.tar.gz", "E_KEY_NAME"],
    ["a.", "E_KEY_NAME"],
    ["a ", "E_KEY_NAME"],
    ["a /b", "E_KEY_NAME"],
    ["...", "E_KEY_NAME"],
    ["x".repeat(MAX_SEGMENT_BYTES + 1), "E_KEY_LONG"],
    ["é".repeat(MAX_SEGMENT_BYTES / 2) + "e", "E_KEY_LONG"],
  ])("%j: %s", (text, code) => expect(codeOf(() => parseKey(text))).toBe(code));

  test.each([
    "Archive",
    "Archive/x",
    "archive/Meta/x.txt",
    "ARCHIVE/x",
    "Root/x",
    "root/a/b",
    ".aftersave",
    ".aftersave/owner",
    ".AFTERSAVE/x",
  ])("%j for a save: E_KEY_RESERVED", (text) =>
    expect(codeOf(() => assertSavable(parseKey(text), ARCHIVE))).toBe("E_KEY_RESERVED"),
  );

  test("a name too long for a save stays too long when it looks like an archive copy", () => {
    const copy = `${"x".repeat(MAX_SEGMENT_BYTES)}_2026-11-20T21-07-00Z`;
    expect(codeOf(() => assertSavable(parseKey(`Meta/${copy}.txt`), ARCHIVE))).toBe("E_KEY_LONG");
    expect(codeOf(() => parseKey(`${copy}/a`))).toBe("E_KEY_LONG");
  });

  test("a message never spreads over lines, whatever the key", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        try {
          parseKey(text);
        } catch (error) {
          // eslint-disable-next-line no-control-regex -- control characters are what is looked for
          expect((error as Error).message).not.toMatch(/[\u0000-\u001f]/);
        }
      }),
    );
  });
});

describe("what is accepted", () => {
  test.each([
    "a",
    "Meta/A.txt",
    ".env",
    "Meta/.hidden",
    "a b",
    "Archives/x",
    "Rooted/x",
    "Root",
    "Root.txt",
    "console.txt",
    "x".repeat(MAX_SEGMENT_BYTES),
    "日本/メモ.md",
    "a..b",
    "🎉.txt",
  ])("%j", (text) => {
    expect(parseKey(text)).toBe(text.normalize("NFC"));
    assertSavable(parseKey(text), ARCHIVE);
  });

  test("the same name in two Unicode forms is one key", () => {
    expect(parseKey("Me\u0301ta/e\u0301.txt")).toBe("M\u00e9ta/\u00e9.txt");
    fc.assert(fc.property(key, (k) => void expect(parseKey(k.normalize("NFD"))).toBe(k)));
  });

  test("a key parsed again is itself, and NFC", () => {
    fc.assert(
      fc.property(text, (t) => {
        fc.pre(isKey(t));
        const once = parseKey(t);
        expect(parseKey(once)).toBe(once);
        expect(once.normalize("NFC")).toBe(once);
      }),
    );
  });

  test("a key never leaves the folder that it is joined to", () => {
    fc.assert(
      fc.property(key, (k) => {
        expect(posix.join("/data", k)).toBe(`/data/${k}`);
      }),
    );
  });

  test("folding makes one of what differs in case only, and folds once", () => {
    expect(foldKey("Meta/A.txt")).toBe(foldKey("META/a.TXT"));
    fc.assert(fc.property(key, (k) => void expect(foldKey(foldKey(k))).toBe(foldKey(k))));
  });
});

describe("zones", () => {
  test("the first segment; Root for a file at the top", () => {
    expect(zoneOf(parseKey("Meta/x/y.txt"))).toBe("Meta");
    expect(zoneOf(parseKey("y.txt"))).toBe("Root");
  });
});

describe("archive copies", () => {
  test.each([
    ["Meta/A.txt", 1, "Archive/Meta/A_2026-11-20T21-07-00Z.txt"],
    ["Meta/A.txt", 2, "Archive/Meta/A_2026-11-20T21-07-00Z_2.txt"],
    ["A.txt", 1, "Archive/Root/A_2026-11-20T21-07-00Z.txt"],
    ["Meta/a/b.tar.gz", 3, "Archive/Meta/a/b.tar_2026-11-20T21-07-00Z_3.gz"],
    [".env", 1, "Archive/Root/.env_2026-11-20T21-07-00Z"],
    ["Meta/.env.local", 1, "Archive/Meta/.env_2026-11-20T21-07-00Z.local"],
    ["Meta/README", 1, "Archive/Meta/README_2026-11-20T21-07-00Z"],
    ["Meta.d/README", 1, "Archive/Meta.d/README_2026-11-20T21-07-00Z"],
  ])("%s, copy %i: %s", (k, count, copy) =>
    expect(archiveKey(parseKey(k), "2026-11-20T21:07:00.123Z", count, ARCHIVE)).toBe(copy),
  );

  test("stay in the archive folder and are keys themselves", () => {
    fc.assert(
      fc.property(savable, instant, fc.integer({ min: 1, max: 9999 }), (k, iso, count) => {
        const copy = archiveKey(k, iso, count, ARCHIVE);
        expect(isArchiveKey(copy, ARCHIVE)).toBe(true);
        expect(posix.join("/data", copy)).toBe(`/data/${copy}`);
        expect(parseKey(copy)).toBe(copy);
      }),
    );
  });

  test("also of the longest name there may be", () => {
    for (const name of [
      "x".repeat(MAX_SEGMENT_BYTES),
      `${"x".repeat(MAX_SEGMENT_BYTES - 4)}.txt`,
      `.${"x".repeat(MAX_SEGMENT_BYTES - 1)}`,
    ]) {
      const copy = archiveKey(parseKey(`Meta/${name}`), "2026-11-20T21:07:00.123Z", 12_345, ARCHIVE);
      expect(parseKey(copy)).toBe(copy);
      expect(Buffer.byteLength(posix.basename(copy))).toBeLessThanOrEqual(255);
    }
  });

  test("never collide: key, second and count can be told from the name", () => {
    const made = fc.tuple(savable, instant, fc.integer({ min: 1, max: 12 }));
    fc.assert(
      fc.property(made, made, ([k1, t1, n1], [k2, t2, n2]) => {
        const same = k1 === k2 && t1.slice(0, 19) === t2.slice(0, 19) && n1 === n2;
        expect(archiveKey(k1, t1, n1, ARCHIVE) === archiveKey(k2, t2, n2, ARCHIVE)).toBe(same);
      }),
      { numRuns: 2000 },
    );
    fc.assert(fc.property(made, ([k, iso, count]) => void expect(originOf(archiveKey(k, iso, count, ARCHIVE), ARCHIVE)).toBe(k)));
  });

  test("no archive folder looks like another", () => {
    expect(isArchiveKey("Archive", ARCHIVE)).toBe(true);
    expect(isArchiveKey("Archives/x", ARCHIVE)).toBe(false);
    expect(isArchiveKey("Meta/Archive/x", ARCHIVE)).toBe(false);
    expect(isArchiveKey("old/archive/x", "Old/Archive/")).toBe(true);
  });
});

test("aftersave's own folder can hold no memory file", () => {
  expect(codeOf(() => assertSavable(ownKey("owner.json"), ARCHIVE))).toBe("E_KEY_RESERVED");
});

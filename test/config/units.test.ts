import fc from "fast-check";
import { expect, test } from "vitest";
import { parseDuration, parseSize } from "../../src/config/units.ts";

test.each([
  ["500ms", 500],
  ["30s", 30_000],
  ["5m", 300_000],
  ["2h", 7_200_000],
  ["1d", 86_400_000],
  ["1.5h", 5_400_000],
])("%s is %i milliseconds", (text, value) => expect(parseDuration(text)).toBe(value));

test.each([
  ["1B", 1],
  ["64KiB", 65_536],
  ["10MB", 10_000_000],
  ["1MiB", 1_048_576],
  ["2GB", 2_000_000_000],
  ["1TiB", 1_099_511_627_776],
])("%s is %i bytes", (text, value) => expect(parseSize(text)).toBe(value));

const neither = [
  "",
  "5",
  "5 m",
  " 5m",
  "5m ",
  "m",
  "-5m",
  "5M",
  "5min",
  "1e3s",
  "0s",
  "0B",
  "0.4ms",
  "5kb",
  "5kB",
  "٥m",
  "1h30m",
  "99999999999999999d",
  "99999999999TB",
  "5m\n",
];
test.each(neither)("%j is neither", (text) => {
  expect(parseDuration(text)).toBeUndefined();
  expect(parseSize(text)).toBeUndefined();
});

test("a number without a unit is never taken", () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.integer(), fc.double()),
      (n) => parseDuration(String(n)) === undefined && parseSize(String(n)) === undefined,
    ),
  );
});

/**
 * Durations and sizes as people write them in `paths.json`: a number and a unit, nothing else.
 * @module
 */
const milliseconds: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const bytes: Record<string, number> = {
  B: 1,
  ...Object.fromEntries(
    ["K", "M", "G", "T"].flatMap((p, i) => [
      [`${p}B`, 1000 ** (i + 1)],
      [`${p}iB`, 1024 ** (i + 1)],
    ]),
  ),
};

export const DURATION = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;
export const SIZE = /^(\d+(?:\.\d+)?)(B|[KMGT]i?B)$/;

function inUnits(pattern: RegExp, units: Record<string, number>, text: string): number | undefined {
  const [, amount, unit = ""] = pattern.exec(text) ?? [];
  const value = Math.round(Number(amount) * (units[unit] ?? Number.NaN));
  return Number.isSafeInteger(value) && value > 0 ? value : undefined;
}

/** Milliseconds of `500ms`, `30s`, `5m`, `2h`, `1d`; `undefined` for anything else, a bare number and nothing at all included. */
export function parseDuration(text: string): number | undefined {
  return inUnits(DURATION, milliseconds, text);
}

/** Bytes of `64KiB` (1024s) or `10MB` (1000s); `undefined` for anything else, a bare number and nothing at all included. */
export function parseSize(text: string): number | undefined {
  return inUnits(SIZE, bytes, text);
}

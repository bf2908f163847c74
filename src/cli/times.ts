/**
 * Times as people say them.
 * @module
 */
import { AftersaveError } from "../index.ts";

const iso = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)$/i;

/** The time that `text` means: ISO 8601, or words such as `yesterday`, `2h ago`, `2026-04-13 18:00` (local time). */
export async function timeOf(text: string, option: string): Promise<Date> {
  if (iso.test(text) && !Number.isNaN(Date.parse(text))) return new Date(text);
  const { parse } = await import("chrono-node");
  const [found, ...more] = parse(text, new Date());
  if (found && more.length === 0 && found.text.length === text.trim().length) return startOf(found);
  throw new AftersaveError("E_USAGE", `${option} is not a time: ${JSON.stringify(text)}`, {
    hint: 'Say it as 2026-04-13T18:00:00Z, "2026-04-13 18:00", yesterday, or "2h ago".',
  });
}

interface Said {
  readonly start: { date(): Date; isCertain(part: "hour"): boolean };
}

/** A day without an hour begins at midnight. */
function startOf({ start }: Said): Date {
  const date = start.date();
  if (!start.isCertain("hour")) date.setHours(0, 0, 0, 0);
  return date;
}

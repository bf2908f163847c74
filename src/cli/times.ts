/**
 * Times as people say them: of what could be either, the one that has passed.
 * @module
 */
import { AftersaveError } from "../index.ts";
import type { Output } from "./output.ts";
import { localTime } from "./words.ts";

const iso = /^(\d{4}-\d\d-\d\d)T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)$/i;

/**
 * The time that `text` means: ISO 8601, or words such as `2h ago`, `yesterday evening`, `2026-04-13 18:00` (local
 * time). What could be either is the last one: on a Saturday, `monday` is the one before. A day alone (`yesterday`, `monday`,
 * `2026-04-13`) is its beginning; `3 days ago` is this time of that day. Dates with dots begin with the day. Throws `E_USAGE`.
 */
export async function timeOf(text: string, option: string, now: Date = new Date()): Promise<Date> {
  const time = await meant(text.trim(), now);
  if (time === undefined)
    throw new AftersaveError("E_USAGE", `${option} is not a time: ${JSON.stringify(text)}`, {
      hint: 'Say it as 2026-04-13T18:00:00Z, "2026-04-13 18:00", 13.4.2026, yesterday, or "2h ago".',
    });
  return time;
}

/** The same, for a moment that is looked back at. Throws `E_USAGE` for one that has not come yet. */
export async function pastTimeOf(text: string, option: string, now: Date = new Date()): Promise<Date> {
  const time = await timeOf(text, option, now);
  if (time <= now) return time;
  throw new AftersaveError("E_USAGE", `${option} ${JSON.stringify(text)} is in the future: ${localTime(time.toISOString())}`, {
    hint: "Name a time that has passed.",
  });
}

/** Tells people which moment was taken. */
export function noteTime(out: Output, option: string, time: Date | undefined): void {
  if (time !== undefined && !out.json) out.note(`${option}: ${localTime(time.toISOString())} (local time)`);
}

async function meant(text: string, now: Date): Promise<Date | undefined> {
  const [, day] = iso.exec(text) ?? [];
  if (day !== undefined) return isDay(day) && !Number.isNaN(Date.parse(text)) ? new Date(text) : undefined;
  const plain = yearFirst(text);
  if (plain === undefined) return undefined;
  const { parse } = await import("chrono-node");
  const [found, ...more] = parse(plain, now);
  if (!found || found.end || more.length > 0 || found.text.length !== plain.length) return undefined;
  return lastOne(plain, found.start, timed(found.start), now);
}

/** Whether there is such a day; `Date` counts on from the end of a month. */
function isDay(day: string): boolean {
  const date = new Date(`${day}T00:00:00Z`);
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(day);
}

/** Dates in figures with the year first, and words that chrono takes for something else put right; undefined where it would guess. */
function yearFirst(text: string): string | undefined {
  const date = (year: string, month: string, day: string) => `${year}-${month.padStart(2, "0")}-${day.padStart(2, "0")}`;
  const days: string[] = [];
  const noted = (day: string) => {
    days.push(day);
    return day;
  };
  const plain = text
    .replace(/^last night$/i, "yesterday 22:00")
    .replace(/(?<![\d.])(\d{1,2})\.(\d{1,2})\.(\d{4})(?!\d)/, (_, day: string, month: string, year: string) =>
      date(year, month, day),
    )
    .replace(/(?<!\d)(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?!\d)/, (_, year: string, __: string, month: string, day: string) =>
      noted(date(year, month, day)),
    );
  // 12/11/2026, 12.11. and 12-11: the day or the month may come first
  const unclear = /(?<![\d/.:-])\d{1,2}([/.-])\d{1,2}(?!\d|:)/.test(plain);
  return unclear || !days.every(isDay) ? undefined : plain;
}

interface Said {
  date(): Date;
  isCertain(part: "hour" | "day" | "weekday" | "month" | "year"): boolean;
  tags(): Set<string>;
}

/** Whether a time of day was said: as such, as a part of the day, or as so long ago. */
const timed = (said: Said): boolean =>
  said.isCertain("hour") ||
  [...said.tags()].some((tag) => /^result\/relativeDate|^parser\/ENCasualTime|casualReference\/(tonight|now)$/.test(tag));

/** A time that was said without its day, week or year may be the one before. */
function lastOne(text: string, said: Said, isTimed: boolean, now: Date): Date {
  const date = said.date();
  if (!isTimed) date.setHours(0, 0, 0, 0);
  if (date <= now || /^(this|next|coming|in)\b/i.test(text) || said.isCertain("year")) return date;
  if (said.isCertain("weekday")) date.setDate(date.getDate() - 7);
  else if (said.isCertain("month")) date.setFullYear(date.getFullYear() - 1);
  else if (!said.isCertain("day")) date.setDate(date.getDate() - 1);
  return date;
}

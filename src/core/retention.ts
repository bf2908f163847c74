/**
 * Which versions a retention rule keeps, in restic's words and by restic's policy: every rule speaks for itself, and what any of
 * them keeps is kept.
 * @module
 */

/** A calendar's divisions, finest first. */
export const PERIODS = ["hourly", "daily", "weekly", "monthly", "yearly"] as const;
export type Period = (typeof PERIODS)[number];

/** What is kept. A part that is left out keeps nothing; of a rule without any part, see `speaks`. */
export type Rule = {
  /** So many hours, days … of which the newest version is kept. */
  readonly [P in Period as `keep_${P}`]?: number | undefined;
} & {
  /** So many newest versions. */
  readonly keep_last?: number | undefined;
  /** Milliseconds: every version that is less than that older than the newest one. */
  readonly keep_within?: number | undefined;
  /** Every version with one of these tags. */
  readonly keep_tag?: readonly string[] | undefined;
};

/** What a rule looks at of a version. */
export interface Dated {
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly tags: readonly string[];
}

/** The hour, day, week … that a time lies in, as text that is the same for all times in it, e.g. `2026-11-20`. */
export type Calendar = (period: Period, time: number) => string;

/** Whether a rule says anything. One that does not removes nothing. */
export const speaks = (rule: Rule): boolean => Object.values(rule).some((part) => part !== undefined);

interface Counter {
  readonly name: string;
  /** Undefined: every version is one of its own. */
  readonly period: Period | undefined;
  left: number;
  readonly seen: Set<string>;
}

const counter = (name: string, left: number | undefined, period?: Period): Counter[] =>
  left === undefined ? [] : [{ name, period, left, seen: new Set() }];

/**
 * For each of `versions` (those of one file, newest first) the parts of `rule` that keep it, e.g. `keep_last` and
 * `keep_daily 2026-11-20`; none: the rule lets it go. The newest version counts for its hour, day … . A part that is not used up at
 * the oldest version keeps that one too, so that history reaches back as far as it does. `keep_within` reckons from the newest version that
 * is not later than `now`.
 */
export function keptBy(rule: Rule, versions: readonly Dated[], calendar: Calendar, now: number): string[][] {
  const newest = versions.find(({ time }) => time <= now)?.time ?? Number.NEGATIVE_INFINITY;
  const counters = [
    ...counter("keep_last", rule.keep_last),
    ...PERIODS.flatMap((period) => counter(`keep_${period}`, rule[`keep_${period}`], period)),
  ];
  return versions.map(({ time, tags }, n) => {
    const kept = (rule.keep_tag ?? []).filter((tag) => tags.includes(tag)).map((tag) => `keep_tag ${tag}`);
    if (rule.keep_within !== undefined && time > newest - rule.keep_within) kept.push("keep_within");
    for (const each of counters) {
      if (each.left === 0) continue;
      const bucket = each.period && calendar(each.period, time);
      if (bucket !== undefined && each.seen.has(bucket) && n < versions.length - 1) continue;
      if (bucket !== undefined) each.seen.add(bucket);
      each.left--;
      kept.push(bucket === undefined ? each.name : `${each.name} ${bucket}`);
    }
    return kept;
  });
}

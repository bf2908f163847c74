import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { keptBy, PERIODS, speaks, type Calendar, type Dated, type Rule } from "../../src/core/retention.ts";
import { anySeed } from "../../src/testing/random.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** UTC, so that the tables hold wherever they are run. */
const utc: Calendar = (period, time) => {
  const iso = new Date(time).toISOString();
  if (period === "weekly") {
    const monday = time - ((new Date(time).getUTCDay() + 6) % 7) * DAY;
    return `week of ${new Date(monday).toISOString().slice(0, 10)}`;
  }
  return iso.slice(0, { hourly: 13, daily: 10, monthly: 7, yearly: 4 }[period]);
};

const at = (iso: string, ...tags: string[]): Dated => ({ time: Date.parse(`${iso}Z`), tags });
const never = Number.POSITIVE_INFINITY;

/** The times of those that are kept. */
const kept = (rule: Rule, versions: readonly Dated[], now = never) => {
  const reasons = keptBy(rule, versions, utc, now);
  return versions.filter((_, n) => reasons[n]!.length > 0).map(({ time }) => new Date(time).toISOString().slice(0, 16));
};

// newest first; a Friday
const history = [
  at("2026-11-20T18:30"),
  at("2026-11-20T18:05", "release"),
  at("2026-11-20T09:00"),
  at("2026-11-19T23:59"),
  at("2026-11-16T00:00"), // the Monday of that week
  at("2026-11-15T23:59"), // the Sunday before
  at("2026-10-31T12:00"),
  at("2026-10-01T12:00", "release", "old"),
  at("2025-12-31T12:00"),
  at("2024-02-29T12:00"),
];
const [a, b, c, d, e, f, g, h, i, j] = kept({ keep_last: 100 }, history);

describe("restic's forget policy", () => {
  test.each<[string, Rule, (string | undefined)[]]>([
    ["nothing said", {}, []],
    ["the newest ones", { keep_last: 3 }, [a, b, c]],
    ["more than there are", { keep_last: 11 }, [a, b, c, d, e, f, g, h, i, j]],
    ["the newest of each hour, not of each save", { keep_hourly: 2 }, [a, c]],
    ["days that have one, not days", { keep_daily: 3 }, [a, d, e]],
    ["weeks begin on Monday", { keep_weekly: 2 }, [a, f]],
    ["months", { keep_monthly: 2 }, [a, g]],
    ["years", { keep_yearly: 2 }, [a, i]],
    ["what is not used up keeps the oldest: the years are three", { keep_yearly: 4 }, [a, i, j]],
    ["what is not used up keeps the oldest", { keep_yearly: 3 }, [a, i, j]],
    ["younger than that, seen from the newest", { keep_within: DAY }, [a, b, c, d]],
    ["exactly that old is not younger", { keep_within: 25 * 60_000 }, [a]],
    ["one of the tags", { keep_tag: ["release", "none"] }, [b, h]],
    ["a tag that nobody has", { keep_tag: ["none"] }, []],
    ["what any of them keeps", { keep_last: 1, keep_monthly: 3, keep_tag: ["old"] }, [a, g, h, i]],
  ])("%s: %j", (_, rule, expected) => expect(kept(rule, history)).toEqual(expected));

  test("the oldest is kept while a part has room, even where its period had one", () => {
    const two = [at("2026-11-20T10:00"), at("2026-11-20T09:00")];
    expect(keptBy({ keep_daily: 2 }, two, utc, never)).toEqual([["keep_daily 2026-11-20"], ["keep_daily 2026-11-20"]]);
    expect(keptBy({ keep_daily: 1 }, two, utc, never)).toEqual([["keep_daily 2026-11-20"], []]);
  });

  test("every reason is named", () => {
    const rule: Rule = { keep_last: 1, keep_within: DAY, keep_hourly: 1, keep_weekly: 1, keep_tag: ["x"] };
    expect(keptBy(rule, [at("2026-11-20T18:30", "x"), at("2026-11-20T18:00")], utc, never)).toEqual([
      ["keep_tag x", "keep_within", "keep_last", "keep_hourly 2026-11-20T18", "keep_weekly week of 2026-11-16"],
      ["keep_within"],
    ]);
  });

  test("one save a day for a hundred years, as restic's manual counts it", () => {
    const start = Date.parse("1926-01-01T12:00Z");
    const days = Array.from({ length: 36_525 }, (_, n) => ({ time: start + (36_524 - n) * DAY, tags: [] }));
    const rule: Rule = { keep_daily: 7, keep_weekly: 5, keep_monthly: 12, keep_yearly: 75 };
    const reasons = keptBy(rule, days, utc, never);
    const keptFor = (name: string) => reasons.filter((each) => each.some((reason) => reason.startsWith(name))).length;
    expect([keptFor("keep_daily"), keptFor("keep_weekly"), keptFor("keep_monthly"), keptFor("keep_yearly")]).toEqual([
      7, 5, 12, 75,
    ]);
    const all = reasons.filter((each) => each.length > 0).length;
    expect(all).toBeGreaterThanOrEqual(7 + 4 + 11 + 74 - 1);
    expect(all).toBeLessThanOrEqual(7 + 4 + 12 + 75);
  });

  test("a clock that went wrong into the future does not make all the rest old", () => {
    const wrong = [at("2099-01-01T00:00"), ...history];
    const now = Date.parse("2026-11-20T19:00Z");
    expect(kept({ keep_within: DAY }, wrong, now)).toEqual(["2099-01-01T00:00", a, b, c, d]);
    expect(kept({ keep_within: DAY }, [at("2099-01-01T00:00")], now)).toHaveLength(1);
  });

  test("the order is that of the history: a period counts once, whatever the clock did", () => {
    const jumped = [
      at("2026-11-20T10:00"),
      at("2026-11-19T10:00"),
      at("2026-11-20T09:00"),
      at("2026-11-18T10:00"),
      at("2026-11-01T10:00"),
    ];
    expect(kept({ keep_daily: 3 }, jumped)).toEqual(["2026-11-20T10:00", "2026-11-19T10:00", "2026-11-18T10:00"]);
  });
});

test("a rule says something or nothing", () => {
  expect(speaks({})).toBe(false);
  expect(speaks({ keep_last: undefined })).toBe(false);
  expect(speaks({ keep_tag: [] })).toBe(true);
});

const few = fc.option(fc.integer({ min: 1, max: 12 }), { nil: undefined });
const rules = fc.record({
  keep_last: few,
  keep_within: fc.option(fc.integer({ min: 1, max: 60 * DAY }), { nil: undefined }),
  keep_hourly: few,
  keep_daily: few,
  keep_weekly: few,
  keep_monthly: few,
  keep_yearly: few,
  keep_tag: fc.option(fc.subarray(["x", "y"]), { nil: undefined }),
});
const histories = fc
  .array(fc.record({ time: fc.integer({ min: 0, max: 900 * DAY }), tags: fc.subarray(["x", "y", "z"]) }), { maxLength: 60 })
  .map((versions) => versions.toSorted((one, other) => other.time - one.time));
const marked = (rule: Rule, versions: readonly Dated[]) =>
  keptBy(rule, versions, utc, never).map((reasons) => reasons.length > 0);
const run = { seed: anySeed(), numRuns: 500 };

describe(`for any rules and histories (seed ${run.seed})`, () => {
  test("what two rules keep together is what each of them keeps", () => {
    fc.assert(
      fc.property(rules, histories, (rule, versions) => {
        const parts = Object.entries(rule).filter(([, value]) => value !== undefined);
        const alone = parts.map(([name, value]) => marked({ [name]: value }, versions));
        expect(marked(rule, versions)).toEqual(versions.map((_, n) => alone.some((part) => part[n])));
      }),
      run,
    );
  });

  test("a rule that says more removes no more", () => {
    fc.assert(
      fc.property(
        rules,
        histories,
        fc.constantFrom("keep_last", ...PERIODS.map((period) => `keep_${period}` as const)),
        (rule, versions, name) => {
          const more = marked({ ...rule, [name]: (rule[name] ?? 0) + 1 }, versions);
          for (const [n, was] of marked(rule, versions).entries()) if (was) expect(more[n]).toBe(true);
        },
      ),
      run,
    );
  });

  test("keep_last keeps just so many, and a period at least so many periods", () => {
    fc.assert(
      fc.property(histories, fc.integer({ min: 1, max: 20 }), fc.constantFrom(...PERIODS), (versions, n, period) => {
        expect(marked({ keep_last: n }, versions).filter(Boolean)).toHaveLength(Math.min(n, versions.length));
        const newest = new Map<string, number>();
        for (const [at, { time }] of versions.entries()) if (!newest.has(utc(period, time))) newest.set(utc(period, time), at);
        const keeps = marked({ [`keep_${period}`]: n }, versions);
        for (const at of [...newest.values()].slice(0, n)) expect(keeps[at]).toBe(true);
        expect(keeps.filter(Boolean).length).toBeLessThanOrEqual(n);
      }),
      run,
    );
  });

  test("what was kept once is kept again when the rest is gone", () => {
    fc.assert(
      fc.property(rules, histories, (rule, versions) => {
        const kept = marked(rule, versions);
        const rest = versions.filter((_, n) => kept[n]);
        expect(marked(rule, rest)).toEqual(rest.map(() => true));
      }),
      run,
    );
  });
});

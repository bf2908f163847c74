import { expect, describe, test } from "vitest";
import type { Config } from "../../src/config/load.ts";
import type { Key } from "../../src/core/key.ts";
import type { Details, Op } from "../../src/core/version.ts";
import { localCalendar, planPrune, type PruneWish } from "../../src/keeping/plan.ts";
import type { Copies, CopyPlaces, KeptVersion } from "../../src/state/copies.ts";

interface Line extends Partial<Omit<KeptVersion, "copy">> {
  readonly copy?: Partial<CopyPlaces> & { readonly key: Key };
}

const key = (text: string) => text as Key;
const FILE = key("Meta/A.txt");

/** Lines of one file, newest first, in a copy of their own each; the newest is what the file holds. */
function lines(more: readonly Line[]): KeptVersion[] {
  return more.map((line, n) => ({
    place: 1000 - n,
    version: `V${n}`,
    file: FILE,
    op: "replace" as Op,
    timestamp: new Date(Date.UTC(2026, 10, 20, 12) - n * 86_400_000).toISOString(),
    size: 10,
    tags: [],
    details: null,
    pinned: false,
    held: false,
    current: n === 0,
    ...line,
    copy:
      n === 0 && !line.copy
        ? undefined
        : { key: key(`Archive/${n}`), size: 10, here: true, targets: ["drive"], waiting: [], ...line.copy },
  }));
}

interface Setting extends PruneWish {
  readonly retention: Config["retention"] | Config["retention"][string]["here"];
  readonly targets?: readonly string[];
  readonly away?: readonly string[];
}

async function planOf(kept: readonly KeptVersion[], { retention, targets = ["drive"], away = [], ...wish }: Setting) {
  const rules = Object.values(retention).some((value) => typeof value === "object" && "here" in value)
    ? (retention as Config["retention"])
    : { "*": { here: retention, targets: {} } };
  const copies: Copies = {
    async *kept() {
      yield* kept;
    },
    alarmed: async () => new Set(kept.flatMap(({ details }) => (details?.alarms && details.about) || [])),
    owed: () => {
      throw new Error("a plan asks for no removal");
    },
    prunedAt: async () => false,
  };
  const plan = await planPrune(
    {
      copies,
      retention: rules,
      targets: targets.map((name) => ({ name, sameDevice: !away.includes(name) })),
      now: () => Date.UTC(2027, 0, 1),
    },
    wish,
  );
  return {
    ...plan,
    kept: Object.fromEntries(plan.versions.map(({ at, version, kept_by }) => [`${version} ${at}`, kept_by.join(", ")])),
    goes: plan.removes.map(({ copy, from }) => `${copy} ${from}`),
  };
}

const here = async (more: readonly Line[], targets = ["drive"]) => planOf(lines(more), { retention: { keep_last: 1 }, targets });
const alarms: Details["alarms"] = [{ rule: "shrink", says: "much less" }];

describe("what no rule removes", () => {
  test.each<[string, Line[], string]>([
    ["what nobody wants", [{}, {}], ""],
    ["a pinned version", [{}, { pinned: true }], "pinned"],
    ["a version that waits for a decision", [{}, { held: true }], "held"],
    ["the version before an alarm, pinned or not", [{ details: { alarms, about: ["V1"] } }, {}], "guard"],
    [
      "what is older than the version before a save that was held",
      [{ op: "hold", size: null, current: false, details: { alarms } }, { current: true }, {}],
      "",
    ],
    ["what is on no target", [{}, { copy: { key: key("Archive/1"), targets: [] } }], "not verified on a target"],
    ["what a target has yet to get", [{}, { copy: { key: key("Archive/1"), waiting: ["usb"] } }], "not on usb yet"],
  ])("%s", async (_, more, expected) => {
    const plan = await here(more);
    expect(plan.kept[`V${more.length - 1} here`]).toBe(expected);
    expect(plan.goes).toEqual(expected === "" ? [`Archive/${more.length - 1} here`] : []);
  });

  test("the version before an alarm of a save that emptied the file", async () => {
    const plan = await here([{}, { op: "archive", size: null, details: { alarms } }, {}, {}]);
    expect(plan.kept).toEqual({ "V0 here": "current, keep_last", "V2 here": "guard", "V3 here": "" });
  });

  test("the version before a hold is the one that the file held, whoever writes the file later", async () => {
    const plan = await here([{}, { op: "hold", details: { alarms } }, {}, {}]);
    expect(plan.kept).toEqual({ "V0 here": "current, keep_last", "V2 here": "guard", "V3 here": "" });
  });

  test("what the key holds, however many versions of it: they are one growing copy", async () => {
    const plan = await here([{}, { current: true }, { current: true }]);
    expect(plan.kept).toEqual({ "V0 here": "current, keep_last", "V1 here": "current", "V2 here": "current" });
    expect(plan.removes).toEqual([]);
  });
});

test("a copy stays for one of its versions, and the others say for which", async () => {
  const one = { key: key("Archive/one") };
  const plan = await here([{}, { copy: one }, { copy: one, pinned: true }, { copy: one }]);
  expect(plan.kept).toMatchObject({
    "V1 here": "shares a copy with V2",
    "V2 here": "pinned",
    "V3 here": "shares a copy with V2",
  });
  expect(plan.removes).toEqual([]);
});

test("what goes is told with its size, its versions, and where it stays", async () => {
  const one = { key: key("Archive/one"), size: 77 };
  const plan = await here([{}, { copy: one }, { copy: one }]);
  expect(plan.removes).toEqual([{ copy: one.key, key: FILE, from: "here", size: 77, versions: 2, stays: ["drive"] }]);
  expect(plan.bytes).toBe(77);
});

describe("copies on targets, each by their own rule", () => {
  const both = { Meta: { here: { keep_last: 1 }, targets: { "*": { keep_last: 1 } } } };
  const usb = { key: key("Archive/1"), targets: ["drive", "usb"] };

  test("without a rule for them they stay", async () => {
    expect((await planOf(lines([{}, {}]), { retention: { keep_last: 1 } })).goes).toEqual(["Archive/1 here"]);
    const only = { Meta: { here: {}, targets: { drive: { keep_last: 1 } } } };
    expect((await planOf(lines([{}, {}]), { retention: only })).goes).toEqual(["Archive/1 drive"]);
  });

  test("a target's own rule goes before that for all", async () => {
    const own = { Meta: { here: {}, targets: { usb: { keep_last: 9 }, "*": { keep_last: 1 } } } };
    expect((await planOf(lines([{}, { copy: usb }]), { retention: own, targets: ["drive", "usb"] })).goes).toEqual([
      "Archive/1 drive",
    ]);
  });

  test("where all let go, one copy stays, on a target", async () => {
    const plan = await planOf(lines([{}, {}]), { retention: both });
    expect(plan.kept).toMatchObject({ "V1 here": "", "V1 drive": "last copy" });
    expect(plan.goes).toEqual(["Archive/1 here"]);
  });

  test.each([
    [["usb"], "drive"],
    [["drive"], "usb"],
    [[], "usb"],
  ])("of targets, one on another device: %j", async (away, gone) => {
    const plan = await planOf(lines([{}, { copy: usb }]), { retention: both, targets: ["drive", "usb"], away });
    expect(plan.goes.toSorted()).toEqual([`Archive/1 ${gone}`, "Archive/1 here"].toSorted());
    expect(plan.removes.every(({ stays }) => stays.length === 1)).toBe(true);
  });

  test("what is gone here stays where it is", async () => {
    const gone = { key: key("Archive/1"), here: false };
    const plan = await planOf(lines([{}, { copy: gone }]), { retention: both });
    expect(plan.kept).toEqual({ "V0 here": "current, keep_last", "V0 drive": "current, keep_last", "V1 drive": "last copy" });
    expect(plan.goes).toEqual([]);
  });

  test("what cannot go here leaves the targets free to let go", async () => {
    const plan = await planOf(lines([{}, { copy: { ...usb, waiting: ["drive"] } }]), {
      retention: both,
      targets: ["drive", "usb"],
    });
    expect(plan.kept).toMatchObject({ "V1 here": "not on drive yet", "V1 drive": "being sent", "V1 usb": "" });
  });

  test("a pinned version stays everywhere", async () => {
    expect((await planOf(lines([{}, { copy: usb, pinned: true }]), { retention: both, targets: ["drive", "usb"] })).goes).toEqual(
      [],
    );
  });

  test("a place can be asked about alone; then the others keep what they have", async () => {
    const all = { retention: both, targets: ["drive", "usb"] };
    expect((await planOf(lines([{}, { copy: usb }]), { ...all, from: "here" })).goes).toEqual(["Archive/1 here"]);
    expect((await planOf(lines([{}, { copy: usb }]), { ...all, from: "usb" })).goes).toEqual(["Archive/1 usb"]);
  });

  test("a version that is in a place no more takes no room in its rule there", async () => {
    const gone = { key: key("Archive/1"), here: false };
    const plan = await planOf(lines([{}, { copy: gone }, {}, {}]), { retention: { keep_last: 2 } });
    expect(plan.kept).toEqual({ "V0 here": "current, keep_last", "V2 here": "keep_last", "V3 here": "" });
  });
});

describe("zones", () => {
  const file = (name: string) => lines([{ file: key(name) }, { file: key(name), copy: { key: key(`Archive/${name}`) } }]);
  const all = [...file("Z/a"), ...file("Meta/b"), ...file("Core/c"), ...file("d")];
  const rule = { here: { keep_last: 1 }, targets: {} };
  const none = { here: {}, targets: {} };

  test.each<[string, Config["retention"], string[]]>([
    ["no rule", {}, []],
    ["a rule that says nothing", { "*": none }, []],
    ["one zone", { Meta: rule }, ["Meta/b"]],
    ["all but one", { "*": rule, Core: none }, ["Z/a", "Meta/b", "d"]],
    ["files at the top are the zone Root", { Root: rule }, ["d"]],
  ])("%s", async (_, retention, expected) => {
    const plan = await planOf(all, { retention: Object.keys(retention).length === 0 ? { x: none } : retention });
    expect(plan.removes.map(({ key }) => key)).toEqual(expected);
    expect(plan.ruled).toBe(expected.length > 0);
  });
});

describe("this machine's calendar", () => {
  test.each([
    ["2026-01-01T12:00", "2026-W01"],
    ["2027-01-01T12:00", "2026-W53"],
    ["2024-12-30T12:00", "2025-W01"],
    ["2023-01-01T12:00", "2022-W52"],
    ["2026-11-20T23:59", "2026-W47"],
    ["2026-11-23T00:00", "2026-W48"],
  ])("%s lies in %s", (time, week) => expect(localCalendar("weekly", new Date(time).getTime())).toBe(week));

  test("days are local ones", () => {
    const time = new Date(2026, 10, 5, 7, 30).getTime();
    expect((["hourly", "daily", "monthly", "yearly"] as const).map((period) => localCalendar(period, time))).toEqual([
      "2026-11-05T07",
      "2026-11-05",
      "2026-11",
      "2026",
    ]);
  });
});

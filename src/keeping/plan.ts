/**
 * What `prune` would remove, and why it keeps the rest: from the index alone, in one pass, without a look at any content.
 * @module
 */
import type { Config } from "../config/load.ts";
import { zoneOf, type Key } from "../core/key.ts";
import { keptBy, speaks, type Period, type Rule } from "../core/retention.ts";
import { movesHead } from "../core/version.ts";
import type { Copies, CopyPlaces, KeptVersion } from "../state/copies.ts";
import { PRUNED_HERE } from "../state/decisions.ts";

/** A place that holds archive copies: `here`, or the name of a target. */
export type At = string;
export const HERE: At = PRUNED_HERE;

/** An enabled target. */
export interface KeepingTarget {
  readonly name: string;
  /** Its mirror lies on the memory root's own device; null: it cannot be told. */
  readonly sameDevice: boolean | null;
}

export interface PlanParts {
  readonly copies: Copies;
  readonly retention: Config["retention"];
  readonly targets: readonly KeepingTarget[];
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

export interface PruneWish {
  /** Only this file, or the files in this folder. */
  readonly under?: Key | undefined;
  /** Only the copies in this place. */
  readonly from?: At | undefined;
}

/** A version in a place that a rule speaks of. */
export interface PlannedVersion {
  readonly key: Key;
  readonly version: string;
  readonly timestamp: string;
  readonly size: number;
  readonly at: At;
  /** The archive copy that begins with its bytes; null for what the key holds now. */
  readonly copy: Key | null;
  /** Every rule that keeps it there; empty: it goes. */
  readonly kept_by: readonly string[];
}

/** An archive copy that would be removed from a place. */
export interface Removal {
  readonly copy: Key;
  readonly key: Key;
  readonly from: At;
  readonly size: number;
  readonly versions: number;
  /** Where the same copy stays. */
  readonly stays: readonly At[];
}

export interface PrunePlan {
  /** Whether any rule speaks of what was asked about. Without one nothing goes. */
  readonly ruled: boolean;
  /** Versions of a key together, the newest first. */
  readonly versions: readonly PlannedVersion[];
  readonly removes: readonly Removal[];
  /** Bytes of them. */
  readonly bytes: number;
}

const two = (n: number) => String(n).padStart(2, "0");
const DAY = 86_400_000;

/** The year and number of a day's ISO week: that of its Thursday. */
function weekOf(year: number, month: number, day: number): string {
  const date = new Date(Date.UTC(year, month, day));
  const thursday = new Date(date.getTime() + (3 - ((date.getUTCDay() + 6) % 7)) * DAY);
  const first = Date.UTC(thursday.getUTCFullYear(), 0, 1);
  return `${thursday.getUTCFullYear()}-W${two(1 + Math.floor((thursday.getTime() - first) / DAY / 7))}`;
}

/** Divisions of this machine's local time. */
export function localCalendar(period: Period, time: number): string {
  const date = new Date(time);
  const [year, month, day] = [date.getFullYear(), date.getMonth(), date.getDate()];
  if (period === "yearly") return String(year);
  if (period === "monthly") return `${year}-${two(month + 1)}`;
  if (period === "weekly") return weekOf(year, month, day);
  const text = `${year}-${two(month + 1)}-${two(day)}`;
  return period === "daily" ? text : `${text}T${two(date.getHours())}`;
}

type Holds = KeptVersion & { readonly size: number };

/** One file's versions with the reasons that hold in every place. */
interface Judged {
  readonly version: Holds;
  readonly always: readonly string[];
}

/** Why each version of a file stays wherever it is, whatever the rules say. `lines` has the newest first. */
function judge(lines: readonly KeptVersion[], alarmed: ReadonlySet<string>): Judged[] {
  let alarm = false;
  const judged: Judged[] = [];
  for (const line of lines) {
    if (movesHead(line) && line.size !== null) {
      const { current, pinned, held, version } = line;
      const guard = alarm || alarmed.has(version);
      const reasons = current || pinned || guard || held ? Object.entries({ current, pinned, guard, held }) : [];
      const always = reasons.length === 0 ? NONE : reasons.flatMap(([word, so]) => (so ? [word] : []));
      judged.push({ version: line as Holds, always });
      alarm = false;
    }
    alarm ||= line.details?.alarms !== undefined;
  }
  return judged;
}

/** An archive copy under judgement. */
interface Case {
  readonly copy: CopyPlaces;
  readonly key: Key;
  versions: number;
  /** Places whose rule lets it go. */
  going: readonly At[];
  /** The version that keeps it, by place; made when there is one, since there are many cases. */
  keeper?: Map<At, string>;
  /** Why it stays in a place whose rule lets it go. */
  stays?: Map<At, string>;
}

const NONE: readonly string[] = [];

/** Of the places that all would let a copy go, the one that must keep it: the safest. */
const safest = (places: readonly At[], targets: readonly KeepingTarget[]): At =>
  (targets.find(({ name, sameDevice }) => places.includes(name) && sameDevice === false)?.name ?? places[0]) as At;

/** Takes back what may not go: one verified copy stays on a target while there is none here, and one copy stays at all. */
function settle(each: Case, targets: readonly KeepingTarget[]): void {
  const { copy } = each;
  const goes = (at: At) => each.going.includes(at);
  const stay = (at: At, why: string) => {
    each.going = each.going.filter((other) => other !== at);
    (each.stays ??= new Map()).set(at, why);
  };
  for (const name of copy.waiting) {
    if (goes(name)) stay(name, "being sent");
    if (goes(HERE)) stay(HERE, `not on ${name} yet`);
  }
  if (goes(HERE) && copy.targets.length === 0) stay(HERE, "not verified on a target");
  const hereStays = copy.here && !goes(HERE);
  if (!hereStays && copy.targets.length > 0 && copy.targets.every(goes)) stay(safest(copy.targets, targets), "last copy");
}

/** The plan for one file; `rules` are those that speak, by place. */
function planFile(lines: readonly KeptVersion[], rules: ReadonlyMap<At, Rule>, alarmed: ReadonlySet<string>, parts: PlanParts) {
  const judged = judge(lines, alarmed);
  const cases = new Map<Key, Case>();
  for (const { version } of judged) {
    const { copy, current, file } = version;
    if (!copy || current) continue;
    const known = cases.get(copy.key) ?? { copy, key: file, versions: 0, going: NONE };
    known.versions++;
    cases.set(copy.key, known);
  }
  const said: { readonly at: At; readonly of: readonly Judged[]; readonly kept: readonly (readonly string[])[] }[] = [];
  for (const [at, rule] of rules) {
    const there = ({ here, targets }: CopyPlaces) => (at === HERE ? here : targets.includes(at));
    const of = judged.filter(({ version: { current, copy } }) => current || (copy !== undefined && there(copy)));
    const dated = of.map(({ version }) => ({ time: Date.parse(version.timestamp), tags: version.tags }));
    const kept = keptBy(rule, dated, localCalendar, parts.now()).map((reasons, n) => {
      const always = of[n]?.always ?? NONE;
      return reasons.length + always.length === 0 ? NONE : [...always, ...reasons];
    });
    said.push({ at, of, kept });
    for (const [n, { version }] of of.entries()) {
      const found = kept[n]?.length === 0 ? undefined : version.copy && cases.get(version.copy.key);
      if (found && found.keeper?.has(at) !== true) (found.keeper ??= new Map()).set(at, version.version);
    }
    for (const each of cases.values()) if (there(each.copy) && each.keeper?.has(at) !== true) each.going = [...each.going, at];
  }
  for (const each of cases.values()) settle(each, parts.targets);
  const versions = said.flatMap(({ at, of, kept }) =>
    of.map(({ version: { file: key, version, timestamp, size, copy, current } }, n): PlannedVersion => {
      const found = copy && cases.get(copy.key);
      const shared = found?.keeper?.get(at);
      const why = found?.stays?.get(at) ?? (shared === undefined ? undefined : `shares a copy with ${shared}`);
      const own = kept[n] ?? NONE;
      const kept_by = own.length > 0 || why === undefined ? own : [why];
      return { key, version, timestamp, size, at, copy: current ? null : (copy?.key ?? null), kept_by };
    }),
  );
  const removes = [...cases.values()].flatMap(({ copy, key, versions: n, going }) => {
    const stays =
      going.length === 0 ? NONE : [...(copy.here ? [HERE] : NONE), ...copy.targets].filter((at) => !going.includes(at));
    return going.map((from): Removal => ({ copy: copy.key, key, from, size: copy.size, versions: n, stays }));
  });
  return { versions, removes };
}

/** What the rules would have `prune` do now; changes nothing. */
export async function planPrune(parts: PlanParts, { under, from }: PruneWish = {}): Promise<PrunePlan> {
  const { copies, retention, targets } = parts;
  const rulesOf = (file: Key): Map<At, Rule> => {
    const zone = retention[zoneOf(file)] ?? retention["*"];
    const each: [At, Rule | undefined][] = [
      [HERE, zone?.here],
      ...targets.map(({ name }): [At, Rule | undefined] => [name, zone?.targets[name] ?? zone?.targets["*"]]),
    ];
    const speaking = each.filter((entry): entry is [At, Rule] => entry[1] !== undefined && speaks(entry[1]));
    return new Map(speaking.filter(([at]) => from === undefined || at === from));
  };
  const rules = Object.values(retention).flatMap(({ here, targets: away }) => [here, ...Object.values(away)]);
  if (!rules.some(speaks)) return { ruled: false, versions: [], removes: [], bytes: 0 };

  const alarmed = await copies.alarmed();
  const plan = { ruled: false, versions: [] as PlannedVersion[], removes: [] as Removal[], bytes: 0 };
  let lines: KeptVersion[] = [];
  const conclude = () => {
    const file = lines[0]?.file;
    const speaking = file === undefined ? new Map<At, Rule>() : rulesOf(file);
    plan.ruled ||= speaking.size > 0;
    if (speaking.size > 0) {
      const { versions, removes } = planFile(lines, speaking, alarmed, parts);
      for (const version of versions) plan.versions.push(version);
      for (const removal of removes) plan.removes.push(removal);
    }
    lines = [];
  };
  const tags = rules.some(({ keep_tag }) => keep_tag !== undefined);
  for await (const line of copies.kept({ under, targets: targets.map(({ name }) => name), tags })) {
    if (lines[0] !== undefined && lines[0].file !== line.file) conclude();
    lines.push(line);
  }
  conclude();
  return { ...plan, bytes: plan.removes.reduce((sum, { size }) => sum + size, 0) };
}

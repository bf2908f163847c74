/**
 * What looks like damage: pure rules over what was measured. They name amounts, never content.
 * @module
 */
import type { Alarm, AlarmRule } from "./version.ts";

export const POLICIES = ["off", "warn", "hold"] as const;
export type Policy = (typeof POLICIES)[number];

/** Many files taken away in a short time. */
export interface SpreeRules {
  /** Files archived or replaced. */
  readonly files: number;
  /** Share of the zone's bytes, 0 to 1. */
  readonly bytes: number;
  readonly windowMs: number;
}

/** What the guard asks of one zone. Shares are 0 to 1; 0 switches a rule off. */
export interface GuardRules {
  readonly policy: Policy;
  readonly keepBytes: number;
  readonly keepLines: number;
  readonly keepHeadings: number;
  readonly keepItems: number;
  /** Null: not looked at. */
  readonly spree: SpreeRules | null;
}

export const DEFAULT_SPREE: SpreeRules = { files: 10, bytes: 0.5, windowMs: 600_000 };

export const DEFAULT_GUARD: GuardRules = {
  policy: "warn",
  keepBytes: 0.5,
  keepLines: 0.5,
  keepHeadings: 0.5,
  keepItems: 0.5,
  spree: DEFAULT_SPREE,
};

/** With less than this there is nothing to speak of a share of: a note of three lines may well be written anew. */
const LEAST = { bytes: 512, lines: 10, headings: 3, items: 5 } as const;
/** A zone's bytes are taken away by a spree only if it is at least this. */
const LEAST_SPREE = { files: 3, bytes: 4096 } as const;

export interface Amounts {
  /** Of JSON: without its layout. */
  readonly bytes: number;
  /** That are not blank; of JSON, values that hold no others. */
  readonly lines: number;
  /** Of Markdown. */
  readonly headings: number;
  readonly items: number;
}

/** A replacement, measured. */
export interface Measured {
  readonly before: Amounts;
  /** How much of that is still there, wherever it stands by now. */
  readonly kept: Amounts;
  /** There was something, and now there is nothing but white space. */
  readonly empties: boolean;
  /** It was valid JSON, and is not any more. */
  readonly breaks: boolean;
  /** It was valid JSON and is: what it says was measured, not how it is laid out. */
  readonly json?: boolean;
}

const says = (rule: AlarmRule, text: string): Alarm => ({ rule, says: text });
const percent = (share: number) => `${Math.floor(share * 100)} %`;

/** Alarms of one replacement. */
export function judgeReplacement({ before, kept, empties, breaks, json }: Measured, rules: GuardRules): Alarm[] {
  const words = { bytes: "bytes", lines: json === true ? "values" : "lines", headings: "headings", items: "list items" };
  if (empties) return [says("empty", `nothing is left of ${before.bytes} bytes`)];
  const lost = (rule: AlarmRule, what: keyof Amounts, share: number): Alarm[] => {
    const [had, has] = [before[what], kept[what]];
    if (had < LEAST[what] || has >= had * share) return [];
    return [says(rule, `${has} of ${had} ${words[what]} are kept (${percent(has / had)})`)];
  };
  return [
    ...lost("shrink", "bytes", rules.keepBytes),
    ...lost("lines", "lines", rules.keepLines),
    ...lost("headings", "headings", rules.keepHeadings),
    ...lost("items", "items", rules.keepItems),
    ...(breaks ? [says("invalid", "it was valid JSON, and is not any more")] : []),
  ];
}

/**
 * Alarms of a content of which `size` bytes are kept of the `before` that the file held a while ago, after replaces of which none took
 * enough away by itself, by so many sessions.
 */
export function judgeErosion(before: number, size: number, sessions: number, { keepBytes }: GuardRules): Alarm[] {
  if (before < LEAST.bytes || size >= before * keepBytes) return [];
  const who = sessions === 1 ? "one session" : `${sessions} sessions in turn`;
  return [says("shrink", `step by step, ${size} of ${before} bytes are kept by ${who} (${percent(size / before)})`)];
}

/** What one session took away from one zone within the window, the save in question included. */
export interface Spree {
  readonly zone: string;
  readonly files: number;
  readonly bytes: number;
}

/** Whether what the zone held matters: it is asked for only then. */
export const needsTotal = ({ files, bytes }: Spree): boolean => files >= LEAST_SPREE.files && bytes >= LEAST_SPREE.bytes;

/** Alarms of a spree. `total`: bytes that the zone held when it began. */
export function judgeSpree(spree: Spree, total: number, rules: SpreeRules): Alarm[] {
  const within = `in ${Math.round(rules.windowMs / 1000)} s`;
  if (spree.files >= rules.files)
    return [says("spree", `${spree.files} files of ${spree.zone} were archived or replaced by one session ${within}`)];
  if (rules.bytes === 0 || !needsTotal(spree) || spree.bytes < total * rules.bytes) return [];
  const share = percent(spree.bytes / total);
  return [says("spree", `${share} of the bytes of ${spree.zone} were taken away by one session ${within}`)];
}

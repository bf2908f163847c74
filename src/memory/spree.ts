/**
 * Who takes how much away in how short a time. Read from the history once, and from then on only what is new in it.
 * @module
 */
import type { Clock } from "../core/clock.ts";
import { judgeErosion, judgeSpree, needsTotal, type GuardRules, type SpreeRules } from "../core/guard.ts";
import { zoneOf, type Key } from "../core/key.ts";
import type { Actor, Alarm } from "../core/version.ts";
import type { Guarding, Taken } from "../state/guarding.ts";

export interface SpreeParts {
  readonly guarding: Guarding;
  readonly clock: Clock;
  /** The longest window of any zone. */
  readonly windowMs: number;
}

export interface Sprees {
  /** Alarms of a save that takes `bytes` away from `key`, as one of those that its actor did lately. */
  judge(key: Key, actor: Actor, bytes: number, rules: SpreeRules): Promise<Alarm[]>;
  /**
   * Where a replace would leave no more than `size` bytes in `key`: the save that took away from the most that it held lately, whoever
   * did it, if by size that looks worn away. What an alarm was said of, or a person decided, is a new beginning.
   */
  worn(key: Key, actor: Actor, size: number, rules: GuardRules & { readonly spree: SpreeRules }): Promise<Worn | undefined>;
}

export interface Worn {
  readonly from: Taken;
  /** How many took away since, the replace in question included. */
  readonly sessions: number;
}

/** With more groups than this, those that took nothing lately are let go. */
const MANY = 256;

/** One session; without one, whoever has the same name, model, tool and origin. */
const whoOf = ({ session_id, chat_name, model, tool, origin }: Actor): string =>
  JSON.stringify(session_id === null ? [chat_name, model, tool, origin] : session_id);

/** What one of them took away from one zone lately, kept as sums: a save costs the same after ten thousand others. */
interface Group {
  readonly taken: Taken[];
  /** So many of the first ones are forgotten. */
  gone: number;
  bytes: number;
  readonly files: Map<Key, Taken[]>;
}

const emptyGroup = (): Group => ({ taken: [], gone: 0, bytes: 0, files: new Map<Key, Taken[]>() });

function add(group: Group, one: Taken): void {
  group.taken.push(one);
  group.bytes += one.bytes;
  const ofFile = group.files.get(one.file);
  if (ofFile) ofFile.push(one);
  else group.files.set(one.file, [one]);
}

function forget(group: Group, since: number): void {
  for (let one = group.taken[group.gone]; one && one.at < since; one = group.taken[++group.gone]) {
    group.bytes -= one.bytes;
    const ofFile = group.files.get(one.file);
    ofFile?.shift();
    if (ofFile?.length === 0) group.files.delete(one.file);
  }
  if (group.gone * 2 <= group.taken.length) return;
  group.taken.splice(0, group.gone);
  group.gone = 0;
}

export function createSprees({ guarding, clock, windowMs }: SpreeParts): Sprees {
  const groups = new Map<string, Group>();
  const everyone = emptyGroup();
  let seen: number | undefined;

  const groupOf = (key: Key, actor: Actor): Group => {
    const name = `${zoneOf(key)}\n${whoOf(actor)}`;
    const group = groups.get(name) ?? emptyGroup();
    groups.set(name, group);
    return group;
  };

  const look = async () => {
    const { taken, place } = await guarding.taken(seen, clock.now() - windowMs);
    for (const one of taken) {
      if (one.place <= (seen ?? 0)) continue; // another look may have been faster
      add(groupOf(one.file, one.actor), one);
      if (one.bytes > 0) add(everyone, one);
    }
    forget(everyone, clock.now() - windowMs);
    seen = Math.max(seen ?? 0, place);
    if (groups.size <= MANY) return;
    for (const [name, group] of groups) {
      forget(group, clock.now() - windowMs);
      if (group.files.size === 0) groups.delete(name);
    }
  };

  return {
    async judge(key, actor, bytes, rules) {
      await look();
      const group = groupOf(key, actor);
      forget(group, clock.now() - rules.windowMs);
      const spree = { zone: zoneOf(key), files: group.files.size + (group.files.has(key) ? 0 : 1), bytes: group.bytes + bytes };
      const total = needsTotal(spree) ? group.bytes + (await guarding.bytesOf(spree.zone)) : 0;
      return judgeSpree(spree, total, rules);
    },
    async worn(key, actor, size, rules) {
      await look();
      const since = clock.now() - rules.spree.windowMs;
      const steps = everyone.files.get(key) ?? [];
      const fullest = (behind: number): Taken | undefined => {
        let most: Taken | undefined;
        for (const step of steps) if (step.place > behind && step.at >= since && step.before > (most?.before ?? 0)) most = step;
        return most && judgeErosion(most.before, size, 1, rules).length > 0 ? most : undefined;
      };
      if (!fullest(0)) return undefined;
      const from = fullest((await guarding.judgedAt(key, 0)) ?? 0);
      if (!from) return undefined;
      const who = steps.filter(({ place }) => place >= from.place).map((step) => whoOf(step.actor));
      return { from, sessions: new Set([...who, whoOf(actor)]).size };
    },
  };
}

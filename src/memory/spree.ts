/**
 * Who takes how much away in how short a time. Read from the history once, and from then on only what is new in it.
 * @module
 */
import type { Clock } from "../core/clock.ts";
import { judgeSpree, needsTotal, type SpreeRules } from "../core/guard.ts";
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
}

/** One session; without one, whoever has the same name, model, tool and origin. */
const whoOf = ({ session_id, chat_name, model, tool, origin }: Actor): string =>
  JSON.stringify(session_id === null ? [chat_name, model, tool, origin] : session_id);

export function createSprees({ guarding, clock, windowMs }: SpreeParts): Sprees {
  let known: Taken[] = [];
  let seen: number | undefined;

  const look = async () => {
    const since = clock.now() - windowMs;
    const { taken, place } = await guarding.taken(seen, since);
    const news = taken.filter((one) => one.place > (seen ?? 0)); // another look may have been faster
    if (news.length > 0) known = [...known, ...news].filter(({ at }) => at >= since);
    seen = Math.max(seen ?? 0, place);
  };

  return {
    async judge(key, actor, bytes, rules) {
      await look();
      const [zone, who, since] = [zoneOf(key), whoOf(actor), clock.now() - rules.windowMs];
      const theirs = known.filter((one) => one.at >= since && zoneOf(one.file) === zone && whoOf(one.actor) === who);
      const files = new Set(theirs.map(({ file }) => file)).add(key);
      const before = theirs.reduce((sum, one) => sum + one.bytes, 0);
      const spree = { zone, files: files.size, bytes: before + bytes };
      const total = needsTotal(spree) ? before + (await guarding.bytesOf(zone)) : 0;
      return judgeSpree(spree, total, rules);
    },
  };
}

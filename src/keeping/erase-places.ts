/**
 * What targets hold and shall not: removed for good, one key at a time, as far as a target can be reached.
 * @module
 */
import type { Clock } from "../core/clock.ts";
import { asAftersaveError, type ErrorCode } from "../core/errors.ts";
import { foldKey, type Key } from "../core/key.ts";
import type { Call } from "../core/target.ts";
import { closes, kindOf, PARK_MS, readBytes, type MirrorTarget } from "../mirror/place.ts";
import type { Owner } from "../mirror/owner.ts";
import type { History } from "../mirror/segments.ts";
import { dropLines } from "../logs/redact.ts";
import type { OwedPlace } from "../state/erasure.ts";
import type { State } from "../state/state.ts";
import type { ErasedCopy } from "./receipt.ts";
import type { Finder, Tombstones } from "./tombstone.ts";

export interface PlacesParts {
  readonly state: State;
  readonly clock: Clock;
  readonly tombstones: Tombstones;
  readonly owner: Pick<Owner, "own" | "see">;
  readonly history: Pick<History, "amend">;
  /** Enabled targets. */
  readonly targets: readonly string[];
  readonly diagnosticLog: string;
  readonly open: (name: string) => Promise<MirrorTarget>;
}

/** Does what a target owes; what fails is recorded and tried again. Throws only when `signal` aborts. */
export type Settle = (target: string, signal?: AbortSignal) => Promise<readonly ErasedCopy[]>;

/** What is larger is not read to see whether it holds a text; it is removed. */
const MOST = 256 << 20;

export function createSettle({ state, clock, tombstones, owner, history, targets, open, diagnosticLog }: PlacesParts): Settle {
  const { erasure, ledger } = state;

  const finderOf = async (id: string): Promise<Finder> => {
    const tombstone = tombstones.all().find((known) => known.id === id);
    return (await tombstones.fingerprints()).finder(tombstone?.prints ?? []);
  };

  const holds = async (to: MirrorTarget, key: Key, finder: Finder, call: Call): Promise<boolean> => {
    try {
      const bytes = await readBytes(to.target, key, MOST, call);
      return bytes === undefined || finder.find(bytes, null).length > 0;
    } catch (error) {
      if (kindOf(error) === "not-found") return false;
      throw error;
    }
  };

  /** What lies there is a stranger's, and has nothing of what was erased. */
  const isOthers = async (to: MirrorTarget, key: Key, finder: Finder, call: Call): Promise<boolean> => {
    const known = await ledger.mirrored(to.name, key);
    if (!known) return false;
    const there = await to.target.stat(key, call);
    return there !== undefined && there.rev !== known.rev && !(await holds(to, key, finder, call));
  };

  const remove = async (to: MirrorTarget, place: OwedPlace, call: Call): Promise<readonly string[] | undefined> => {
    const { key, how, erasure: id } = place;
    const release = await state.claims.take("upload", `${to.name}\n${foldKey(key)}`, { waitMs: 600_000, signal: call.signal });
    try {
      const finder = await finderOf(id);
      const stays = how === "look" ? !(await holds(to, key, finder, call)) : await isOthers(to, key, finder, call);
      const notes = stays ? undefined : await forGood(to, key, call);
      if (!stays && how === "look") await alsoBefore(place);
      await erasure.settled(to.name, key, !stays);
      return notes;
    } finally {
      release();
    }
  };

  const settleOne = async (to: MirrorTarget, place: OwedPlace, call: Call): Promise<ErasedCopy | undefined> => {
    const { target: where, key, how } = place;
    if (how === "history") {
      const done = await history.amend(to, call);
      if (done) await erasure.settled(where, key, false);
      return { where, what: "history", name: to.target.pathOf(key), outcome: done ? "rewritten" : "pending" };
    }
    const removed = await remove(to, place, call);
    const what = whatOf(place);
    const notes = removed?.join("; ");
    return removed && { where, what, name: to.target.pathOf(key), outcome: "removed", ...(notes && { notes }) };
  };

  /** Keys that were removed with their name: what we did about them just now was logged under it. */
  const forgotten = async (owed: readonly OwedPlace[]): Promise<Set<string>> => {
    const names = new Set<string>();
    for (const { key, how } of owed)
      if (how === "remove" && !(await state.saves.headAt(key, Number.MAX_SAFE_INTEGER)) && !(await state.saves.archiveCopy(key)))
        names.add(key);
    return names;
  };

  /** What others wrote lay in the key's own place before it was kept aside: a place that keeps revisions has it there too. */
  const alsoBefore = async ({ target, key, erasure: id }: OwedPlace): Promise<void> => {
    for (const aside of await erasure.keptAside())
      if (aside.target === target && aside.kept_as === key)
        await erasure.again({ target, key: aside.key, erasure: id }, clock.now());
  };

  const pass: Settle = async (name, signal) => {
    const owed = (await erasure.places(name)).toSorted((a, b) => (a.how === "history" ? 1 : 0) - (b.how === "history" ? 1 : 0));
    const copies: ErasedCopy[] = [];
    const pending = async (place: OwedPlace, code: ErrorCode) => {
      await erasure.failed(name, place.key, code);
      const what = whatOf(place);
      copies.push({ where: name, what, name: place.key, outcome: "pending", code });
    };
    let seen = false;
    const unread = new Map(owed.filter(({ how }) => how === "read").map((place) => [place.key, place.code]));
    let closed: ErrorCode | undefined = targets.includes(name) ? undefined : "E_TARGET_DISABLED";
    for (const place of owed) {
      signal?.throwIfAborted();
      if (closed !== undefined) {
        await pending(place, closed);
        continue;
      }
      try {
        const to = await open(name);
        const call = () => ({ signal, tries: { used: 1, most: to.attempts } });
        if (!seen) await owner.see(to, call());
        seen = true;
        await owner.own(to, call());
        if (unread.has(place.key)) {
          await pending(place, unread.get(place.key) ?? "E_TARGET_UNREACHABLE");
          continue;
        }
        const copy = await settleOne(to, place, call());
        if (copy) copies.push(copy);
      } catch (error) {
        if (signal?.aborted) throw error;
        const { code } = asAftersaveError(error, `erasing at ${name}`);
        await pending(place, code);
        if (!closes.has(code)) continue;
        closed = code;
        await ledger.setHealth(name, { code, openUntil: clock.now() + PARK_MS });
      }
    }
    await dropLines(diagnosticLog, await forgotten(owed));
    return copies;
  };

  return async (name, signal) => {
    const first = await pass(name, signal);
    const more = (await erasure.places(name)).some(({ code, how }) => code === null && how === "remove");
    return more ? [...first, ...(await pass(name, signal))] : first;
  };
}

const whatOf = ({ how }: OwedPlace): ErasedCopy["what"] =>
  how === "history" ? "history" : how === "look" ? "kept aside" : how === "read" ? "unread content" : "mirror";

async function forGood({ target }: MirrorTarget, key: Key, call: Call): Promise<readonly string[]> {
  if (target.purge) return target.purge(key, call);
  await target.remove(key, call);
  return [];
}

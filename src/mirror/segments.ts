/**
 * History at the targets: the changelog's lines as immutable files, `.aftersave/<writer>/history/<first>-<last>.jsonl`,
 * sent behind the data: at most one a minute, at a flush, or when much waits (docs/decisions/segments.md).
 * @module
 */
import { sourceOf } from "../core/chunks.ts";
import type { Clock } from "../core/clock.ts";
import { asAftersaveError, TargetError } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import type { Call, Entry, Source } from "../core/target.ts";
import { changelogLine } from "../core/version.ts";
import type { State } from "../state/state.ts";
import { segmentKey, type Peers } from "./joined.ts";
import type { Owner } from "./owner.ts";
import { closes, PARK_MS, putOnce, sha256Of, type MirrorTarget } from "./place.ts";

const MINUTE = 60_000;
/** Bytes of lines that do not wait for the minute. */
export const MUCH = 256 << 10;
/** Bytes of one segment: below what targets send in several requests. */
const MOST = 1 << 20;
/** How long closing waits for a segment that nobody asked for. */
const GRACE_MS = 5_000;

export interface SendOptions {
  readonly signal?: AbortSignal | undefined;
  /** Someone asked: neither the minute nor an earlier failure counts. */
  readonly asked?: boolean | undefined;
}

export interface History {
  /** Sends what waits for a target, if it is time. What fails at the target is recorded, not thrown, and tried again later. */
  send(target: string, options?: SendOptions): Promise<void>;
  /** The same, not asked for and waited for by nobody but `idle`. */
  soon(target: string): void;
  /**
   * Segments of ours that no longer say what the changelog says, since lines of it were erased, are removed for good and put anew. False: the
   * place does not list all that it was told yet, so it is to be looked at again.
   */
  amend(to: MirrorTarget, call: Call): Promise<boolean>;
  /** Ends what `soon` began: waits a little, then stops it. */
  idle(): Promise<void>;
  /** When the next segment may be sent (milliseconds since 1970); null when none waits, or its target fails. */
  due(): Promise<number | null>;
}

export interface HistoryParts {
  readonly state: State;
  readonly clock: Clock;
  readonly owner: Owner;
  readonly peers: Peers;
  /** Enabled targets. */
  readonly targets: readonly string[];
  readonly open: (name: string) => Promise<MirrorTarget>;
  /** What `soon` could not even record. */
  readonly onFault: (error: unknown) => void;
}

interface Piece {
  readonly first: number;
  readonly last: number;
  readonly version: string;
  readonly body: Source;
}

const nameOf = ({ first, last }: { first: number; last: number }) =>
  `${String(first).padStart(12, "0")}-${String(last).padStart(12, "0")}.jsonl`;

export function createHistory({ state, clock, owner, peers, targets, open, onFault }: HistoryParts): History {
  const { ledger, saves, segments } = state;

  /** The lines behind `place`, up to `last`, as the changelog has them; `most` bytes and the rest of a line. */
  const piece = async (place: number, last: number, most: number): Promise<Piece | undefined> => {
    const lines: string[] = [];
    let size = 0;
    let [first, end] = [0, 0];
    let version = "";
    for await (const next of saves.versions(place)) {
      if (next.place > last || size >= most) break;
      const line = `${changelogLine(next)}\n`;
      lines.push(line);
      size += Buffer.byteLength(line);
      first ||= next.place;
      ({ place: end, version } = next);
    }
    return lines.length === 0 ? undefined : { first, last: end, version, body: sourceOf(lines.join("")) };
  };

  const lastPlace = async () => (await saves.last())?.place ?? 0;

  /** What waits for a target, and since when it may be sent; undefined when nothing does. */
  const waiting = async (target: string) => {
    if (!(await ledger.target(target)).owned || !(await segments.holds(target))) return undefined;
    const reach = await segments.reach(target, (await segments.writer()).id);
    return (await lastPlace()) > (reach.place ?? 0) ? reach : undefined;
  };

  const isTime = async (target: string): Promise<boolean> => {
    const reach = await waiting(target);
    if (!reach) return false;
    const now = clock.now();
    if ((await ledger.target(target)).open_until > now || reach.run_at > now) return false;
    if (Math.abs(now - reach.sent_at) >= MINUTE) return true;
    return ((await piece(reach.place ?? 0, Number.POSITIVE_INFINITY, MUCH))?.body.size ?? 0) >= MUCH;
  };

  /** Another writer has our id: this memory goes on under a new one, and tells its history from the beginning. */
  const renew = async (to: MirrorTarget, id: string, call: Call): Promise<void> => {
    await segments.renewWriter(id);
    await sendAll(to, call);
  };

  /** How far the folder of this writer, which is there already, holds this very history; undefined when it holds another one. */
  const lookAt = async (to: MirrorTarget, id: string, call: Call): Promise<number | undefined> => {
    const folder = segmentKey(id, "");
    const found = [];
    for await (const entry of to.target.list(folder, call)) {
      const [, first, last] = /^(\d+)-(\d+)\.jsonl$/.exec(entry.key.slice(folder.length)) ?? [];
      if (first !== undefined && last !== undefined) found.push({ entry, first: Number(first), last: Number(last) });
    }
    found.sort((a, b) => a.first - b.first || b.last - a.last);
    let place = 0;
    for (const { entry, first, last } of found) {
      const ours = await piece(first - 1, last, Number.POSITIVE_INFINITY);
      if (ours?.first !== first || ours.last !== last || (await sha256Of(to.target, entry, call)) !== ours.body.sha256)
        return undefined;
      const next = await piece(place, last, 1);
      if (next === undefined) continue; // an overlap
      if (next.first < first) break; // a gap: sent again from here
      place = last;
    }
    return place;
  };

  const sendAll = async (to: MirrorTarget, call: Call): Promise<void> => {
    const { id } = await segments.writer();
    const rootId = await saves.rootId();
    if (rootId === undefined) return;
    if ((await segments.reach(to.name, id)).place === null && !(await peers.introduce(to, rootId, call))) {
      const place = await lookAt(to, id, call);
      if (place === undefined) return renew(to, id, call);
      await segments.found(to.name, id, place);
    }
    const end = await lastPlace();
    let { place, under_way } = await segments.reach(to.name, id);
    for (;;) {
      const next = under_way
        ? await piece(under_way.first - 1, under_way.last, Number.POSITIVE_INFINITY)
        : await piece(place ?? 0, end, MOST);
      if (!next) return;
      if (!under_way) await segments.begin(to.name, id, next);
      const put = await putOnce(to.target, segmentKey(id, nameOf(next)), next.body, { ...call, version: next.version });
      if (put === "other") return renew(to, id, call);
      await segments.sent(to.name, id, next.last, clock.now());
      [place, under_way] = [next.last, null];
    }
  };

  /** A conflict over what a joined writer had not told of yet is none any more once it has. */
  const reconsider = async (to: MirrorTarget, call: Call): Promise<void> => {
    const open = (await ledger.conflicts()).some(({ target }) => target === to.name);
    if (open && (await segments.writers(to.name)).length > 1) await peers.learn(to, call);
  };

  const failed = async (target: string, error: unknown): Promise<void> => {
    const known = asAftersaveError(error, `sending history to ${target}`);
    const wait = Math.max(PARK_MS, (known instanceof TargetError && known.retryAfterMs) || 0);
    if (closes.has(known.code)) await ledger.setHealth(target, { code: known.code, openUntil: clock.now() + PARK_MS });
    else await segments.park(target, (await segments.writer()).id, known.code, clock.now() + wait);
  };

  const send = async (target: string, { signal, asked = false }: SendOptions = {}): Promise<void> => {
    const due = async () => (asked ? (await waiting(target)) !== undefined : isTime(target));
    if (!(await due())) return;
    const release = asked
      ? await state.claims.take("history", target, { waitMs: 600_000, signal })
      : await state.claims.tryTake("history", target);
    if (!release) return;
    try {
      if (!(await due())) return; // another process was at it
      try {
        const to = await open(target);
        const call = () => ({ signal, tries: { used: 1, most: to.attempts } });
        await owner.own(to, call());
        if (await segments.holds(target)) await sendAll(to, call());
        await reconsider(to, call());
        const { code } = await ledger.target(target);
        if (code !== null && closes.has(code)) await ledger.setHealth(target, { code: null, openUntil: 0 });
      } catch (error) {
        if (signal?.aborted) throw error;
        await failed(target, error);
      }
    } finally {
      release();
    }
  };

  const amend = async (to: MirrorTarget, call: Call): Promise<boolean> => {
    const release = await state.claims.take("history", to.name, { waitMs: 600_000, signal: call.signal });
    try {
      await owner.own(to, call);
      const { id } = await segments.writer();
      // what was begun to be amended may be gone from there: its bounds are those of what was told
      const { place } = await segments.reach(to.name, id);
      const there = new Map<Key, Entry>();
      for await (const entry of to.target.list(segmentKey(id, ""), call)) there.set(entry.key, entry);
      for (const [key, entry] of there) {
        const [, first, last] = /(\d+)-(\d+)\.jsonl$/.exec(key) ?? [];
        const ours = await piece(Number(first) - 1, Number(last), Number.POSITIVE_INFINITY);
        if (!ours || (await sha256Of(to.target, entry, call)) === ours.body.sha256) continue;
        await (to.target.purge ? to.target.purge(key, call) : to.target.remove(key, call));
        await putOnce(to.target, key, ours.body, { ...call, version: ours.version });
      }
      return !(await fillHoles(to, id, place ?? 0, [...there.keys()], call));
    } finally {
      release();
    }
  };

  /** A kill between the removal of a segment and its put leaves a hole: it is told again under bounds of its own. */
  const fillHoles = async (
    to: MirrorTarget,
    id: string,
    until: number,
    keys: readonly string[],
    call: Call,
  ): Promise<boolean> => {
    const told = keys
      .map((key) => /(\d+)-(\d+)\.jsonl$/.exec(key))
      .map((found) => ({ first: Number(found?.[1]), last: Number(found?.[2]) }))
      .toSorted((a, b) => a.first - b.first);
    let at = 0;
    let holes = false;
    for (const { first, last } of [...told, { first: until + 1, last: until }]) {
      while (at < first - 1) {
        const hole = await piece(at, first - 1, MOST);
        if (!hole) break;
        await putOnce(to.target, segmentKey(id, nameOf(hole)), hole.body, { ...call, version: hole.version });
        at = hole.last;
        holes = true;
      }
      at = Math.max(at, last);
    }
    return holes;
  };

  const stop = new AbortController();
  const running = new Set<Promise<void>>();

  return {
    send,
    amend,
    soon(target) {
      const run = send(target, { signal: stop.signal })
        .catch((error: unknown) => {
          if (!stop.signal.aborted) onFault(error);
        })
        .finally(() => running.delete(run));
      running.add(run);
    },
    async idle() {
      if (running.size === 0) return;
      const ended = new AbortController();
      const enough = () => stop.abort(new DOMException("the memory is being closed", "AbortError"));
      clock.sleep(GRACE_MS, ended.signal).then(enough, () => undefined); // rejects when all has ended in time
      await Promise.all(running);
      ended.abort();
    },
    async due() {
      const times = [];
      for (const target of targets) {
        const reach = await waiting(target);
        if (reach?.code === null && (await ledger.target(target)).code === null) times.push(reach.sent_at + MINUTE);
      }
      return times.length === 0 ? null : Math.min(...times);
    },
  };
}

/**
 * Removing what a plan says: first the line of the changelog that says so, then the files. Whatever stops it in between,
 * the next `prune` (or the next open, for the files here) removes what the lines say and is still there.
 * @module
 */
import { unlink } from "node:fs/promises";
import { dirname } from "node:path";
import type { Config } from "../config/load.ts";
import type { Clock } from "../core/clock.ts";
import { AftersaveError, asAftersaveError, type ErrorCode } from "../core/errors.ts";
import { foldKey, type Key } from "../core/key.ts";
import type { Entry } from "../core/target.ts";
import { actorOf, NO_CONTENT, NO_KEY, type Actor, type Meta } from "../core/version.ts";
import { fsyncFolder } from "../logs/files.ts";
import { identityOf, statLive } from "../memory/live.ts";
import { closes, kindOf, type MirrorTarget } from "../mirror/place.ts";
import type { Mirrored } from "../state/ledger.ts";
import { createElsewhere, look, type Elsewhere, type ElsewhereParts, type Witness } from "./prune-elsewhere.ts";
import { PRUNING } from "./pruning.ts";
import { HERE, type At, type PrunePlan, type Removal } from "./plan.ts";

/** Where a prune is; tests stop the process there. */
export type PruneStep = "pruning" | "pruned" | "removed" | "ended";

export interface PruneParts extends ElsewhereParts {
  readonly retention: Config["retention"];
  readonly clock: Clock;
  readonly newId: () => string;
  /** A line was written, and is due for the log. */
  readonly onLine: () => void;
  readonly step?: ((step: PruneStep) => void | Promise<void>) | undefined;
}

export interface PruneOptions {
  /** Stops between two copies; what a line says already is removed the next time. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, of: number) => void) | undefined;
}

/** A copy that stays although it was to go. */
export interface Stayed {
  readonly copy: Key;
  readonly from: At;
  readonly code: ErrorCode;
  /** What happened, and what to do. */
  readonly says: string;
}

export interface Pruned {
  /** What was removed from each place, what earlier runs had left included. */
  readonly removed: readonly { readonly from: At; readonly copies: number; readonly bytes: number }[];
  /** The lines of the changelog that say so. */
  readonly lines: readonly string[];
  readonly left: readonly Stayed[];
}

/** Copies that one line names. */
const LINE = 1000;

/** What became of a prune so far. */
class Tally {
  readonly #removed = new Map<At, { copies: number; bytes: number }>();
  readonly lines: string[] = [];
  readonly left: Stayed[] = [];

  remove(from: At, size: number): void {
    const sum = this.#removed.get(from) ?? { copies: 0, bytes: 0 };
    this.#removed.set(from, { copies: sum.copies + 1, bytes: sum.bytes + size });
  }

  leave(copy: Key, from: At, error: AftersaveError): void {
    this.left.push({ copy, from, code: error.code, says: [error.message, error.hint].filter(Boolean).join(". ") });
  }

  get pruned(): Pruned {
    return { removed: [...this.#removed].map(([from, sum]) => ({ from, ...sum })), lines: this.lines, left: this.left };
  }
}

const changed = (what: string) =>
  new AftersaveError("E_ARCHIVE_CHANGED", `${what} is no longer what was archived; it was left as it is`, {
    hint: "Look at it, keep what you need, and remove it yourself.",
  });

const meanwhile = () =>
  new AftersaveError("E_STALE", "it was pinned, held or lost elsewhere since the plan was made", {
    hint: "Run the same command again: its new plan says what keeps it.",
  });

/** Does what `plan` says. A copy that may not go any more, cannot go, or was changed by someone is in `left`; the others go. */
export async function applyPrune(
  parts: PruneParts,
  plan: Pick<PrunePlan, "removes">,
  meta: Meta = {},
  options: PruneOptions = {},
): Promise<Pruned> {
  const { state, targets } = parts;
  const release = await state.claims.take("prune", "prune", { signal: options.signal });
  try {
    const tally = new Tally();
    await finishHere(parts, tally);
    const actor = actorOf({ ...meta, tool: meta.tool ?? "aftersave prune" });
    const progress = progressOf(plan.removes.length, options);
    const elsewhere = createElsewhere(parts, options.signal);
    await pruneHere(parts, plan.removes, actor, tally, elsewhere, progress, options);
    for (const { name } of targets) {
      const sure = await promise(parts, name, plan.removes, actor, tally, elsewhere);
      await removeOwed(parts, name, tally, { elsewhere, sure }, progress, options);
    }
    return tally.pruned;
  } finally {
    release();
  }
}

/** Removes files here that a line says were pruned, where a process died in between. Undefined while another one prunes. */
export async function finishPrune(parts: Pick<PruneParts, "state" | "places">): Promise<Pruned | undefined> {
  const release = await parts.state.claims.tryTake("prune", "prune");
  if (!release) return undefined;
  try {
    const tally = new Tally();
    await finishHere(parts, tally);
    return tally.pruned;
  } finally {
    release();
  }
}

function progressOf(of: number, { onProgress }: PruneOptions): () => void {
  let done = 0;
  return () => onProgress?.(Math.min(++done, of), of);
}

function* batches<T>(all: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < all.length; at += LINE) yield all.slice(at, at + LINE);
}

/** Those that another copy was just seen of; the others stay. */
async function keptElsewhere(removals: readonly Removal[], from: At, elsewhere: Elsewhere, tally: Tally) {
  const found = await elsewhere.ask(
    removals.map(({ copy }) => copy),
    from,
  );
  const sure = new Map<Key, Witness>();
  for (const [key, is] of found) {
    if (is instanceof AftersaveError) tally.leave(key, from, is);
    else sure.set(key, is);
  }
  return { sure, going: removals.filter(({ copy }) => sure.has(copy)) };
}

/** Writes the line that says of these copies that they go; answers those that still may. */
async function tell(
  { state, clock, newId, targets, onLine, step }: PruneParts,
  removals: readonly Removal[],
  from: At,
  actor: Actor,
  tally: Tally,
): Promise<Key[]> {
  const [first] = removals;
  if (!first) return [];
  const line = await state.saves.prune(
    {
      ...actor,
      version: newId(),
      op: "prune",
      file: removals.every(({ key }) => key === first.key) ? first.key : NO_KEY,
      ...NO_CONTENT,
      timestamp: new Date(clock.now()).toISOString(),
      details: { prunes: { copies: removals.map(({ copy }) => copy), from } },
    },
    targets.map(({ name }) => name),
  );
  const going = new Set(line?.details?.prunes?.copies);
  for (const { copy } of removals) if (!going.has(copy)) tally.leave(copy, from, meanwhile());
  if (!line) return [];
  tally.lines.push(line.version);
  onLine();
  await step?.("pruned");
  return [...going];
}

async function pruneHere(
  parts: PruneParts,
  removes: readonly Removal[],
  actor: Actor,
  tally: Tally,
  elsewhere: Elsewhere,
  progress: () => void,
  { signal }: PruneOptions,
): Promise<void> {
  const { state, step } = parts;
  const here = removes.filter(({ from }) => from === HERE);
  if (here.length === 0) return;
  await state.setMeta(PRUNING, String((await state.saves.last())?.place ?? 0));
  await step?.("pruning");
  for (const batch of batches(here)) {
    if (signal?.aborted) break;
    const ours: Removal[] = [];
    const seen = new Map<Key, string>();
    for (const removal of batch) {
      try {
        const copy = await state.saves.archiveCopy(removal.copy);
        const looked = copy && (await look(parts, copy));
        if (!looked || looked.is === "changed") throw changed(removal.copy);
        ours.push(removal);
        seen.set(removal.copy, looked.seen);
      } catch (error) {
        tally.leave(removal.copy, HERE, asAftersaveError(error, `looking at ${removal.copy}`));
      }
    }
    const { going } = await keptElsewhere(ours, HERE, elsewhere, tally);
    await removeFiles(parts, await tell(parts, going, HERE, actor, tally), tally, { seen, progress });
  }
  await state.setMeta(PRUNING, "");
  await step?.("ended");
  signal?.throwIfAborted();
}

async function finishHere(parts: Pick<PruneParts, "state" | "places">, tally: Tally): Promise<void> {
  const { state } = parts;
  const mark = await state.getMeta(PRUNING);
  if (!mark) return;
  for await (const { details } of state.saves.select({ op: "prune", after: Number(mark) }))
    if (details?.prunes?.from === HERE) await removeFiles(parts, details.prunes.copies, tally);
  await state.setMeta(PRUNING, "");
}

/** Removes copies that a line says were pruned here, those that are still ours. `seen`: identities of files that were just read. */
async function removeFiles(
  parts: Pick<PruneParts, "state" | "places"> & { readonly step?: PruneParts["step"] },
  keys: readonly Key[],
  tally: Tally,
  { seen, progress }: { readonly seen?: ReadonlyMap<Key, string>; readonly progress?: () => void } = {},
): Promise<void> {
  const folders = new Set<string>();
  for (const key of keys) {
    progress?.();
    const copy = await parts.state.saves.archiveCopy(key);
    if (!copy?.pruned) continue;
    const path = parts.places.pathOf(key);
    try {
      const now = identityOf(statLive(path));
      const is = now !== "" && now === seen?.get(key) ? "ours" : (await look(parts, copy)).is;
      if (is === "changed") tally.leave(key, HERE, changed(key));
      if (is !== "ours") continue;
      await unlink(path);
      folders.add(dirname(path));
      tally.remove(HERE, copy.size);
    } catch (error) {
      tally.leave(key, HERE, asAftersaveError(error, `removing ${key}`));
    }
    await parts.step?.("removed");
  }
  for (const folder of folders) await fsyncFolder(folder);
}

/** Says of copies at a target that they go; from then on nothing counts on them. Answers where another one of each was seen. */
async function promise(
  parts: PruneParts,
  target: string,
  removes: readonly Removal[],
  actor: Actor,
  tally: Tally,
  elsewhere: Elsewhere,
): Promise<Map<Key, Witness>> {
  const all = new Map<Key, Witness>();
  for (const batch of batches(removes.filter(({ from }) => from === target))) {
    const { sure, going } = await keptElsewhere(batch, target, elsewhere, tally);
    await tell(parts, going, target, actor, tally);
    for (const [key, witness] of sure) all.set(key, witness);
  }
  return all;
}

/** What makes it safe to remove from a target: who can be asked, and who was a moment ago. */
interface Safe {
  readonly elsewhere: Elsewhere;
  readonly sure: ReadonlyMap<Key, Witness>;
}

/** Removes from a target what lines say was pruned there, now or earlier. */
async function removeOwed(
  parts: PruneParts,
  name: string,
  tally: Tally,
  safe: Safe,
  progress: () => void,
  { signal }: PruneOptions,
): Promise<void> {
  const { state } = parts;
  const owed = state.copies.owed(name)[Symbol.asyncIterator]();
  const first = await owed.next();
  if (first.done) return;
  const queue = (async function* () {
    yield first.value.key;
    for (let next = await owed.next(); !next.done; next = await owed.next()) yield next.value.key;
  })();
  let stopped: AftersaveError | undefined;
  const remove = async (to: MirrorTarget, key: Key) => {
    try {
      if (stopped) throw stopped;
      await removeAt(parts, to, key, tally, safe, signal);
    } catch (error) {
      if (signal?.aborted) throw error;
      const known = asAftersaveError(error, `removing ${key} from ${name}`);
      tally.leave(key, name, known);
      if (closes.has(known.code)) stopped = known;
    }
  };
  const work = async (to: MirrorTarget) => {
    for await (const key of queue) {
      signal?.throwIfAborted();
      await remove(to, key);
      progress();
    }
  };
  try {
    const to = await parts.open(name);
    await parts.own(to, { signal });
    await Promise.all(Array.from({ length: to.concurrency }, () => work(to)));
  } catch (error) {
    if (signal?.aborted) throw error;
    tally.leave(first.value.key, name, asAftersaveError(error, `reaching ${name}`));
  }
}

/** Throws what the target throws; then the removal stays owed. */
async function removeAt(
  parts: PruneParts,
  to: MirrorTarget,
  key: Key,
  tally: Tally,
  { elsewhere, sure }: Safe,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { state, step } = parts;
  const release = await state.claims.take("upload", `${to.name}\n${foldKey(key)}`, { waitMs: 600_000, signal });
  try {
    const known = await state.ledger.mirrored(to.name, key);
    if (!known) return;
    const witness = sure.get(key);
    if (!witness || !(await elsewhere.stillThere(key, witness))) {
      const is = (await elsewhere.ask([key], to.name)).get(key);
      if (is instanceof AftersaveError) throw is;
    }
    const is = await removeSame(to, known, signal);
    if (is === "removed") tally.remove(to.name, known.size);
    if (is === "changed") tally.leave(key, to.name, changed(to.target.pathOf(key)));
    await state.ledger.forget(to.name, [], [key]);
    await step?.("removed");
  } finally {
    release();
  }
}

/** Removes what was sent there, also where the place was moved and has other revisions for the same bytes. */
async function removeSame(
  { target, attempts }: MirrorTarget,
  known: Mirrored,
  signal: AbortSignal | undefined,
): Promise<"removed" | "gone" | "changed"> {
  const isSame = ({ rev, id }: Entry) => rev === known.rev && (known.id === undefined || id === known.id);
  let there = await target.stat(known.key, { signal });
  if (there && !isSame(there)) {
    there = await target.stat(known.key, { hash: true, signal });
    if (there && (there.hash?.algo !== "sha256" || there.hash.hex !== known.sha256)) return "changed";
  }
  if (!there) return "gone";
  try {
    await target.remove(known.key, { expect: there, signal, tries: { used: 1, most: attempts } });
    return "removed";
  } catch (error) {
    if (kindOf(error) !== "conflict") throw error;
    return "changed";
  }
}

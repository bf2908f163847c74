/**
 * Removing what a plan says: first the line of the changelog that says so, then the files. Whatever stops it in between,
 * the next `prune` (or the next open, for the files here) removes what the lines say and is still there.
 * @module
 */
import { unlink } from "node:fs/promises";
import { dirname } from "node:path";
import type { Clock } from "../core/clock.ts";
import { AftersaveError, asAftersaveError, type ErrorCode } from "../core/errors.ts";
import { foldKey, type Key } from "../core/key.ts";
import type { Call } from "../core/target.ts";
import { actorOf, NO_KEY, type Actor, type Meta } from "../core/version.ts";
import { fsyncFolder } from "../logs/files.ts";
import { digestOfFile } from "../memory/content.ts";
import { identityOf, statLive } from "../memory/live.ts";
import type { Places } from "../memory/places.ts";
import { closes, kindOf, type MirrorTarget } from "../mirror/place.ts";
import type { ArchiveCopy } from "../state/saves.ts";
import type { State } from "../state/state.ts";
import { PRUNING } from "./pruning.ts";
import { HERE, type At, type PlanParts, type PrunePlan, type Removal } from "./plan.ts";

/** Where a prune is; tests stop the process there. */
export type PruneStep = "pruning" | "pruned" | "removed" | "ended";

export interface PruneParts extends Omit<PlanParts, "copies" | "now"> {
  readonly state: State;
  readonly places: Places;
  readonly clock: Clock;
  readonly newId: () => string;
  readonly open: (name: string) => Promise<MirrorTarget & { readonly concurrency: number }>;
  /** The place at the target is ours; throws `E_TARGET_IN_USE`. */
  readonly own: (to: MirrorTarget, call: Call) => Promise<void>;
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

const unsafe = () =>
  new AftersaveError("E_CONTENT_GONE", "no other copy of it is known to be there any more", {
    hint: "Run `aftersave doctor` and `aftersave verify`; it stays until another copy is verified.",
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
    await pruneHere(parts, plan.removes, actor, tally, progress, options);
    for (const { name } of targets) {
      await promise(parts, name, plan.removes, actor, tally);
      await removeOwed(parts, name, tally, progress, options);
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
      sha256: null,
      size: null,
      prev_sha256: null,
      archived_as: null,
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
    await removeFiles(parts, await tell(parts, ours, HERE, actor, tally), tally, { seen, progress });
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

/** A look at a copy's file. */
interface Looked {
  readonly is: "ours" | "changed" | "gone";
  /** The file's identity: while it is the same, so are the bytes. */
  readonly seen: string;
}

/** Whether a file is the archive copy that we made. It is read: what someone wrote in its place is theirs, whatever its length and time say. */
async function look({ places }: Pick<PruneParts, "places">, { key, size, sha256 }: ArchiveCopy): Promise<Looked> {
  const path = places.pathOf(key);
  const stats = statLive(path);
  const seen = identityOf(stats);
  if (!stats) return { is: "gone", seen };
  if (!stats.isFile() || stats.size !== BigInt(size)) return { is: "changed", seen };
  return { is: (await digestOfFile(path))?.sha256 === sha256 ? "ours" : "changed", seen };
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

/** Says of copies at a target that they go; from then on nothing counts on them. */
async function promise(
  parts: PruneParts,
  target: string,
  removes: readonly Removal[],
  actor: Actor,
  tally: Tally,
): Promise<void> {
  for (const batch of batches(removes.filter(({ from }) => from === target))) await tell(parts, batch, target, actor, tally);
}

/** Removes from a target what lines say was pruned there, now or earlier. */
async function removeOwed(
  parts: PruneParts,
  name: string,
  tally: Tally,
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
      await removeAt(parts, to, key, tally, signal);
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
  signal: AbortSignal | undefined,
): Promise<void> {
  const { state, step } = parts;
  const release = await state.claims.take("upload", `${to.name}\n${foldKey(key)}`, { waitMs: 600_000, signal });
  try {
    const known = await state.ledger.mirrored(to.name, key);
    if (!known) return;
    if (!(await isElsewhere(parts, to.name, key, known.sha256))) throw unsafe();
    try {
      await to.target.remove(key, { expect: known, signal, tries: { used: 1, most: to.attempts } });
      tally.remove(to.name, known.size);
    } catch (error) {
      if (kindOf(error) !== "conflict") throw error;
      tally.leave(key, to.name, changed(to.target.pathOf(key)));
    }
    await state.ledger.forget(to.name, [], [key]);
    await step?.("removed");
  } finally {
    release();
  }
}

/** Whether another copy is known to be there: here, and looked at, or on another target that keeps it. */
async function isElsewhere(parts: PruneParts, target: string, key: Key, sha256: string): Promise<boolean> {
  const { state, targets } = parts;
  const copy = await state.saves.archiveCopy(key);
  if (copy && !copy.pruned && copy.sha256 === sha256 && (await look(parts, copy)).is === "ours") return true;
  for (const { name } of targets)
    if (
      name !== target &&
      (await state.ledger.mirrored(name, key))?.sha256 === sha256 &&
      !(await state.copies.prunedAt(name, key))
    )
      return true;
  return false;
}

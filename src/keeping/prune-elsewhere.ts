/**
 * Whether another copy of what goes is really there: looked at here, and at targets asked at that very moment. What the index
 * says is only where to ask.
 * @module
 */
import { AftersaveError, asAftersaveError } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import type { Call } from "../core/target.ts";
import { digestOfFile } from "../memory/content.ts";
import { identityOf, statLive } from "../memory/live.ts";
import type { Places } from "../memory/places.ts";
import { closes, type MirrorTarget } from "../mirror/place.ts";
import type { ArchiveCopy } from "../state/saves.ts";
import type { State } from "../state/state.ts";
import { HERE, type At, type KeepingTarget } from "./plan.ts";

/** A look at a copy's file. */
interface Looked {
  readonly is: "ours" | "changed" | "gone";
  /** The file's identity: while it is the same, so are the bytes. */
  readonly seen: string;
}

/** Whether a file is the archive copy that we made. It is read: what someone wrote in its place is theirs, whatever its length and time say. */
export async function look({ places }: { readonly places: Places }, { key, size, sha256 }: ArchiveCopy): Promise<Looked> {
  const path = places.pathOf(key);
  const stats = statLive(path);
  const seen = identityOf(stats);
  if (!stats) return { is: "gone", seen };
  if (!stats.isFile() || stats.size !== BigInt(size)) return { is: "changed", seen };
  return { is: (await digestOfFile(path))?.sha256 === sha256 ? "ours" : "changed", seen };
}

export interface ElsewhereParts {
  readonly state: State;
  readonly places: Places;
  readonly targets: readonly KeepingTarget[];
  readonly open: (name: string) => Promise<MirrorTarget & { readonly concurrency: number }>;
  /** The place at the target is ours; throws `E_TARGET_IN_USE`. */
  readonly own: (to: MirrorTarget, call: Call) => Promise<void>;
  /** A target does not hold these any more: the ledger forgets them, and they are sent again. */
  readonly again: (to: MirrorTarget, keys: readonly Key[]) => Promise<void>;
}

/** Where another copy was just seen. `seen`: the file's identity here, the revision at a target. */
export interface Witness {
  readonly at: At;
  readonly seen: string;
}

export interface Elsewhere {
  /** Of each copy that is to go from a place: where another one was seen now, or why none was. */
  ask(keys: readonly Key[], from: At): Promise<Map<Key, Witness | AftersaveError>>;
  /** Nothing is known to have happened since to what a witness saw; asks nobody. */
  stillThere(key: Key, witness: Witness): Promise<boolean>;
}

const unsafe = () =>
  new AftersaveError("E_CONTENT_GONE", "no other copy of it is known to be there any more", {
    hint: "Run `aftersave doctor` and `aftersave verify`; it stays until another copy is verified.",
  });

const SENT_AGAIN = "Run `aftersave flush`, which sends it there again, then prune again.";

const absent = (name: string) =>
  new AftersaveError("E_TARGET_ABSENT", `${name} was to keep it, and does not hold it any more`, { hint: SENT_AGAIN });

const altered = (name: string) =>
  new AftersaveError("E_TARGET_CORRUPT", `${name} was to keep it, and holds other bytes by now`, { hint: SENT_AGAIN });

const unproven = (name: string) =>
  new AftersaveError("E_CONTENT_GONE", `${name} reports no sha256, so that nothing proves that it still holds it`, {
    hint: "What such a place holds is never counted on; let another target keep it, or raise the rule.",
  });

export function createElsewhere(parts: ElsewhereParts, signal: AbortSignal | undefined): Elsewhere {
  const { state, targets } = parts;
  const closed = new Map<string, AftersaveError>();

  /** The sha256 of a copy that a target is counted on for. */
  const countedOn = async (name: string, copy: ArchiveCopy) => {
    const known = await state.ledger.mirrored(name, copy.key);
    return known?.sha256 === copy.sha256 && !(await state.copies.prunedAt(name, copy.key)) ? known : undefined;
  };

  /** Asks a target for all of `copies`. */
  const askAt = async (name: string, copies: readonly ArchiveCopy[], tell: (key: Key, is: Witness | AftersaveError) => void) => {
    const refuse = (error: unknown, key: Key) => {
      if (signal?.aborted) throw error;
      const known = asAftersaveError(error, `asking ${name} for ${key}`);
      if (closes.has(known.code)) closed.set(name, known);
      tell(key, known);
    };
    let to: Awaited<ReturnType<ElsewhereParts["open"]>>;
    try {
      to = await parts.open(name);
      await parts.own(to, { signal });
    } catch (error) {
      for (const { key } of copies) refuse(error, key);
      return;
    }
    const lost: Key[] = [];
    const one = async (copy: ArchiveCopy) => {
      const { key, sha256 } = copy;
      try {
        const stopped = closed.get(name);
        if (stopped) throw stopped;
        if (!(await countedOn(name, copy))) throw absent(name); // owning the place found it emptied
        const there = await to.target.stat(key, { hash: true, signal });
        const is = there?.hash?.algo === "sha256" ? there.hash.hex === sha256 : undefined;
        if (there && is === true) tell(key, { at: name, seen: there.rev });
        else if (there && is === undefined) tell(key, unproven(name));
        else {
          lost.push(key);
          tell(key, there ? altered(name) : absent(name));
        }
      } catch (error) {
        refuse(error, key);
      }
    };
    const queue = copies.values();
    const work = async () => {
      for (const copy of queue) await one(copy);
    };
    await Promise.all(Array.from({ length: to.concurrency }, work));
    if (lost.length > 0) await parts.again(to, lost);
  };

  return {
    async ask(keys, from) {
      const found = new Map<Key, Witness | AftersaveError>();
      let open: ArchiveCopy[] = [];
      for (const key of keys) {
        found.set(key, unsafe());
        const copy = await state.saves.archiveCopy(key);
        if (!copy) continue;
        const looked = from === HERE || copy.pruned ? undefined : await look(parts, copy);
        if (looked?.is === "ours") found.set(key, { at: HERE, seen: looked.seen });
        else open.push(copy);
      }
      for (const { name } of targets) {
        if (name === from) continue;
        const asked: ArchiveCopy[] = [];
        for (const copy of open) if (await countedOn(name, copy)) asked.push(copy);
        if (asked.length > 0) await askAt(name, asked, (key, is) => void found.set(key, is));
        open = open.filter(({ key }) => found.get(key) instanceof AftersaveError);
      }
      return found;
    },
    async stillThere(key, { at, seen }) {
      const copy = await state.saves.archiveCopy(key);
      if (!copy) return false;
      if (at !== HERE) return (await countedOn(at, copy)) !== undefined;
      return !copy.pruned && identityOf(statLive(parts.places.pathOf(key))) === seen;
    },
  };
}

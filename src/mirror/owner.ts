/**
 * The marker that says whose a target's root is. A second memory root is refused until it is joined on purpose; the
 * same memory root on a second machine is no second one.
 * @module
 */
import { sourceOf } from "../core/chunks.ts";
import type { Clock } from "../core/clock.ts";
import { AftersaveError, TargetError } from "../core/errors.ts";
import { ownKey, type Key } from "../core/key.ts";
import type { Call } from "../core/target.ts";
import { actorIn } from "../core/version.ts";
import type { JobRequest } from "../state/jobs.ts";
import type { TargetWriter } from "../state/segments.ts";
import type { State } from "../state/state.ts";
import type { Peers } from "./joined.ts";
import { fieldsOf, kindOf, readText, type MirrorTarget } from "./place.ts";

export const MARKER = ownKey("root.json");

/** The id in a target's marker; null when the marker cannot be read as one, undefined when there is none. */
export async function ownerOf({ target }: Pick<MirrorTarget, "target">, call: Call): Promise<string | null | undefined> {
  if (!(await target.stat(MARKER, call))) return undefined;
  const id = fieldsOf(await readText(target, MARKER, 64 << 10, call))["memory_root"];
  return typeof id === "string" && id !== "" ? id : null;
}

const inUse = ({ target, name }: MirrorTarget, owner: string | null) =>
  new AftersaveError(
    "E_TARGET_IN_USE",
    owner === null
      ? `${target.pathOf(MARKER)} on ${name} does not say which memory root is mirrored there`
      : `${target.pathOf(MARKER)} on ${name} says that another memory root is mirrored there`,
    {
      hint:
        owner === null
          ? "Give this target another `root` in paths.json, or remove that one file if the place is this memory's."
          : `If both shall be mirrored there, or it is this memory after its state and logs were lost, run \`aftersave targets join ${name}\`; else give this target another \`root\` in paths.json.`,
      details: { owner },
    },
  );

const away = ({ target, name }: MirrorTarget) =>
  new TargetError(
    "transient",
    `${target.pathOf(MARKER)} is not on ${name} any more: what is there now is not the place where we wrote`,
    {
      code: "E_TARGET_UNREACHABLE",
      hint: `Connect the disk again, or mount what belongs there. If the place was emptied for good, run \`aftersave targets join ${name}\`.`,
    },
  );

/** What joining a target came to. */
export interface Joined {
  readonly target: string;
  /** The memory root that the target's marker names; null when there was none. */
  readonly owner: string | null;
  /** False: the place is this memory's own, or nobody's; there was nothing to join. */
  readonly joined: boolean;
  readonly writers: readonly TargetWriter[];
}

export interface OwnerParts {
  readonly state: State;
  readonly clock: Clock;
  readonly peers: Peers;
  readonly targetsFor: (key: Key) => readonly string[];
  /** Where a target is, for people; undefined when nobody can tell. */
  readonly whereIs: (target: string) => string | undefined;
}

const known = async (state: State, target: string) => JSON.parse((await state.getMeta(`places/${target}`)) ?? "[]") as string[];

/** Places that a target of this name had before the one where it is `now`, and at which this memory wrote. */
export const earlierPlaces = async (state: State, target: string, now: string | undefined): Promise<string[]> =>
  (await known(state, target)).filter((place) => place !== now);

export interface Owner {
  /**
   * Looks whether the place is the one where we wrote: what is missing in another one, or in the empty folder of a disk that is not there, was
   * not seen to be gone. Throws `E_TARGET_UNREACHABLE`, `E_TARGET_IN_USE`.
   */
  see(to: MirrorTarget, call: Call): Promise<void>;
  /** The root is ours or joined, else `E_TARGET_IN_USE`; an unowned one gets our marker. No request while that is known. */
  own(to: MirrorTarget, call: Call): Promise<void>;
  /** Has these keys sent once more: what the ledger knew of them is dropped. */
  again(to: MirrorTarget, keys: readonly Key[]): Promise<void>;
  /** Where paths.json says that the target is. When that changes, nothing that was known of it holds, and everything is to be sent there. */
  placed(target: string, place: string): Promise<void>;
  /** From now on this memory may write beside the one that owns the place. Everything that is routed there is compared anew. */
  join(to: MirrorTarget, call: Call): Promise<Joined>;
}

/** How long a look at the marker is good where files are known by their path, and one at what other machines of this memory told. */
const GOOD_MS = 60_000;

export function createOwner({ state, clock, peers, targetsFor, whereIs }: OwnerParts): Owner {
  const { ledger, saves, segments } = state;
  const seen = new Map<string, number>();
  const listened = new Map<string, number>();

  /** A job for each file and archive copy that is routed to a target, or for those among them that are asked for. */
  const everything = async (target: string, only?: ReadonlySet<Key>): Promise<JobRequest[]> => {
    const jobs: JobRequest[] = [];
    const add = async (content: { key: Key; version: string; sha256: string; size: number }, archive: boolean) => {
      const { key, version, sha256, size } = content;
      if (only && !only.has(key)) return;
      const made = await saves.version(version);
      if (made && targetsFor(key).includes(target))
        jobs.push({ target, key, version, sha256, size, archive, actor: actorIn(made) });
    };
    for await (const copy of saves.archiveCopies())
      if (!copy.pruned && !(await state.copies.prunedAt(target, copy.key))) await add(copy, true);
    for await (const head of saves.heads()) await add(head, false);
    return jobs;
  };

  /** Puts the marker (true), or finds one that lets us in (false). */
  const claim = async (to: MirrorTarget, rootId: string, call: Call): Promise<boolean> => {
    const joined = await segments.joined(to.name);
    const marker = { memory_root: joined ?? rootId, note: "aftersave mirrors a memory root here; see docs/targets" };
    let owner = await ownerOf(to, call);
    if (owner === undefined) {
      // our marker at an empty place would make that look like the one where the erased text lies
      if ((await ledger.target(to.name)).owned && (await state.erasure.places(to.name)).length > 0) throw away(to);
      try {
        await to.target.put(MARKER, sourceOf(`${JSON.stringify(marker, null, 2)}\n`), { ...call, expect: "absent" });
        return true;
      } catch (error) {
        if (kindOf(error) !== "conflict") throw error;
        owner = (await ownerOf(to, call)) ?? null; // someone was quicker
      }
    }
    if (owner === rootId || (owner !== null && owner === joined)) return false;
    if (owner === null || (await peers.joinedThere(to, rootId, call)) !== owner) throw inUse(to, owner);
    await segments.join(to.name, owner);
    return false;
  };

  const isKnown = async ({ name, target }: MirrorTarget): Promise<boolean> =>
    (await ledger.target(name)).owned && (target.traits.identity === "id" || (seen.get(name) ?? 0) > clock.now() - GOOD_MS);

  const remember = async (target: string) => {
    const [place, places] = [whereIs(target), await known(state, target)];
    if (place === undefined || places.includes(place)) return;
    await state.setMeta(`places/${target}`, JSON.stringify([...places, place]));
  };

  /** Other machines of this memory may have erased what is whole here: that is to be known before it is sent. */
  const listen = async (to: MirrorTarget, call: Call): Promise<void> => {
    await peers.learn(to, call);
    listened.set(to.name, clock.now());
  };

  const areOthers = async (target: string): Promise<boolean> => {
    const [{ id }, rootId] = [await segments.writer(), await saves.rootId()];
    return (await segments.writers(target)).some(({ writer, memory_root }) => writer !== id && memory_root === rootId);
  };

  const own = async (to: MirrorTarget, call: Call): Promise<void> => {
    await claimed(to, call);
    if ((listened.get(to.name) ?? 0) <= clock.now() - GOOD_MS && (await areOthers(to.name))) await listen(to, call);
  };

  const claimed = async (to: MirrorTarget, call: Call): Promise<void> => {
    if (await isKnown(to)) return;
    const rootId = await saves.rootId();
    if (rootId === undefined) return;
    // where a name may be given twice, two processes of this memory would put two markers
    const release = await state.claims.take("owner", to.name, { waitMs: 600_000, signal: call.signal });
    try {
      if (await isKnown(to)) return;
      const { owned } = await ledger.target(to.name);
      const made = await claim(to, rootId, call);
      await remember(to.name);
      seen.set(to.name, clock.now());
      if (owned && made) await ledger.forget(to.name, await everything(to.name));
      if (!owned && !made) await listen(to, call);
      if (!owned) await ledger.setOwned(to.name);
    } finally {
      release();
    }
  };

  return {
    own,
    async see(to, call) {
      if (!(await ledger.target(to.name)).owned) return;
      const owner = await ownerOf(to, call);
      if (owner === undefined) throw away(to);
      if (owner !== (await saves.rootId()) && owner !== (await segments.joined(to.name))) throw inUse(to, owner);
    },
    async again(to, keys) {
      await ledger.forget(to.name, await everything(to.name, new Set(keys)), keys);
      if (keys.includes(MARKER)) await ledger.setOwned(to.name, false); // it is gone, or another memory root's is older than ours
      if (keys.some((key) => key !== MARKER && key.startsWith(ownKey("")))) await segments.forget(to.name);
    },

    async placed(target, place) {
      const name = `place/${target}`;
      if ((await state.getMeta(name)) === place) return;
      const release = await state.claims.take("owner", target, { waitMs: 600_000 });
      try {
        const known = await state.getMeta(name);
        if (known !== undefined && known !== place) {
          const memory = ledger.driverMemory(target);
          for (const [entry] of await memory.list("")) await memory.delete(entry);
          await ledger.setOwned(target, false);
          await ledger.forget(target, await everything(target));
        }
        await state.setMeta(name, place);
      } finally {
        release();
      }
    },

    async join(to, call) {
      const rootId = await saves.rootId();
      const owner = await ownerOf(to, call);
      if (owner === null) throw inUse(to, null);
      if (owner === undefined && (await ledger.target(to.name)).owned) {
        await ledger.setOwned(to.name, false);
        await ledger.forget(to.name, await everything(to.name));
      }
      if (owner !== undefined && owner !== rootId) {
        const again = (await segments.joined(to.name)) === owner;
        await segments.join(to.name, owner);
        if (!again) await ledger.forget(to.name, await everything(to.name)); // what was known was known of another place
      }
      if (rootId !== undefined) {
        await own(to, call);
        const release = await state.claims.take("history", to.name, { waitMs: 600_000, signal: call.signal });
        await peers.introduce(to, rootId, call).finally(release);
      }
      await peers.learn(to, call);
      const { code } = await ledger.target(to.name);
      if (code === "E_TARGET_IN_USE") await ledger.setHealth(to.name, { code: null, openUntil: 0 });
      const joined = owner !== undefined && owner !== rootId;
      return { target: to.name, owner: owner ?? null, joined, writers: await segments.writers(to.name) };
    },
  };
}

/**
 * Erasing as the memory has it. What does the work is loaded when something is erased; what stands in its way later is
 * always there.
 * @module
 */
import type { Clock } from "../core/clock.ts";
import { asAftersaveError } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import type { Heads } from "../memory/heads.ts";
import type { State } from "../state/state.ts";
import { createBarrier, type Barrier } from "./barrier.ts";
import type { EraseParts, Eraser } from "./erase.ts";
import type { PlacesParts } from "./erase-places.ts";
import type { ErasedCopy, EraseOptions, EraseWish, Erasing as Listed, Forgotten } from "./receipt.ts";
import { remainsOf, type RemainsParts } from "./remains.ts";
import { createTombstones } from "./tombstone.ts";

export interface Erasing {
  /**
   * Makes what was accepted unrecoverable, here and at every target, and keeps it from coming back. Throws `E_NOT_FOUND` when there
   * is nothing of that name, `E_VERSION`, `E_USAGE`. Not undone by anything.
   */
  erase(wish: EraseWish, options?: EraseOptions): Promise<Forgotten>;
  /** What was erased and may not come back, oldest first. */
  erasures(): Promise<Listed[]>;
  /** Lets back in what an erasure blocks; brings nothing back. */
  liftErasure(id: string): Promise<Listed>;
}

/** What the other rooms need of erasing. */
export interface ErasingParts {
  readonly state: State;
  readonly heads: Heads;
  readonly stateDir: string;
  readonly clock: Clock;
}

export interface ErasingRoom {
  readonly barrier: Barrier;
  /** When everything is there that an erasure needs: finishes what was begun, and answers how many erasures that were. */
  begin(parts: Rest): Promise<{ readonly erasing: Erasing; readonly finished: number }>;
  /** Does what a target owes; called before anything is sent there. Throws only when `signal` aborts. */
  settle(target: string, signal?: AbortSignal): Promise<readonly ErasedCopy[]>;
}

type Rest = Omit<EraseParts, "state" | "heads" | "tombstones" | "clock" | "stateDir" | "settle" | "remains" | "see"> &
  Pick<PlacesParts, "owner" | "history" | "targets" | "open"> &
  Pick<RemainsParts, "root" | "backupDir" | "others" | "whereIs">;

export function createErasing({ state, heads, stateDir, clock }: ErasingParts): ErasingRoom {
  const tombstones = createTombstones(stateDir);
  let rest: Rest | undefined;
  let loaded: Promise<Eraser> | undefined;

  const isClean = async () => (await state.erasure.open()).length === 0 && !(await state.erasure.needsScrub());

  const settle: ErasingRoom["settle"] = async (target, signal) => {
    if (!rest) return [];
    const owed = await state.erasure.places(target);
    if (owed.length === 0) return [];
    if (owed.some(({ how }) => how === "read") && (await (await eraser()).lookAgain(target)))
      // what was found is owed by others too, which may have been done with what they owed before
      for (const other of rest.targets) if (other !== target) await settleThere(other, signal);
    return settleThere(target, signal);
  };

  const settleThere = async (target: string, signal: AbortSignal | undefined): Promise<readonly ErasedCopy[]> => {
    if (!rest) return [];
    const { createSettle } = await import("./erase-places.ts");
    const copies = await createSettle({ ...rest, state, clock, tombstones })(target, signal);
    if (await state.erasure.needsScrub()) await state.erasure.scrub();
    return copies;
  };

  const load = async (): Promise<Eraser> => {
    const { createEraser } = await import("./erase.ts");
    const parts = rest as Rest;
    return createEraser({
      ...parts,
      state,
      heads,
      tombstones,
      clock,
      stateDir,
      settle: settleThere,
      see: async (target) => {
        try {
          await parts.owner.see(await parts.open(target), { tries: { used: 1, most: 1 } });
          return undefined;
        } catch (error) {
          return asAftersaveError(error, `looking at ${target}`).code;
        }
      },
      remains: (by, finder, targets, going) =>
        remainsOf(
          {
            ...parts,
            state,
          },
          by,
          finder,
          targets,
          going,
        ),
    });
  };
  const eraser = () => (loaded ??= load());

  return {
    settle,
    barrier: createBarrier({
      tombstones,
      heads,
      erasure: state.erasure,
      saves: state.saves,
      finishKey: async (key: Key) => (await eraser()).finishKey(key),
    }),
    async begin(parts) {
      rest = parts;
      const finished = (await isClean()) ? 0 : await (await eraser()).resume();
      return {
        finished,
        erasing: {
          erase: async (wish, options) => (await eraser()).erase(wish, options),
          erasures: async () => (await eraser()).erasures(),
          liftErasure: async (id) => (await eraser()).lift(id),
        },
      };
    },
  };
}

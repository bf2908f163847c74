/**
 * Keeping and forgetting, as the memory offers it.
 * @module
 */
import { AftersaveError } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import type { Meta } from "../core/version.ts";
import type { Places } from "../memory/places.ts";
import type { State } from "../state/state.ts";
import { PRUNING } from "./pruning.ts";
import type { Pinned, PinParts } from "./pin.ts";
import type { PrunePlan } from "./plan.ts";
import type { Pruned, PruneOptions, PruneParts } from "./prune.ts";

/** What to look at for a prune; left out: everything. */
export interface PruneQuery {
  /** A key or path of a file, or of a folder. */
  readonly under?: string | undefined;
  /** Only the copies in this place: `here`, or the name of a target. */
  readonly from?: string | undefined;
}

export interface Keeping {
  /** From now on `prune` keeps this version (`VERSION` or `KEY@VERSION`) whatever the rules say. Throws `E_VERSION`, `E_USAGE`. */
  pin(version: string, meta?: Meta): Promise<Pinned>;
  /** Takes the pin back. */
  unpin(version: string, meta?: Meta): Promise<Pinned>;
  /** Which rule of `retention` keeps each version, and which archive copies go; changes nothing, and reads no content. */
  planPrune(query?: PruneQuery): Promise<PrunePlan>;
  /**
   * Removes the copies that a plan names: first the line that says so, then the files. What may not go any more since the plan was
   * made stays, and so does what someone changed (`left`). Interrupted, the next prune goes on.
   */
  applyPrune(plan: Pick<PrunePlan, "removes">, meta?: Meta, options?: PruneOptions): Promise<Pruned>;
  /** `planPrune` and `applyPrune` in one. */
  prune(query?: PruneQuery, meta?: Meta, options?: PruneOptions): Promise<Pruned>;
}

export interface KeepingParts extends PinParts, Omit<PruneParts, "step"> {
  /** What a caller says of itself, as it may stand in the history. */
  readonly said: (meta?: Meta) => Promise<Meta>;
  readonly state: PruneParts["state"];
  readonly step?: PruneParts["step"];
}

export function createKeeping(parts: KeepingParts): Keeping {
  const { targets, keyOf, said } = parts;

  const underOf = (text: string | undefined): Key | undefined =>
    text === undefined ? undefined : keyOf(text.replace(/(?<=.)[/\\]+$/, ""));

  const checkPlace = (from: string | undefined) => {
    if (from === undefined || from === "here" || targets.some(({ name }) => name === from)) return;
    throw new AftersaveError("E_TARGET_UNKNOWN", `no enabled target is named ${JSON.stringify(from)}`, {
      hint: `Enabled are: ${targets.map(({ name }) => name).join(", ") || "none"}.`,
    });
  };

  const keeping: Keeping = {
    pin: async (version, meta) => (await import("./pin.ts")).pin(parts, version, true, await said(meta)),
    unpin: async (version, meta) => (await import("./pin.ts")).pin(parts, version, false, await said(meta)),
    async planPrune({ under, from } = {}) {
      checkPlace(from);
      const { planPrune } = await import("./plan.ts");
      const { state, clock } = parts;
      return planPrune({ ...parts, copies: state.copies, now: () => clock.now() }, { under: underOf(under), from });
    },
    applyPrune: async (plan, meta, options) => (await import("./prune.ts")).applyPrune(parts, plan, await said(meta), options),
    prune: async (query, meta, options) => keeping.applyPrune(await keeping.planPrune(query), meta, options),
  };
  return keeping;
}

/** Ends what a process that died left of a prune here; one sentence for each thing worth knowing. */
export async function finishPruning(parts: { readonly state: State; readonly places: Places }): Promise<string[]> {
  if (!(await parts.state.getMeta(PRUNING))) return [];
  const { finishPrune } = await import("./prune.ts");
  const pruned = await finishPrune(parts);
  const copies = pruned?.removed.reduce((sum, each) => sum + each.copies, 0) ?? 0;
  return [
    ...(copies > 0
      ? [`an interrupted prune was ended: ${copies} archive cop${copies === 1 ? "y was" : "ies were"} removed`]
      : []),
    ...(pruned?.left ?? []).map(({ says }) => says),
  ];
}

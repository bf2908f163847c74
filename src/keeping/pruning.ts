/**
 * Whether a prune of files on this machine has not come to its end.
 * @module
 */
import type { Places } from "../memory/places.ts";
import type { State } from "../state/state.ts";

/** The name of that fact: the place of the newest line before it began. */
export const PRUNING = "pruning";

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

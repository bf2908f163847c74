/**
 * Bringing back, as the memory offers it: plans, and what they lead to.
 * @module
 */
import type { Meta } from "../core/version.ts";
import type { ApplyOptions, ApplyParts, Restored } from "./apply.ts";
import type { RestorePlan } from "./plan.ts";
import type { MomentOptions, RestoreWish } from "./restore.ts";
import type { UndoWish } from "./undo.ts";

export interface Bringing {
  /**
   * What taking saves back would do; changes nothing. Without a wish: the last save. Newer saves by others stay: only the
   * change goes, and where that cannot be told apart the file stays as it is (`E_OVERLAP` in `left`).
   */
  planUndo(wish?: UndoWish): Promise<RestorePlan>;
  /** What bringing one version back would do; changes nothing. */
  planRestore(wish: RestoreWish): Promise<RestorePlan>;
  /** What it would take that every key at or below `prefix` (all by default) holds what it held at `time`; changes nothing. */
  planRestoreAt(time: Date | string, prefix?: string, options?: MomentOptions): Promise<RestorePlan>;
  /**
   * Does what a plan says: each key becomes a new version, what was there goes to the archive. A key that changed since
   * the plan was made is left as it is (`E_STALE` in `left`). Interrupted, a new plan is for what is left.
   */
  apply(plan: RestorePlan, meta?: Meta, options?: ApplyOptions): Promise<Restored>;
  /** `planUndo` and `apply` in one. */
  undo(wish?: UndoWish, meta?: Meta, options?: ApplyOptions): Promise<Restored>;
  /** `planRestore` and `apply` in one. */
  restore(wish: RestoreWish, meta?: Meta, options?: ApplyOptions): Promise<Restored>;
  /** `planRestoreAt` and `apply` in one. */
  restoreAt(time: Date | string, prefix?: string, meta?: Meta, options?: ApplyOptions & MomentOptions): Promise<Restored>;
}

export function createBringing(parts: ApplyParts): Bringing {
  const bringing: Bringing = {
    planUndo: async (wish) => (await import("./undo.ts")).planUndo(parts, wish),
    planRestore: async (wish) => (await import("./restore.ts")).planRestore(parts, wish),
    planRestoreAt: async (time, prefix, options) => (await import("./restore.ts")).planRestoreAt(parts, time, prefix, options),
    apply: async (plan, meta, options) => (await import("./apply.ts")).applyPlan(parts, plan, meta, options),
    undo: async (wish, meta, options) => bringing.apply(await bringing.planUndo(wish), meta, options),
    restore: async (wish, meta, options) => bringing.apply(await bringing.planRestore(wish), meta, options),
    restoreAt: async (time, prefix, meta, { signal, onProgress, ...options } = {}) =>
      bringing.apply(await bringing.planRestoreAt(time, prefix, options), meta, { signal, onProgress }),
  };
  return bringing;
}

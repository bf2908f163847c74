/**
 * What the memory offers of this room about targets: whether everything is what was accepted, and a memory from a target alone.
 * @module
 */
import type { FromTarget, FromTargetOptions, FromTargetParts } from "./from-target.ts";
import type { VerifyOptions, VerifyParts, VerifyReport } from "./verify.ts";

export interface Proving {
  /**
   * Checks the chain of the changelog file and of the state, kept copies, archive copies and live files; with `target`, also what
   * that one holds. Changes nothing but the times at which it was found so. What is wrong is a finding, not an error.
   */
  verify(options?: VerifyOptions): Promise<VerifyReport>;
  /**
   * Brings back what a target holds: the whole memory with its history where nothing was saved yet, else new versions of
   * what differs. `dryRun` answers the plan. Interrupted, it can be called again and goes on. Throws `E_HISTORY` when the
   * target tells no history.
   */
  restoreFrom(target: string, options?: FromTargetOptions): Promise<FromTarget>;
}

export const createProving = (verifying: VerifyParts, bringing: FromTargetParts): Proving => ({
  verify: async (options) => (await import("./verify.ts")).verify(verifying, options),
  restoreFrom: async (target, options) => (await import("./from-target.ts")).restoreFrom(bringing, target, options),
});

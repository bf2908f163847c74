/**
 * What is wrong, why, and what to do.
 * @module
 */
import type { ErrorCode } from "../core/errors.ts";

export interface Finding {
  readonly level: "ok" | "warning" | "error";
  /** Which part was looked at: `config`, `state`, `logs` … */
  readonly part: string;
  readonly message: string;
  readonly cure: string | null;
  readonly code: ErrorCode | null;
  /** `--fix` mended it. */
  readonly fixed: boolean;
}

export async function examine(_: unknown): Promise<Finding[]> {
  return [];
}

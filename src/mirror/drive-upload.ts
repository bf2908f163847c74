/**
 * What an upload of one file comes to over all its targets.
 * @module
 */
import { ERRORS, type ErrorCode } from "../core/errors.ts";
import type { Outcome, UploadStatus } from "../core/outcome.ts";

/** What `driveUpload` answers. */
export interface UploadResult {
  readonly status: "success" | "skipped" | "fail";
  /** Tries of the whole write; 0 when nothing was sent. */
  readonly attempts: number;
  /** Where it is, as people read it; null when it is nowhere. */
  readonly drive_path: string | null;
  readonly notes: string;
  /** Set whenever it failed, and with `E_CONFLICT` when someone else's content was found and kept. */
  readonly code?: ErrorCode;
}

/** One file's results: the worst at the top, then one for each target. */
export interface FileResult extends UploadResult {
  readonly file: string;
  readonly targets: readonly (UploadResult & { readonly target: string })[];
}

const statusOf = (status: UploadStatus): UploadResult["status"] =>
  status === "success" || status === "conflict" ? "success" : status === "skipped" ? "skipped" : "fail";

export function resultOf(outcome: Outcome): UploadResult {
  const status = outcome.status === "conflict" && outcome.attempts === 0 ? "fail" : statusOf(outcome.status);
  const { attempts, drive_path, notes, code } = outcome;
  return { status, attempts, drive_path, notes, ...(code === undefined ? {} : { code }) };
}

const badness = ({ status, code }: UploadResult): number =>
  status === "fail" ? 10 + (code ? ERRORS[code].exit : 1) : code ? 5 : status === "success" ? 1 : 0;

/** Sums up a file's outcomes; there is at least one. */
export function sumUp(file: string, outcomes: readonly Outcome[]): FileResult {
  const targets = outcomes.map((outcome) => ({ target: outcome.target, ...resultOf(outcome) }));
  const [worst] = targets.toSorted((a, b) => badness(b) - badness(a));
  if (!worst) throw new RangeError("no outcome to sum up");
  const { target: _, ...top } = worst;
  return { file, ...top, targets };
}

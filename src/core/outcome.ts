/**
 * How an upload ended, in one shape for the upload log, receipts and `driveUpload`.
 * @module
 */
import type { ErrorCode } from "./errors.ts";
import type { Actor } from "./version.ts";

export type UploadStatus = "success" | "skipped" | "fail" | "token_missing" | "conflict" | "held" | "blocked";

/** One upload that was asked for, and what became of it. */
export interface Outcome {
  readonly file: string;
  readonly target: string;
  readonly status: UploadStatus;
  /** Tries of the whole write in this run: a clean upload is 1, a skip 0. */
  readonly attempts: number;
  /** The path as people read it, with `drive_root`; null when it is not known. */
  readonly drive_path: string | null;
  readonly notes: string;
  readonly code?: ErrorCode | undefined;
  readonly version: string | null;
  readonly sha256: string | null;
  readonly size: number | null;
}

/** The upload log line of an outcome, without the line end. */
export function uploadLine(outcome: Outcome, actor: Pick<Actor, "chat_name" | "context_tags">, timestamp: string): string {
  return JSON.stringify({
    timestamp,
    file: outcome.file,
    status: outcome.status,
    attempts: outcome.attempts,
    context_tags: actor.context_tags,
    chat_name: actor.chat_name,
    notes: outcome.notes,
    target: outcome.target,
    drive_path: outcome.drive_path,
    version: outcome.version,
    sha256: outcome.sha256,
    size: outcome.size,
  });
}

/**
 * What a save returns.
 * @module
 */
import type { Key } from "../core/key.ts";
import type { ErrorCode } from "../core/errors.ts";
import type { UploadStatus } from "../core/outcome.ts";
import type { Alarm, HeadOp } from "../core/version.ts";

export interface ReceiptUpload {
  readonly target: string;
  /** `pending` until it is known. */
  readonly status: "pending" | UploadStatus;
  readonly attempts: number;
  readonly drive_path: string | null;
  readonly notes: string;
  /** Why it failed. */
  readonly code?: ErrorCode;
}

export interface Receipt {
  readonly version: string;
  readonly op: HeadOp;
  readonly file: Key;
  /** Null when the key holds nothing now. */
  readonly sha256: string | null;
  readonly size: number | null;
  readonly prev_sha256: string | null;
  readonly archived_as: Key | null;
  readonly timestamp: string;
  /** The bytes were the same: no version, no archive copy, no upload. */
  readonly unchanged: boolean;
  /** The token that `undo` takes; null when there is nothing to undo. */
  readonly undo: string | null;
  readonly uploads: readonly ReceiptUpload[];
  /** What the guard said of this save; it was accepted all the same, and the version before it is pinned. */
  readonly alarms: readonly Alarm[];
  /** What a caller of `saved` should know: the claimed op did not fit the bytes, and the like. */
  readonly warnings: readonly string[];
}

/**
 * The public API and nothing else.
 * @module
 */
export { driveUpload, openMemory, SaveManager } from "./open.ts";
export type {
  Body,
  Config,
  Connected,
  Dialogue,
  Disconnected,
  Drained,
  DrainOptions,
  DriveUploadOptions,
  FileResult,
  Finding,
  Joined,
  LogKind,
  LogQuery,
  LogValue,
  Memory,
  MemoryEvents,
  OpenOptions,
  Receipt,
  ReceiptUpload,
  SavedMeta,
  SaveOptions,
  SignedIn,
  SignedOut,
  Status,
  SweepReport,
  TargetStatus,
  UploadCall,
  UploadMetadata,
  UploadResult,
} from "./open.ts";
export { AftersaveError, asAftersaveError, ERRORS, EXIT, TargetError, type ErrorCode, type FaultKind } from "./core/errors.ts";
export { parseKey, type Key } from "./core/key.ts";
export type { Outcome, UploadStatus } from "./core/outcome.ts";
export {
  forward,
  stack,
  type Call,
  type Chunks,
  type Entry,
  type Guard,
  type Hash,
  type Look,
  type Seen,
  type Source,
  type Target,
  type Traits,
  type Tries,
  type Wrap,
} from "./core/target.ts";
export { ORIGINS, type Actor, type Meta, type Op, type Origin, type Version } from "./core/version.ts";

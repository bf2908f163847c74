/**
 * What an emulator is to those who use it.
 * @module
 */
import type { Account } from "./account.ts";
import type { Json } from "./errors.ts";
import type { FaultList, RequestInfo } from "./faults.ts";
import type { Lag } from "./store.ts";

export interface DriveEmulatorOptions {
  /** 0, the default: any. */
  readonly port?: number | undefined;
  /** All chance follows from it: ids, and the probabilities of faults. */
  readonly seed?: number | undefined;
  /** Waited per request, before the answer. */
  readonly latencyMs?: number | undefined;
  /** What the account may hold; null: without limit. 15 GiB by default. */
  readonly storageBytes?: number | null | undefined;
  /** By id everything is visible at once; these are for searching and for the feed of changes. */
  readonly lag?: Lag | undefined;
  /** Above it writes are refused with `userRateLimitExceeded`. */
  readonly writeRate?: { readonly perSecond: number; readonly burst: number } | null | undefined;
  /** For token lifetimes, times of files and lags. */
  readonly clock?: { now(): number } | undefined;
  /** How long an access token lives; 3600 by default. */
  readonly tokenSeconds?: number | undefined;
  /** Reason of the 409 for an id that is taken; `fileIdInUse` by default. */
  readonly idTakenReason?: string | undefined;
  /** False: revisions that are not kept for ever can be downloaded too. */
  readonly revisionsLocked?: boolean | undefined;
  /** True: under scope `drive.file`, `files.get("root")` is a 404. */
  readonly rootHidden?: boolean | undefined;
  /** How many children a folder other than the root may have; 500,000 by default. */
  readonly childrenPerFolder?: number | undefined;
  /** So long after its content was written, a file's version and etag move once more, as they do when Google indexes it. */
  readonly settleMs?: number | undefined;
}

/** What can be changed while it runs. */
export interface EmulatorSettings {
  latencyMs: number;
  readonly lag: Lag;
  writeRate: { readonly perSecond: number; readonly burst: number } | undefined;
}

export interface RequestRecord {
  readonly at: number;
  readonly method: string;
  readonly path: string;
  /** `files.create`, `files.download`, `v2.files.update`, `upload.chunk`, `upload.status`, `oauth.token`, … */
  readonly api: string;
  readonly kind: RequestInfo["kind"];
  readonly query: Readonly<Record<string, string>>;
  readonly fileId: string | undefined;
  /** 0: the connection ended without an answer. */
  status: number;
  /** Of the bodies. */
  bytesIn: number;
  bytesOut: number;
  /** Kind of the fault that struck. */
  fault: string | undefined;
  /** Why it was refused. */
  reason: string | undefined;
  /** Google's quota units. */
  readonly units: number;
}

export interface DriveEmulator {
  /** Ends with a slash. */
  readonly rootUrl: string;
  /** Tokens are revoked at its sibling `revoke`. */
  readonly tokenUrl: string;
  readonly authUrl: string;
  readonly seed: number;
  /** The file that the Google Cloud console offers for a desktop app; `app` names another app than the usual one. */
  clientFile(app?: string): Json;
  /**
   * A file as Google writes it. With `expired` it also holds an access token, alive or dead, and its `expiry_date`.
   * Scope `drive.file` by default.
   */
  authorizedUser(options?: { scope?: string | undefined; expired?: boolean | undefined; app?: string | undefined }): Json;
  /** A key file. Without `storage` it cannot own files. */
  serviceAccount(options?: { storage?: boolean | undefined }): Json;
  /** A bearer token, by default for scope `drive`; `service` is a service account's address. */
  accessToken(options?: { scope?: string | undefined; app?: string | undefined; service?: string | undefined }): string;
  readonly account: Account;
  /** Every request to Google's addresses since the start or `resetLedger`, oldest first. */
  readonly requests: readonly RequestRecord[];
  /** By api name, with the sums `reads`, `writes`, `uploads` (chunks and questions to sessions), `tokens`, `total` and `units`. */
  counts(): Record<string, number>;
  resetLedger(): void;
  readonly faults: FaultList;
  readonly settings: EmulatorSettings;
  close(): Promise<void>;
}

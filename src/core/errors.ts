/**
 * The one table of error codes. Every error that leaves a public function is an `AftersaveError` with a code from
 * here; `docs/errors.md` is checked against this table by a test.
 * @module
 */

/** Exit codes of the command line (CONTRACT section 5). */
export const EXIT = { ok: 0, failed: 1, usage: 2, partly: 3, signedOut: 4, undecided: 5 } as const;

interface Row {
  readonly exit: number;
  /** What the code means, for docs/errors.md. */
  readonly means: string;
  /** Whether data is at risk; ends every message that people read. */
  readonly data: string;
}

const untouched = "Nothing was changed.";
const kept = "The save is kept here; only its copy elsewhere is missing.";
const row = (exit: number, means: string, data: string = untouched): Row => ({ exit, means, data });

export const ERRORS = {
  E_USAGE: row(2, "an unknown command or option, or a missing argument"),
  E_NO_ROOT: row(2, "no paths.json in this folder or above it"),
  E_CONFIG: row(2, "paths.json has an unknown key, a wrong type or a value that is not allowed"),
  E_CONFIG_SYNTAX: row(2, "paths.json is not valid JSON"),
  E_CONFIG_UNSUPPORTED: row(2, "paths.json asks for a protection that this version cannot give"),
  E_TARGET_TYPE: row(2, "a target has a type that does not exist"),
  E_TARGET_UNKNOWN: row(2, "no target has this name"),
  E_STATE_PLACE: row(2, "state_dir lies on a network file system or in a folder that a sync client manages"),
  E_KEY_EMPTY: row(2, "the key is empty"),
  E_KEY_OUTSIDE: row(2, "the path leaves local_data_dir, also through .. or a symbolic link"),
  E_KEY_CONTROL: row(2, "the key has a NUL or control character"),
  E_KEY_NAME: row(2, "a supported system cannot hold this name"),
  E_KEY_LONG: row(2, "a segment of the key is longer than 200 bytes"),
  E_KEY_RESERVED: row(2, "the key belongs to the archive folder, a top folder named Root, or aftersave itself"),
  E_KEY_FOLDER: row(2, "the path is a folder, not a file"),
  E_KEY_SECRET: row(2, "the name of the file holds what looks like a secret"),
  E_KEY_TWIN: row(2, "two files are one key after Unicode NFC, or differ only in case where the target ignores case"),
  E_LOG_PLACE: row(2, "a log's path is a folder or cannot be written"),
  E_NOT_FOUND: row(1, "the file does not exist, or vanished"),
  E_VERSION: row(2, "no version has this name, or more than one has"),
  E_CONTENT_GONE: row(1, "what a version held is kept nowhere any more, or nowhere that can be reached"),
  E_NOT_TEXT: row(1, "the content is not text, or too long to be taken apart into lines"),
  E_STALE: row(1, "the precondition if_sha256 does not hold: the content is another by now"),
  E_OVERLAP: row(5, "newer saves changed the same lines as the save that is to be taken back"),
  E_BUSY: row(1, "another process holds this key and did not let go in time"),
  E_INTERLEAVED: row(
    1,
    "another program wrote into the file during an append",
    "Everything found in the file is kept as an external version.",
  ),
  E_NO_SPACE: row(1, "the disk is full"),
  E_READ_ONLY: row(1, "the file system is read-only"),
  E_PERMISSION: row(1, "the system refuses access"),
  E_IO: row(1, "the disk or file system reports an error", "Accepted versions are kept; this save was not accepted."),
  E_NO_SQLITE: row(1, "no SQLite for this Node is installed"),
  E_STATE_NEWER: row(1, "the state file was written by a newer aftersave"),
  E_STATE_CORRUPT: row(
    1,
    "the state file is damaged",
    "Files, archive and logs are untouched; the state can be rebuilt from them.",
  ),
  E_LOG_FOREIGN: row(
    1,
    "another program goes on writing the memory changelog",
    "No line was altered; the history is safe in the state file.",
  ),
  E_LOG_ALTERED: row(
    1,
    "someone altered, cut or removed the memory changelog, or added to it",
    "No line was lost: the history is safe in the state file.",
  ),
  E_CLOSED: row(1, "the memory was already closed"),
  E_TOKEN_MISSING: row(4, "not signed in at this target", kept),
  E_AUTH: row(4, "the target refuses the credentials", kept),
  E_SIGN_IN_EXPIRED: row(4, "the sign-in at the target has expired or was revoked", kept),
  E_SIGN_IN_SCOPE: row(4, "the sign-in does not allow what is asked of it", kept),
  E_SIGN_IN_CLIENT: row(4, "the target does not know the app or service account that signs in", kept),
  E_SIGN_IN_POLICY: row(4, "an administrator's policy keeps this app out", kept),
  E_API_DISABLED: row(1, "the target's API is switched off in the project of the app", kept),
  E_CONFLICT: row(
    5,
    "someone else changed the file at the target",
    "Theirs is kept in the archive beside ours; nothing is lost.",
  ),
  E_HELD: row(5, "the guard holds this save until a person decides", "The new content is kept as a held version."),
  E_ERASED: row(5, "what was erased is brought back, by a save or by an upload"),
  E_BLOCKED: row(5, "a rule keeps this file from leaving the machine", kept),
  E_TARGET_IN_USE: row(5, "another memory root owns this place", kept),
  E_SDK_MISSING: row(1, "a package or program that this type of target needs is not installed", kept),
  E_TARGET_DISABLED: row(1, "the target is not enabled", kept),
  E_TARGET_ABSENT: row(1, "the file is not on the target", kept),
  E_TARGET_UNREACHABLE: row(1, "the target cannot be reached", kept),
  E_TARGET_TRANSIENT: row(1, "the target failed in a way that can pass", kept),
  E_TARGET_THROTTLED: row(1, "the target asks to slow down", kept),
  E_TARGET_QUOTA: row(1, "no space is left at the target", kept),
  E_NO_STORAGE: row(1, "the account has no storage of its own at the target", kept),
  E_DAILY_LIMIT: row(1, "a limit of the target for one day is used up", kept),
  E_FOLDER_FULL: row(1, "a folder, drive or account at the target holds as many items as it may", kept),
  E_FOLDER_DEPTH: row(1, "the folders at the target are nested as deep as they may be", kept),
  E_TARGET_FORBIDDEN: row(1, "the account may not do this with that file or folder at the target", kept),
  E_TARGET_CORRUPT: row(1, "the target's bytes are not the ones that were sent", kept),
  E_TARGET_UNSUPPORTED: row(1, "the target cannot do this", kept),
  E_ARCHIVE_CHANGED: row(
    1,
    "an archive copy is no longer what was archived",
    "The changed copy is left as it is and not uploaded.",
  ),
  E_HISTORY: row(1, "a history is missing, or is not what was written"),
  E_DAMAGED: row(1, "a kept copy, or a memory file that nobody is seen to have changed, is not what was accepted"),
  E_INGEST: row(1, "a line of save events could not be read", "The other lines are not affected."),
  E_INTERNAL: row(1, "a bug in aftersave", "Accepted versions are kept."),
} as const satisfies Record<string, Row>;

export type ErrorCode = keyof typeof ERRORS;

export interface ErrorOptions {
  /** What the reader should do next, one sentence. */
  readonly hint?: string;
  readonly cause?: unknown;
  /** Facts for programs, for example `{ sha256 }` of `E_STALE`. Never content, never a secret. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** The only error that public functions throw for what can be foreseen. */
export class AftersaveError extends Error {
  override readonly name: string = "AftersaveError";
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.details = options.details ?? {};
  }

  /** The exit code a command ends with when this is what stopped it. */
  get exit(): number {
    return ERRORS[this.code].exit;
  }

  /** One sentence that says whether data is at risk. */
  get data(): string {
    return ERRORS[this.code].data;
  }
}

/**
 * What kind of failure a target reports. `throttled` and `transient` can pass and are tried again; all others stop
 * at once. A driver that cannot tell says `transient` on purpose.
 */
export type FaultKind = "not-found" | "conflict" | "auth" | "quota" | "throttled" | "transient" | "corrupt" | "unsupported";

const codeOfKind: Record<FaultKind, ErrorCode> = {
  "not-found": "E_TARGET_ABSENT",
  conflict: "E_CONFLICT",
  auth: "E_AUTH",
  quota: "E_TARGET_QUOTA",
  throttled: "E_TARGET_THROTTLED",
  transient: "E_TARGET_TRANSIENT",
  corrupt: "E_TARGET_CORRUPT",
  unsupported: "E_TARGET_UNSUPPORTED",
};

export interface TargetErrorOptions extends ErrorOptions {
  /** A more exact code than the kind's own. */
  readonly code?: ErrorCode;
  /** How long the place asked us to wait. */
  readonly retryAfterMs?: number;
}

/** The only error that a `Target` throws, bar `AbortError`. */
export class TargetError extends AftersaveError {
  override readonly name = "TargetError";
  readonly kind: FaultKind;
  readonly retryAfterMs: number | undefined;

  constructor(kind: FaultKind, message: string, options: TargetErrorOptions = {}) {
    super(options.code ?? codeOfKind[kind], message, options);
    this.kind = kind;
    this.retryAfterMs = options.retryAfterMs;
  }

  /** Whether the same call may succeed later without anyone doing anything. */
  get canPass(): boolean {
    return this.kind === "throttled" || this.kind === "transient";
  }
}

const codeOfErrno: Record<string, ErrorCode> = {
  ENOSPC: "E_NO_SPACE",
  EDQUOT: "E_NO_SPACE",
  EFBIG: "E_NO_SPACE",
  EROFS: "E_READ_ONLY",
  EACCES: "E_PERMISSION",
  EPERM: "E_PERMISSION",
  ENOENT: "E_NOT_FOUND",
  EISDIR: "E_KEY_FOLDER",
};

const hintOfCode: Partial<Record<ErrorCode, string>> = {
  E_NO_SPACE: "Free some space on this disk, then save again.",
  E_READ_ONLY: "Make the file system writable, then save again.",
  E_PERMISSION: "Check the owner and mode of this file and its folder.",
  E_NOT_FOUND: "Check the path; if the file was moved, save it under its new key.",
  E_IO: "Check the disk (the system's log names the fault), then run `aftersave doctor`.",
};

/** For people who do not read errno. */
const wordsOfErrno: Record<string, string> = {
  ENOSPC: "the disk is full",
  EDQUOT: "the quota of this disk is used up",
  EFBIG: "the file would be larger than the disk allows",
  EROFS: "the file system is read-only",
  EACCES: "the system does not allow it",
  EPERM: "the system does not allow it",
};

/** The same error, said of the file that people know instead of our `temporary` one, which becomes it. */
export function saidOf(error: unknown, temporary: string, path: string): unknown {
  if (error instanceof Error) error.message = error.message.replaceAll(temporary, path);
  return error;
}

/** What went wrong, for people; the system's own words stand in brackets. */
export function inWords(error: unknown): string {
  const said = error instanceof Error ? error.message : String(error);
  const words = wordsOfErrno[errnoOf(error)];
  return words === undefined ? said : `${words} (${said})`;
}

/** The `code` of a system error, `""` when it has none. */
export function errnoOf(error: unknown): string {
  return typeof error === "object" && error !== null && "code" in error && typeof error.code === "string" ? error.code : "";
}

/** Turns whatever was thrown into an `AftersaveError`, keeping the original as `cause`. `doing` is a gerund phrase. */
export function asAftersaveError(error: unknown, doing: string): AftersaveError {
  if (error instanceof AftersaveError) return error;
  const errno = errnoOf(error);
  const code = codeOfErrno[errno] ?? (/^E[A-Z0-9]+$/.test(errno) ? "E_IO" : "E_INTERNAL");
  const hint = hintOfCode[code] ?? "Please report this, with the output of the same command and --debug.";
  return new AftersaveError(code, `${doing} failed: ${inWords(error)}`, { cause: error, hint });
}

/**
 * What the driver needs of Google Drive, and nothing more. Two things stand behind it: Google's own client
 * (`google.ts`), and a client that a caller injects (`injected.ts`). Every method makes one request unless it says
 * otherwise, has a time limit, is never repeated by a library, and throws `TargetError` only (bar `AbortError`).
 * @module
 */
import type { Chunks } from "../../core/target.ts";

export const FOLDER = "application/vnd.google-apps.folder";

export interface Asked {
  readonly signal?: AbortSignal | undefined;
}

/** A file or folder as Drive describes it. */
export interface DriveFile {
  readonly id: string;
  readonly name: string;
  readonly mimeType: string;
  readonly parents: readonly string[];
  /** In the trash, by itself or with a folder above it. */
  readonly trashed: boolean;
  /** Undefined for folders and Google's own formats. */
  readonly size: number | undefined;
  /** Lower-case hex; Drive has it for nearly every file, and the MD5 for every one. */
  readonly sha256: string | undefined;
  readonly md5: string | undefined;
  /** `headRevisionId`: changes with every content, and with nothing else. Undefined for folders. */
  readonly rev: string | undefined;
  /** Guards a write; only v2 answers carry it. */
  readonly etag: string | undefined;
  /** RFC 3339, of the server's clock. */
  readonly createdTime: string;
  readonly appProperties: Readonly<Record<string, string>>;
  readonly canAddChildren: boolean | undefined;
  readonly canEdit: boolean | undefined;
}

/** What is written about a file. What is left out stays as it is; a property that is null is removed. */
export interface Facts {
  readonly name?: string;
  readonly parents?: readonly string[];
  readonly appProperties?: Readonly<Record<string, string | null>>;
  /** Update only: moves the file. */
  readonly addParents?: readonly string[];
  readonly removeParents?: readonly string[];
}

export interface Revision {
  readonly id: string;
  readonly md5: string | undefined;
  readonly size: number | undefined;
  readonly modifiedTime: string;
  readonly keepForever: boolean;
}

/** Where a resumable upload stands: it goes on at `sent`, it is finished, or Drive has forgotten it. */
export type Progress = { readonly sent: number } | { readonly done: DriveFile } | { readonly gone: true };

export interface Storage {
  /** Null: unlimited, or none of the user's own (shared drives). */
  readonly limit: number | null;
  readonly usage: number;
  readonly email: string | null;
  /** Google's clock, from the answer's `Date`. */
  readonly serverTime: number | null;
}

export interface DriveApi {
  /** Whether `update` and `remove` with an etag are checked by Drive itself. */
  readonly guarded: boolean;
  /** Whether there are resumable uploads; without them `create` and `update` take any size. */
  readonly sessions: boolean;
  /** At most 1,000. */
  generateIds(count: number, asked?: Asked): Promise<string[]>;
  /** Throws `not-found` for what is gone or cannot be seen; answers what lies in the trash. Always with an etag where `guarded`. */
  get(id: string, asked?: Asked): Promise<DriveFile>;
  /** All pages of a search in Drive's query language; one request per 1,000 files. Without etags. */
  search(query: string, asked?: Asked): AsyncIterable<DriveFile>;
  /** Throws `conflict` when the id is taken. */
  createFolder(id: string, facts: Facts, asked?: Asked): Promise<DriveFile>;
  /** A file of at most a few MB in one request. Throws `conflict` when the id is taken, `not-found` when a parent is. */
  create(id: string, facts: Facts, bytes: Uint8Array, asked?: Asked): Promise<DriveFile>;
  /** The next revision of a file. With an etag: throws `conflict` when it is not the file's any more. */
  update(id: string, facts: Facts, bytes: Uint8Array, etag: string | undefined, asked?: Asked): Promise<DriveFile>;
  /** Changes what is known about a file, not its content. */
  patch(id: string, facts: Facts, asked?: Asked): Promise<DriveFile>;
  /**
   * Opens a resumable upload of `size` bytes and answers its address, a secret: `create` makes a file of that id, `update` the next
   * revision (guarded by the etag at this moment). Undefined in `DriveApi.session` where a client cannot.
   */
  startSession(
    what: { readonly create: string } | { readonly update: string; readonly etag: string | undefined },
    facts: Facts,
    size: number,
    asked?: Asked,
  ): Promise<string>;
  /** Sends `length` bytes from `offset` on; `bytes` are exactly those. Answers what Drive acknowledges. Throws what the bytes throw. */
  sendChunk(
    session: string,
    chunk: { readonly offset: number; readonly length: number; readonly total: number; readonly bytes: Chunks },
    asked?: Asked,
  ): Promise<Progress>;
  /** Asks where a session stands. */
  askSession(session: string, total: number, asked?: Asked): Promise<Progress>;
  /** Drops a session; one that is gone is fine. */
  dropSession(session: string, asked?: Asked): Promise<void>;
  /** A server-side copy of the head. Throws `conflict` when the id is taken. */
  copy(from: string, id: string, facts: Facts, asked?: Asked): Promise<DriveFile>;
  /** For ever, past the trash. What is gone already is fine. With an etag: throws `conflict` when it is not the file's any more. */
  remove(id: string, etag: string | undefined, asked?: Asked): Promise<void>;
  trash(id: string, asked?: Asked): Promise<void>;
  /** The head's bytes; a body that ends early throws `transient`. */
  download(id: string, asked?: Asked): Promise<Chunks>;
  /** Oldest first. */
  revisions(id: string, asked?: Asked): Promise<Revision[]>;
  /** Keeps a revision for ever. */
  pin(id: string, revision: string, asked?: Asked): Promise<void>;
  about(asked?: Asked): Promise<Storage>;
  /** A shared drive's name and what may be done in it. */
  sharedDrive(id: string, asked?: Asked): Promise<{ readonly name: string; readonly canAddChildren: boolean }>;
}

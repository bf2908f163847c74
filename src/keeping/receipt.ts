/**
 * What an erasure says of itself: each copy and what became of it, and what it could not reach. Never what was erased.
 * @module
 */
import type { ErrorCode } from "../core/errors.ts";
import type { Key } from "../core/key.ts";

/** What is to be erased: exactly one of these; a version may be named with its key. */
export interface EraseWish {
  /** A memory file: all that it ever held, and its name. */
  readonly key?: string | undefined;
  /** What one version brought. */
  readonly version?: string | undefined;
  readonly chat?: string | undefined;
  readonly session?: string | undefined;
  /** A text, letter by letter. */
  readonly match?: string | undefined;
}

export type ErasedBy = "key" | "version" | "chat" | "session" | "match";

export interface EraseOptions {
  /** Only says what would be done. */
  readonly dry_run?: boolean | undefined;
  /** Stands in the `erase` lines. */
  readonly reason?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** One place that had it. */
export interface ErasedCopy {
  /** `here`, or the name of a target. */
  readonly where: string;
  readonly what:
    | "file"
    | "kept copy"
    | "archive copy"
    | "held content"
    | "log"
    | "state"
    | "mirror"
    | "history"
    | "kept aside"
    | "unread content";
  /** A key, or the path of a log. */
  readonly name: string;
  /** `unread content`: a place that may have what was not looked at yet. `pending`: it could not be reached, and is tried again by each flush. */
  readonly outcome: "planned" | "rewritten" | "removed" | "pending";
  readonly code?: ErrorCode | undefined;
  /** What the place cannot forget. */
  readonly notes?: string | undefined;
}

/** How `what` begins where the name of a file holds the text. */
export const NAME = "the name ";

/** Something that an erasure does not reach. */
export interface Remains {
  readonly what: string;
  readonly why: string;
  /** What a person can do. */
  readonly cure: string;
}

/** What an erasure did, or would do. */
export interface Forgotten {
  /** The same was erased before, and nothing of it is left here: the copies are those at targets that were still to be reached. */
  readonly resumed: boolean;
  /** Its tombstone; null when there was nothing to erase, and of a plan. */
  readonly erasure: string | null;
  readonly by: ErasedBy;
  readonly dry_run: boolean;
  /** Lines of the changelog that were erased. */
  readonly lines: number;
  /** Versions that are kept without what was erased. */
  readonly redacted: number;
  /** Files that it stood in, with how many of their versions were redacted. */
  readonly files: readonly { readonly file: Key; readonly versions: number; readonly removed: boolean }[];
  readonly copies: readonly ErasedCopy[];
  readonly remains: readonly Remains[];
  /** Copies that could not be reached yet. */
  readonly pending: number;
}

/** A tombstone, as it is listed. */
export interface Erasing {
  readonly erasure: string;
  readonly at: string;
  readonly by: string;
  /** How many texts it blocks. */
  readonly texts: number;
  /** Copies that could not be reached yet. */
  readonly pending: number;
}

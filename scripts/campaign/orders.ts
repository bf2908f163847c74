/**
 * What parent and writing child say to each other.
 * @module
 */
import type { Step } from "../../src/memory/journal.ts";

export type Act =
  "first" | "append" | "replace" | "stream" | "archive" | "saved-growth" | "saved-whole" | "saved-removal" | "flush" | "work";

export interface Orders {
  readonly root: string;
  readonly seed: number;
  /** Saves to make, when there is no script. */
  readonly count: number;
  /** Just these, in order; the kill is meant for the last one. */
  readonly script?: readonly { readonly act: Act; readonly key: string; readonly size?: number }[];
  /** Instead: appends this many numbered lines to one file. */
  readonly lines?: { readonly id: string; readonly key: string; readonly count: number };
  /** Goes on after a save that failed, and tells why it did. */
  readonly tolerant?: boolean;
  /** Is killed when all is done, instead of closing the memory. */
  readonly dies?: boolean;
  /** Ends itself with SIGKILL at the nth time that it comes to this step. */
  readonly kill?: { readonly step: Step; readonly nth: number };
}

/** A save that was announced and may or may not have been accepted. */
export interface Doing {
  readonly doing: Act;
  readonly op: string;
  readonly file: string;
  readonly prev: string | null;
  readonly sha256: string | null;
  readonly size: number | null;
}

/** A save that was accepted. */
export interface Did {
  readonly did: Act;
  readonly version: string;
  readonly file: string;
  readonly sha256: string | null;
  readonly size: number | null;
  readonly archived_as: string | null;
}

/** A save that was refused, and what the file held then. */
export interface Failed extends Doing {
  readonly code: unknown;
  readonly hint: unknown;
  readonly live: "old" | "new" | "other";
}

export type Line =
  { readonly ready: true } | Failed | Doing | Did | { readonly doing: "flush" | "work" } | { readonly did: "flush" | "work" };

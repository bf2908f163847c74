/**
 * Pins: versions that `prune` keeps whatever the rules say. A pin is a line of the changelog, like every decision.
 * @module
 */
import type { Clock } from "../core/clock.ts";
import { AftersaveError } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import { actorOf, NO_CONTENT, type Meta, type Version } from "../core/version.ts";
import type { Versions } from "../memory/versions.ts";
import type { State } from "../state/state.ts";

export interface PinParts {
  readonly state: Pick<State, "saves" | "decisions" | "copies">;
  readonly versions: Versions;
  readonly clock: Clock;
  readonly keyOf: (text: string) => Key;
  readonly newId: () => string;
  /** A line was written, and is due for the log. */
  readonly onLine: () => void;
}

/** What became of a pin. */
export interface Pinned {
  readonly version: string;
  readonly file: Key;
  /** When the version was saved. */
  readonly timestamp: string;
  readonly pinned: boolean;
  /** False: it was so already, and no line was written. */
  readonly changed: boolean;
  /** It is not pinned any more, but `prune` keeps it all the same: it is the version before an alarm of the guard. */
  readonly guarded: boolean;
}

/** Says of a version (`VERSION` or `KEY@VERSION`) that it is pinned, or is no more. Throws `E_VERSION`, `E_USAGE`, `E_KEY_…`. */
export async function pin(parts: PinParts, text: string, pinned: boolean, meta: Meta = {}): Promise<Pinned> {
  const { state, clock, newId, onLine } = parts;
  const { version, file, sha256, timestamp } = await versionOf(parts, text);
  if (sha256 === null)
    throw new AftersaveError("E_USAGE", `${version} holds nothing that could be pinned`, {
      hint: "Pin a version that holds content; `aftersave history KEY` lists them.",
    });
  const changed = (await state.decisions.pinned(version)) !== pinned;
  if (changed) {
    await state.saves.decide({
      ...actorOf(meta),
      version: newId(),
      op: pinned ? "pin" : "unpin",
      file,
      ...NO_CONTENT,
      timestamp: new Date(clock.now()).toISOString(),
      details: { about: [version] },
    });
    onLine();
  }
  const guarded = !pinned && (await state.copies.alarmed()).has(version);
  return { version, file, timestamp, pinned, changed, guarded };
}

/** A name may have an @ of its own: the last one that a version follows counts. */
async function versionOf({ versions, keyOf }: PinParts, text: string): Promise<Version> {
  const at = text.lastIndexOf("@");
  return at < 0 ? versions.named(text) : versions.named(text.slice(at + 1), keyOf(text.slice(0, at)));
}

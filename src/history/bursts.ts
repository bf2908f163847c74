/**
 * Bursts: what one actor did in one go.
 * @module
 */
import type { Version } from "../core/version.ts";

/** Two saves of one burst are at most this far apart. */
const GAP_MS = 10 * 60_000;

/** So that an entry of the history can be told from a bounded number of lines. */
export const MOST_VERSIONS = 1000;

const SAVES: ReadonlySet<string> = new Set(["append", "replace", "archive", "external"]);

/** Saves go with saves, restores with restores, erased lines with erased lines; a decision, and a save that waits for one, stands alone. */
const kindOf = ({ op, details, commitment }: Version): string | undefined => {
  if (commitment !== null) return "erased";
  if (details?.held) return undefined;
  return SAVES.has(op) ? "save" : op === "restore" ? op : undefined;
};

/** Whether `newer`, the next one in a listing, belongs to the burst of `older`. */
export function belongs(newer: Version, older: Version): boolean {
  const kind = kindOf(newer);
  return (
    kind !== undefined &&
    kind === kindOf(older) &&
    newer.chat_name === older.chat_name &&
    newer.model === older.model &&
    newer.session_id === older.session_id &&
    newer.tool === older.tool &&
    newer.origin === older.origin &&
    Math.abs(Date.parse(newer.timestamp) - Date.parse(older.timestamp)) <= GAP_MS
  );
}

/** Versions that are one entry, newest first, and whether the listing goes on behind them. */
export interface Burst {
  readonly versions: readonly [Version, ...Version[]];
  readonly more: boolean;
}

/** Puts the versions of a listing (newest first) together; reads no further than one line behind a burst. */
export async function* burstsOf(versions: AsyncIterable<Version>, grouped: boolean): AsyncGenerator<Burst> {
  let burst: [Version, ...Version[]] | undefined;
  for await (const version of versions) {
    const last = burst?.at(-1);
    if (burst && last && grouped && burst.length < MOST_VERSIONS && belongs(last, version)) burst.push(version);
    else {
      if (burst) yield { versions: burst, more: true };
      burst = [version];
    }
  }
  if (burst) yield { versions: burst, more: false };
}

/**
 * Looking back at who did what: the part of a memory that `history` and `blame` are. Loads what it needs when it is asked.
 * @module
 */
import type { Blame, BlameOptions } from "./blame.ts";
import type { History, HistoryQuery } from "./history.ts";
import type { LookingParts } from "./parts.ts";
import type { TraceRecord } from "./trace.ts";

export interface Looking {
  /** What was saved and decided, newest first; one actor's burst is one entry. Throws `E_VERSION`, `E_KEY_…`, `E_USAGE`. */
  history(query?: HistoryQuery): Promise<History>;
  /**
   * Names for each line of what `key` holds, or held at a version, the save that wrote it. Throws `E_VERSION`, `E_NOT_FOUND`,
   * `E_NOT_TEXT`, `E_CONTENT_GONE`.
   */
  blame(key: string, options?: BlameOptions): Promise<Blame>;
  /** The same as an Agent Trace record. */
  trace(key: string, options?: BlameOptions): Promise<TraceRecord>;
}

export function createLooking(parts: LookingParts): Looking {
  const blame = async (text: string, options: BlameOptions = {}) => {
    const [looked, { createKnownBlames }] = await Promise.all([import("./blame.ts"), import("./known-blames.ts")]);
    return looked.blame({ ...parts, known: createKnownBlames(parts.blamesDir) }, parts.keyOf(text), options);
  };
  return {
    blame,
    async history(query = {}) {
      return (await import("./history.ts")).history(parts, query);
    },
    async trace(text, options) {
      const { traceOf } = await import("./trace.ts");
      return traceOf(await blame(text, options), parts);
    },
  };
}

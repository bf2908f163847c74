/**
 * Looking at what was: one version, the difference of two, and a moment beside now. Changes nothing.
 * @module
 */
import type { Key } from "../core/key.ts";
import { createFinder, show, type FinderParts, type Shown, type ShowQuery } from "./show.ts";

export interface Showing {
  /**
   * What a key holds as last accepted, or held in a version or at a time. Throws `E_NOT_FOUND` when that is nothing, `E_VERSION`,
   * and `E_CONTENT_GONE`. A change that others made is not seen before a `sweep`.
   */
  show(key: string, query?: ShowQuery): Promise<Shown>;
}

export interface ShowingParts extends FinderParts {
  readonly keyOf: (text: string) => Key;
}

export function createShowing(parts: ShowingParts): Showing {
  const finder = createFinder(parts);
  return {
    show: async (key, query) => show(finder, parts.keyOf(key), query),
  };
}

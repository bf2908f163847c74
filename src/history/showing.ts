/**
 * Looking at what was: one version, the difference of two, and a moment beside now. Changes nothing.
 * @module
 */
import { AftersaveError } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import type { AsOf } from "./as-of.ts";
import type { Diff, DiffQuery } from "./diff.ts";
import { createFinder, isoOf, show, type FinderParts, type Shown, type ShowQuery } from "./show.ts";

/** Nothing here sees a change that others made before a `sweep` has made it a version. */
export interface Showing {
  /**
   * What a key holds as last accepted, or held in a version or at a time. Throws `E_NOT_FOUND` when that is nothing, `E_VERSION`,
   * and `E_CONTENT_GONE`.
   */
  show(key: string, query?: ShowQuery): Promise<Shown>;
  /**
   * What is different between two versions of a key: the last change by default, with `from` all that changed since. By word
   * for prose, by path for JSON, else by line. Throws `E_NOT_FOUND`, `E_VERSION`, and `E_CONTENT_GONE`.
   */
  diff(key: string, query?: DiffQuery): Promise<Diff>;
  /** Which keys hold something else than at that time: in a zone, below a folder, or everywhere. Throws `E_NOT_FOUND` for a prefix that no key has. */
  diffAsOf(time: Date | string, prefix?: string): Promise<AsOf>;
}

export interface ShowingParts extends FinderParts {
  readonly keyOf: (text: string) => Key;
}

export function createShowing(parts: ShowingParts): Showing {
  const { saves, keyOf } = parts;
  const finder = createFinder(parts);

  /** The key, folder or zone that a text means; empty: everything. */
  const prefixOf = (text: string): string => {
    const folder = text.replace(/[/\\]+$/, "");
    if (folder === "" && text === "") return "";
    try {
      return keyOf(folder);
    } catch (error) {
      if (error instanceof AftersaveError && error.code === "E_KEY_FOLDER") return ""; // the data folder itself
      throw error;
    }
  };

  return {
    show: async (key, query) => show(finder, keyOf(key), query),
    async diff(key, query) {
      const { diff } = await import("./diff.ts");
      return diff(finder, keyOf(key), query);
    },
    async diffAsOf(time, prefix = "") {
      const { asOf } = await import("./as-of.ts");
      return asOf(saves, finder, isoOf(time), prefixOf(prefix));
    },
  };
}

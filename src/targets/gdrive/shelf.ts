/**
 * What lies in a folder, seen a moment ago: so that many new files cost one look, not one each.
 * @module
 */
import type { Clock } from "../../core/clock.ts";
import { FOLDER, type Asked, type DriveApi, type DriveFile } from "./api.ts";
import { byAge, quoted } from "./folders.ts";

export interface Shelf {
  /** Files of that name in a folder, oldest first; asked of Drive, unless a batch has looked for this key within the last minute. */
  named(folder: string, key: string, asked?: Asked): Promise<DriveFile[]>;
  /**
   * Looks at a whole folder for a batch of new files, unless that would take more requests than there are files. A folder that was just made, and
   * one where each of them was looked for within the last minute, is not looked at again.
   */
  look(folder: string, keys: readonly string[], asked?: Asked): Promise<void>;
  /** A folder that was just made is empty. */
  isNew(folder: string): void;
  drop(folder: string): void;
}

const FRESH_MS = 60_000;
const PAGE = 1000;

/** A file with bytes of its own: no folder, no shortcut, none of Google's own formats. */
export const isBlob = ({ mimeType }: DriveFile): boolean =>
  mimeType !== FOLDER && !mimeType.startsWith("application/vnd.google-apps.");

export function createShelf(api: Pick<DriveApi, "search">, clock: Pick<Clock, "now">): Shelf {
  const seen = new Map<string, { readonly at: number; readonly made: boolean; readonly names: Map<string, DriveFile[]> }>();
  const fresh = (folder: string) => {
    const found = seen.get(folder);
    return found && Math.abs(clock.now() - found.at) < FRESH_MS ? found.names : undefined;
  };
  const looked = new Set<string>();
  const add = (names: Map<string, DriveFile[]>, file: DriveFile) =>
    names.set(file.name, [...(names.get(file.name) ?? []).filter(({ id }) => id !== file.id), file].toSorted(byAge));

  return {
    async named(folder, key, asked) {
      const name = key.slice(key.lastIndexOf("/") + 1);
      const names = looked.delete(key) ? fresh(folder) : undefined;
      if (names) return names.get(name) ?? [];
      const found: DriveFile[] = [];
      const query = `${quoted(folder)} in parents and name = ${quoted(name)} and trashed = false`;
      // Drive compares names without regard to case
      for await (const file of api.search(query, asked)) if (file.name === name && isBlob(file)) found.push(file);
      return found.toSorted(byAge);
    },
    async look(folder, keys, asked) {
      const again = fresh(folder) !== undefined && (seen.get(folder)?.made === true || keys.every((key) => looked.has(key)));
      for (const key of keys) looked.add(key);
      if (again) return;
      seen.delete(folder);
      if (keys.length < 2) return;
      const [at, names] = [clock.now(), new Map<string, DriveFile[]>()];
      let count = 0;
      for await (const file of api.search(`${quoted(folder)} in parents and trashed = false`, asked)) {
        if (++count > PAGE * keys.length) return;
        if (isBlob(file)) add(names, file);
      }
      seen.set(folder, { at, made: false, names });
    },
    isNew: (folder) => void seen.set(folder, { at: clock.now(), made: true, names: new Map() }),
    drop: (folder) => void seen.delete(folder),
  };
}

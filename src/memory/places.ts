/**
 * Where a key lies on this disk, and which key a path is. Symbolic links inside `Data/` are never followed out of it.
 * @module
 */
import { lstatSync, realpathSync, type Stats } from "node:fs";
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { AftersaveError, errnoOf } from "../core/errors.ts";
import { assertSavable, isArchiveKey, parseKey, type ArchiveFolder, type Key } from "../core/key.ts";

/** A key with the path of its file. */
export interface Place {
  readonly key: Key;
  readonly path: string;
  /** Undefined when there is no file. */
  readonly stats: Stats | undefined;
}

export interface Places {
  readonly dataDir: string;
  /**
   * The key that a person or program means: a key, or a path (absolute, or relative to `cwd` or the memory root).
   * Throws `E_KEY_…`; touches nothing.
   */
  keyOf(text: string, cwd?: string): Key;
  /** Where `key` lies; follows links only inside the data folder, and answers the key of the real file. Throws `E_KEY_…`. */
  place(key: Key): Place;
  /** The same, for keys that a save may use. */
  savable(key: Key): Place;
  isArchive(key: Key): boolean;
  pathOf(key: Key): string;
}

const blocked = (path: string, cause: unknown) =>
  new AftersaveError("E_KEY_FOLDER", `a folder on the way to ${path} is a file`, { cause, hint: "Choose another key." });

const stat = (path: string): Stats | undefined => {
  try {
    return lstatSync(path);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    if (errnoOf(error) === "ENOTDIR") throw blocked(path, error);
    if (errnoOf(error) === "ENAMETOOLONG")
      throw new AftersaveError("E_KEY_LONG", `${path} is longer than this system allows`, {
        cause: error,
        hint: "Shorten the path.",
      });
    throw error;
  }
};

/** The same name in another Unicode form can be too long for the disk; then it is not there. */
const statTwin = (path: string): Stats | undefined => {
  try {
    return stat(path);
  } catch (error) {
    if (error instanceof AftersaveError && error.code === "E_KEY_LONG") return undefined;
    throw error;
  }
};

const toNothing = (text: string, cause: unknown) =>
  new AftersaveError("E_KEY_OUTSIDE", `${JSON.stringify(text)} is a symbolic link to nothing`, {
    cause,
    hint: "Remove the link, or make the file that it names.",
  });

const inside = (folder: string, path: string) => {
  const way = relative(folder, path);
  return way !== "" && way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way);
};

const outside = (what: string, where: string) =>
  new AftersaveError("E_KEY_OUTSIDE", `${what} lies outside the data folder ${where}`, {
    hint: "Name a file below local_data_dir.",
  });

const beyondAscii = /[^ -~]/;

export function createPlaces(root: string, dataDir: string, archive: ArchiveFolder): Places {
  const toKey = (path: string) => relative(dataDir, path).split(sep).join("/");
  const pathOf = (key: Key) => join(dataDir, ...key.split("/"));

  /** The real path of the nearest folder that exists, which must lie in the real data folder. */
  const realFolder = (folder: string, real: string): string => {
    for (let at = folder, rest = ""; ; rest = join(basename(at), rest), at = dirname(at)) {
      try {
        const found = realpathSync.native(at);
        if (found !== real && !inside(real, found)) throw outside(JSON.stringify(toKey(folder)), dataDir);
        return join(found, rest);
      } catch (error) {
        if (errnoOf(error) === "ENOTDIR") throw blocked(at, error);
        if (errnoOf(error) === "ELOOP" || stat(at)?.isSymbolicLink()) throw toNothing(toKey(at), error);
        if (errnoOf(error) !== "ENOENT" || at === dataDir) throw error;
      }
    }
  };

  /** The file under this name, in whichever Unicode form the disk has it. */
  const spelled = (path: string): { path: string; stats: Stats | undefined } => {
    const stats = stat(path);
    if (!beyondAscii.test(path)) return { path, stats };
    const name = basename(path);
    const other = join(dirname(path), name.normalize("NFD"));
    const otherStats = other === path ? undefined : statTwin(other);
    if (!otherStats) return { path, stats };
    if (!stats) return { path: other, stats: otherStats };
    if (stats.ino === otherStats.ino && stats.dev === otherStats.dev) return { path, stats };
    throw new AftersaveError(
      "E_KEY_TWIN",
      `two files are the one key ${JSON.stringify(toKey(path))}: their names differ only in Unicode form`,
      {
        hint: "Rename or remove one of them.",
      },
    );
  };

  /** A folder whose names may be in either Unicode form on the disk. */
  const spelledFolder = (folder: string): string =>
    folder === dataDir || !beyondAscii.test(toKey(folder))
      ? folder
      : spelled(join(spelledFolder(dirname(folder)), basename(folder))).path;

  const place = (key: Key): Place => {
    if (!stat(dataDir)) return { key, path: pathOf(key), stats: undefined };
    const real = realpathSync.native(dataDir);
    const folder = realFolder(spelledFolder(dirname(pathOf(key))), real);
    const { path, stats } = spelled(join(folder, key.slice(key.lastIndexOf("/") + 1)));
    if (stats?.isSymbolicLink()) return followLink(path, real);
    if (stats?.isDirectory())
      throw new AftersaveError("E_KEY_FOLDER", `${JSON.stringify(key)} is a folder`, { hint: "Name a file in it." });
    if (stats && !stats.isFile())
      throw new AftersaveError("E_KEY_NAME", `${JSON.stringify(key)} is not a regular file`, {
        hint: "Only regular files are memory.",
      });
    const folderKey = relative(real, folder).split(sep).join("/");
    const real2 = folderKey === "" ? basename(path) : `${folderKey}/${basename(path)}`;
    return { key: parseKey(real2), path, stats };
  };

  const followLink = (path: string, real: string): Place => {
    try {
      const end = realpathSync.native(path);
      if (!inside(real, end)) throw outside(`the symbolic link ${JSON.stringify(toKey(path))}`, dataDir);
      return place(parseKey(relative(real, end).split(sep).join("/")));
    } catch (error) {
      if (!["ENOENT", "ELOOP"].includes(errnoOf(error))) throw error;
      throw toNothing(toKey(path), error);
    }
  };

  return {
    dataDir,
    pathOf,
    place,
    isArchive: (key) => isArchiveKey(key, archive),
    savable(key) {
      assertSavable(key, archive);
      const found = place(key);
      if (found.key !== key) assertSavable(found.key, archive);
      return found;
    },
    keyOf(text, cwd = root) {
      if (typeof text !== "string")
        throw new AftersaveError("E_USAGE", "a key is not text", { hint: "Give a key such as Meta/Notes.txt." });
      if (text === "" || text.includes("\0")) return parseKey(text);
      const asKey = resolve(dataDir, text);
      const paths = [resolve(cwd, text), resolve(root, text)].filter((path) => inside(dataDir, path));
      const candidates = inside(dataDir, asKey) ? [...paths, asKey] : paths;
      const existing = candidates.find((path) => stat(path));
      if (existing !== undefined) return parseKey(toKey(existing));
      if ([resolve(cwd, text), resolve(root, text), asKey].includes(dataDir))
        throw new AftersaveError("E_KEY_FOLDER", `${JSON.stringify(text)} is the data folder`, { hint: "Name a file in it." });
      if (/[/\\]$/.test(text))
        throw new AftersaveError("E_KEY_FOLDER", `${JSON.stringify(text)} names a folder`, { hint: "Name a file in it." });
      if (candidates[0] !== undefined) return parseKey(toKey(candidates[0]));
      throw outside(JSON.stringify(text), dataDir);
    },
  };
}

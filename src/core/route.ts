/**
 * Routes: which files go to which targets.
 * @module
 */
import { ARCHIVE_MARK, type ArchiveFolder, isArchiveKey } from "./key.ts";

/** A rule from key pattern to targets. */
export interface Route {
  readonly match: string;
  /** Whether this route speaks of `key`. */
  matches(key: string): boolean;
  /** Names of targets, or null for every enabled one. */
  readonly targets: readonly string[] | null;
}

/** What routing must know of a target. */
export interface RoutedTarget {
  readonly name: string;
  readonly enabled: boolean;
}

/** The key that an archive copy came from; any other key is its own origin. */
export function originOf(key: string, archive: ArchiveFolder): string {
  if (!isArchiveKey(key, archive)) return key;
  return key
    .slice(archive.length)
    .replace(/^Root\//, "")
    .replace(ARCHIVE_MARK, "");
}

/**
 * Whether a pattern speaks of a key. An archive copy is treated like the key it came from, so that a file that stays
 * here does not leave as its archive copy; only a pattern that begins with the archive folder speaks of the copy itself.
 */
export function routeMatcher(
  pattern: string,
  isMatch: (key: string) => boolean,
  archive: ArchiveFolder,
): (key: string) => boolean {
  return pattern.startsWith(archive) ? isMatch : (key) => isMatch(originOf(key, archive));
}

/** The names of the enabled targets that `key` goes to: those of the first route that matches, without one all of them. */
export function targetsFor(key: string, routes: readonly Route[], targets: readonly RoutedTarget[]): string[] {
  const named = routes.find((route) => route.matches(key))?.targets ?? null;
  return targets.filter(({ name, enabled }) => enabled && (named === null || named.includes(name))).map(({ name }) => name);
}

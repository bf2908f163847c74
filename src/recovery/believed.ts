/**
 * Which lines are believed, besides that their sum holds: who knows the format can write any name with a right one.
 * @module
 */
import { AftersaveError } from "../core/errors.ts";
import { ARCHIVE_MARK, assertSavable, isArchiveKey, OWN_FOLDER, parseKey, type ArchiveFolder, type Key } from "../core/key.ts";
import { NO_KEY, type Version } from "../core/version.ts";

/** Whether every key of a line is one that aftersave would have taken, and every copy's one that it would have made below `archive`. */
export function couldBeOurs(version: Version, archive: ArchiveFolder): boolean {
  return hasOurKeys(version, archive, (key) => isArchiveKey(key, archive) && key.length > archive.length);
}

/** The same of a line of the changelog file here: `archive_dir` may have been another folder when the copy was made. */
export function couldBeOurOwn(version: Version, archive: ArchiveFolder): boolean {
  return couldBeOurs(version, archive) || hasOurKeys(version, archive, (key) => ARCHIVE_MARK.test(key));
}

function hasOurKeys({ file, archived_as, details }: Version, archive: ArchiveFolder, isCopy: (key: Key) => boolean): boolean {
  const redacts = details?.redacts ?? [];
  const copies = [archived_as, ...(details?.prunes?.copies ?? []), ...redacts.map((left) => left.archived_as ?? null)].filter(
    (key) => key !== null,
  );
  const files = [file, ...redacts.map((left) => left.file)].filter((key) => key !== NO_KEY);
  try {
    for (const key of files) assertSavable(parseKey(key), archive);
    return (
      [...copies, ...files].every((key) => parseKey(key) === key) &&
      copies.every(
        (key) => isCopy(key) && key.split("/")[0]?.toLowerCase() !== OWN_FOLDER && !/\.aftersave-(tmp|old)$/i.test(key),
      )
    );
  } catch (error) {
    if (error instanceof AftersaveError) return false;
    throw error;
  }
}

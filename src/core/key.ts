/**
 * The only place that judges a key. A key is a memory file's address: its POSIX path below `local_data_dir`, in
 * Unicode NFC. Names are kept as people wrote them; what cannot be held everywhere is refused, never mangled.
 * @module
 */
import { AftersaveError, type ErrorCode } from "./errors.ts";

/** Only `parseKey` and the makers in this file make one. */
export type Key = string & { readonly brand: "key" };

/** Bytes (UTF-8) that one segment of a key may have; leaves room for an archive copy's time and counter. */
export const MAX_SEGMENT_BYTES = 200;

/** What an archive copy's name has more than the file's own: its time, and a counter from the second one on. */
export const ARCHIVE_MARK = /_\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ(?:_\d{1,9})?(?=(?:\.[^./]*)?$)/;

/** The folder at a target that belongs to aftersave itself. */
export const OWN_FOLDER = ".aftersave";

const windowsNames = /^(con|conin\$|conout\$|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)/i;
// eslint-disable-next-line no-control-regex -- control characters are what is looked for
const control = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;
const windowsCharacters = /[<>:"|?*\\]/;

const refuse = (code: ErrorCode, key: string, why: string, hint: string): never => {
  throw new AftersaveError(code, `the key ${JSON.stringify(key)} ${why}`, { hint });
};

const bytes = (text: string) => new TextEncoder().encode(text).length;

function checkSegment(key: string, segment: string): void {
  if (segment === "..") refuse("E_KEY_OUTSIDE", key, "leaves the data folder through ..", "Name a file below local_data_dir.");
  if (segment === "" || segment === ".")
    refuse("E_KEY_NAME", key, "has an empty or . segment", "Remove the doubled or trailing slash.");
  if (windowsNames.test(segment))
    refuse("E_KEY_NAME", key, `has ${JSON.stringify(segment)}, a name that Windows reserves`, "Choose another name.");
  if (windowsCharacters.test(segment))
    refuse(
      "E_KEY_NAME",
      key,
      `has a character in ${JSON.stringify(segment)} that Windows cannot hold`,
      'Leave out < > : " | ? * and \\.',
    );
  if (/[. ]$/.test(segment))
    refuse("E_KEY_NAME", key, "has a segment that ends in a dot or a space", "Remove the trailing dot or space.");
}

function checkLength(key: string, segments: readonly string[]): void {
  for (const segment of segments)
    if (bytes(segment) > MAX_SEGMENT_BYTES)
      refuse(
        "E_KEY_LONG",
        key,
        `has a segment of ${bytes(segment)} bytes`,
        `Keep each segment within ${MAX_SEGMENT_BYTES} bytes.`,
      );
}

/**
 * Judges `text` as a key and returns it in NFC. Throws `E_KEY_…` before anything is touched. Archive copies are keys
 * too; whether a *save* may go to one is `assertSavable`'s question.
 */
export function parseKey(text: string): Key {
  if (text === "") refuse("E_KEY_EMPTY", text, "is empty", "Name a file below local_data_dir, for example Meta/Notes.txt.");
  if (control.test(text)) refuse("E_KEY_CONTROL", text, "has a control character", "Use printable characters only.");
  if (!text.isWellFormed()) refuse("E_KEY_CONTROL", text, "is not valid Unicode", "Rename the file to valid UTF-8.");
  if (text.includes("\uFFFD"))
    refuse("E_KEY_CONTROL", text, "has U+FFFD, which stands for bytes that are not UTF-8", "Rename the file to valid UTF-8.");
  const key = text.normalize("NFC");
  if (key.startsWith("/")) refuse("E_KEY_OUTSIDE", key, "is an absolute path", "Name a file below local_data_dir.");
  for (const segment of key.split("/")) checkSegment(key, segment);
  checkLength(key, key.replace(ARCHIVE_MARK, "").split("/"));
  return key as Key;
}

/** The archive folder as a key prefix, e.g. `Archive/`. */
export type ArchiveFolder = string;

/** Whether `key` lies in the archive folder, in any case, so that a system that ignores case is safe too. */
export function isArchiveKey(key: string, archive: ArchiveFolder): boolean {
  return `${key}/`.toLowerCase().startsWith(archive.toLowerCase());
}

/** Refuses keys that a save may not use: a name that leaves no room for an archive copy's, the archive folder, a folder `Root` at the top, aftersave's own folder. */
export function assertSavable(key: Key, archive: ArchiveFolder): void {
  checkLength(key, key.split("/"));
  if (isArchiveKey(key, archive))
    refuse("E_KEY_RESERVED", key, "lies in the archive folder", "Archive copies are never changed; save under another key.");
  if (/\.aftersave-(tmp|old)$/i.test(key))
    refuse("E_KEY_RESERVED", key, "is named like a temporary file of ours", "Save under another name.");
  const top = key.split("/")[0] ?? "";
  if (top.toLowerCase() === OWN_FOLDER)
    refuse("E_KEY_RESERVED", key, "lies in aftersave's own folder", "Save under another key.");
  if (top.toLowerCase() === "root" && key.includes("/"))
    refuse(
      "E_KEY_RESERVED",
      key,
      "lies in a folder named Root, which stands for files directly in the data folder",
      "Rename the folder.",
    );
}

/** The zone of a key: its first segment; `Root` for a file directly in the data folder. */
export function zoneOf(key: Key): string {
  const slash = key.indexOf("/");
  return slash < 0 ? "Root" : key.slice(0, slash);
}

/** What two keys share when they differ only in case: names are compared with it on places that ignore case. */
export function foldKey(key: string): string {
  return key.toLowerCase().normalize("NFC");
}

/**
 * The key of an archive copy: `Archive/<zone>/<rest>_<YYYY-MM-DDTHH-mm-ssZ>.<ext>`, from the second one on with `_2`,
 * `_3` … behind the time. `iso` is a UTC time such as `2026-11-20T21:07:00.123Z`.
 */
export function archiveKey(key: Key, iso: string, count: number, archive: ArchiveFolder): Key {
  const zone = zoneOf(key);
  const rest = zone === "Root" ? key : key.slice(zone.length + 1);
  const cut = rest.lastIndexOf("/") + 1;
  const name = rest.slice(cut);
  const dot = name.lastIndexOf(".");
  const [stem, extension] = dot > 0 ? [name.slice(0, dot), name.slice(dot)] : [name, ""];
  const time = `${iso.slice(0, 19).replaceAll(":", "-")}Z`;
  return `${archive}${zone}/${rest.slice(0, cut)}${stem}_${time}${count > 1 ? `_${count}` : ""}${extension}` as Key;
}

/** A key below aftersave's own folder at a target, e.g. the owner's marker. Never a memory file. */
export function ownKey(name: string): Key {
  return `${OWN_FOLDER}/${name}` as Key;
}

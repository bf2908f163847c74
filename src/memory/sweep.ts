/**
 * A walk over the data folder for changes made by others. One bad file never stops the walk: it is reported.
 * @module
 */
import { lstat, opendir } from "node:fs/promises";
import { join } from "node:path";
import { AftersaveError, asAftersaveError, errnoOf } from "../core/errors.ts";
import { parseKey, type Key } from "../core/key.ts";
import type { Head } from "../state/saves.ts";
import { statLive } from "./live.ts";
import { stampOf } from "./durable.ts";
import type { Places } from "./places.ts";
import type { Receipt } from "./receipt.ts";
import type { SaveManager } from "./save-manager.ts";

export interface SweepReport {
  /** Files that were looked at. */
  readonly checked: number;
  /** One receipt for each change that was versioned. */
  readonly changed: readonly Receipt[];
  /** Files that cannot be memory, or could not be read, and why. */
  readonly refused: readonly { readonly path: string; readonly error: AftersaveError }[];
}

/** write-file-atomic's temporary file beside a file that is being saved; one that stays is looked at like any other. */
const temporary = /\.\d{6,10}$/;
const TEMPORARY_MS = 2_000;

interface Found {
  readonly path: string;
  readonly relative: string;
}

interface Walk {
  readonly skip: (relative: string) => boolean;
  /** A folder that cannot be read; the walk goes on beside it. */
  readonly unread: (path: string, error: unknown) => void;
}

async function* walk(folder: string, relative: string, how: Walk): AsyncGenerator<Found> {
  const folders: string[] = [];
  const files: Found[] = [];
  try {
    for await (const entry of await opendir(folder)) {
      const below = relative === "" ? entry.name : `${relative}/${entry.name}`;
      if (how.skip(below)) continue;
      if (entry.isDirectory()) folders.push(entry.name);
      else if (entry.isFile() || entry.isSymbolicLink()) files.push({ path: join(folder, entry.name), relative: below });
    }
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") how.unread(folder, error);
  }
  yield* files;
  for (const name of folders) yield* walk(join(folder, name), relative === "" ? name : `${relative}/${name}`, how);
}

const isFresh = async (path: string) => {
  try {
    // oxlint-disable-next-line aftersave/no-wall-clock -- compared with the kernel's time of the file
    return Date.now() - (await lstat(path)).mtimeMs < TEMPORARY_MS;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return true;
    throw error;
  }
};

/** Keys of the files below the data folder. What cannot be memory, or not be read, is passed over: `sweep` tells of it. */
export async function* keysBelow(places: Places): AsyncGenerator<Key> {
  const skip = (relative: string) => places.isArchive(relative as Key);
  for await (const { path, relative } of walk(places.dataDir, "", { skip, unread: () => undefined })) {
    if (temporary.test(path) && (await isFresh(path))) continue;
    try {
      const { key } = places.place(parseKey(relative));
      if (key === relative.normalize("NFC")) yield key; // else a symbolic link: the file that it names is visited itself
    } catch (error) {
      if (!(error instanceof AftersaveError)) throw error;
    }
  }
}

/** Looks at every file below the data folder, and at every head whose file is gone; versions what changed as `external`. */
export async function sweep(saves: Pick<SaveManager, "saved">, heads: AsyncIterable<Head>, places: Places): Promise<SweepReport> {
  const known = new Map<Key, Head>();
  for await (const head of heads) known.set(head.key, head);
  const changed: Receipt[] = [];
  const refused: { path: string; error: AftersaveError }[] = [];
  const seen = new Map<Key, string>();
  const twins = new Set<Key>();
  let checked = 0;

  const settle = async (key: Key, path: string) => {
    try {
      const receipt = await saves.saved(key);
      if (!receipt.unchanged) changed.push(receipt);
    } catch (error) {
      const known = asAftersaveError(error, `looking at ${key}`);
      if (known.code !== "E_NOT_FOUND") refused.push({ path, error: known });
    }
  };

  const visit = async ({ path, relative }: Found) => {
    if (temporary.test(path) && (await isFresh(path))) return;
    checked++;
    let key: Key;
    try {
      key = places.place(parseKey(relative)).key;
      if (key !== relative.normalize("NFC")) return; // a symbolic link: the file that it names is visited itself
    } catch (error) {
      refused.push({ path, error: asAftersaveError(error, `looking at ${relative}`) });
      known.delete(relative.normalize("NFC") as Key);
      return;
    }
    if (seen.has(key)) twins.add(key);
    seen.set(key, path);
    const head = known.get(key);
    known.delete(key);
    const live = statLive(path);
    if (head && live && head.stamp === stampOf(live)) return;
    await settle(key, path);
  };

  const start = await lstat(places.dataDir).catch((error: unknown) => {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  });
  if (!start)
    throw new AftersaveError("E_NOT_FOUND", `the data folder ${places.dataDir} does not exist`, {
      hint: "Mount or make it; nothing is taken as removed while it is missing.",
    });
  const skip = (relative: string) => places.isArchive(relative as Key);
  const unread = (path: string, error: unknown) => refused.push({ path, error: asAftersaveError(error, `reading ${path}`) });
  for await (const found of walk(places.dataDir, "", { skip, unread })) await visit(found);
  for (const key of known.keys()) await settle(key, places.pathOf(key));
  for (const key of twins)
    if (!refused.some(({ error }) => error.code === "E_KEY_TWIN" && error.message.includes(JSON.stringify(key))))
      refused.push({
        path: seen.get(key) ?? key,
        error: new AftersaveError("E_KEY_TWIN", `two files are the one key ${JSON.stringify(key)}`, {
          hint: "Rename or remove one of them.",
        }),
      });
  return { checked, changed, refused };
}

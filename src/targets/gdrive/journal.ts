/**
 * Which id a key has on Drive, written down before the file is made. The driver looks files up by id; names are asked
 * for only to find what is not known yet.
 * @module
 */
import type { Key } from "../../core/key.ts";
import type { DriverMemory } from "../../core/target.ts";
import type { DriveFile } from "./api.ts";

/** What is known of a key's file. */
export interface Known {
  readonly id: string;
  /** False while the id is only reserved: the create may or may not have happened. */
  readonly made: boolean;
  /** What the file held when it was last seen, and the etag that it had then. */
  readonly rev?: string | undefined;
  readonly etag?: string | undefined;
  /** A file of ours that lost against an older one of the same name; it goes when that one holds our bytes. */
  readonly loser?: string | undefined;
  /** A big body that was being sent over this revision: it may have become the file without our knowing. */
  readonly sending?: { readonly rev: string; readonly sha256: string } | undefined;
  /** Someone else's revision that came in under it, pinned and not told of yet. */
  readonly displaced?: string | undefined;
}

export interface Journal {
  of(key: Key): Promise<Known | undefined>;
  set(key: Key, known: Known): Promise<void>;
  /** The file is there, and nothing else is owed. */
  saw(key: Key, file: DriveFile): Promise<void>;
  forget(key: Key): Promise<void>;
  /** A folder is gone with all its files: they are forgotten, and told by `lost`. */
  lose(dir: string): Promise<void>;
  /** Files that went with their folder and were not made again; each is told once by a process, and by the next one if this one dies before it asks again. */
  lost(): Promise<Key[]>;
}

const name = (key: Key) => `file/${key}`;
const LOST = "lost/";

export function createJournal(memory: DriverMemory): Journal {
  const set = (key: Key, known: Known) => memory.set(name(key), JSON.stringify(known));
  const of = async (key: Key): Promise<Known | undefined> => {
    const text = await memory.get(name(key));
    return text === undefined ? undefined : (JSON.parse(text) as Known);
  };
  const told = new Set<string>();
  return {
    of,
    set,
    saw: (key, { id, rev, etag }) => set(key, { id, made: true, rev, etag }),
    forget: (key) => memory.delete(name(key)),
    async lose(dir) {
      const prefix = dir === "" ? "" : `${dir}/`;
      for (const [entry, value] of await memory.list(name(prefix as Key))) {
        if (!(JSON.parse(value) as Known).made) continue;
        await memory.set(`${LOST}${entry.slice(name("" as Key).length)}`, "");
        await memory.delete(entry);
      }
    },
    async lost() {
      const keys: Key[] = [];
      for (const [entry] of await memory.list(LOST)) {
        const key = entry.slice(LOST.length) as Key;
        if (told.delete(key) || (await of(key))?.made === true) await memory.delete(entry);
        else {
          told.add(key);
          keys.push(key);
        }
      }
      return keys;
    },
  };
}

/**
 * Two machines that make the same new file at the same moment leave two: Drive has no "only if absent" for a name. A
 * look after a batch finds them. The older one counts, on every machine; whoever made the younger one sends its bytes again, to
 * the older, unless that one has them already. Drive's listing may lag, so a look counts only once it shows what we made ourselves.
 * @module
 */
import type { Clock } from "../../core/clock.ts";
import type { Key } from "../../core/key.ts";
import type { DriverMemory } from "../../core/target.ts";
import type { Asked, DriveApi, DriveFile } from "./api.ts";
import { absent, byAge, GROUP, inAnyOf } from "./folders.ts";
import type { Journal } from "./journal.ts";
import { isBlob } from "./shelf.ts";

export interface Twins {
  /** A file was made in a folder: to be looked at. */
  made(folder: string, dir: string, file: DriveFile): Promise<void>;
  /** It was removed again. */
  gone(id: string): void;
  /** Keys whose file of ours is the younger of two. From now on the older one is theirs; told again until that one has their bytes. */
  audit(asked?: Asked): Promise<Key[]>;
}

const MARK = "unaudited/";
/** What was made this long before our first file may have been invisible when we looked. */
const BEFORE_MS = 120_000;
/** Looks, each after twice the pause of the one before, until what does not show is left to the next audit. */
const LOOKS = 7;
const PAUSE_MS = 100;
/** Files that are asked for by their ids, because the listing does not show them. */
const ASKED = 10;

interface Mark {
  readonly dir: string;
  /** When, by Drive's clock, we made our first file there since the last audit. */
  readonly since: string;
}

export interface TwinsParts {
  readonly api: Pick<DriveApi, "get" | "search" | "trash">;
  readonly journal: Journal;
  readonly memory: DriverMemory;
  readonly clock: Pick<Clock, "sleep">;
}

export function createTwins({ api, journal, memory, clock }: TwinsParts): Twins {
  /** Ids of what this process made and no audit has looked for yet, by folder. */
  const fresh = new Map<string, Mark & { readonly ids: Set<string> }>();
  const keyIn = (dir: string, name: string) => (dir === "" ? name : `${dir}/${name}`) as Key;

  const lostIn = async (files: readonly DriveFile[], dirs: ReadonlyMap<string, string>, asked?: Asked): Promise<Key[]> => {
    const oldest = new Map<string, DriveFile>();
    for (const file of files.filter(isBlob).toSorted(byAge))
      for (const dir of file.parents.flatMap((id) => dirs.get(id) ?? [])) {
        const key = keyIn(dir, file.name);
        if (!oldest.has(key)) oldest.set(key, file);
      }
    const lost: Key[] = [];
    for (const [text, winner] of oldest) {
      const key = text as Key;
      const known = await journal.of(key);
      const own = files.find(({ id }) => id === (known?.loser ?? known?.id));
      if (!known?.made || !own || own.id === winner.id) continue;
      const same = isSame(own, winner);
      if (same) await api.trash(own.id, asked).catch(absent);
      await journal.set(key, { id: winner.id, made: true, ...(same ? {} : { loser: own.id }) });
      lost.push(key);
    }
    return lost;
  };

  const childrenOf = async (folders: readonly string[], since: string, asked?: Asked): Promise<DriveFile[]> => {
    const files: DriveFile[] = [];
    for await (const file of api.search(`${inAnyOf(folders)} and createdTime > '${since}' and trashed = false`, asked))
      files.push(file);
    return files;
  };

  return {
    async made(folder, dir, { id, createdTime }) {
      const mark: Mark = { dir, since: createdTime };
      const known = fresh.get(folder);
      fresh.set(folder, { ...(known ?? mark), ids: (known?.ids ?? new Set()).add(id) });
      if (known || (await memory.get(`${MARK}${folder}`)) !== undefined) return;
      await memory.set(`${MARK}${folder}`, JSON.stringify(mark));
    },
    gone(id) {
      for (const { ids } of fresh.values()) ids.delete(id);
    },
    async audit(asked) {
      const marks = [...fresh].map(([id, { dir, since }]) => [id, { dir, since }] as const);
      for (const [name, value] of await memory.list(MARK))
        if (!fresh.has(name.slice(MARK.length))) marks.push([name.slice(MARK.length), JSON.parse(value) as Mark]);
      const lost: Key[] = [];
      for (let at = 0; at < marks.length; at += GROUP) {
        const group = marks.slice(at, at + GROUP);
        const folders = group.map(([id]) => id);
        const first = Math.min(...group.map(([, { since }]) => Date.parse(since)));
        const since = new Date(first - BEFORE_MS).toISOString();
        const made = new Map(group.flatMap(([folder]) => [...(fresh.get(folder)?.ids ?? [])].map((id) => [id, folder] as const)));
        for (const id of folders) fresh.delete(id);
        let files = await childrenOf(folders, since, asked);
        const hidden = () => {
          const shown = new Set(files.map(({ id }) => id));
          return [...made.keys()].filter((id) => !shown.has(id));
        };
        for (const id of hidden().slice(0, ASKED)) {
          const file = await api.get(id, asked).catch(absent);
          if (!file || file.trashed || !folders.some((folder) => file.parents.includes(folder))) made.delete(id);
        }
        for (let look = 1; look < LOOKS && hidden().length > 0; look++) {
          await clock.sleep(PAUSE_MS * 2 ** (look - 1), asked?.signal);
          files = await childrenOf(folders, since, asked);
        }
        const found = await lostIn(files, new Map(group.map(([id, { dir }]) => [id, dir])), asked);
        for (const one of found) lost.push(one);
        if (found.length > 0) continue; // the next audit sees that they were sent again
        const later = new Set(hidden().map((id) => made.get(id)));
        for (const id of folders) if (!later.has(id) && !fresh.has(id)) await memory.delete(`${MARK}${id}`);
      }
      return lost;
    },
  };
}

const isSame = (a: DriveFile, b: DriveFile): boolean =>
  a.size === b.size && a.md5 === b.md5 && a.sha256 === b.sha256 && (a.sha256 ?? a.md5) !== undefined;

/**
 * Two machines that make the same new file at the same moment leave two: Drive has no "only if absent" for a name. One
 * look after a batch finds them. The older one counts, on every machine; whoever made the younger one sends its bytes again, to the older.
 * @module
 */
import type { Key } from "../../core/key.ts";
import type { DriverMemory } from "../../core/target.ts";
import type { Asked, DriveApi, DriveFile } from "./api.ts";
import { byAge, quoted } from "./folders.ts";
import type { Journal } from "./journal.ts";
import { isBlob } from "./shelf.ts";

export interface Twins {
  /** A file was made in a folder: to be looked at. */
  made(folder: string, dir: string, file: DriveFile): Promise<void>;
  /** Keys whose file of ours is the younger of two. From now on the older one is theirs. */
  audit(asked?: Asked): Promise<Key[]>;
}

const MARK = "unaudited/";
/** Folders in one search. */
const GROUP = 50;
/** What was made this long before our first file may have been invisible when we looked. */
const BEFORE_MS = 120_000;

interface Mark {
  readonly dir: string;
  /** When, by Drive's clock, we made our first file there since the last audit. */
  readonly since: string;
}

export function createTwins(api: Pick<DriveApi, "search">, journal: Journal, memory: DriverMemory): Twins {
  const marked = new Set<string>();
  const keyIn = (dir: string, name: string) => (dir === "" ? name : `${dir}/${name}`) as Key;

  const lostIn = async (files: readonly DriveFile[], dirs: ReadonlyMap<string, string>): Promise<Key[]> => {
    const oldest = new Map<string, DriveFile>();
    for (const file of files.filter(isBlob).toSorted(byAge))
      for (const dir of file.parents.flatMap((id) => dirs.get(id) ?? [])) {
        const key = keyIn(dir, file.name);
        if (!oldest.has(key)) oldest.set(key, file);
      }
    const lost: Key[] = [];
    for (const [text, { id }] of oldest) {
      const key = text as Key;
      const known = await journal.of(key);
      if (!known?.made || known.id === id || !files.some((file) => file.id === known.id)) continue;
      await journal.set(key, { id, made: true, loser: known.id });
      lost.push(key);
    }
    return lost;
  };

  return {
    async made(folder, dir, { createdTime }) {
      if (marked.has(folder)) return;
      marked.add(folder);
      await memory.set(`${MARK}${folder}`, JSON.stringify({ dir, since: createdTime } satisfies Mark));
    },
    async audit(asked) {
      const marks = (await memory.list(MARK)).map(
        ([name, value]) => [name.slice(MARK.length), JSON.parse(value) as Mark] as const,
      );
      marked.clear();
      const lost: Key[] = [];
      for (let at = 0; at < marks.length; at += GROUP) {
        const group = marks.slice(at, at + GROUP);
        const first = Math.min(...group.map(([, { since }]) => Date.parse(since)));
        const since = new Date(first - BEFORE_MS).toISOString();
        const parents = group.map(([id]) => `${quoted(id)} in parents`).join(" or ");
        const files: DriveFile[] = [];
        for await (const file of api.search(`(${parents}) and createdTime > '${since}' and trashed = false`, asked))
          files.push(file);
        lost.push(...(await lostIn(files, new Map(group.map(([id, { dir }]) => [id, dir])))));
        for (const [id] of group) await memory.delete(`${MARK}${id}`);
      }
      return lost;
    },
  };
}

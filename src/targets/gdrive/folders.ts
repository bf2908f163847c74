/**
 * Folders of the mirror: found, adopted or made, one creator at a time, and never two of one name by us. Where two
 * machines make the same folder at the same moment, the older one counts and the other one, still empty, goes to the trash.
 * @module
 */
import type { Clock } from "../../core/clock.ts";
import { TargetError } from "../../core/errors.ts";
import type { DriverMemory } from "../../core/target.ts";
import type { DriverContext } from "../shared/driver.ts";
import { FOLDER, type Asked, type DriveApi, type DriveFile } from "./api.ts";
import type { Ids } from "./ids.ts";

export interface Folders {
  /** The id of the folder `dir` below the mirror's root (`""`: the root itself); undefined where there is none. */
  find(dir: string, asked?: Asked): Promise<string | undefined>;
  /** The same, made where it is missing. */
  need(dir: string, asked?: Asked): Promise<string>;
  /** Makes all that are missing, with as few requests as that takes. */
  needAll(dirs: Iterable<string>, asked?: Asked): Promise<void>;
  /** A file could not be made in `dir`: looks which folders on the way are gone or in the trash and forgets them. Without `dir`: all that are known. */
  recheck(dir: string | undefined, asked?: Asked): Promise<void>;
}

export interface FoldersParts {
  readonly api: DriveApi;
  readonly ids: Ids;
  readonly memory: DriverMemory;
  readonly claim: DriverContext["claim"];
  readonly clock: Clock;
  /** `root`, or the id of a shared drive. */
  readonly top: string;
  /** Names of the folders from the top to the mirror's root. */
  readonly root: readonly string[];
  /** A folder that we made is empty: called with its id. */
  readonly onMade: (id: string) => void;
  /** A folder below the mirror's root (`""`: the root itself) is gone, with all that was in it. */
  readonly onLost: (dir: string) => Promise<void>;
}

/** How many folders are asked for or made at once. */
const WIDTH = 8;
/** Looks before a folder that a listing does not show is taken to be there all the same. */
const LOOKS = 8;
const GLANCE_MS = 1000;

export const quoted = (text: string): string => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;

/** Folders in one search; longer ones sometimes answer nothing (Google issue 149522397). */
export const GROUP = 50;

/** The part of a search that keeps to what lies in these folders. */
export const inAnyOf = (folders: readonly string[]): string =>
  `(${folders.map((id) => `${quoted(id)} in parents`).join(" or ")})`;

/** Oldest first; of two in the same millisecond the smaller id, so that every machine picks the same one. */
export const byAge = (a: DriveFile, b: DriveFile): number =>
  a.createdTime === b.createdTime ? (a.id < b.id ? -1 : 1) : a.createdTime < b.createdTime ? -1 : 1;

interface Known {
  readonly id: string;
  readonly made: boolean;
}

export function createFolders({ api, ids, memory, claim, clock, top, root, onMade, onLost }: FoldersParts): Folders {
  const known = new Map<string, string>();
  let listed: { readonly parent: string; readonly at: number; readonly children: DriveFile[] } | undefined;
  const ours = new Set<string>(); // made by this process: nothing but ours is in there

  const pathOf = (dir: string) => [...root, ...(dir === "" ? [] : dir.split("/"))].join("/");
  const parentOf = (path: string) => path.slice(0, Math.max(0, path.lastIndexOf("/")));
  const nameOf = (path: string) => path.slice(path.lastIndexOf("/") + 1);

  const journalled = async (path: string): Promise<Known | undefined> => {
    const text = await memory.get(`folder/${path}`);
    return text === undefined ? undefined : (JSON.parse(text) as Known);
  };
  const remember = async (path: string, id: string, made: boolean) => {
    await memory.set(`folder/${path}`, JSON.stringify({ id, made } satisfies Known));
    if (made) known.set(path, id);
  };
  const idOf = async (path: string): Promise<string | undefined> => {
    if (path === "") return top;
    const there = known.get(path);
    if (there !== undefined) return there;
    const noted = await journalled(path);
    if (!noted?.made) return undefined;
    known.set(path, noted.id);
    return noted.id;
  };

  const childrenOf = async (parent: string, asked?: Asked): Promise<DriveFile[]> => {
    const found: DriveFile[] = [];
    const query = `${quoted(parent)} in parents and mimeType = '${FOLDER}' and trashed = false`;
    for await (const folder of api.search(query, asked)) if (folder.mimeType === FOLDER) found.push(folder);
    return found.toSorted(byAge);
  };

  /** For those who only look: one that follows at once sees the same. */
  const glance = async (parent: string, asked?: Asked): Promise<DriveFile[]> => {
    if (listed?.parent !== parent || Math.abs(clock.now() - listed.at) > GLANCE_MS)
      listed = { parent, at: clock.now(), children: await childrenOf(parent, asked) };
    return listed.children;
  };

  const make = async (path: string, parent: string, asked?: Asked): Promise<string> => {
    const noted = await journalled(path);
    for (let id = noted && !noted.made ? noted.id : await ids.take(asked); ; id = await ids.take(asked)) {
      await remember(path, id, false);
      try {
        return (await api.createFolder(id, { name: nameOf(path), parents: [parent] }, asked)).id;
      } catch (error) {
        if (!(error instanceof TargetError) || error.kind !== "conflict") throw error;
        const there = await api.get(id, asked).catch(absent);
        if (there && !there.trashed && there.mimeType === FOLDER) return id;
      }
    }
  };

  /** After a create: a machine that did the same at the same moment is seen now. Drive's listing may lag, but not for ever. */
  const settle = async (parent: string, made: ReadonlyMap<string, string>, asked?: Asked) => {
    let children = await childrenOf(parent, asked);
    const shown = () => [...made.values()].every((id) => children.some((child) => child.id === id));
    const looks = api.guarded ? LOOKS : 1; // a mocked client may never list what it made
    for (let look = 1; look < looks && !shown(); look++) {
      await clock.sleep(100 * 2 ** look, asked?.signal);
      children = await childrenOf(parent, asked);
    }
    listed = { parent, at: clock.now(), children };
    for (const [path, id] of made) {
      const oldest = children.find(({ name }) => name === nameOf(path))?.id ?? id;
      if (oldest === id) {
        ours.add(id);
        onMade(id);
      } else await discard(id, asked);
      await remember(path, oldest, true);
    }
  };

  const discard = async (id: string, asked?: Asked) => {
    for await (const _ of api.search(`${quoted(id)} in parents and trashed = false`, asked)) return; // someone uses it: `doctor` reports the twins
    await api.trash(id, asked);
  };

  const makeIn = async (parentPath: string, paths: readonly string[], asked?: Asked) => {
    const parent = await idOf(parentPath);
    if (parent === undefined) throw new TargetError("transient", `the folder ${parentPath} vanished while folders were made`);
    // what other processes here made is in the memory; what another machine made a moment ago shows when we settle
    const children = ours.has(parent) ? [] : await glance(parent, asked);
    const missing: string[] = [];
    for (const path of paths) {
      const there = children.find(({ name }) => name === nameOf(path));
      if (there) await remember(path, there.id, true);
      else missing.push(path);
    }
    if (missing.length === 0) return;
    const made = new Map<string, string>();
    await inParallel(missing, async (path) => void made.set(path, await make(path, parent, asked)));
    await settle(parent, made, asked);
  };

  const needPaths = async (wanted: ReadonlySet<string>, asked?: Asked) => {
    const unknown: string[] = [];
    for (const path of wanted) if ((await idOf(path)) === undefined) unknown.push(path);
    if (unknown.length === 0) return;
    const release = await claim("folders");
    try {
      const levels = new Map<number, Map<string, string[]>>();
      for (const path of unknown) {
        if ((await idOf(path)) !== undefined) continue; // another process has made it meanwhile
        const level = levels.get(path.split("/").length) ?? new Map<string, string[]>();
        levels.set(path.split("/").length, level.set(parentOf(path), [...(level.get(parentOf(path)) ?? []), path]));
      }
      for (const [, level] of [...levels].toSorted(([a], [b]) => a - b))
        await inParallel([...level], ([parent, paths]) => makeIn(parent, paths, asked));
    } finally {
      release();
    }
  };

  const needAll = async (dirs: Iterable<string>, asked?: Asked) => {
    const wanted = new Set<string>();
    for (const dir of dirs) for (let path = pathOf(dir); path !== ""; path = parentOf(path)) wanted.add(path);
    await needPaths(wanted, asked);
  };

  const forget = async (path: string) => {
    const prefix = root.length === 0 ? "" : `${root.join("/")}/`;
    await onLost(`${path}/`.startsWith(prefix) ? path.slice(prefix.length) : "");
    for (const [name] of await memory.list(`folder/${path}`))
      if (name === `folder/${path}` || name.startsWith(`folder/${path}/`)) await memory.delete(name);
    for (const below of known.keys()) if (below === path || below.startsWith(`${path}/`)) known.delete(below);
  };

  return {
    async find(dir, asked) {
      const path = pathOf(dir);
      const there = await idOf(path);
      if (there !== undefined) return there;
      let parent = top;
      let at = "";
      for (const name of path.split("/")) {
        at = at === "" ? name : `${at}/${name}`;
        const next = (await idOf(at)) ?? (await glance(parent, asked)).find((child) => child.name === name)?.id;
        if (next === undefined) return undefined;
        if (!known.has(at)) await remember(at, next, true);
        parent = next;
      }
      return parent;
    },
    async need(dir, asked) {
      const path = pathOf(dir);
      if ((await idOf(path)) === undefined) await needAll([dir], asked);
      const id = await idOf(path);
      if (id === undefined) throw new TargetError("transient", `the folder ${path} vanished while it was made`);
      return id;
    },
    needAll,
    async recheck(dir, asked) {
      const release = await claim("folders");
      try {
        const steps = dir === undefined ? [] : pathOf(dir).split("/");
        const paths =
          dir === undefined
            ? (await memory.list("folder/")).map(([name]) => name.slice("folder/".length))
            : steps.map((_, at) => steps.slice(0, at + 1).join("/"));
        let gone: string | undefined;
        for (const path of paths.toSorted()) {
          if (gone !== undefined && `${path}/`.startsWith(`${gone}/`)) continue;
          const noted = await journalled(path);
          if (!noted?.made) continue;
          const folder = await api.get(noted.id, asked).catch(absent);
          if (folder && !folder.trashed) known.set(path, noted.id);
          else await forget((gone = path));
        }
      } finally {
        release();
      }
    },
  };
}

/** What cannot be seen is not there. */
export function absent(error: unknown): undefined {
  if (error instanceof TargetError && error.kind === "not-found") return undefined;
  throw error;
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const { default: Queue } = await import("p-queue");
  const queue = new Queue({ concurrency: WIDTH });
  const results = await Promise.allSettled(items.map((item) => queue.add(() => work(item))));
  const failed = results.find((result) => result.status === "rejected");
  if (failed) throw failed.reason;
}

/**
 * What an erasure does not reach: looked for, so that whoever erases knows where to go on.
 * @module
 */
import { existsSync } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { errnoOf } from "../core/errors.ts";
import type { State } from "../state/state.ts";
import type { Remains } from "./receipt.ts";
import type { Finder } from "./tombstone.ts";

export interface RemainsParts {
  readonly state: State;
  readonly root: string;
  readonly backupDir: string;
  /** Files of the memory root that other programs own. */
  readonly others: readonly string[];
}

const MOST = 64 << 20;

const gitAbove = (path: string): string | undefined => {
  if (existsSync(join(path, ".git"))) return path;
  return dirname(path) === path ? undefined : gitAbove(dirname(path));
};

const unlessAbsent =
  <T>(instead: T) =>
  (error: unknown): T => {
    if (!["ENOENT", "ENOTDIR", "EACCES"].includes(errnoOf(error))) throw error;
    return instead;
  };

async function holds(finder: Finder, path: string): Promise<boolean> {
  const stats = await stat(path).catch(unlessAbsent(undefined));
  if (!stats?.isFile() || stats.size > MOST) return false;
  const bytes = await readFile(path).catch(unlessAbsent(Buffer.alloc(0)));
  return finder.find(bytes, null).length > 0;
}

/** What stays out of reach, most important first. `targets` are those that held it. */
export async function remainsOf(
  { state, root, backupDir, others }: RemainsParts,
  finder: Finder,
  targets: readonly string[],
): Promise<Remains[]> {
  const found: Remains[] = [];
  const repository = gitAbove(root);
  if (repository !== undefined)
    found.push({
      what: `the git repository ${repository}`,
      why: "what was ever committed stays in its history, and in every clone",
      cure: "Rewrite it (`git filter-repo`), then have every clone made anew.",
    });
  const zips = (await readdir(backupDir).catch(unlessAbsent([]))).filter((name) => /\.(zip|tar|tgz|gz|7z)$/i.test(name));
  if (zips.length > 0)
    found.push({
      what: `${zips.length} archive${zips.length === 1 ? "" : "s"} in ${backupDir}: ${zips.slice(0, 5).join(", ")}${zips.length > 5 ? " …" : ""}`,
      why: "an archive that was made before may hold it, and is never changed",
      cure: "Remove those that were made before now, and make a new one.",
    });
  for (const path of others)
    if (await holds(finder, path))
      found.push({ what: path, why: "it is another program's file, and holds it", cure: `Edit or remove ${basename(path)}.` });
  for (const target of targets) {
    const own = (await state.segments.writer()).id;
    const beside = (await state.segments.writers(target)).filter(({ writer }) => writer !== own);
    if (beside.length > 0)
      found.push({
        what: `what ${beside.map(({ host, writer }) => host ?? writer).join(", ")} wrote to ${target}`,
        why: "each writer's history is its own; theirs may have it, and so may their machines",
        cure: "Erase it there too.",
      });
  }
  found.push({
    what: "blocks of this disk that are free now, snapshots and backups of the system",
    why: "a disk does not overwrite what a file no longer needs, and a snapshot keeps it on purpose",
    cure: "Encrypt the disk; remove snapshots and backups that were made before.",
  });
  return found;
}

/**
 * What an erasure does not reach: looked for, so that whoever erases knows where to go on.
 * @module
 */
import { existsSync } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { asAftersaveError, errnoOf, type ErrorCode } from "../core/errors.ts";
import { OWN_FOLDER, type Key } from "../core/key.ts";
import { ownParts, writerAt } from "../mirror/joined.ts";
import { earlierPlaces } from "../mirror/owner.ts";
import type { MirrorTarget } from "../mirror/place.ts";
import type { State } from "../state/state.ts";
import { NAME, type ErasedBy, type Remains } from "./receipt.ts";
import { ENCODED, type Finder } from "./tombstone.ts";

export interface RemainsParts {
  readonly state: State;
  readonly root: string;
  readonly backupDir: string;
  /** Files of the memory root that other programs own. */
  readonly others: readonly string[];
  /** Enabled targets. */
  readonly targets: readonly string[];
  readonly open: (name: string) => Promise<MirrorTarget>;
  /** Where a target is now, for people. */
  readonly whereIs: (target: string) => string | undefined;
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

/** Backups that may have it, and those that do: an archive cannot be looked through, a plain file is. */
async function backupsOf(folder: string, finder: Finder): Promise<Remains[]> {
  const below = await readdir(folder, { recursive: true, withFileTypes: true }).catch(unlessAbsent([]));
  const files = below.filter((entry) => entry.isFile()).map(({ parentPath, name }) => relative(folder, join(parentPath, name)));
  const archives = files.filter((name) => /\.(zip|tar|tgz|gz|7z)$/i.test(name));
  const plain: string[] = [];
  for (const name of files) if (!archives.includes(name) && (await holds(finder, join(folder, name)))) plain.push(name);
  const few = (names: readonly string[]) => `${names.slice(0, 5).join(", ")}${names.length > 5 ? " …" : ""}`;
  const found: Remains[] = [];
  if (archives.length > 0)
    found.push({
      what: `${archives.length} archive${archives.length === 1 ? "" : "s"} in ${folder}: ${few(archives)}`,
      why: "an archive that was made before may hold it, and is never changed",
      cure: "Remove those that were made before now, and make a new one.",
    });
  if (plain.length > 0)
    found.push({
      what: `${plain.length} file${plain.length === 1 ? "" : "s"} in ${folder}: ${few(plain)}`,
      why: "what lies there is a copy that was made before, holds it, and is never changed",
      cure: "Remove what you do not need, and edit the rest.",
    });
  return found;
}

/** Names that hold it: an erasure of a text changes contents, and a name is what everything of a file is found by. */
async function namesOf({ state }: RemainsParts, finder: Finder): Promise<Remains[]> {
  const keys = new Set(await state.erasure.keys());
  for await (const { key } of state.saves.heads()) keys.add(key);
  return [...keys]
    .filter((key) => finder.find(Buffer.from(key), null).length > 0)
    .map((key) => ({
      what: `${NAME}${key}`,
      why: "it holds the text, and stands in the logs, in archive copies' names and at the targets",
      cure: `Save the file under another name, then \`aftersave erase ${JSON.stringify(key)}\`.`,
    }));
}

/** What others wrote into a file of ours and the place keeps in it for ever; it goes with the file, and only so. */
async function revisionsOf({ state }: RemainsParts, going: ReadonlySet<Key>): Promise<Remains[]> {
  return (await state.erasure.keptAside())
    .filter(({ key, kept_as }) => kept_as.startsWith(`${key}#revision=`) && !going.has(key))
    .map(({ target, key, kept_as }) => ({
      what: `revision ${kept_as.slice(key.length + "#revision=".length)} of ${key} on ${target}`,
      why: "someone else wrote it into the file while ours was sent; it is kept there for ever, and cannot be looked through from here",
      cure: `Look at it in the file's version history there. If it has the text, remove the file there for good and run \`aftersave doctor --fix\`, then \`aftersave flush\`: ours is sent again.`,
    }));
}

/** Who writes to a target besides us: as known here, and as said there now. */
async function besideUs(
  { state, open }: RemainsParts,
  target: string,
): Promise<{ names: string[]; code: ErrorCode | undefined }> {
  const own = (await state.segments.writer()).id;
  const hosts = new Map((await state.segments.writers(target)).map(({ writer, host }) => [writer, host]));
  let code: ErrorCode | undefined;
  try {
    const to = await open(target);
    const call = { tries: { used: 1, most: 1 } };
    for await (const { key } of to.target.list(`${OWN_FOLDER}/`, call)) {
      const [, writer, what] = ownParts.exec(key) ?? [];
      if (writer === undefined || writer === own || hosts.get(writer)) continue;
      hosts.set(writer, what === "writer.json" ? (await writerAt(to.target, writer, call)).host : null);
    }
  } catch (error) {
    code = asAftersaveError(error, `asking ${target} who writes there`).code;
  }
  return { names: [...hosts].filter(([writer]) => writer !== own).map(([writer, host]) => host ?? writer), code };
}

/** What stays out of reach, most important first. `owing` are targets that held it; what these hold of `going` keys is removed for good. */
export async function remainsOf(
  parts: RemainsParts,
  by: ErasedBy,
  finder: Finder,
  owing: readonly string[],
  going: ReadonlySet<Key>,
): Promise<Remains[]> {
  const { state, root, backupDir, others, targets, whereIs } = parts;
  const found: Remains[] = await namesOf(parts, finder);
  for (const revision of await revisionsOf(parts, going)) found.push(revision);
  const repository = gitAbove(root);
  if (repository !== undefined)
    found.push({
      what: `the git repository ${repository}`,
      why: "what was ever committed stays in its history, and in every clone",
      cure: "Rewrite it (`git filter-repo`), then have every clone made anew.",
    });
  for (const backup of await backupsOf(backupDir, finder)) found.push(backup);
  for (const path of others)
    if (await holds(finder, path))
      found.push({ what: path, why: "it is another program's file, and holds it", cure: `Edit or remove ${basename(path)}.` });
  for (const target of new Set([...targets, ...owing])) {
    for (const place of await earlierPlaces(state, target, whereIs(target)))
      found.push({
        what: `${place}, where ${target} was before`,
        why: "nothing is sent there any more, and what was sent is still there",
        cure: "Remove it there, with its older revisions and its trash.",
      });
    if (!targets.includes(target)) continue; // disabled: it is not asked
    const { names, code } = await besideUs(parts, target);
    if (names.length > 0)
      found.push({
        what: `what ${names.join(", ")} wrote to ${target}`,
        why: "each writer's files and history are its own; theirs may have it, and so may their machines",
        cure: "Erase it there too.",
      });
    if (code !== undefined)
      found.push({
        what: `what others may have written to ${target}`,
        why: `it could not be asked who writes there (${code})`,
        cure: "Look when it can be reached, and erase it there too.",
      });
  }
  if (targets.length > 0)
    found.push({
      what: "other machines on which this memory was restored, or which were copied from it",
      why: "what was erased is known to this machine only; they send no version that was erased here, once they read that, but they keep it, and a new save there may have the text",
      cure: "Run the same `aftersave erase` on each of them.",
    });
  found.push(
    by === "match"
      ? {
          what: `the text in another writing: other letter case, base64 that is broken into lines or of fewer than ${ENCODED} bytes, base64 of JSON or UTF-16, percent-encoded twice or where it need not be (%4D), JSON within JSON within JSON, or escaped where no common writer does, compressed, encrypted`,
          why: "it is looked for letter by letter, as UTF-8, UTF-16, JSON (also within a JSON string), percent-encoded and base64",
          cure: "Erase those writings too, where there may be any.",
        }
      : {
          what: "the text in another writing: other letter case, other line breaks, parts of its lines, UTF-16, base64, percent-encoded, JSON within JSON, compressed, encrypted",
          why: "its lines are looked for as they stand, and from 16 bytes on also as JSON has them",
          cure: "Where there may be any, erase the text itself too: `aftersave erase --match` finds it in UTF-16, base64, percent-encoded and in JSON within JSON.",
        },
  );
  found.push({
    what: "blocks of this disk that are free now, snapshots and backups of the system",
    why: "a disk does not overwrite what a file no longer needs, and a snapshot keeps it on purpose",
    cure: "Encrypt the disk; remove snapshots and backups that were made before.",
  });
  return found;
}

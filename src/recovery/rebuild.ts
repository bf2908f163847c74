/**
 * The state again from what is on the disk: the changelog file gives versions and their chain, a damaged state file what
 * the changelog does not have yet, heads and live files and archive copies the content. What a target holds is compared
 * when it is next written to.
 * @module
 */
import { readdir, rename, rm, stat } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { errnoOf } from "../core/errors.ts";
import { ARCHIVE_MARK, type ArchiveFolder, type Key } from "../core/key.ts";
import { originOf } from "../core/route.ts";
import { actorIn, isWhole, movesHead, NO_KEY, type Redacted, type Version } from "../core/version.ts";
import { digestOfFile, readPieces } from "../memory/content.ts";
import { createDurably, moveDurably } from "../memory/durable.ts";
import type { Heads } from "../memory/heads.ts";
import type { Places } from "../memory/places.ts";
import { readLog, tailLog } from "../logs/read.ts";
import { parseChangelogLine, verifyChain } from "../logs/verify.ts";
import type { JobRequest } from "../state/jobs.ts";
import { salvage, type Line } from "../state/restore.ts";
import type { Content, Head } from "../state/saves.ts";
import type { State } from "../state/state.ts";
import { couldBeOurOwn } from "./believed.ts";

export interface RebuildReport {
  readonly versions: number;
  /** Keys whose accepted content is there. */
  readonly heads: number;
  /** Keys whose last accepted content is in no file any more. */
  readonly lost: readonly Key[];
  /** Where the chain of the changelog is broken, if it is. Lines that were altered are not taken over, those behind them are. */
  readonly broken: string | null;
}

export interface RebuildParts {
  readonly state: State;
  readonly heads: Heads;
  readonly places: Places;
  readonly archive: ArchiveFolder;
  readonly changelog: string;
  readonly archiveLog: string;
  readonly targetsFor: (key: Key) => readonly string[];
}

interface Known extends Line {
  readonly version: Version;
}

const BATCH = 2000;

/** Fills a state that lost what the changelog knows: all of it, or its newest part. The caller holds the claim `rebuild`. */
export async function rebuild(parts: RebuildParts, aside: string | null): Promise<RebuildReport> {
  const { state, changelog } = parts;
  const damaged = (await state.restore.underWay())?.aside ?? aside;
  await state.restore.begin(damaged);
  const left = new Map<string, Redacted>();
  const note = (erase: Version) => erase.details?.redacts?.forEach((redacted) => left.set(redacted.version, redacted));
  for await (const erase of state.saves.select({ op: "erase" })) note(erase);
  const { broken } = await verifyChain(noting(values(changelog), note));
  const history = await restoreHistory(parts, damaged, left);
  const { heads, lost } = await restoreHeads(parts, history.latest);
  await state.restore.heads(heads);
  await adoptCopies(parts, history.latest, heads);
  await state.jobs.enqueue(await jobsFor(parts, history.latest, heads));
  await state.restore.end({ changes: history.exported, archives: await lastArchived(parts) });
  const what = broken ? `place ${broken.place} was ${broken.what}` : null;
  return { versions: history.versions, heads: heads.length, lost, broken: what };
}

async function* values(changelog: string): AsyncGenerator {
  for await (const { value } of readLog(changelog, { withRotated: true })) yield value;
}

async function* noting(lines: AsyncIterable<unknown>, note: (erase: Version) => void): AsyncGenerator {
  for await (const value of lines) {
    const line = (value as { readonly op?: unknown }).op === "erase" ? parseChangelogLine(value) : undefined;
    if (line && isWhole(line)) note(line);
    yield value;
  }
}

/** Versions in their places: those that the state has, then those of the file, then those of a damaged state file. `left`: what erasures left. */
async function restoreHistory(
  { state, changelog, archive }: Pick<RebuildParts, "state" | "changelog" | "archive">,
  aside: string | null,
  left: ReadonlyMap<string, Redacted>,
) {
  const latest = new Map<Key, Known>();
  let last: Version | undefined;
  let versions = 0;
  let batch: Line[] = [];

  /** Erased lines that say what their key held say it in an `erase` line, with what began their copy. */
  const blanks = new Map<string, Version>();
  const restored = (erase: Version) => {
    const about = new Set(erase.details?.about);
    for (const [file, { version }] of latest) {
      if (!about.has(version.version)) continue;
      blanks.set(version.version, version); // whole in the file still: a kill came between the state and the logs
      latest.delete(file);
    }
    for (const { version: id, file, sha256, size, base, details } of erase.details?.redacts ?? []) {
      const blank = blanks.get(id);
      if (!blank || !movesHead({ op: blank.op, details: details ?? null })) continue;
      if ((latest.get(file)?.version.place ?? 0) > blank.place) continue;
      latest.set(file, { version: { ...blank, file, sha256, size }, base: sha256 === null ? null : (base ?? id) });
    }
  };

  /** What was added to an erased line's content by one that was not erased belongs to the same copy. */
  const remember = (blank: Version) => {
    const { file, sha256 = null, size = null, base, details = null } = left.get(blank.version) ?? {};
    if (file === undefined || !movesHead({ op: blank.op, details })) return;
    const version = { ...blank, file, sha256, size, details };
    latest.set(file, { version, base: sha256 === null ? null : (base ?? blank.version) });
  };

  const follow = (version: Version): Line => {
    last = version;
    versions++;
    if (version.commitment !== null) blanks.set(version.version, version);
    if (version.op === "erase") restored(version);
    if (version.file === NO_KEY) remember(version);
    if (!movesHead(version) || version.file === NO_KEY) return { version, base: null };
    const before = latest.get(version.file);
    // bytes were added to the same copy unless there was none, or it became an archive copy, or what was between is not known
    const grew = before !== undefined && version.archived_as === null && before.version.sha256 === version.prev_sha256;
    const base = version.sha256 === null ? null : ((grew ? before.base : null) ?? version.version);
    const line = { version, base };
    latest.set(version.file, line);
    return line;
  };
  const add = async (version: Version) => {
    batch.push(follow(version));
    if (batch.length >= BATCH) await flush();
  };
  const flush = async () => {
    await state.restore.lines(batch);
    batch = [];
  };

  for await (const version of state.saves.versions()) follow(version);
  let exported = 0;
  const isContinued = last !== undefined;
  for await (const value of values(changelog)) {
    const version = parseChangelogLine(value);
    if (!version || !isWhole(version)) continue;
    if (!couldBeOurOwn(version, archive)) {
      if (isContinued && version.place > (last?.place ?? 0)) break; // what builds upon it is not ours either
      continue;
    }
    exported = Math.max(exported, version.place);
    if (version.place > (last?.place ?? 0)) await add(version);
  }
  if (aside !== null)
    for (const version of salvage(aside, last?.place ?? 0)) {
      if (!isWhole(version) || !couldBeOurOwn(version, archive) || version.prev !== (last?.sum ?? null)) break;
      await add(version);
    }
  await flush();
  return { latest, versions, exported };
}

const contentOf = ({ version: { sha256, size }, base }: Known): Content | undefined =>
  base === null || sha256 === null || size === null ? undefined : { base, sha256, size };

/** The heads of all keys; where the kept copy is gone or damaged, made anew from whatever file holds the content. */
async function restoreHeads(parts: RebuildParts, latest: ReadonlyMap<Key, Known>) {
  const heads: Head[] = [];
  const lost: Key[] = [];
  let files: Promise<readonly string[]> | undefined;
  const elsewhere = () => (files ??= otherFiles(parts));
  for (const [key, known] of latest) {
    const content = contentOf(known);
    if (!content) continue;
    if (!(await parts.heads.holds(content)) && !(await revive(parts, key, content, elsewhere))) {
      lost.push(key);
      continue;
    }
    heads.push({ key, version: known.version.version, stamp: null, ...content });
  }
  return { heads, lost };
}

/** Files that may hold what a head should: archive copies, and kept copies that an unfinished save left. */
export async function otherFiles({
  heads,
  places,
  archive,
}: Pick<RebuildParts, "heads" | "places" | "archive">): Promise<readonly string[]> {
  return [...(await archiveFiles(places, archive)).map(({ path }) => path), ...(await heads.files()).map(({ path }) => path)];
}

/** Makes a head anew from the live file, else from whichever other file begins with its content. */
export async function revive(
  { heads, places }: Pick<RebuildParts, "heads" | "places">,
  key: Key,
  content: Content,
  others: () => Promise<readonly string[]>,
): Promise<boolean> {
  const from = async (path: string): Promise<boolean> => {
    if ((await digestOfFile(path, content.size).catch(() => undefined))?.sha256 !== content.sha256) return false; // unreadable is not it
    const [at, made] = [heads.path(content.base), `${heads.path(content.base)}.new`];
    await rm(made, { force: true }); // a rebuild that was killed left it
    await createDurably(made, () => readPieces(path, 0, content.size), 0o666);
    if ((await digestOfFile(made))?.sha256 !== content.sha256) return false;
    await rename(at, `${at}.damaged`).catch(ignoreAbsent); // it may hold something that nothing else does
    await moveDurably(made, at);
    return true;
  };
  if (await from(places.pathOf(key))) return true;
  for (const path of await others()) if (await from(path)) return true;
  return false;
}

const ignoreAbsent = (error: unknown) => {
  if (errnoOf(error) !== "ENOENT") throw error;
};

/** What lies in the archive folder. */
export async function archiveFiles(places: Places, archive: ArchiveFolder): Promise<{ key: Key; path: string }[]> {
  const folder = places.pathOf(archive as Key);
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch((error: unknown) => {
    ignoreAbsent(error);
    return [];
  });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return { path, key: relative(places.dataDir, path).split(sep).join("/").normalize("NFC") as Key };
    });
}

/** Archive copies whose line was not in the changelog any more are copies of ours all the same: they are mirrored too. */
async function adoptCopies(
  { state, heads, places, archive }: RebuildParts,
  latest: ReadonlyMap<Key, Known>,
  now: readonly Head[],
) {
  const byOrigin = new Map([...latest].map(([key, { version }]) => [key as string, version]));
  for (const { key, path } of await archiveFiles(places, archive)) {
    const origin = byOrigin.get(originOf(key, archive));
    if (!origin || !ARCHIVE_MARK.test(key) || (await state.saves.archiveCopy(key))) continue;
    const { file, version } = origin;
    const head = now.find((head) => head.key === file);
    if (head) await part(heads, head, path);
    const digest = await digestOfFile(path).catch(() => undefined); // not to be read: `doctor` tells
    if (digest)
      await state.restore.archives([{ key, file, version, sha256: digest.sha256, size: digest.size, base: null, pruned: false }]);
  }
}

/** A save that did not come to its end left a copy that is the head itself: an append to the one would change the other. */
async function part(heads: Heads, head: Head, copy: string): Promise<void> {
  const [mine, theirs] = await Promise.all([stat(heads.path(head.base)), stat(copy)]);
  if (mine.ino !== theirs.ino || mine.dev !== theirs.dev) return;
  const made = `${heads.path(head.base)}.new`;
  await rm(made, { force: true }); // a rebuild that was killed left it
  await createDurably(made, () => readPieces(copy, 0, head.size), 0o666);
  await moveDurably(made, heads.path(head.base));
}

/** Every file once more, archive copies first: a target that has the bytes is found to have them. */
async function jobsFor({ state, targetsFor }: RebuildParts, latest: ReadonlyMap<Key, Known>, heads: readonly Head[]) {
  const jobs: JobRequest[] = [];
  for await (const { key, version, sha256, size, pruned } of state.saves.archiveCopies()) {
    if (pruned) continue;
    const made = await state.saves.version(version);
    if (made)
      for (const target of targetsFor(key))
        if (!(await state.copies.prunedAt(target, key)))
          jobs.push({ target, key, version, sha256, size, archive: true, actor: actorIn(made) });
  }
  for (const { key, version, sha256, size } of heads) {
    const known = latest.get(key);
    if (known)
      for (const target of targetsFor(key))
        jobs.push({ target, key, version, sha256, size, archive: false, actor: actorIn(known.version) });
  }
  return jobs;
}

/** The place of the newest version that the archive log knows. */
async function lastArchived({ state, archiveLog }: RebuildParts): Promise<number> {
  for (const { value } of (await tailLog(archiveLog, 100, { withRotated: true })).toReversed()) {
    const version = await state.saves.version(String(value["version"]));
    if (version) return version.place;
  }
  return 0;
}

/**
 * The state again from what is on the disk: the changelog file gives versions and their chain, heads and live files
 * the content. What a target holds is compared when it is next written to.
 * @module
 */
import type { Key } from "../core/key.ts";
import { actorIn, type Version } from "../core/version.ts";
import { digestOfFile, readPieces } from "../memory/content.ts";
import type { Heads } from "../memory/heads.ts";
import type { Places } from "../memory/places.ts";
import { readLog } from "../logs/read.ts";
import { parseChangelogLine, verifyChain } from "../logs/verify.ts";
import type { JobRequest } from "../state/jobs.ts";
import type { Head } from "../state/saves.ts";
import type { State } from "../state/state.ts";

export interface RebuildReport {
  readonly versions: number;
  /** Keys whose accepted content is there. */
  readonly heads: number;
  /** Keys whose last accepted content is in no file any more. */
  readonly lost: readonly Key[];
  /** Where the chain of the changelog is broken, if it is; lines from there on are not taken over. */
  readonly broken: string | null;
}

export interface RebuildParts {
  readonly state: State;
  readonly heads: Heads;
  readonly places: Places;
  readonly changelog: string;
  readonly targetsFor: (key: Key) => readonly string[];
}

async function* chained(changelog: string): AsyncGenerator<Version> {
  for await (const { value } of readLog(changelog, { withRotated: true })) {
    const version = parseChangelogLine(value);
    if (version) yield version;
  }
}

/** Fills an empty state. Idempotent only on an empty state: the caller sets a damaged one aside first. */
export async function rebuild({ state, heads, places, changelog, targetsFor }: RebuildParts): Promise<RebuildReport> {
  const report = await verifyChain(chained(changelog));
  const last = new Map<Key, { version: Version; base: string | null }>();
  let versions = 0;
  for await (const version of chained(changelog)) {
    if (report.broken && version.place >= report.broken.place) break;
    const before = last.get(version.file)?.base ?? null;
    // bytes were added to the same copy unless there was none, or it became an archive copy
    const base = version.sha256 === null ? null : before !== null && version.archived_as === null ? before : version.version;
    await state.saves.restoreLine(version, base);
    last.set(version.file, { version, base });
    versions++;
  }

  const lost: Key[] = [];
  const jobs: JobRequest[] = [];
  let found = 0;
  for (const [key, { version, base }] of last) {
    if (base === null || version.sha256 === null || version.size === null) continue;
    const content = { base, sha256: version.sha256, size: version.size };
    const kept = await heads.holds(content);
    if (!kept) {
      const { path } = places.place(key);
      if ((await digestOfFile(path))?.sha256 !== content.sha256) {
        lost.push(key);
        continue;
      }
      await heads.create(base, () => readPieces(path, 0, content.size), 0o666);
    }
    const head: Head = { key, version: version.version, stamp: null, ...content };
    await state.saves.restoreHead(head);
    found++;
    for (const target of targetsFor(key)) jobs.push({ ...head, target, archive: false, actor: actorIn(version) });
  }
  for await (const { key, version, sha256, size } of state.saves.archiveCopies()) {
    const made = await state.saves.version(version);
    if (made)
      for (const target of targetsFor(key))
        jobs.push({ target, key, version, sha256, size, archive: true, actor: actorIn(made) });
  }
  await state.jobs.enqueue(jobs.toSorted((a, b) => Number(b.archive) - Number(a.archive)));
  const { broken } = report;
  return { versions, heads: found, lost, broken: broken ? `place ${broken.place} was ${broken.what}` : null };
}

/**
 * The queue: one pending piece of work per target and key. The newest content replaces what waits; archive copies
 * have keys of their own, so each of them is sent.
 * @module
 */
import type { ErrorCode } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import type { Actor } from "../core/version.ts";
import { KEPT_BACK } from "./decisions.ts";
import type { Database, Row } from "./sqlite.ts";

export interface JobRequest {
  readonly target: string;
  readonly key: Key;
  /** The save that these bytes belong to. */
  readonly version: string;
  readonly sha256: string;
  readonly size: number;
  /** An archive copy: read from the archive folder, not from the head. */
  readonly archive: boolean;
  readonly actor: Actor;
}

export interface Job extends JobRequest {
  readonly id: number;
  readonly state: "pending" | "failed";
  readonly created_at: number;
  /** Not before this time (milliseconds since 1970). */
  readonly run_at: number;
  /** Of a failed job: whether a later worker may succeed without anyone doing anything. */
  readonly can_pass: boolean;
  readonly attempts: number;
  readonly code: ErrorCode | null;
  readonly notes: string;
}

export interface Failure {
  readonly code: ErrorCode;
  readonly notes: string;
  readonly attempts: number;
  readonly canPass: boolean;
  readonly runAt: number;
}

export interface Jobs {
  enqueue(jobs: readonly JobRequest[]): Promise<void>;
  job(target: string, key: Key): Promise<Job | undefined>;
  /** Work that may be done now, oldest first, without what is held: pending, and failed that can pass (or all, with `hopeless`) and whose time has come. `after` pages by id. */
  due(target: string, now: number, after: number, limit: number, hopeless?: boolean): Promise<Job[]>;
  /** Everything unfinished, oldest first, what is held included. */
  all(): AsyncIterable<Job>;
  /** Without what is held. */
  counts(): Promise<{ target: string; state: Job["state"]; n: number; oldest: number }[]>;
  /** What waits until a held version is settled: how much, and since when. */
  held(): Promise<{ readonly n: number; readonly oldest: number | null }>;
  /** Work that a rule, or an erasure, keeps here (`E_BLOCKED`, `E_ERASED`), oldest first. */
  blocked(): Promise<Job[]>;
  /** What kept it here changed: it may be looked at again. Answers how much that is. */
  unblock(code: "E_BLOCKED" | "E_ERASED"): Promise<number>;
  /** The failed job waits until `failure.runAt`, unless newer content has taken its place meanwhile. */
  park(job: Job, failure: Failure): Promise<void>;
}

const toJob = (row: Row): Job => ({
  id: Number(row["id"]),
  target: String(row["target"]),
  key: row["key"] as Key,
  version: String(row["version"]),
  sha256: String(row["sha256"]),
  size: Number(row["size"]),
  archive: row["archive"] === 1,
  actor: JSON.parse(String(row["actor"])) as Actor,
  state: row["state"] as Job["state"],
  created_at: Number(row["created_at"]),
  run_at: Number(row["run_at"]),
  can_pass: row["can_pass"] === 1,
  attempts: Number(row["attempts"]),
  code: row["code"] as ErrorCode | null,
  notes: String(row["notes"]),
});

/** Within a transaction of the caller. */
export function enqueueRows(db: Database, jobs: readonly JobRequest[], now: number): void {
  for (const job of jobs)
    db.prepare(
      `INSERT INTO jobs (target, key, version, sha256, size, archive, actor, state, created_at, run_at, can_pass, attempts, code, notes)
       VALUES (?,?,?,?,?,?,?, 'pending', ?, 0, 1, 0, NULL, '')
       ON CONFLICT (target, key) DO UPDATE SET version = excluded.version, sha256 = excluded.sha256, size = excluded.size,
         archive = excluded.archive, actor = excluded.actor, state = 'pending', run_at = 0, can_pass = 1, attempts = 0, code = NULL, notes = ''`,
    ).run(job.target, job.key, job.version, job.sha256, job.size, job.archive ? 1 : 0, JSON.stringify(job.actor), now);
}

/** Within a transaction of the caller: the job is done, unless newer content waits in its place. */
export function finishRow(db: Database, job: Pick<Job, "target" | "key" | "version">): void {
  db.prepare("DELETE FROM jobs WHERE target = ? AND key = ? AND version = ?").run(job.target, job.key, job.version);
}

export function createJobs(db: Database, now: () => number): Jobs {
  return {
    async enqueue(jobs) {
      db.transaction(() => enqueueRows(db, jobs, now()));
    },
    async job(target, key) {
      const row = db.prepare("SELECT * FROM jobs WHERE target = ? AND key = ?").get(target, key);
      return row && toJob(row);
    },
    async due(target, at, after, limit, hopeless = false) {
      return db
        .prepare(
          `SELECT * FROM jobs WHERE target = ? AND id > ? AND run_at <= ? AND (state = 'pending' OR can_pass = 1 OR ?)
             AND key NOT IN (${KEPT_BACK}) ORDER BY id LIMIT ?`,
        )
        .all(target, after, at, hopeless ? 1 : 0, limit)
        .map(toJob);
    },
    async *all() {
      for (let after = 0; ;) {
        const jobs = db.prepare("SELECT * FROM jobs WHERE id > ? ORDER BY id LIMIT 1000").all(after).map(toJob);
        yield* jobs;
        const last = jobs.at(-1);
        if (!last) return;
        after = last.id;
      }
    },
    async counts() {
      return db
        .prepare(
          `SELECT target, state, count(*) AS n, min(created_at) AS oldest FROM jobs WHERE key NOT IN (${KEPT_BACK}) GROUP BY target, state`,
        )
        .all()
        .map((row) => ({
          target: String(row["target"]),
          state: row["state"] as Job["state"],
          n: Number(row["n"]),
          oldest: Number(row["oldest"]),
        }));
    },
    async held() {
      const row = db.prepare(`SELECT count(*) AS n, min(created_at) AS oldest FROM jobs WHERE key IN (${KEPT_BACK})`).get();
      const oldest = row?.["oldest"] ?? null;
      return { n: Number(row?.["n"]), oldest: oldest === null ? null : Number(oldest) };
    },
    async blocked() {
      return db
        .prepare("SELECT * FROM jobs WHERE state = 'failed' AND code IN ('E_BLOCKED', 'E_ERASED') ORDER BY id")
        .all()
        .map(toJob);
    },
    async unblock(code) {
      return db.transaction(
        () =>
          db.prepare("UPDATE jobs SET state = 'pending', run_at = 0, can_pass = 1 WHERE state = 'failed' AND code = ?").run(code)
            .changes,
      );
    },
    async park(job, failure) {
      db.transaction(() =>
        db
          .prepare(
            "UPDATE jobs SET state = 'failed', run_at = ?, can_pass = ?, attempts = attempts + ?, code = ?, notes = ? WHERE target = ? AND key = ? AND version = ?",
          )
          .run(
            failure.runAt,
            failure.canPass ? 1 : 0,
            failure.attempts,
            failure.code,
            failure.notes,
            job.target,
            job.key,
            job.version,
          ),
      );
    },
  };
}

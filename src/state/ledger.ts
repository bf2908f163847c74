/**
 * What each target is known to hold, and how each target is doing.
 * @module
 */
import type { ErrorCode } from "../core/errors.ts";
import { foldKey, type Key } from "../core/key.ts";
import type { DriverMemory, Seen } from "../core/target.ts";
import { finishRow, type Job, type JobRequest } from "./jobs.ts";
import { forgetHistory } from "./segments.ts";
import type { Database, Row } from "./sqlite.ts";

/** The last verified copy of a key on a target. */
export interface Mirrored extends Seen {
  readonly key: Key;
  readonly sha256: string;
  readonly size: number;
  readonly version: string;
  readonly verified_at: number;
  readonly drive_path: string;
}

export interface TargetState {
  readonly name: string;
  /** Our marker was seen in the target's root. */
  readonly owned: boolean;
  readonly last_success_at: number | null;
  readonly last_verified_at: number | null;
  readonly last_proven_restore_at: number | null;
  /** What that restore was. */
  readonly proven: ProvenRestore | null;
  /** The circuit is open until then: the target could not be reached. */
  readonly open_until: number;
  /** Why the last upload failed; null when it did not. */
  readonly code: ErrorCode | null;
}

/** A whole tree that was rebuilt from a target alone and compared byte for byte. */
export interface ProvenRestore {
  readonly files: number;
  readonly bytes: number;
  readonly ms: number;
}

/** Someone else's content that was found at a target and kept there under another key. */
export interface Conflict {
  readonly target: string;
  readonly key: Key;
  readonly kept_as: Key;
  readonly sha256: string | null;
  readonly at: number;
  /** In words: the other machine whose save it is; null when it is a stranger's. */
  readonly whose: string | null;
}

export interface Ledger {
  mirrored(target: string, key: Key): Promise<Mirrored | undefined>;
  /** Everything that a target is known to hold, by key. */
  copies(target: string): AsyncIterable<Mirrored>;
  /** What is there was compared with what should be there, and nothing was wrong. */
  setVerified(name: string, at: number): Promise<void>;
  setProven(name: string, at: number, proven: ProvenRestore): Promise<void>;
  /** Another key that is the same name on a place that ignores case. */
  twin(target: string, key: Key): Promise<Key | undefined>;
  /** Ledger, upload log line and the end of the job, in one transaction. */
  record(job: Pick<Job, "target" | "key" | "version">, copy: Mirrored, line: string): Promise<void>;
  /** The job is over without a write. */
  settle(job: Pick<Job, "target" | "key" | "version">, line: string): Promise<void>;
  /** An outcome that ends no job. */
  note(line: string): Promise<void>;
  target(name: string): Promise<TargetState>;
  setOwned(name: string, owned?: boolean): Promise<void>;
  /** The target does not hold `keys` (default: anything) any more: what the ledger knew is dropped, and `jobs` are to be done. */
  forget(name: string, jobs: readonly JobRequest[], keys?: readonly Key[]): Promise<void>;
  setHealth(name: string, health: { code: ErrorCode | null; openUntil: number }): Promise<void>;
  /** Reserves the name of what is kept there; `seen`: no person needs to look at it. */
  addConflict(conflict: Conflict, seen?: boolean): Promise<void>;
  /** Conflicts that no one has looked at, oldest first. */
  conflicts(): Promise<Conflict[]>;
  /** A person has seen them. */
  acknowledgeConflicts(): Promise<number>;
  /** These bytes may stand at a target for `version`: what it held, with secrets covered. */
  addMasked(key: Key, sha256: string, version: string): Promise<void>;
  /** The last version whose masked copy has this hash. */
  maskedOf(key: Key, sha256: string): Promise<string | undefined>;
  driverMemory(target: string): DriverMemory;
  /** Bytes of accepted content that none of `targets` holds, and the time of the oldest such save (null: none). */
  unprotected(targets: readonly string[]): Promise<{ bytes: number; files: number }>;
}

export const toMirrored = (row: Row): Mirrored => ({
  key: row["key"] as Key,
  ...(row["id"] === null ? {} : { id: String(row["id"]) }),
  rev: String(row["rev"]),
  sha256: String(row["sha256"]),
  size: Number(row["size"]),
  version: String(row["version"]),
  verified_at: Number(row["verified_at"]),
  drive_path: String(row["drive_path"]),
});

const provenName = (target: string) => `proven/${target}`;

const toTarget = (name: string, row: Row | undefined, proven: Row | undefined): TargetState => ({
  name,
  owned: row?.["owned"] === 1,
  last_success_at: (row?.["last_success_at"] ?? null) as number | null,
  last_verified_at: (row?.["last_verified_at"] ?? null) as number | null,
  last_proven_restore_at: (row?.["last_proven_restore_at"] ?? null) as number | null,
  proven: proven === undefined ? null : (JSON.parse(String(proven["value"])) as ProvenRestore),
  open_until: Number(row?.["open_until"] ?? 0),
  code: (row?.["code"] ?? null) as ErrorCode | null,
});

/** Runs what is asked for in one turn of the event loop in one transaction: several uploads that end together need one fsync. */
function groupCommit(db: Database): (work: () => unknown) => Promise<void> {
  let waiting: { readonly work: () => unknown; readonly done: () => void; readonly failed: (error: unknown) => void }[] = [];
  const commit = () => {
    const group = waiting;
    waiting = [];
    try {
      db.transaction(() => group.forEach(({ work }) => work()));
    } catch (error) {
      for (const { failed } of group) failed(error);
      return;
    }
    for (const { done } of group) done();
  };
  return (work) =>
    new Promise((done, failed) => {
      if (waiting.push({ work, done, failed }) === 1) setImmediate(commit);
    });
}

export function createLedger(
  db: Database,
  log: (log: "uploads", line: string) => void,
  enqueue: (jobs: readonly JobRequest[]) => void,
): Ledger {
  const together = groupCommit(db);
  const ensure = (name: string) => db.prepare("INSERT OR IGNORE INTO targets (name) VALUES (?)").run(name);
  return {
    async mirrored(target, key) {
      const row = db.prepare("SELECT * FROM ledger WHERE target = ? AND key = ?").get(target, key);
      return row && toMirrored(row);
    },
    async *copies(target) {
      for (let after = ""; ;) {
        const rows = db.prepare("SELECT * FROM ledger WHERE target = ? AND key > ? ORDER BY key LIMIT 1000").all(target, after);
        yield* rows.map(toMirrored);
        const last = rows.at(-1);
        if (!last) return;
        after = String(last["key"]);
      }
    },
    async setVerified(name, at) {
      db.transaction(() => {
        ensure(name);
        db.prepare("UPDATE targets SET last_verified_at = ? WHERE name = ?").run(at, name);
      });
    },
    async setProven(name, at, { files, bytes, ms }) {
      db.transaction(() => {
        ensure(name);
        db.prepare("UPDATE targets SET last_proven_restore_at = ? WHERE name = ?").run(at, name);
        const value = JSON.stringify({ files, bytes, ms });
        db.prepare("INSERT OR REPLACE INTO meta (name, value) VALUES (?,?)").run(provenName(name), value);
      });
    },
    async twin(target, key) {
      const row = db
        .prepare("SELECT key FROM ledger WHERE target = ? AND fold = ? AND key <> ? LIMIT 1")
        .get(target, foldKey(key), key);
      return row && (row["key"] as Key);
    },
    record(job, copy, line) {
      return together(() => {
        db.prepare(
          "INSERT OR REPLACE INTO ledger (target, key, fold, id, rev, sha256, size, version, verified_at, drive_path) VALUES (?,?,?,?,?,?,?,?,?,?)",
        ).run(
          job.target,
          copy.key,
          foldKey(copy.key),
          copy.id ?? null,
          copy.rev,
          copy.sha256,
          copy.size,
          copy.version,
          copy.verified_at,
          copy.drive_path,
        );
        ensure(job.target);
        db.prepare(
          "UPDATE targets SET last_success_at = ?, last_verified_at = ?, open_until = 0, code = NULL WHERE name = ?",
        ).run(copy.verified_at, copy.verified_at, job.target);
        finishRow(db, job);
        log("uploads", line);
      });
    },
    async settle(job, line) {
      db.transaction(() => {
        finishRow(db, job);
        log("uploads", line);
      });
    },
    async note(line) {
      db.transaction(() => log("uploads", line));
    },
    async target(name) {
      const proven = db.prepare("SELECT value FROM meta WHERE name = ?").get(provenName(name));
      return toTarget(name, db.prepare("SELECT * FROM targets WHERE name = ?").get(name), proven);
    },
    async setOwned(name, owned = true) {
      db.transaction(() => {
        ensure(name);
        db.prepare("UPDATE targets SET owned = ? WHERE name = ?").run(owned ? 1 : 0, name);
      });
    },
    async forget(name, jobs, keys) {
      db.transaction(() => {
        if (keys) for (const key of keys) db.prepare("DELETE FROM ledger WHERE target = ? AND key = ?").run(name, key);
        else {
          db.prepare("DELETE FROM ledger WHERE target = ?").run(name);
          db.prepare("UPDATE targets SET last_proven_restore_at = NULL WHERE name = ?").run(name);
          db.prepare("DELETE FROM meta WHERE name = ?").run(provenName(name));
          forgetHistory(db, name);
        }
        enqueue(jobs);
      });
    },
    async setHealth(name, { code, openUntil }) {
      db.transaction(() => {
        ensure(name);
        db.prepare("UPDATE targets SET code = ?, open_until = ? WHERE name = ?").run(code, openUntil, name);
      });
    },
    async addConflict(conflict, seen = false) {
      db.transaction(() =>
        db
          .prepare("INSERT OR IGNORE INTO conflicts (target, kept_as, key, sha256, at, whose, seen) VALUES (?,?,?,?,?,?,?)")
          .run(conflict.target, conflict.kept_as, conflict.key, conflict.sha256, conflict.at, conflict.whose, seen ? 1 : 0),
      );
    },
    async conflicts() {
      return db
        .prepare("SELECT * FROM conflicts WHERE seen = 0 ORDER BY at, kept_as")
        .all()
        .map((row) => ({
          target: String(row["target"]),
          key: row["key"] as Key,
          kept_as: row["kept_as"] as Key,
          sha256: row["sha256"] as string | null,
          at: Number(row["at"]),
          whose: row["whose"] as string | null,
        }));
    },
    async acknowledgeConflicts() {
      return db.transaction(() => db.prepare("UPDATE conflicts SET seen = 1 WHERE seen = 0").run().changes);
    },
    async addMasked(key, sha256, version) {
      db.transaction(() =>
        db.prepare("INSERT OR REPLACE INTO masked (key, sha256, version) VALUES (?,?,?)").run(key, sha256, version),
      );
    },
    async maskedOf(key, sha256) {
      const row = db.prepare("SELECT version FROM masked WHERE key = ? AND sha256 = ?").get(key, sha256);
      return row && String(row["version"]);
    },
    driverMemory: (target) => ({
      async get(name) {
        const row = db.prepare("SELECT value FROM driver_memory WHERE target = ? AND name = ?").get(target, name);
        return row && String(row["value"]);
      },
      set: (name, value) =>
        together(() =>
          db.prepare("INSERT OR REPLACE INTO driver_memory (target, name, value) VALUES (?,?,?)").run(target, name, value),
        ),
      delete: (name) => together(() => db.prepare("DELETE FROM driver_memory WHERE target = ? AND name = ?").run(target, name)),
      async list(prefix) {
        return db
          .prepare("SELECT name, value FROM driver_memory WHERE target = ? AND substr(name, 1, ?) = ? ORDER BY name")
          .all(target, prefix.length, prefix)
          .map((row) => [String(row["name"]), String(row["value"])] as const);
      },
    }),
    async unprotected(targets) {
      const marks = targets.map(() => "?").join(",");
      const row = db
        .prepare(
          `SELECT count(*) AS files, coalesce(sum(size), 0) AS bytes FROM (
             SELECT key, sha256, size FROM heads UNION ALL SELECT key, sha256, size FROM archives) AS c
           WHERE NOT EXISTS (SELECT 1 FROM ledger l WHERE l.key = c.key AND l.sha256 = c.sha256 AND l.target IN (${marks}))`,
        )
        .get(...targets);
      return { bytes: Number(row?.["bytes"] ?? 0), files: Number(row?.["files"] ?? 0) };
    },
  };
}

/**
 * History at the targets: how far this writer's segments reach there, who else writes there, and what the others held.
 * @module
 */
import type { ErrorCode } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import type { Database, Row } from "./sqlite.ts";
import type { Writer, Writers } from "./writer.ts";

/** A segment's bounds: places of the changelog. */
export interface Range {
  readonly first: number;
  readonly last: number;
}

/** How far a target holds this memory's history in one writer's segments. */
export interface Reach {
  /** Up to here; null when nobody looked yet what is there. */
  readonly place: number | null;
  /** A segment that was begun: it is sent again with these very bounds. */
  readonly under_way: Range | null;
  readonly sent_at: number;
  /** After a failure: not before, unless someone asks. */
  readonly run_at: number;
  readonly code: ErrorCode | null;
}

/** Who writes to a target, as its `writer.json` says. */
export interface TargetWriter {
  readonly writer: string;
  readonly memory_root: string | null;
  readonly host: string | null;
  readonly first_seen: string | null;
}

/** Some bytes that a key held. */
export interface Held {
  readonly key: Key;
  readonly sha256: string;
}

export interface Segments extends Writers {
  reach(target: string, writer: string): Promise<Reach>;
  /** The target was looked at, and holds the history up to `place`. */
  found(target: string, writer: string, place: number): Promise<void>;
  /** The target's history folders are gone: they are told anew from the beginning. */
  forget(target: string): Promise<void>;
  /** Durable when it resolves; only then may the segment be put. */
  begin(target: string, writer: string, range: Range): Promise<void>;
  sent(target: string, writer: string, place: number, at: number): Promise<void>;
  park(target: string, writer: string, code: ErrorCode, runAt: number): Promise<void>;
  /** Why the history could not be sent to the target; null when it could. */
  fault(target: string): Promise<ErrorCode | null>;
  /** Whether the target is known to hold any file of ours. */
  holds(target: string): Promise<boolean>;
  /** Time of the oldest version that none of those `targets` that hold anything has in its history; null: there is none. */
  oldestWaiting(targets: readonly string[]): Promise<number | null>;

  /** This memory may write where that memory root's marker is. */
  join(target: string, memoryRoot: string): Promise<void>;
  joined(target: string): Promise<string | undefined>;
  writers(target: string): Promise<TargetWriter[]>;
  addWriter(target: string, writer: TargetWriter): Promise<void>;

  isRead(target: string, segment: string): Promise<boolean>;
  /** What another writer's segment says was held, and that it was read. */
  learn(target: string, writer: string, segment: string, held: readonly Held[]): Promise<void>;
  /** Another writer of the target whose key ever held these bytes. */
  heldBy(target: string, key: Key, sha256: string): Promise<string | undefined>;
  /** Conflicts over what turned out to be another writer's version need no person. */
  settleConflicts(target: string): Promise<number>;
}

const toReach = (row: Row | undefined): Reach => ({
  place: (row?.["place"] ?? null) as number | null,
  under_way: typeof row?.["first"] === "number" ? { first: row["first"], last: Number(row["last"]) } : null,
  sent_at: Number(row?.["sent_at"] ?? 0),
  run_at: Number(row?.["run_at"] ?? 0),
  code: (row?.["code"] ?? null) as ErrorCode | null,
});

const toWriter = (row: Row): TargetWriter => ({
  writer: String(row["writer"]),
  memory_root: row["memory_root"] as string | null,
  host: row["host"] as string | null,
  first_seen: row["first_seen"] as string | null,
});

/** Within a transaction of the caller: the target holds nothing any more. Whom we joined there stays known. */
export function forgetHistory(db: Database, target: string): void {
  for (const table of ["history", "writers", "segments_read", "foreign_versions"])
    db.prepare(`DELETE FROM ${table} WHERE target = ?`).run(target);
}

export function createSegments(db: Database, writers: Writers): Segments {
  const holds = (target: string) => db.prepare("SELECT 1 AS x FROM ledger WHERE target = ? LIMIT 1").get(target) !== undefined;
  const write = (sql: string, ...values: (string | number | null)[]) =>
    db.transaction(() => db.prepare(sql).run(...values)).changes;
  return {
    writer: (): Promise<Writer> => writers.writer(),
    async renewWriter(id): Promise<Writer> {
      write("DELETE FROM history WHERE writer = ?", id);
      return writers.renewWriter(id);
    },
    async reach(target, writer) {
      return toReach(db.prepare("SELECT * FROM history WHERE target = ? AND writer = ?").get(target, writer));
    },
    async found(target, writer, place) {
      write("INSERT OR REPLACE INTO history (target, writer, place) VALUES (?,?,?)", target, writer, place);
    },
    async forget(target) {
      db.transaction(() => forgetHistory(db, target));
    },
    async begin(target, writer, { first, last }) {
      write("UPDATE history SET first = ?, last = ? WHERE target = ? AND writer = ?", first, last, target, writer);
    },
    async sent(target, writer, place, at) {
      write(
        "UPDATE history SET place = ?, first = NULL, last = NULL, sent_at = ?, run_at = 0, code = NULL WHERE target = ? AND writer = ?",
        place,
        at,
        target,
        writer,
      );
    },
    async park(target, writer, code, runAt) {
      write(
        "INSERT INTO history (target, writer, code, run_at) VALUES (?,?,?,?) ON CONFLICT DO UPDATE SET code = excluded.code, run_at = excluded.run_at",
        target,
        writer,
        code,
        runAt,
      );
    },
    async fault(target) {
      const row = db.prepare("SELECT code FROM history WHERE target = ? AND code IS NOT NULL LIMIT 1").get(target);
      return (row?.["code"] ?? null) as ErrorCode | null;
    },
    async holds(target) {
      return holds(target);
    },
    async oldestWaiting(targets) {
      const some = targets.filter(holds);
      if (some.length === 0) return null;
      const reached = db.prepare(
        `SELECT coalesce(max(place), 0) AS place FROM history WHERE target IN (${some.map(() => "?").join(",")})`,
      );
      const row = db
        .prepare("SELECT timestamp FROM versions WHERE place > ? ORDER BY place LIMIT 1")
        .get(Number(reached.get(...some)?.["place"]));
      return row ? Date.parse(String(row["timestamp"])) : null;
    },

    async join(target, memoryRoot) {
      write("INSERT OR REPLACE INTO joins (target, memory_root) VALUES (?,?)", target, memoryRoot);
    },
    async joined(target) {
      const row = db.prepare("SELECT memory_root FROM joins WHERE target = ?").get(target);
      return row && String(row["memory_root"]);
    },
    async writers(target) {
      return db.prepare("SELECT * FROM writers WHERE target = ? ORDER BY writer").all(target).map(toWriter);
    },
    async addWriter(target, { writer, memory_root, host, first_seen }) {
      write(
        "INSERT OR REPLACE INTO writers (target, writer, memory_root, host, first_seen) VALUES (?,?,?,?,?)",
        target,
        writer,
        memory_root,
        host,
        first_seen,
      );
    },

    async isRead(target, segment) {
      return db.prepare("SELECT 1 AS x FROM segments_read WHERE target = ? AND segment = ?").get(target, segment) !== undefined;
    },
    async learn(target, writer, segment, held) {
      db.transaction(() => {
        for (const { key, sha256 } of held)
          db.prepare("INSERT OR IGNORE INTO foreign_versions (target, key, sha256, writer) VALUES (?,?,?,?)").run(
            target,
            key,
            sha256,
            writer,
          );
        db.prepare("INSERT OR IGNORE INTO segments_read (target, segment) VALUES (?,?)").run(target, segment);
      });
    },
    async heldBy(target, key, sha256) {
      const row = db
        .prepare("SELECT writer FROM foreign_versions WHERE target = ? AND key = ? AND sha256 = ? LIMIT 1")
        .get(target, key, sha256);
      return row && String(row["writer"]);
    },
    async settleConflicts(target) {
      return write(
        `UPDATE conflicts SET seen = 1 WHERE target = ? AND seen = 0 AND EXISTS (
           SELECT 1 FROM foreign_versions f WHERE f.target = conflicts.target AND f.key = conflicts.key AND f.sha256 = conflicts.sha256)`,
        target,
      );
    },
  };
}

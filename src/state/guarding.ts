/**
 * What the guard asks of the history.
 * @module
 */
import type { Key } from "../core/key.ts";
import { movesHead, type Actor, type Version } from "../core/version.ts";
import { toVersion } from "./rows.ts";
import type { Database } from "./sqlite.ts";

/** A save after which a key held another content that was no longer, or none. */
export interface Taken {
  readonly place: number;
  readonly file: Key;
  /** When it was, in milliseconds since 1970. */
  readonly at: number;
  readonly actor: Actor;
  /** What the key held before: its sha256, and how many bytes. */
  readonly prev: string;
  readonly before: number;
  /** Bytes that it took away. */
  readonly bytes: number;
}

export interface Guarding {
  /**
   * What was archived or replaced behind `place`, oldest first, and the newest place by now. Without `place`: since the
   * time `since`, as far as it is among the last few thousand lines.
   */
  taken(place: number | undefined, since: number): Promise<{ readonly taken: readonly Taken[]; readonly place: number }>;
  /** The newest line behind `place` that an alarm of what `file` came to hold stands in, or that a person decided. */
  judgedAt(file: Key, place: number): Promise<number | undefined>;
  /** Bytes that the keys of a zone hold. */
  bytesOf(zone: string): Promise<number>;
  /** The newest version with which `file` came to hold these bytes. */
  versionWith(file: Key, sha256: string): Promise<Version | undefined>;
}

const LOOKED_AT = 5000;

export function createGuarding(db: Database): Guarding {
  const number = (sql: string, ...values: (string | number)[]) => {
    const found = db.prepare(sql).get(...values)?.["n"];
    return found === null || found === undefined ? undefined : Number(found);
  };
  return {
    async taken(place, since) {
      const last = number("SELECT max(place) AS n FROM versions") ?? 0;
      const first = () => number("SELECT min(place) - 1 AS n FROM versions WHERE timestamp >= ?", new Date(since).toISOString());
      const after = place ?? Math.max(first() ?? last, last - LOOKED_AT);
      const rows = db
        .prepare(
          `SELECT v.place, v.file, v.timestamp, v.actor, v.size, v.prev_sha256 AS prev, (
             SELECT p.size FROM versions p WHERE p.file = v.file AND p.sha256 = v.prev_sha256 AND p.place < v.place
             ORDER BY p.place DESC LIMIT 1
           ) AS before FROM versions v
           WHERE v.place > ? AND v.place <= ? AND v.archived_as IS NOT NULL AND v.op IN ('replace', 'archive', 'external')
           ORDER BY v.place`,
        )
        .all(after, last);
      const taken = rows
        .map((row) => ({
          place: Number(row["place"]),
          file: row["file"] as Key,
          at: Date.parse(String(row["timestamp"])),
          actor: JSON.parse(String(row["actor"])) as Actor,
          prev: String(row["prev"]),
          before: Number(row["before"] ?? 0),
          bytes: Number(row["before"] ?? 0) - Number(row["size"] ?? 0),
        }))
        .filter(({ bytes }) => bytes >= 0);
      return { taken, place: last };
    },
    async judgedAt(file, place) {
      return number(
        `SELECT max(place) AS n FROM versions WHERE file = ? AND place > ?
           AND (op IN ('accept', 'reject', 'restore') OR (op <> 'hold' AND details ->> '$.alarms' IS NOT NULL))`,
        file,
        place,
      );
    },
    async bytesOf(zone) {
      const sum = "SELECT sum(size) AS n FROM heads WHERE";
      if (zone === "Root") return number(`${sum} instr(key, '/') = 0`) ?? 0;
      return number(`${sum} key >= ? AND key < ?`, `${zone}/`, `${zone}0`) ?? 0; // 0 comes behind /
    },
    async versionWith(file, sha256) {
      const rows = db.prepare("SELECT * FROM versions WHERE file = ? AND sha256 = ? ORDER BY place DESC").all(file, sha256);
      return rows.map(toVersion).find(movesHead);
    },
  };
}

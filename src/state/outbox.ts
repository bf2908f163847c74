/**
 * Log lines that have their order. A line stays here until its log file is known to hold it on the disk, so that a
 * crash or a power cut between this transaction and the file loses none and repeats none.
 * @module
 */
import type { Database, Row } from "./sqlite.ts";

export const LOGS = ["changes", "uploads", "archives"] as const;
export type LogName = (typeof LOGS)[number];

export interface Line {
  readonly seq: number;
  readonly line: string;
}

/** How far a log file was written. */
export interface Mark {
  /** Which file it is: another name in paths.json, or another file under the name, begins anew. */
  readonly path: string;
  /** Empty while the file is being written anew. */
  readonly ino: string;
  readonly size: number;
  readonly seq: number;
  /** The same, as far as it is known to be on the disk. */
  readonly safe_size: number;
  readonly safe_seq: number;
}

export interface Outbox {
  /** Lines after `seq`, in order. */
  after(log: LogName, seq: number, limit: number): Promise<Line[]>;
  /** Undefined when the log was never written. */
  mark(log: LogName): Promise<Mark | undefined>;
  /** The last line that waits, or was written and is not yet safe; 0 when there is none. */
  last(log: LogName): Promise<number>;
  /** Nothing is known of the file any more: what stands there is continued. */
  dropMark(log: LogName): Promise<void>;
  /** The file is about to be written anew: until the next mark it has no identity. Durable when it resolves. */
  voidMark(log: LogName): Promise<void>;
  /** Lines that wait, each replaced by what `change` makes of it. */
  rewrite(change: (log: LogName, line: string) => string): Promise<void>;
  /** Says how far the file was written. May be lost at a power cut: the file is then compared with the lines. */
  setMark(log: LogName, mark: Pick<Mark, "path" | "ino" | "size" | "seq">): Promise<void>;
  /** Everything up to the mark is on the disk; those lines are let go. */
  setSafe(log: LogName, mark: Pick<Mark, "path" | "ino" | "size" | "seq">): Promise<void>;
}

const toMark = (row: Row): Mark => ({
  path: String(row["path"]),
  ino: String(row["ino"]),
  size: Number(row["size"]),
  seq: Number(row["seq"]),
  safe_size: Number(row["safe_size"]),
  safe_seq: Number(row["safe_seq"]),
});

/** Within a transaction of the caller. */
export function outboxRow(db: Database, log: LogName, line: string): void {
  db.prepare("INSERT INTO outbox (log, line) VALUES (?,?)").run(log, line);
}

export function createOutbox(db: Database, relaxed: <T>(work: () => T) => T): Outbox {
  const write = (log: LogName, mark: Mark) =>
    db
      .prepare("INSERT OR REPLACE INTO log_marks (log, path, ino, size, seq, safe_size, safe_seq) VALUES (?,?,?,?,?,?,?)")
      .run(log, mark.path, mark.ino, mark.size, mark.seq, mark.safe_size, mark.safe_seq);
  const read = (log: LogName): Mark | undefined => {
    const row = db.prepare("SELECT * FROM log_marks WHERE log = ?").get(log);
    return row && toMark(row);
  };
  return {
    async after(log, seq, limit) {
      return db
        .prepare("SELECT seq, line FROM outbox WHERE log = ? AND seq > ? ORDER BY seq LIMIT ?")
        .all(log, seq, limit)
        .map((row) => ({ seq: Number(row["seq"]), line: String(row["line"]) }));
    },
    async mark(log) {
      return read(log);
    },
    async last(log) {
      return Number(db.prepare("SELECT coalesce(max(seq), 0) AS seq FROM outbox WHERE log = ?").get(log)?.["seq"]);
    },
    async dropMark(log) {
      db.transaction(() => db.prepare("DELETE FROM log_marks WHERE log = ?").run(log));
    },
    async voidMark(log) {
      db.transaction(() => db.prepare("UPDATE log_marks SET ino = '', size = 0, safe_size = 0 WHERE log = ?").run(log));
    },
    async rewrite(change) {
      db.exec("PRAGMA secure_delete=ON");
      db.transaction(() => {
        for (const log of LOGS)
          for (const row of db.prepare("SELECT seq, line FROM outbox WHERE log = ?").all(log)) {
            const line = String(row["line"]);
            const changed = change(log, line);
            if (changed !== line) db.prepare("UPDATE outbox SET line = ? WHERE seq = ?").run(changed, Number(row["seq"]));
          }
      });
    },
    async setMark(log, mark) {
      relaxed(() => {
        const { safe_size, safe_seq } = read(log) ?? { safe_size: 0, safe_seq: 0 };
        write(log, { ...mark, safe_size, safe_seq });
      });
    },
    async setSafe(log, mark) {
      relaxed(() => {
        write(log, { ...mark, safe_size: mark.size, safe_seq: mark.seq });
        db.prepare("DELETE FROM outbox WHERE log = ? AND seq <= ?").run(log, mark.seq);
      });
    },
  };
}

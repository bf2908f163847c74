/**
 * Putting the state together again. It is begun and ended durably and goes on where it stopped: while it is under way,
 * whoever opens the state ends it before doing anything else.
 * @module
 */
import { archiveLine, changelogLine, type Version } from "../core/version.ts";
import { toVersion } from "./rows.ts";
import { insertArchive, insertVersion, upsertHead, type ArchiveCopy, type Head } from "./saves.ts";
import { openDatabase, type Database } from "./sqlite.ts";

/** A version with the growing copy that holds its content; null when it holds none. */
export interface Line {
  readonly version: Version;
  readonly base: string | null;
}

export interface Restore {
  /** What it was begun with, while it has not ended. */
  underWay(): Promise<{ readonly aside: string | null } | undefined>;
  /**
   * Forgets heads, unfinished saves and unexported lines: all of them are found out again. Versions stay. `aside`: the
   * damaged state file that this one replaces.
   */
  begin(aside: string | null): Promise<void>;
  /** Adds versions behind those that are there, with the archive copies that they made. */
  lines(lines: readonly Line[]): Promise<void>;
  heads(heads: readonly Head[]): Promise<void>;
  archives(copies: readonly ArchiveCopy[]): Promise<void>;
  /** Everything is durable; versions behind these places are exported to the logs once more. */
  end(exported: { changes: number; archives: number }): Promise<void>;
}

interface Parts {
  readonly database: Database;
  relaxed<T>(work: () => T): T;
  log(log: "changes" | "archives", line: string): void;
}

const UNDER_WAY = "restore";

export function createRestore({ database: db, relaxed, log }: Parts): Restore {
  const restoreLine = ({ version: v, base }: Line) => {
    insertVersion(db, v, base);
    if (v.archived_as === null || v.prev_sha256 === null) return;
    const there = db.prepare("SELECT sha256, base FROM archives WHERE key = ?").get(v.archived_as);
    // no copy is ever written over: one that is known stays what it was recorded as, whatever a later line says of it
    if (there && (there["base"] !== null || there["sha256"] !== v.prev_sha256)) return;
    const prior = db
      .prepare("SELECT size, base FROM versions WHERE file = ? AND sha256 = ? AND place < ? ORDER BY place DESC LIMIT 1")
      .get(v.file, v.prev_sha256, v.place);
    const size = Number(prior?.["size"] ?? 0);
    const was = { sha256: v.prev_sha256, size, base: (prior?.["base"] ?? null) as string | null };
    insertArchive(db, { key: v.archived_as, file: v.file, version: v.version, pruned: false, ...was });
  };
  const after = (place: number) => db.prepare("SELECT * FROM versions WHERE place > ? ORDER BY place").all(place).map(toVersion);

  return {
    async underWay() {
      const row = db.prepare("SELECT value FROM meta WHERE name = ?").get(UNDER_WAY);
      return row && { aside: String(row["value"]) || null };
    },
    async begin(aside) {
      db.transaction(() => {
        db.exec("DELETE FROM heads; DELETE FROM intents");
        for (const table of ["outbox", "log_marks"]) db.exec(`DELETE FROM ${table} WHERE log IN ('changes', 'archives')`);
        db.prepare("INSERT OR REPLACE INTO meta (name, value) VALUES (?,?)").run(UNDER_WAY, aside ?? "");
      });
    },
    async lines(lines) {
      relaxed(() => lines.forEach(restoreLine));
    },
    async heads(heads) {
      relaxed(() => heads.forEach((head) => upsertHead(db, head)));
    },
    async archives(copies) {
      relaxed(() => copies.forEach((copy) => insertArchive(db, copy)));
    },
    async end({ changes, archives }) {
      db.transaction(() => {
        for (const version of after(changes)) log("changes", changelogLine(version));
        for (const version of after(archives))
          if (version.archived_as !== null && version.prev_sha256 !== null)
            log("archives", archiveLine(version, version.archived_as, version.prev_sha256));
        db.prepare("DELETE FROM meta WHERE name = ?").run(UNDER_WAY);
      });
    },
  };
}

/**
 * The versions behind `place` that can still be read from a damaged state file that was set aside. Ends without a word
 * at the damage, and answers whether there was none: what comes of it is trusted only as far as its sums hold.
 */
export function* salvage(path: string, place: number): Generator<Version, boolean> {
  let database: Database | undefined;
  try {
    database = openDatabase(path, 1_000);
    for (const row of database.prepare("SELECT * FROM versions WHERE place > ? ORDER BY place").iterate(place))
      yield toVersion(row);
    return true;
  } catch {
    return false; // the damage begins here
  } finally {
    database?.close();
  }
}

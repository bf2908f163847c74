/**
 * The tables, and how an older file becomes a newer one. One entry per schema version; entries are never edited.
 * @module
 */
import { AftersaveError } from "../core/errors.ts";
import type { Database } from "./sqlite.ts";

const first = `
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- the current content of every key that holds something
CREATE TABLE heads (
  key TEXT PRIMARY KEY, version TEXT NOT NULL, base TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
  stamp TEXT                       -- identity of the live file when it was last known to hold this content; null: look again
) STRICT, WITHOUT ROWID;

-- saves under way; more than one per key cannot be, since the key is claimed
CREATE TABLE intents (key TEXT PRIMARY KEY, version TEXT NOT NULL, body TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE versions (
  place INTEGER PRIMARY KEY, version TEXT NOT NULL UNIQUE, op TEXT NOT NULL, file TEXT NOT NULL,
  sha256 TEXT, size INTEGER, prev_sha256 TEXT, archived_as TEXT, timestamp TEXT NOT NULL, actor TEXT NOT NULL,
  base TEXT,                       -- which growing copy holds these bytes as its first size bytes
  salt TEXT NOT NULL, sum TEXT NOT NULL, prev TEXT
) STRICT;
CREATE INDEX versions_of_file ON versions (file, place);
CREATE INDEX versions_of_hash ON versions (file, sha256);

CREATE TABLE archives (key TEXT PRIMARY KEY, file TEXT NOT NULL, version TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE jobs (
  id INTEGER PRIMARY KEY AUTOINCREMENT, target TEXT NOT NULL, key TEXT NOT NULL, version TEXT NOT NULL,
  sha256 TEXT NOT NULL, size INTEGER NOT NULL, archive INTEGER NOT NULL, actor TEXT NOT NULL,
  state TEXT NOT NULL,             -- pending | failed
  created_at INTEGER NOT NULL, run_at INTEGER NOT NULL, can_pass INTEGER NOT NULL, attempts INTEGER NOT NULL,
  code TEXT, notes TEXT NOT NULL,
  UNIQUE (target, key)
) STRICT;
CREATE INDEX jobs_due ON jobs (target, state, run_at, id);

CREATE TABLE ledger (
  target TEXT NOT NULL, key TEXT NOT NULL, fold TEXT NOT NULL, id TEXT, rev TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
  version TEXT NOT NULL, verified_at INTEGER NOT NULL, drive_path TEXT NOT NULL,
  PRIMARY KEY (target, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX ledger_fold ON ledger (target, fold);

CREATE TABLE driver_memory (target TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (target, name)) STRICT, WITHOUT ROWID;

CREATE TABLE targets (
  name TEXT PRIMARY KEY, owned INTEGER NOT NULL DEFAULT 0, last_success_at INTEGER, last_verified_at INTEGER, last_proven_restore_at INTEGER,
  open_until INTEGER NOT NULL DEFAULT 0, code TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE conflicts (
  target TEXT NOT NULL, kept_as TEXT NOT NULL, key TEXT NOT NULL, sha256 TEXT, at INTEGER NOT NULL, seen INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (target, kept_as)
) STRICT, WITHOUT ROWID;

-- log lines that have their order and wait to be appended, or were appended but may not have reached the disk
CREATE TABLE outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, log TEXT NOT NULL, line TEXT NOT NULL) STRICT;
CREATE INDEX outbox_of_log ON outbox (log, seq);
CREATE TABLE log_marks (
  log TEXT PRIMARY KEY, path TEXT NOT NULL, ino TEXT NOT NULL, size INTEGER NOT NULL, seq INTEGER NOT NULL,   -- what was appended: file size and last line
  safe_size INTEGER NOT NULL, safe_seq INTEGER NOT NULL                          -- what is known to be on the disk
) STRICT, WITHOUT ROWID;
`;

const second = `
-- how far a target holds this memory's history, in one writer's segments
CREATE TABLE history (
  target TEXT NOT NULL, writer TEXT NOT NULL, place INTEGER,   -- null: nobody looked yet
  first INTEGER, last INTEGER,     -- a segment that was begun: it is sent again with these very bounds
  sent_at INTEGER NOT NULL DEFAULT 0, run_at INTEGER NOT NULL DEFAULT 0, code TEXT,
  PRIMARY KEY (target, writer)
) STRICT, WITHOUT ROWID;

-- where this memory writes beside another memory root, because someone said so
CREATE TABLE joins (target TEXT PRIMARY KEY, memory_root TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE writers (
  target TEXT NOT NULL, writer TEXT NOT NULL, memory_root TEXT, host TEXT, first_seen TEXT,
  PRIMARY KEY (target, writer)
) STRICT, WITHOUT ROWID;

-- what was read of the other writers' history, and the bytes that their keys ever held
CREATE TABLE segments_read (target TEXT NOT NULL, segment TEXT NOT NULL, PRIMARY KEY (target, segment)) STRICT, WITHOUT ROWID;
CREATE TABLE foreign_versions (
  target TEXT NOT NULL, key TEXT NOT NULL, sha256 TEXT NOT NULL, writer TEXT NOT NULL,
  PRIMARY KEY (target, key, sha256, writer)
) STRICT, WITHOUT ROWID;
`;

const third = `
ALTER TABLE versions ADD COLUMN details TEXT;        -- JSON; null: the line says no more than its fields
ALTER TABLE versions ADD COLUMN commitment TEXT;     -- of an erased line, whose salt is then empty

ALTER TABLE conflicts ADD COLUMN whose TEXT;         -- for people: which writer of ours; null: a stranger

ALTER TABLE archives ADD COLUMN base TEXT;           -- which growing copy it is; null: an adopted one
ALTER TABLE archives ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0;   -- removed here on purpose
UPDATE archives SET base = (
  SELECT v.base FROM versions v WHERE v.file = archives.file
    AND v.place < (SELECT w.place FROM versions w WHERE w.version = archives.version) ORDER BY v.place DESC LIMIT 1);
CREATE INDEX archives_of_base ON archives (base);
CREATE INDEX archives_of_file ON archives (file);
CREATE INDEX versions_of_time ON versions (timestamp);

-- what the lines decided; all of it follows from them
CREATE TABLE held (
  version TEXT PRIMARY KEY, key TEXT NOT NULL,
  applied INTEGER NOT NULL,          -- 1: it stands in the file, and is kept from the targets
  state TEXT NOT NULL                -- open | accepted | rejected
) STRICT, WITHOUT ROWID;
CREATE INDEX held_of_key ON held (key, state);
-- copies at targets that hold a version with its secrets covered
CREATE TABLE masked (key TEXT NOT NULL, sha256 TEXT NOT NULL, version TEXT NOT NULL, PRIMARY KEY (key, sha256)) STRICT, WITHOUT ROWID;
CREATE TABLE pins (version TEXT PRIMARY KEY, by TEXT NOT NULL) STRICT, WITHOUT ROWID;   -- by the line that pinned it

-- archive copies that were removed from a target on purpose; as long as the ledger has them, their removal is owed
CREATE TABLE pruned_at (target TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (target, key)) STRICT, WITHOUT ROWID;

-- what an erasure still has to do; its tombstone has no text either
CREATE TABLE erasures (id TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE erasure_swaps (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, path TEXT NOT NULL, prepared TEXT, size INTEGER NOT NULL,   -- prepared is null: remove the file
  was TEXT                           -- of a live file: only while it holds that
) STRICT;
-- what a target holds and shall not; as long as it is here, the key is not sent there
CREATE TABLE erasure_places (
  target TEXT NOT NULL, key TEXT NOT NULL, how TEXT NOT NULL, erasure TEXT NOT NULL, code TEXT,
  PRIMARY KEY (target, key)
) STRICT, WITHOUT ROWID;
`;

const migrations: readonly string[] = [first, second, third];

/** The schema that this version writes. */
export const SCHEMA = migrations.length;

export const schemaOf = (database: Database): number =>
  Number(database.prepare("PRAGMA user_version").get()?.["user_version"] ?? 0);

/** Brings the file to this version; refuses a newer one with `E_STATE_NEWER`. */
export function migrate(database: Database, path: string): void {
  const current = schemaOf(database);
  if (current > SCHEMA)
    throw new AftersaveError("E_STATE_NEWER", `${path} has schema ${current}; this version knows ${SCHEMA}`, {
      hint: "Update aftersave here, or use the version that wrote it.",
      details: { schema: current, known: SCHEMA },
    });
  database.transaction(() => {
    for (const sql of migrations.slice(schemaOf(database))) database.exec(sql);
    database.exec(`PRAGMA user_version=${SCHEMA}`);
  });
}

/**
 * Heads, intents and versions: what is accepted, and what is under way.
 * @module
 */
import { randomBytes } from "node:crypto";
import { archiveKey, type ArchiveFolder, type Key } from "../core/key.ts";
import {
  actorIn,
  archiveLine,
  chain,
  changelogLine,
  sumOf,
  type Actor,
  type Op,
  type Version,
  type VersionFacts,
} from "../core/version.ts";
import type { JobRequest } from "./jobs.ts";
import { stateCorrupt, type Database, type Row, type Value } from "./sqlite.ts";

/** Some content of a key: its hash and length, and the growing copy (`heads/`) whose first `size` bytes it is. */
export interface Content {
  readonly base: string;
  readonly sha256: string;
  readonly size: number;
}

/** The current content of a key. */
export interface Head extends Content {
  readonly key: Key;
  readonly version: string;
  /** Identity of the live file when it was last known to hold this content; null: look at its bytes again. */
  readonly stamp: string | null;
}

/** A save under way: committed before any file is touched, so that whoever finds it can finish it or take it back. */
export interface Intent {
  readonly version: string;
  readonly key: Key;
  readonly op: Op;
  /** Whether we write the live file; false when someone else already has. */
  readonly writes: boolean;
  readonly old: Content | null;
  /** Null when the key shall hold nothing. The same `base` as `old` means that bytes are appended to it. */
  readonly new: Content | null;
  readonly archived_as: Key | null;
  readonly actor: Actor;
  readonly timestamp: string;
}

/** What comes with accepting an intent. */
export interface Acceptance {
  readonly stamp: string | null;
  /** Targets that shall hold the new content, and those that shall hold the archive copy. */
  readonly targets: readonly string[];
  readonly archiveTargets: readonly string[];
}

/** A full copy of what `file` held before the save `version`. */
export interface ArchiveCopy {
  readonly key: Key;
  readonly file: Key;
  readonly version: string;
  readonly sha256: string;
  readonly size: number;
}

export interface Saves {
  head(key: Key): Promise<Head | undefined>;
  heads(): AsyncIterable<Head>;
  countHeads(): Promise<number>;
  /** Says that the live file with this identity holds the head's content. Not durable on its own: losing it costs a look. */
  stamp(key: Key, version: string, stamp: string): Promise<void>;

  intent(key: Key): Promise<Intent | undefined>;
  intents(): Promise<Intent[]>;
  /** Chooses a name for an archive copy that no accepted or intended copy has. `taken` says whether a file has it. */
  freeArchiveKey(key: Key, timestamp: string, archive: ArchiveFolder, taken: (key: Key) => Promise<boolean>): Promise<Key>;
  /** Durable when it resolves. */
  begin(intent: Intent): Promise<void>;
  /** The save is accepted: version with its place, head, archive copy, jobs and log lines, in one transaction. */
  accept(intent: Intent, acceptance: Acceptance): Promise<Version>;
  /** Writes over what a failed `accept` may have left in the file. Durable when it resolves; the intent stays. */
  disown(intent: Intent): Promise<void>;
  /** The save did not happen. */
  withdraw(intent: Intent): Promise<void>;

  version(id: string): Promise<Version | undefined>;
  /** Oldest first. */
  versions(after?: number): AsyncIterable<Version>;
  last(): Promise<Version | undefined>;
  /** Whether `key` ever held these bytes: then a remote copy of them is ours, not a stranger's. */
  everHeld(key: Key, sha256: string): Promise<boolean>;
  archiveCopy(key: Key): Promise<ArchiveCopy | undefined>;
  archiveCopies(): AsyncIterable<ArchiveCopy>;
  /** Archive copies that were made of these bytes. */
  archivesOf(sha256: string): Promise<ArchiveCopy[]>;
  /** The id of this memory root: that of its first version, so that it survives the loss of the state. */
  rootId(): Promise<string | undefined>;
}

/** Rows of this table, for `restore.ts` too. All within a transaction of the caller. */
export function insertVersion(db: Database, v: Version, base: string | null): void {
  db.prepare(
    "INSERT INTO versions (place, version, op, file, sha256, size, prev_sha256, archived_as, timestamp, actor, base, salt, sum, prev) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
  ).run(
    v.place,
    v.version,
    v.op,
    v.file,
    v.sha256,
    v.size,
    v.prev_sha256,
    v.archived_as,
    v.timestamp,
    JSON.stringify(actorIn(v)),
    base,
    v.salt,
    v.sum,
    v.prev,
  );
}

export function insertArchive(db: Database, { key, file, version, sha256, size }: ArchiveCopy): void {
  db.prepare("INSERT OR REPLACE INTO archives (key, file, version, sha256, size) VALUES (?,?,?,?,?)").run(
    key,
    file,
    version,
    sha256,
    size,
  );
}

export function upsertHead(db: Database, head: Head): void {
  db.prepare("INSERT OR REPLACE INTO heads (key, version, base, sha256, size, stamp) VALUES (?,?,?,?,?,?)").run(
    head.key,
    head.version,
    head.base,
    head.sha256,
    head.size,
    head.stamp,
  );
}

const text = (value: Value | undefined) => (value === null || value === undefined ? null : String(value));

const toHead = (row: Row): Head => ({
  key: row["key"] as Key,
  version: String(row["version"]),
  base: String(row["base"]),
  sha256: String(row["sha256"]),
  size: Number(row["size"]),
  stamp: text(row["stamp"]),
});

export const toVersion = (row: Row): Version => ({
  place: Number(row["place"]),
  version: String(row["version"]),
  op: row["op"] as Op,
  file: row["file"] as Key,
  sha256: text(row["sha256"]),
  size: row["size"] === null || row["size"] === undefined ? null : Number(row["size"]),
  prev_sha256: text(row["prev_sha256"]),
  archived_as: text(row["archived_as"]) as Key | null,
  timestamp: String(row["timestamp"]),
  ...(JSON.parse(String(row["actor"])) as Actor),
  salt: String(row["salt"]),
  sum: String(row["sum"]),
  prev: text(row["prev"]),
});

const toArchive = (row: Row): ArchiveCopy => ({
  key: row["key"] as Key,
  file: row["file"] as Key,
  version: String(row["version"]),
  sha256: String(row["sha256"]),
  size: Number(row["size"]),
});

interface Parts {
  readonly database: Database;
  /** Runs a transaction that may be lost at a power cut (never torn): for what can be found out again. */
  relaxed<T>(work: () => T): T;
  enqueue(jobs: readonly JobRequest[]): void;
  log(log: "changes" | "archives", line: string): void;
}

const page = 1000;

export function createSaves({ database: db, relaxed, enqueue, log }: Parts): Saves {
  const lastRow = () => db.prepare("SELECT * FROM versions ORDER BY place DESC LIMIT 1").get();

  const factsOf = (intent: Intent): VersionFacts => ({
    ...intent.actor,
    version: intent.version,
    op: intent.op,
    file: intent.key,
    sha256: intent.new?.sha256 ?? null,
    size: intent.new?.size ?? null,
    prev_sha256: intent.old?.sha256 ?? null,
    archived_as: intent.archived_as,
    timestamp: intent.timestamp,
  });

  const jobsOf = (intent: Intent, acceptance: Acceptance): JobRequest[] => {
    const { version, key, actor, old } = intent;
    const job = (target: string, content: Content, of: Key, archive: boolean): JobRequest => ({
      target,
      key: of,
      version,
      sha256: content.sha256,
      size: content.size,
      archive,
      actor,
    });
    const jobs: JobRequest[] = [];
    const { archived_as } = intent;
    if (archived_as && old) jobs.push(...acceptance.archiveTargets.map((target) => job(target, old, archived_as, true)));
    const now = intent.new;
    if (now) jobs.push(...acceptance.targets.map((target) => job(target, now, key, false)));
    return jobs;
  };

  async function* pages<T>(
    sql: string,
    start: string | number,
    of: (row: Row) => T,
    mark: (item: T) => string | number,
  ): AsyncIterable<T> {
    for (let after = start; ;) {
      const items = db.prepare(sql).all(after, page).map(of);
      yield* items;
      const lastItem = items.at(-1);
      if (lastItem === undefined || items.length < page) return;
      after = mark(lastItem);
    }
  }

  return {
    async head(key) {
      const row = db
        .prepare(
          "SELECT h.*, v.sha256 = h.sha256 AND v.size = h.size AND v.base = h.base AS sound FROM heads h LEFT JOIN versions v ON v.version = h.version WHERE h.key = ?",
        )
        .get(key);
      if (row && row["sound"] !== 1) throw stateCorrupt(`: it contradicts itself about ${key}`);
      return row && toHead(row);
    },
    heads: () => pages("SELECT * FROM heads WHERE key > ? ORDER BY key LIMIT ?", "", toHead, (head) => head.key),
    async countHeads() {
      return Number(db.prepare("SELECT count(*) AS n FROM heads").get()?.["n"]);
    },
    async stamp(key, version, stamp) {
      relaxed(() => db.prepare("UPDATE heads SET stamp = ? WHERE key = ? AND version = ?").run(stamp, key, version));
    },

    async intent(key) {
      const row = db.prepare("SELECT body FROM intents WHERE key = ?").get(key);
      return row && (JSON.parse(String(row["body"])) as Intent);
    },
    async intents() {
      return db
        .prepare("SELECT body FROM intents ORDER BY version")
        .all()
        .map((row) => JSON.parse(String(row["body"])) as Intent);
    },
    async freeArchiveKey(key, timestamp, archive, taken) {
      for (let count = 1; ; count++) {
        const name = archiveKey(key, timestamp, count, archive);
        const used = "SELECT 1 AS x FROM archives WHERE key = ? UNION SELECT 1 FROM conflicts WHERE kept_as = ?"; // by us, or at a target
        if (!db.prepare(used).get(name, name) && !(await taken(name))) return name;
      }
    },
    async begin(intent) {
      db.transaction(() =>
        db
          .prepare("INSERT INTO intents (key, version, body) VALUES (?,?,?)")
          .run(intent.key, intent.version, JSON.stringify(intent)),
      );
    },
    async accept(intent, acceptance) {
      return db.transaction(() => {
        const row = lastRow();
        const before = row && toVersion(row);
        if (before && sumOf(before, before.place, before.prev, before.salt) !== before.sum)
          throw stateCorrupt(": the newest version is not what was accepted"); // nothing may be chained to it
        const version = chain(factsOf(intent), (before?.place ?? 0) + 1, before?.sum ?? null, randomBytes(16).toString("hex"));
        insertVersion(db, version, intent.new?.base ?? null);
        if (intent.new) upsertHead(db, { ...intent.new, key: intent.key, version: intent.version, stamp: acceptance.stamp });
        else db.prepare("DELETE FROM heads WHERE key = ?").run(intent.key);
        log("changes", changelogLine(version));
        if (intent.archived_as && intent.old) {
          const { sha256, size } = intent.old;
          insertArchive(db, { key: intent.archived_as, file: intent.key, version: intent.version, sha256, size });
          log("archives", archiveLine(version, intent.archived_as, intent.old.sha256));
        }
        enqueue(jobsOf(intent, acceptance));
        db.prepare("DELETE FROM intents WHERE key = ?").run(intent.key);
        return version;
      });
    },
    async disown(intent) {
      db.transaction(() =>
        // the text must differ: SQLite does not write a page that stays the same
        db.prepare("UPDATE intents SET body = body || ' ' WHERE key = ? AND version = ?").run(intent.key, intent.version),
      );
    },
    async withdraw(intent) {
      db.transaction(() => db.prepare("DELETE FROM intents WHERE key = ? AND version = ?").run(intent.key, intent.version));
    },

    async version(id) {
      const row = db.prepare("SELECT * FROM versions WHERE version = ?").get(id);
      return row && toVersion(row);
    },
    versions: (after = 0) =>
      pages("SELECT * FROM versions WHERE place > ? ORDER BY place LIMIT ?", after, toVersion, (version) => version.place),
    async last() {
      const row = lastRow();
      return row && toVersion(row);
    },
    async everHeld(key, sha256) {
      return db.prepare("SELECT 1 AS x FROM versions WHERE file = ? AND sha256 = ? LIMIT 1").get(key, sha256) !== undefined;
    },
    async archiveCopy(key) {
      const row = db.prepare("SELECT * FROM archives WHERE key = ?").get(key);
      return row && toArchive(row);
    },
    archiveCopies: () => pages("SELECT * FROM archives WHERE key > ? ORDER BY key LIMIT ?", "", toArchive, (copy) => copy.key),
    async archivesOf(sha256) {
      return db.prepare("SELECT * FROM archives WHERE sha256 = ?").all(sha256).map(toArchive);
    },
    async rootId() {
      const row = db.prepare("SELECT version FROM versions ORDER BY place LIMIT 1").get();
      return row && String(row["version"]);
    },
  };
}

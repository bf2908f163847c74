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
  inOrder,
  isWhole,
  type Actor,
  type Details,
  type HeadOp,
  type Op,
  type Version,
  type VersionFacts,
} from "../core/version.ts";
import { mayGo } from "./copies.ts";
import { applyDecision } from "./decisions.ts";
import type { JobRequest } from "./jobs.ts";
import { MOVES, text, toVersion } from "./rows.ts";
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
  readonly op: HeadOp;
  /** Whether we write the live file; false when someone else already has. */
  readonly writes: boolean;
  readonly old: Content | null;
  /** Null when the key shall hold nothing. The same `base` as `old` means that bytes are appended to it. */
  readonly new: Content | null;
  readonly archived_as: Key | null;
  readonly actor: Actor;
  readonly timestamp: string;
  /** Absent in intents of versions before there were details. */
  readonly details?: Details | null;
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
  /** The growing copy that it is, so that every version of that base is a beginning of it; null: not known. */
  readonly base: string | null;
  /** Removed from this machine on purpose (`prune`). */
  readonly pruned: boolean;
}

/** Where this machine keeps what a version held: the first `content.size` bytes of a head or of an archive copy. */
export interface Whereabouts {
  readonly content: Content;
  /** The key's current head has this base. */
  readonly inHead: boolean;
  /** The archive copy that the base became. */
  readonly copy: ArchiveCopy | undefined;
}

/** Which versions; all parts must hold. */
export interface VersionQuery {
  readonly file?: Key | undefined;
  /** Keys that begin so. */
  readonly prefix?: string | undefined;
  /** Places, both exclusive. */
  readonly after?: number | undefined;
  readonly before?: number | undefined;
  /** ISO times: from `since` on, up to and with `until`. */
  readonly since?: string | undefined;
  readonly until?: string | undefined;
  readonly chat_name?: string | undefined;
  readonly session_id?: string | undefined;
  readonly model?: string | undefined;
  readonly origin?: string | undefined;
  /** One of `context_tags`. */
  readonly tag?: string | undefined;
  readonly op?: Op | undefined;
  readonly order?: "oldest" | "newest" | undefined;
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

  /** A line that changes no file's content: chained, recorded and due for the log, in one transaction. */
  decide(facts: VersionFacts): Promise<Version>;
  /** A `prune` line about those of its copies that may go (`mayGo`), `among` being the targets that count; undefined: none may. */
  prune(facts: VersionFacts & { readonly details: Details }, among: readonly string[]): Promise<Version | undefined>;

  version(id: string): Promise<Version | undefined>;
  /** Oldest first. */
  versions(after?: number): AsyncIterable<Version>;
  /** Lines that the query speaks of, a page at a time: a reader that stops early costs no more than it read. */
  select(query: VersionQuery): AsyncIterable<Version>;
  /** Versions whose id ends in `ending` (upper case), at most `limit`. */
  endingIn(ending: string, limit: number): Promise<Version[]>;
  /** Undefined when the version held no content, or its line is not known. */
  whereabouts(version: string): Promise<Whereabouts | undefined>;
  /** The newest line at or before an ISO time that says what `key` held: by place, never by the clock alone. */
  lastPlaceAt(time: string): Promise<number>;
  /** The newest line up to `place` that moved the head of `key`. */
  headAt(key: Key, place: number): Promise<Version | undefined>;
  /** The newest line up to `place` that moved the head, for every key that begins with `prefix`. */
  headsAt(place: number, prefix: string): AsyncIterable<Version>;
  last(): Promise<Version | undefined>;
  /** Whether `key` ever held these bytes: then a remote copy of them is ours, not a stranger's. */
  everHeld(key: Key, sha256: string): Promise<boolean>;
  archiveCopy(key: Key): Promise<ArchiveCopy | undefined>;
  /** Those that were pruned included. */
  archiveCopies(): AsyncIterable<ArchiveCopy>;
  /** Archive copies that were made of these bytes. */
  archivesOf(sha256: string): Promise<ArchiveCopy[]>;
  /** The id of this memory root: that of its first version, so that it survives the loss of the state. */
  rootId(): Promise<string | undefined>;
}

/** Rows of this table, for `restore.ts` too. All within a transaction of the caller. */
export function insertVersion(db: Database, v: Version, base: string | null): void {
  db.prepare(
    "INSERT INTO versions (place, version, op, file, sha256, size, prev_sha256, archived_as, timestamp, actor, base, salt, sum, prev, details, commitment) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
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
    v.salt ?? "",
    v.sum,
    v.prev,
    v.details && JSON.stringify(inOrder(v.details)),
    v.commitment,
  );
  applyDecision(db, v);
}

export function insertArchive(db: Database, { key, file, version, sha256, size, base, pruned }: ArchiveCopy): void {
  db.prepare("INSERT OR REPLACE INTO archives (key, file, version, sha256, size, base, pruned) VALUES (?,?,?,?,?,?,?)").run(
    key,
    file,
    version,
    sha256,
    size,
    base,
    pruned ? 1 : 0,
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

const toHead = (row: Row): Head => ({
  key: row["key"] as Key,
  version: String(row["version"]),
  base: String(row["base"]),
  sha256: String(row["sha256"]),
  size: Number(row["size"]),
  stamp: text(row["stamp"]),
});

export const toArchive = (row: Row): ArchiveCopy => ({
  key: row["key"] as Key,
  file: row["file"] as Key,
  version: String(row["version"]),
  sha256: String(row["sha256"]),
  size: Number(row["size"]),
  base: text(row["base"]),
  pruned: row["pruned"] === 1,
});

/** No key that begins with `prefix` sorts behind it. */
const endOf = (prefix: string) => `${prefix}\u{10FFFF}`;

/** The condition and values that a query stands for. */
function conditionOf(query: VersionQuery): { where: string; values: Value[] } {
  const parts: [string, Value | undefined][] = [
    ["file = ?", query.file],
    ["file >= ?", query.prefix],
    ["file < ?", query.prefix === undefined ? undefined : endOf(query.prefix)],
    ["place > ?", query.after],
    ["place < ?", query.before],
    ["timestamp >= ?", query.since],
    ["timestamp <= ?", query.until],
    ["actor ->> '$.chat_name' = ?", query.chat_name],
    ["actor ->> '$.session_id' = ?", query.session_id],
    ["actor ->> '$.model' = ?", query.model],
    ["actor ->> '$.origin' = ?", query.origin],
    ["EXISTS (SELECT 1 FROM json_each(actor, '$.context_tags') WHERE json_each.value = ?)", query.tag],
    ["op = ?", query.op],
  ];
  const given = parts.filter((part): part is [string, Value] => part[1] !== undefined);
  return { where: [...given.map(([sql]) => sql), "1"].join(" AND "), values: given.map(([, value]) => value) };
}

interface Parts {
  readonly database: Database;
  /** Runs a transaction that may be lost at a power cut (never torn): for what can be found out again. */
  relaxed<T>(work: () => T): T;
  enqueue(jobs: readonly JobRequest[]): void;
  log(log: "changes" | "archives", line: string): void;
}

const page = 1000;
/** Who looks at the newest few lines does not pay for a thousand. */
const FIRST_PAGE = 64;

/** The facts as the newest line of the chain. Within a transaction. */
function nextLine(db: Database, facts: VersionFacts): Version {
  const row = lastRow(db);
  const before = row && toVersion(row);
  if (before && !isWhole(before)) throw stateCorrupt(": the newest version is not what was accepted"); // nothing may be chained to it
  return chain(facts, (before?.place ?? 0) + 1, before?.sum ?? null, randomBytes(16).toString("hex"));
}

/** A line that changes no file's content. Within a transaction. */
export function decideLine(db: Database, facts: VersionFacts, log: Parts["log"]): Version {
  const version = nextLine(db, facts);
  insertVersion(db, version, null);
  log("changes", changelogLine(version));
  return version;
}

const lastRow = (db: Database) => db.prepare("SELECT * FROM versions ORDER BY place DESC LIMIT 1").get();
/** Characters of a ULID. */
const ID_LENGTH = 26;

export function createSaves({ database: db, relaxed, enqueue, log }: Parts): Saves {
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
    details: intent.details ?? null,
  });

  const decided = (facts: VersionFacts): Version => decideLine(db, facts, log);

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
        const version = nextLine(db, factsOf(intent));
        insertVersion(db, version, intent.new?.base ?? null);
        if (intent.new) upsertHead(db, { ...intent.new, key: intent.key, version: intent.version, stamp: acceptance.stamp });
        else db.prepare("DELETE FROM heads WHERE key = ?").run(intent.key);
        log("changes", changelogLine(version));
        if (intent.archived_as && intent.old) {
          const { sha256, size, base } = intent.old;
          const [key, file, pruned] = [intent.archived_as, intent.key, false];
          insertArchive(db, { key, file, version: intent.version, sha256, size, base, pruned });
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

    async decide(facts) {
      return db.transaction(() => decided(facts));
    },
    async prune(facts, among) {
      return db.transaction(() => {
        const { prunes } = facts.details;
        const copies = prunes ? mayGo(db, prunes, among) : [];
        return prunes && copies.length > 0 ? decided({ ...facts, details: { prunes: { ...prunes, copies } } }) : undefined;
      });
    },

    async *select(query) {
      const newest = query.order === "newest";
      let at = newest ? (query.before ?? Number.MAX_SAFE_INTEGER) : (query.after ?? 0);
      for (let most = FIRST_PAGE; ; most = page) {
        const { where, values } = conditionOf(newest ? { ...query, before: at } : { ...query, after: at });
        const rows = db
          .prepare(`SELECT * FROM versions WHERE ${where} ORDER BY place ${newest ? "DESC" : "ASC"} LIMIT ?`)
          .all(...values, most);
        for (const row of rows) yield toVersion(row);
        const lastOne = rows.at(-1);
        if (lastOne === undefined || rows.length < most) return;
        at = Number(lastOne["place"]);
      }
    },
    async endingIn(ending, limit) {
      if (ending.length === ID_LENGTH) {
        const found = await this.version(ending);
        return found ? [found] : [];
      }
      return db
        .prepare(
          // only the index of ids is read through
          "SELECT * FROM versions WHERE version IN (SELECT version FROM versions WHERE substr(version, ?) = ?) ORDER BY place DESC LIMIT ?",
        )
        .all(-ending.length, ending, limit)
        .map(toVersion);
    },
    async whereabouts(version) {
      const row = db.prepare("SELECT * FROM versions WHERE version = ?").get(version);
      if (!row || row["sha256"] === null || row["file"] === "") return undefined;
      const base = row["op"] === "hold" ? version : text(row["base"]);
      if (base === null) return undefined;
      const head = db.prepare("SELECT 1 AS x FROM heads WHERE key = ? AND base = ?").get(String(row["file"]), base);
      const copy = db.prepare("SELECT * FROM archives WHERE base = ? ORDER BY key LIMIT 1").get(base);
      return {
        content: { base, sha256: String(row["sha256"]), size: Number(row["size"]) },
        inHead: head !== undefined,
        copy: copy && toArchive(copy),
      };
    },
    async lastPlaceAt(time) {
      return Number(db.prepare("SELECT max(place) AS place FROM versions WHERE timestamp <= ?").get(time)?.["place"] ?? 0);
    },
    async headAt(key, place) {
      const row = db
        .prepare(`SELECT * FROM versions WHERE file = ? AND place <= ? AND ${MOVES} ORDER BY place DESC LIMIT 1`)
        .get(key, place);
      return row && toVersion(row);
    },
    async *headsAt(place, prefix) {
      const rows = db
        .prepare(
          `SELECT v.* FROM versions v JOIN (
             SELECT file, max(place) AS place FROM versions
             WHERE place <= ? AND file >= ? AND file < ? AND file <> '' AND ${MOVES} GROUP BY file
           ) last ON v.place = last.place ORDER BY v.file`,
        )
        .all(place, prefix, endOf(prefix));
      yield* rows.map(toVersion);
    },

    async version(id) {
      const row = db.prepare("SELECT * FROM versions WHERE version = ?").get(id);
      return row && toVersion(row);
    },
    versions: (after = 0) =>
      pages("SELECT * FROM versions WHERE place > ? ORDER BY place LIMIT ?", after, toVersion, (version) => version.place),
    async last() {
      const row = lastRow(db);
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

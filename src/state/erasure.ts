/**
 * What an erasure that was begun still has to do. Nothing here holds what was erased.
 * @module
 */
import type { ErrorCode } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import { actorOf, type Version, type VersionFacts } from "../core/version.ts";
import { enqueueRows } from "./jobs.ts";
import { text, toVersion } from "./rows.ts";
import { decideLine, toArchive, type ArchiveCopy } from "./saves.ts";
import type { Database, Row } from "./sqlite.ts";

/** A file that is to be replaced by the beginning of another one, or removed. */
export interface Swap {
  /** Whose content it is. */
  readonly key: Key;
  readonly path: string;
  /** Null: remove the file. */
  readonly prepared: string | null;
  readonly size: number;
  /** Only while it holds these bytes: a live file, which others write too. */
  readonly was: string | null;
}

export interface OwedSwap extends Swap {
  readonly seq: number;
}

/**
 * `remove`: it is removed for good. `look`: it is removed if it holds erased text. `history`: segments are told anew. `read`: it may be
 * the only one that has a content which the erasure has not looked at yet; nothing is removed there before.
 */
export type How = "remove" | "look" | "history" | "read";

/** Where a content may lie that could not be looked at. */
export interface Unread {
  readonly target: string;
  readonly key: Key;
  readonly code: ErrorCode;
}

/** What a target holds and shall not. */
export interface OwedPlace {
  readonly target: string;
  readonly key: Key;
  readonly how: How;
  readonly erasure: string;
  /** Why it could not be done yet. */
  readonly code: ErrorCode | null;
}

/** One key's part of an erasure. */
export interface EraseStep {
  readonly lines: readonly VersionFacts[];
  readonly swaps: readonly Swap[];
  /** Archive copies that no version is known to be a beginning of. */
  readonly copies: readonly { readonly key: Key; readonly sha256: string; readonly size: number }[];
  /** Copies that were pruned here, and come back redacted. */
  readonly revived: readonly Key[];
  readonly places: readonly Omit<OwedPlace, "code">[];
  /** What these targets hold of these keys is sent anew. */
  readonly jobs: readonly { readonly target: string; readonly key: Key }[];
  /** Keys of which nothing is to be known any more. */
  readonly forget: readonly Key[];
  /** Archive copies of such keys that stay known: what they hold is yet to be looked at. */
  readonly spare: readonly Key[];
  readonly body: string;
}

/** A line of a key with the growing copy that its content is the beginning of. */
export interface KeyLine {
  readonly version: Version;
  readonly base: string | null;
}

export interface Erasure {
  /** Every key that anything is known of. */
  keys(): Promise<Key[]>;
  /** Oldest first. */
  linesOf(key: Key): Promise<KeyLine[]>;
  copiesOf(key: Key): Promise<ArchiveCopy[]>;
  /** Every line that was erased. */
  erased(): AsyncIterable<Version>;
  /** Unfinished erasures that can go on here, oldest first. */
  open(): Promise<{ readonly id: string; readonly body: string }[]>;
  /** Those that wait for a target: their body says so in `unread`, a list of `Unread`. Oldest first. */
  waiting(): Promise<{ readonly id: string; readonly body: string }[]>;
  /** Durable when it resolves. `body` is JSON. */
  note(id: string, body: string): Promise<void>;
  end(id: string): Promise<void>;
  /** Lines, rows, swaps, places and jobs, in one transaction. */
  commit(id: string, step: EraseStep, now: number): Promise<Version[]>;
  /** In the order in which they are to be done: of one key, or all. */
  swaps(key?: Key): Promise<OwedSwap[]>;
  swapped(seq: number): Promise<void>;
  places(target?: string): Promise<OwedPlace[]>;
  owes(target: string, key: Key): Promise<boolean>;
  place(places: readonly Omit<OwedPlace, "code">[]): Promise<void>;
  /** A key whose file at a target has the text in what it held before: that is removed, and what is kept now sent anew. */
  again(place: Omit<OwedPlace, "code" | "how">, now: number): Promise<void>;
  failed(target: string, key: Key, code: ErrorCode): Promise<void>;
  /** It is done. `gone`: what the ledger knew of it, a conflict over it, and revisions that were kept in it, are known no more. */
  settled(target: string, key: Key, gone: boolean): Promise<void>;
  /** Targets that hold a key, or may: those of the ledger, of jobs, and of conflicts. */
  targetsOf(key: Key): Promise<string[]>;
  /** What others wrote and was kept aside at targets: of one key, or all. */
  keptAside(key?: Key): Promise<{ readonly target: string; readonly key: Key; readonly kept_as: Key }[]>;
  /** Targets that were told any history. */
  told(): Promise<string[]>;
  /** Keeps in mind which versions others erased, as their `erase` lines say, of those that are whole here. */
  heard(lines: Iterable<Version>): Promise<void>;
  /**
   * A version that others erased and that is whole here, if what is kept of `key`, by its `version`, is its content or goes on from
   * it. A content that only shares text with it is not known by this.
   */
  erasedByOthers(key: Key, version: string, sha256: string): Promise<Version | undefined>;
  /** Whether anything was erased since the state file was last rewritten. */
  needsScrub(): Promise<boolean>;
  /** Rewrites the state file, so that no byte of what it held before is in it or beside it. False: others use it, try again. */
  scrub(): Promise<boolean>;
}

const UNSCRUBBED = "erasure/unscrubbed";
/** Versions that others erased and that were whole here when that was read, one a line. */
const HEARD = "erasure/heard";

const toPlace = (row: Row): OwedPlace => ({
  target: String(row["target"]),
  key: row["key"] as Key,
  how: row["how"] as How,
  erasure: String(row["erasure"]),
  code: row["code"] as ErrorCode | null,
});

export function createErasure(db: Database, log: (log: "changes", line: string) => void): Erasure {
  const soil = () => db.prepare("INSERT OR REPLACE INTO meta (name, value) VALUES (?, '')").run(UNSCRUBBED);

  const heard = (): string[] =>
    text(db.prepare("SELECT value FROM meta WHERE name = ?").get(HEARD)?.["value"] ?? null)?.split("\n") ?? [];

  const addPlaces = (places: readonly Omit<OwedPlace, "code">[]) => {
    for (const { target, key, how, erasure } of places)
      db.prepare(
        `INSERT INTO erasure_places (target, key, how, erasure) VALUES (?,?,?,?)
           ON CONFLICT DO UPDATE SET how = max(how, excluded.how), erasure = excluded.erasure`,
      ).run(target, key, how, erasure);
  };

  const note = (id: string, body: string) => db.prepare("INSERT OR REPLACE INTO erasures (id, body) VALUES (?,?)").run(id, body);

  /** The job that sends what is kept of a key now. */
  const enqueue = (target: string, key: Key, now: number) => {
    const head = db.prepare("SELECT version, sha256, size, 0 AS archive FROM heads WHERE key = ?").get(key);
    const kept =
      head ?? db.prepare("SELECT version, sha256, size, 1 AS archive FROM archives WHERE key = ? AND pruned = 0").get(key);
    if (!kept) return;
    const content = { version: String(kept["version"]), sha256: String(kept["sha256"]), size: Number(kept["size"]) };
    enqueueRows(db, [{ target, key, ...content, archive: kept["archive"] === 1, actor: actorOf() }], now);
  };

  const unread = (target?: string): OwedPlace[] =>
    db
      .prepare(
        `SELECT u.value ->> '$.target' AS target, u.value ->> '$.key' AS key, 'read' AS how, e.id AS erasure, u.value ->> '$.code' AS code
           FROM erasures e, json_each(e.body, '$.unread') u ORDER BY target, key`,
      )
      .all()
      .map(toPlace)
      .filter((place) => target === undefined || place.target === target);

  const begun = (waits: boolean) =>
    db
      .prepare("SELECT id, body FROM erasures WHERE (coalesce(json_array_length(body, '$.unread'), 0) > 0) = ? ORDER BY id")
      .all(waits ? 1 : 0)
      .map((row) => ({ id: String(row["id"]), body: String(row["body"]) }));

  return {
    async keys() {
      const rows = db
        .prepare("SELECT DISTINCT file FROM versions WHERE file <> '' UNION SELECT file FROM archives ORDER BY file")
        .all();
      return rows.map((row) => row["file"] as Key);
    },
    async linesOf(key) {
      const rows = db.prepare("SELECT * FROM versions WHERE file = ? ORDER BY place").all(key);
      return rows.map((row) => {
        const version = toVersion(row);
        return { version, base: version.op === "hold" && version.sha256 !== null ? version.version : text(row["base"]) };
      });
    },
    async copiesOf(key) {
      return db.prepare("SELECT * FROM archives WHERE file = ? ORDER BY key").all(key).map(toArchive);
    },
    async *erased() {
      for (let after = 0; ;) {
        const rows = db
          .prepare("SELECT * FROM versions WHERE commitment IS NOT NULL AND place > ? ORDER BY place LIMIT 1000")
          .all(after);
        yield* rows.map(toVersion);
        const last = rows.at(-1);
        if (!last) return;
        after = Number(last["place"]);
      }
    },
    async open() {
      return begun(false);
    },
    async waiting() {
      return begun(true);
    },
    async note(id, body) {
      db.transaction(() => note(id, body));
    },
    async end(id) {
      db.exec("PRAGMA secure_delete=ON");
      db.transaction(() => {
        db.prepare("DELETE FROM erasures WHERE id = ?").run(id);
        soil();
      });
    },
    async commit(id, { lines, swaps, copies, revived, places, jobs, forget, spare, body }, now) {
      db.exec("PRAGMA secure_delete=ON");
      return db.transaction(() => {
        const made = lines.map((facts) => decideLine(db, facts, log));
        for (const { key, sha256, size } of copies)
          db.prepare("UPDATE archives SET sha256 = ?, size = ? WHERE key = ?").run(sha256, size, key);
        for (const key of revived) {
          db.prepare("UPDATE archives SET pruned = 0 WHERE key = ?").run(key);
          db.prepare("DELETE FROM pruned_at WHERE key = ?").run(key);
        }
        for (const key of forget)
          for (const [table, column] of [
            ["heads", "key"],
            ["jobs", "key"],
            ["held", "key"],
            ["foreign_versions", "key"],
            ["archives", "file"],
            ["pruned_at", "key"],
          ] as const)
            db.prepare(`DELETE FROM ${table} WHERE ${column} = ? AND key NOT IN (SELECT value FROM json_each(?))`).run(
              key,
              JSON.stringify(spare),
            );
        addPlaces(places);
        for (const { key } of places) db.prepare("DELETE FROM masked WHERE key = ?").run(key);
        for (const { target, key } of jobs) enqueue(target, key, now);
        for (const { key, path, prepared, size, was } of swaps)
          db.prepare("INSERT INTO erasure_swaps (key, path, prepared, size, was) VALUES (?,?,?,?,?)").run(
            key,
            path,
            prepared,
            size,
            was,
          );
        note(id, body);
        return made;
      });
    },
    async swaps(key) {
      const rows =
        key === undefined
          ? db.prepare("SELECT * FROM erasure_swaps ORDER BY seq").all()
          : db.prepare("SELECT * FROM erasure_swaps WHERE key = ? ORDER BY seq").all(key);
      return rows.map((row) => ({
        seq: Number(row["seq"]),
        key: row["key"] as Key,
        path: String(row["path"]),
        prepared: row["prepared"] as string | null,
        size: Number(row["size"]),
        was: row["was"] as string | null,
      }));
    },
    async swapped(seq) {
      db.transaction(() => db.prepare("DELETE FROM erasure_swaps WHERE seq = ?").run(seq));
    },
    async places(target) {
      const rows =
        target === undefined
          ? db.prepare("SELECT * FROM erasure_places ORDER BY target, key").all()
          : db.prepare("SELECT * FROM erasure_places WHERE target = ? ORDER BY key").all(target);
      return [...rows.map(toPlace), ...unread(target)];
    },
    async owes(target, key) {
      const owed = db.prepare("SELECT 1 AS x FROM erasure_places WHERE target = ? AND key = ?").get(target, key);
      return owed !== undefined || unread(target).some((place) => place.key === key);
    },
    async place(places) {
      db.transaction(() => addPlaces(places));
    },
    async again({ target, key, erasure }, now) {
      db.transaction(() => {
        addPlaces([{ target, key, how: "remove", erasure }]);
        enqueue(target, key, now);
      });
    },
    async failed(target, key, code) {
      db.transaction(() => db.prepare("UPDATE erasure_places SET code = ? WHERE target = ? AND key = ?").run(code, target, key));
    },
    async settled(target, key, gone) {
      db.transaction(() => {
        db.prepare("DELETE FROM erasure_places WHERE target = ? AND key = ?").run(target, key);
        soil();
        if (!gone) return;
        db.prepare("DELETE FROM ledger WHERE target = ? AND key = ?").run(target, key);
        db.prepare(
          "DELETE FROM conflicts WHERE target = ? AND (kept_as = ? OR (key = ? AND substr(kept_as, 1, length(key) + 10) = key || '#revision='))",
        ).run(target, key, key);
      });
    },
    async targetsOf(key) {
      const rows = db
        .prepare("SELECT target FROM ledger WHERE key = ? UNION SELECT target FROM jobs WHERE key = ?")
        .all(key, key);
      return rows.map((row) => String(row["target"]));
    },
    async keptAside(key) {
      const rows =
        key === undefined
          ? db.prepare("SELECT * FROM conflicts").all()
          : db.prepare("SELECT * FROM conflicts WHERE key = ?").all(key);
      return rows.map((row) => ({ target: String(row["target"]), key: row["key"] as Key, kept_as: row["kept_as"] as Key }));
    },
    async told() {
      return db
        .prepare("SELECT DISTINCT target FROM history WHERE place > 0 OR first IS NOT NULL")
        .all()
        .map((row) => String(row["target"]));
    },
    async heard(lines) {
      const known = new Set(heard());
      const before = known.size;
      for (const { op, details } of lines) {
        if (op !== "erase") continue;
        const left = new Map(details?.redacts?.map(({ version, sha256 }) => [version, sha256]));
        for (const id of details?.about ?? []) {
          const here = db.prepare("SELECT sha256 FROM versions WHERE version = ? AND commitment IS NULL").get(id)?.["sha256"];
          if (typeof here === "string" && left.get(id) !== here) known.add(id);
        }
      }
      if (known.size > before)
        db.transaction(() =>
          db.prepare("INSERT OR REPLACE INTO meta (name, value) VALUES (?,?)").run(HEARD, [...known].join("\n")),
        );
    },
    async erasedByOthers(key, version, sha256) {
      const ids = heard();
      if (ids.length === 0) return undefined;
      const copy = db.prepare("SELECT file, base, size FROM archives WHERE key = ?").get(key);
      const kept = copy ?? db.prepare("SELECT file, base, size FROM versions WHERE version = ?").get(version);
      for (const id of ids) {
        const row = db
          .prepare(
            `SELECT * FROM versions WHERE version = ? AND file = ? AND commitment IS NULL
               AND (sha256 = ? OR (base = ? AND size <= ?))`,
          )
          .get(id, kept?.["file"] ?? key, sha256, kept?.["base"] ?? null, kept?.["size"] ?? null);
        if (row) return toVersion(row);
      }
      return undefined;
    },
    async needsScrub() {
      return db.prepare("SELECT 1 AS x FROM meta WHERE name = ?").get(UNSCRUBBED) !== undefined;
    },
    async scrub() {
      db.exec("PRAGMA secure_delete=ON");
      try {
        db.exec("VACUUM");
      } catch (error) {
        if (/SQLITE_BUSY|database is locked|SQLITE_LOCKED/.test(String(error))) return false;
        throw error;
      }
      const done = Number(db.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get()?.["busy"]) === 0;
      if (done) db.transaction(() => db.prepare("DELETE FROM meta WHERE name = ?").run(UNSCRUBBED));
      return done;
    },
  };
}

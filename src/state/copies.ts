/**
 * Where every version is kept, from the index alone, and which copies are owed their removal.
 * @module
 */
import type { Key } from "../core/key.ts";
import type { Details, Op } from "../core/version.ts";
import { PRUNED_HERE } from "./decisions.ts";
import { toMirrored, type Mirrored } from "./ledger.ts";
import type { Database, Row, Value } from "./sqlite.ts";

/** One line of a key with what decides about its copies. */
export interface KeptVersion {
  readonly place: number;
  readonly version: string;
  readonly file: Key;
  readonly op: Op;
  readonly timestamp: string;
  /** Null when the line says that the key holds nothing. */
  readonly size: number | null;
  readonly tags: readonly string[];
  readonly details: Details | null;
  readonly pinned: boolean;
  /** It waits for a person's decision. */
  readonly held: boolean;
  /** Its bytes are the beginning of what the key holds now. */
  readonly current: boolean;
  /** The archive copy that begins with its bytes. */
  readonly copy: CopyPlaces | undefined;
}

/** An archive copy and where it is. */
export interface CopyPlaces {
  readonly key: Key;
  readonly size: number;
  readonly here: boolean;
  /** Those of the targets that were asked about that hold it, verified, and from which it was not pruned. */
  readonly targets: readonly string[];
  /** Those that it has yet to be sent to. */
  readonly waiting: readonly string[];
}

export interface CopyQuery {
  /** A key, or a folder of keys. Left out: everything. */
  readonly under?: string | undefined;
  readonly targets: readonly string[];
  /** Read tags too. */
  readonly tags: boolean;
}

export interface Copies {
  /** Every line of the keys, those of a key together and the newest first. One pass over the index; no content is looked at. */
  kept(query: CopyQuery): AsyncIterable<KeptVersion>;
  /** Versions before which the guard raised an alarm, as its lines name them. */
  alarmed(): Promise<Set<string>>;
  /** Copies that were pruned from a target and are still there, as far as is known. */
  owed(target: string): AsyncIterable<Mirrored>;
  /** Whether an archive copy was pruned from a target: then it is not sent there again. */
  prunedAt(target: string, key: Key): Promise<boolean>;
}

const PAGE = 2000;

const NONE: readonly string[] = [];
const list = (value: Value | undefined) => (typeof value === "string" ? value.split("\n") : NONE);
const marks = (values: readonly unknown[]) => values.map(() => "?").join(",");

/** Holds for a ledger row `l` of a copy that was not pruned from there. */
const STAYS = "NOT EXISTS (SELECT 1 FROM pruned_at m WHERE m.target = l.target AND m.key = l.key)";

const toKept = (row: Row): KeptVersion => ({
  place: Number(row["place"]),
  version: String(row["version"]),
  file: row["file"] as Key,
  op: row["op"] as Op,
  timestamp: String(row["timestamp"]),
  size: row["sha256"] === null ? null : Number(row["size"]),
  tags: typeof row["tags"] === "string" ? (JSON.parse(row["tags"]) as string[]) : NONE,
  details: typeof row["details"] === "string" ? (JSON.parse(row["details"]) as Details) : null,
  pinned: row["pinned"] === 1,
  held: row["held"] === 1,
  current: row["current"] === 1,
  copy:
    row["copy"] === null
      ? undefined
      : {
          key: row["copy"] as Key,
          size: Number(row["copy_size"]),
          here: row["pruned"] === 0,
          targets: list(row["targets"]),
          waiting: list(row["waiting"]),
        },
});

export function createCopies(db: Database): Copies {
  return {
    async *kept({ under = "", targets, tags }) {
      const statement = db.prepare(
        `SELECT v.place, v.version, v.file, v.op, v.timestamp, v.sha256, v.size, v.details,
           ${tags ? "v.actor ->> '$.context_tags'" : "NULL"} AS tags,
           EXISTS (SELECT 1 FROM pins p WHERE p.version = v.version) AS pinned,
           EXISTS (SELECT 1 FROM held h WHERE h.version = v.version AND h.state = 'open') AS held,
           EXISTS (SELECT 1 FROM heads h WHERE h.key = v.file AND h.base = v.base) AS current,
           a.key AS copy, a.size AS copy_size, a.pruned,
           (SELECT group_concat(l.target, char(10)) FROM ledger l
             WHERE l.target IN (${marks(targets)}) AND l.key = a.key AND l.sha256 = a.sha256 AND ${STAYS}) AS targets,
           (SELECT group_concat(j.target, char(10)) FROM jobs j WHERE j.target IN (${marks(targets)}) AND j.key = a.key) AS waiting
         FROM versions v LEFT JOIN archives a
           ON a.key = (SELECT min(x.key) FROM archives x WHERE x.base = v.base AND x.size >= v.size)
         WHERE (v.file, v.place) < (?, ?) AND v.file >= ? ORDER BY v.file DESC, v.place DESC LIMIT ?`,
      );
      const within = (file: string) => under === "" || file === under || file.startsWith(`${under}/`);
      // "0" follows "/"
      for (let [file, place] = [under === "" ? "\u{10FFFF}" : `${under}0`, 0]; ;) {
        const rows = statement.all(...targets, ...targets, file, place, under || "\u0001", PAGE);
        for (const row of rows) if (within(String(row["file"]))) yield toKept(row);
        const last = rows.at(-1);
        if (last === undefined || rows.length < PAGE) return;
        [file, place] = [String(last["file"]), Number(last["place"])];
      }
    },
    async alarmed() {
      const rows = db
        .prepare(
          "SELECT DISTINCT e.value AS version FROM versions v, json_each(v.details, '$.about') e WHERE v.details ->> '$.alarms' IS NOT NULL",
        )
        .all();
      return new Set(rows.map((row) => String(row["version"])));
    },
    async *owed(target) {
      for (let after = ""; ;) {
        const rows = db
          .prepare(
            "SELECT l.* FROM ledger l JOIN pruned_at m ON m.target = l.target AND m.key = l.key WHERE l.target = ? AND l.key > ? ORDER BY l.key LIMIT ?",
          )
          .all(target, after, PAGE);
        for (const row of rows) yield toMirrored(row);
        const last = rows.at(-1);
        if (last === undefined) return;
        after = String(last["key"]);
      }
    },
    async prunedAt(target, key) {
      return db.prepare("SELECT 1 AS x FROM pruned_at WHERE target = ? AND key = ?").get(target, key) !== undefined;
    },
  };
}

/**
 * Those of `copies` that may go by now, whatever a plan said: no version of them was pinned or held meanwhile, and what must
 * stay elsewhere does. `among` are the targets that count. Within a transaction of the caller.
 */
export function mayGo(db: Database, { copies, from }: NonNullable<Details["prunes"]>, among: readonly string[]): Key[] {
  const wanted = db
    .prepare(
      "SELECT v.base FROM versions v WHERE v.version IN (SELECT version FROM pins UNION SELECT version FROM held WHERE state = 'open')",
    )
    .all();
  const bases = new Set(wanted.map((row) => row["base"]));
  return copies.filter((key) => {
    const copy = db.prepare("SELECT base, sha256, pruned FROM archives WHERE key = ?").get(key);
    if (!copy || copy["base"] === null || bases.has(copy["base"] ?? null)) return false;
    const rows = db
      .prepare(`SELECT l.target FROM ledger l WHERE l.target IN (${marks(among)}) AND l.key = ? AND l.sha256 = ? AND ${STAYS}`)
      .all(...among, key, String(copy["sha256"]));
    const targets = rows.map((row) => row["target"]);
    const here = copy["pruned"] === 0;
    if (from !== PRUNED_HERE) return targets.includes(from) && (here || targets.length > 1);
    const job = db.prepare(`SELECT 1 AS x FROM jobs WHERE target IN (${marks(among)}) AND key = ?`).get(...among, key);
    return here && targets.length > 0 && !job;
  });
}

/**
 * What the changelog's lines decide beyond the content of keys: what is held, pinned, pruned and erased. All of it
 * follows from the lines, so that a rebuilt state knows it too.
 * @module
 */
import type { Key } from "../core/key.ts";
import type { Version } from "../core/version.ts";
import { applyErase } from "./erase-line.ts";
import type { Database, Row } from "./sqlite.ts";

/** A version that waits for a person's decision, or that was rejected. */
export interface HeldVersion {
  readonly version: string;
  readonly key: Key;
  /** It stands in the file already, and is kept from the targets; else the file is as it was before. */
  readonly applied: boolean;
  readonly state: "open" | "accepted" | "rejected";
}

export interface Decisions {
  heldVersion(version: string): Promise<HeldVersion | undefined>;
  /** Oldest first. */
  held(state: HeldVersion["state"]): Promise<HeldVersion[]>;
  countHeld(): Promise<number>;
  /** What stands in this file and waits for a decision, oldest first. */
  standing(key: Key): Promise<string[]>;
  /** Whether what stands in the file is kept from the targets until someone settles it. */
  isKeptBack(key: Key): Promise<boolean>;
  pinned(version: string): Promise<boolean>;
  /** Pinned versions with the lines that pinned them. */
  pins(): AsyncIterable<{ readonly version: string; readonly by: string }>;
}

const hold = (db: Database, v: Version, key: Key, applied: boolean) =>
  db
    .prepare("INSERT OR REPLACE INTO held (version, key, applied, state) VALUES (?,?,?,'open')")
    .run(v.version, key, applied ? 1 : 0);

/** Within a transaction of the caller: what follows from one line. Applying it twice is fine, in the order of places. */
export function applyDecision(db: Database, v: Version): void {
  const { details } = v;
  if (!details) return;
  if (v.op === "erase") return applyErase(db, v, applyDecision);
  if (v.op === "hold") hold(db, v, v.file, false);
  else if (details.held) hold(db, v, v.file, true);
  if (details.settles !== undefined)
    db.prepare("UPDATE held SET state = ? WHERE version = ?").run(v.op === "reject" ? "rejected" : "accepted", details.settles);
  const pins = v.op === "pin" || ((details.alarms !== undefined || details.held === true) && v.op !== "hold");
  for (const version of details.about ?? []) {
    if (pins) db.prepare("INSERT OR IGNORE INTO pins (version, by) VALUES (?,?)").run(version, v.version);
    if (v.op === "unpin") db.prepare("DELETE FROM pins WHERE version = ?").run(version);
  }
  const { copies, from } = details.prunes ?? { copies: [], from: PRUNED_HERE };
  for (const key of copies)
    if (from === PRUNED_HERE) db.prepare("UPDATE archives SET pruned = 1 WHERE key = ?").run(key);
    else db.prepare("INSERT OR IGNORE INTO pruned_at (target, key) VALUES (?,?)").run(from, key);
}

/** `Details.prunes.from` of copies that were removed from this machine. */
export const PRUNED_HERE = "here";

const toHeld = (row: Row): HeldVersion => ({
  version: String(row["version"]),
  key: row["key"] as Key,
  applied: row["applied"] === 1,
  state: row["state"] as HeldVersion["state"],
});

export function createDecisions(db: Database): Decisions {
  return {
    async heldVersion(version) {
      const row = db.prepare("SELECT * FROM held WHERE version = ?").get(version);
      return row && toHeld(row);
    },
    async held(state) {
      return db.prepare("SELECT * FROM held WHERE state = ? ORDER BY version").all(state).map(toHeld);
    },
    async countHeld() {
      return Number(db.prepare("SELECT count(*) AS n FROM held WHERE state = 'open'").get()?.["n"]);
    },
    async standing(key) {
      return db
        .prepare("SELECT version FROM held WHERE key = ? AND state = 'open' AND applied = 1 ORDER BY version")
        .all(key)
        .map((row) => String(row["version"]));
    },
    async isKeptBack(key) {
      return db.prepare(`SELECT 1 AS x WHERE ? IN (${KEPT_BACK})`).get(key) !== undefined;
    },
    async pinned(version) {
      return db.prepare("SELECT 1 AS x FROM pins WHERE version = ?").get(version) !== undefined;
    },
    async *pins() {
      for (let after = ""; ;) {
        const rows = db.prepare("SELECT version, by FROM pins WHERE version > ? ORDER BY version LIMIT 1000").all(after);
        for (const row of rows) yield { version: String(row["version"]), by: String(row["by"]) };
        const last = rows.at(-1);
        if (!last) return;
        after = String(last["version"]);
      }
    },
  };
}

/** Keys whose jobs wait for a person: files that hold what is held, and archive copies of it; part of a query. */
export const KEPT_BACK = `SELECT key FROM held WHERE state = 'open' AND applied = 1
  UNION SELECT a.key FROM held h JOIN versions v ON v.version = h.version JOIN archives a ON a.base = v.base WHERE h.state = 'open' AND h.applied = 1`;

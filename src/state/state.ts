/**
 * The state of a memory root behind one narrow interface: versions, queue, ledger, outbox, claims. No SQL outside this
 * room, and no transaction that spans a file write, so that the state can move elsewhere (DESIGN section 7).
 * @module
 */
import { existsSync, mkdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { AftersaveError } from "../core/errors.ts";
import { createClaims, type Claims } from "./claims.ts";
import { createJobs, enqueueRows, type Jobs } from "./jobs.ts";
import { createLedger, type Ledger } from "./ledger.ts";
import { createOutbox, outboxRow, type Outbox } from "./outbox.ts";
import { createSaves, type Saves } from "./saves.ts";
import { migrate, SCHEMA, schemaOf } from "./schema.ts";
import { openDatabase, sqliteLibrary, stateError, type Database } from "./sqlite.ts";

export interface State {
  readonly saves: Saves;
  readonly jobs: Jobs;
  readonly ledger: Ledger;
  readonly outbox: Outbox;
  readonly claims: Claims;
  /** Names the SQLite that is used, for `doctor`. */
  readonly library: string;
  /** Small facts of this root: what was ingested, when the last sweep was. */
  getMeta(name: string): Promise<string | undefined>;
  setMeta(name: string, value: string): Promise<void>;
  /** SQLite's own check; empty when all is well. Reads the whole file. */
  check(): Promise<string[]>;
  close(): Promise<void>;
}

export const STATE_FILE = "state.db";

/** Whether two things are one: replaced methods throw our errors instead of SQLite's. */
function translated<T extends object>(part: T): T {
  const wrap = (method: (...values: unknown[]) => unknown) =>
    function (this: unknown, ...values: unknown[]): unknown {
      try {
        const result = method.apply(part, values);
        return result instanceof Promise ? result.catch((error: unknown) => Promise.reject(stateError(error))) : result;
      } catch (error) {
        throw stateError(error);
      }
    };
  return Object.fromEntries(
    Object.entries(part).map(([name, value]) => [name, typeof value === "function" ? wrap(value as never) : value]),
  ) as T;
}

/** Opens the file; a new or older one is set up by one process at a time, since the switch to WAL cannot wait. */
async function openFile(path: string, claims: Claims): Promise<Database> {
  const database = openDatabase(path, 10_000);
  try {
    if (!isReady(database)) {
      const release = await claims.take("setup", "state");
      try {
        if (journalMode(database) !== "wal") database.exec("PRAGMA journal_mode=WAL");
        migrate(database, path);
      } finally {
        release();
      }
    }
    database.exec("PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON");
    database.prepare("SELECT max(place) FROM versions").get(); // a damaged file shows itself here, not in the middle of a save
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

const journalMode = (database: Database) => database.prepare("PRAGMA journal_mode").get()?.["journal_mode"];
const isReady = (database: Database) => schemaOf(database) === SCHEMA && journalMode(database) === "wal";

/**
 * Opens the state below `directory`, making it when there is none. Throws `E_NO_SQLITE`, `E_STATE_NEWER`,
 * `E_STATE_CORRUPT` (see `setStateAside`), `E_PERMISSION` … and has then changed nothing.
 */
export async function openState(directory: string, clock: Clock): Promise<State> {
  sqliteLibrary();
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const claims = createClaims(join(directory, "locks"), clock);
  const path = join(directory, STATE_FILE);
  let database: Database;
  try {
    database = await openFile(path, claims);
  } catch (error) {
    claims.close();
    throw stateError(error);
  }

  const relaxed = <T>(work: () => T): T => {
    database.exec("PRAGMA synchronous=NORMAL");
    try {
      return database.transaction(work);
    } finally {
      database.exec("PRAGMA synchronous=FULL");
    }
  };

  return {
    saves: translated(
      createSaves({
        database,
        relaxed,
        enqueue: (jobs) => enqueueRows(database, jobs, clock.now()),
        log: (log, line) => outboxRow(database, log, line),
      }),
    ),
    jobs: translated(createJobs(database, () => clock.now())),
    ledger: translated(createLedger(database, (log, line) => outboxRow(database, log, line))),
    outbox: translated(createOutbox(database, relaxed)),
    claims,
    library: sqliteLibrary().name,
    async getMeta(name) {
      const row = database.prepare("SELECT value FROM meta WHERE name = ?").get(name);
      return row && String(row["value"]);
    },
    async setMeta(name, value) {
      database.transaction(() => database.prepare("INSERT OR REPLACE INTO meta (name, value) VALUES (?,?)").run(name, value));
    },
    async check() {
      return database
        .prepare("PRAGMA integrity_check")
        .all()
        .map((row) => String(row["integrity_check"]))
        .filter((line) => line !== "ok");
    },
    async close() {
      claims.close();
      database.close();
    },
  };
}

/** Moves a damaged state file aside, under a name that no other has; returns that name. Nothing is deleted. */
export function setStateAside(directory: string, stamp: string): string {
  const path = join(directory, STATE_FILE);
  for (let count = 1; ; count++) {
    const aside = `${path}.damaged-${stamp.slice(0, 19).replaceAll(":", "-")}Z${count > 1 ? `_${count}` : ""}`;
    if (existsSync(aside)) continue;
    if (!existsSync(path)) throw new AftersaveError("E_NOT_FOUND", `${path} does not exist`);
    for (const suffix of ["-wal", "-shm", ""]) if (existsSync(path + suffix)) renameSync(path + suffix, aside + suffix);
    return aside;
  }
}

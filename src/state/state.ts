/**
 * The state of a memory root behind one narrow interface: versions, queue, ledger, outbox, claims. No SQL outside this
 * room, and no transaction that spans a file write, so that the state can move elsewhere (DESIGN section 7).
 * @module
 */
import { accessSync, closeSync, constants, existsSync, mkdirSync, openSync, renameSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { AftersaveError, asAftersaveError, errnoOf } from "../core/errors.ts";
import { createClaims, type Claims } from "./claims.ts";
import { createCopies, type Copies } from "./copies.ts";
import { createDecisions, type Decisions } from "./decisions.ts";
import { createErasure, type Erasure } from "./erasure.ts";
import { createEvidence, type EvidenceBook } from "./evidence.ts";
import { createGuarding, type Guarding } from "./guarding.ts";
import { createJobs, enqueueRows, type JobRequest, type Jobs } from "./jobs.ts";
import { createLedger, type Ledger } from "./ledger.ts";
import { createOutbox, outboxRow, type Outbox } from "./outbox.ts";
import { createRestore, type Restore } from "./restore.ts";
import { createSaves, type Saves } from "./saves.ts";
import { createSegments, type Segments } from "./segments.ts";
import { migrate, SCHEMA, schemaOf } from "./schema.ts";
import { createWriters } from "./writer.ts";
import { isBusy, isCorrupt, openDatabase, sqliteLibrary, stateError, type Database } from "./sqlite.ts";

export interface State {
  readonly saves: Saves;
  readonly jobs: Jobs;
  readonly ledger: Ledger;
  readonly outbox: Outbox;
  readonly claims: Claims;
  /** What is held, pinned, pruned and erased. */
  readonly decisions: Decisions;
  /** Where every version is kept. */
  readonly copies: Copies;
  /** What the guard asks of the history. */
  readonly guarding: Guarding;
  /** What erasures still have to do. */
  readonly erasure: Erasure;
  /** What was done to the changelog file by nobody of ours. */
  readonly evidence: EvidenceBook;
  /** The history that the targets hold, and their writers. */
  readonly segments: Segments;
  /** Putting the state together again from what the changelog file says. */
  readonly restore: Restore;
  /** Names the SQLite that is used, for `doctor`. */
  readonly library: string;
  /** SQLite's journal mode: `wal`, unless the place does not allow it. */
  readonly journalMode: string;
  /** Small facts of this root: what was ingested, when the last sweep was. */
  getMeta(name: string): Promise<string | undefined>;
  setMeta(name: string, value: string): Promise<void>;
  /** SQLite's own check; empty when all is well. Reads the whole file. */
  check(): Promise<string[]>;
  close(): Promise<void>;
}

export const STATE_FILE = "state.db";

/** Whether two things are one: replaced methods throw our errors instead of SQLite's. */
function translated<T extends object>(part: T, directory: string): T {
  const wrap = (method: (...values: unknown[]) => unknown) =>
    function (this: unknown, ...values: unknown[]): unknown {
      try {
        const result = method.apply(part, values);
        if (typeof result === "object" && result !== null && Symbol.asyncIterator in result)
          return translatedPages(result as AsyncIterable<unknown>, directory);
        return result instanceof Promise
          ? result.catch((error: unknown) => Promise.reject(stateError(error, directory)))
          : result;
      } catch (error) {
        throw stateError(error, directory);
      }
    };
  return Object.fromEntries(
    Object.entries(part).map(([name, value]) => [name, typeof value === "function" ? wrap(value as never) : value]),
  ) as T;
}

async function* translatedPages(items: AsyncIterable<unknown>, directory: string): AsyncGenerator {
  try {
    yield* items;
  } catch (error) {
    throw stateError(error, directory);
  }
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
    database.exec("PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA cell_size_check=ON"); // the last: damage is an error sooner, a wrong answer later
    database.prepare("SELECT max(place) FROM versions").get(); // a damaged file shows itself here, not in the middle of a save
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

const journalMode = (database: Database) => String(database.prepare("PRAGMA journal_mode").get()?.["journal_mode"]);
const isReady = (database: Database) => schemaOf(database) === SCHEMA && journalMode(database) === "wal";

/** Makes the folder; throws why nothing can be written there. */
function makeDirectory(directory: string): void {
  try {
    if (!existsSync(directory)) {
      makeDirectory(dirname(directory)); // one by one: a recursive mkdir says ENOENT on a read-only file system
      mkdirSync(directory, { mode: 0o700 });
    }
    accessSync(directory, constants.W_OK);
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw asAftersaveError(error, `opening the state in ${directory}`);
  }
}

/** Makes the file for its owner only when there is none: SQLite gives the files beside it the same mode. */
function ownOnly(path: string): void {
  try {
    closeSync(openSync(path, "wx", 0o600));
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw error;
  }
}

/**
 * Opens the state below `directory`, making it when there is none. Throws `E_NO_SQLITE`, `E_STATE_NEWER`,
 * `E_STATE_CORRUPT` (see `setStateAside`), `E_PERMISSION` … and has then changed nothing.
 */
export async function openState(directory: string, clock: Clock): Promise<State> {
  sqliteLibrary();
  makeDirectory(directory);
  const claims = createClaims(join(directory, "locks"), clock);
  const path = join(directory, STATE_FILE);
  let database: Database;
  try {
    ownOnly(path);
    database = await openFile(path, claims);
  } catch (error) {
    claims.close();
    if (!(error instanceof AftersaveError) && !isCorrupt(error)) makeDirectory(directory); // SQLite does not say why it cannot open a file
    throw stateError(error, directory);
  }

  const relaxed = <T>(work: () => T): T => {
    database.exec("PRAGMA synchronous=NORMAL");
    try {
      return database.transaction(work);
    } finally {
      database.exec("PRAGMA synchronous=FULL");
    }
  };

  const enqueue = (jobs: readonly JobRequest[]) => enqueueRows(database, jobs, clock.now());

  return translated<State>(
    {
      saves: translated(
        createSaves({
          database,
          relaxed,
          enqueue,
          log: (log, line) => outboxRow(database, log, line),
        }),
        directory,
      ),
      jobs: translated(
        createJobs(database, () => clock.now()),
        directory,
      ),
      ledger: translated(
        createLedger(database, (log, line) => outboxRow(database, log, line), enqueue),
        directory,
      ),
      outbox: translated(createOutbox(database, relaxed), directory),
      claims,
      decisions: translated(createDecisions(database), directory),
      copies: translated(createCopies(database), directory),
      guarding: translated(createGuarding(database), directory),
      erasure: translated(
        createErasure(database, (log, line) => outboxRow(database, log, line)),
        directory,
      ),
      evidence: translated(createEvidence(database), directory),
      segments: translated(createSegments(database, createWriters(directory, claims)), directory),
      restore: translated(createRestore({ database, relaxed, log: (log, line) => outboxRow(database, log, line) }), directory),
      library: sqliteLibrary().name,
      journalMode: journalMode(database),
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
    },
    directory,
  );
}

export const hasState = (directory: string): boolean => existsSync(join(directory, STATE_FILE));

/** Refuses with `E_BUSY` while another connection, of whichever process, has the file open. */
function assertUnused(path: string): void {
  const database = openDatabase(path, 0);
  try {
    database.exec("PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE");
  } catch (error) {
    if (isCorrupt(error)) return; // whoever still has it open meets the same damage
    if (!isBusy(error)) throw stateError(error);
    throw new AftersaveError("E_BUSY", `another process has the state file ${path} open, so it cannot be set aside`, {
      cause: error,
      hint: "End the other aftersave processes of this memory root, then try again.",
    });
  } finally {
    database.close();
  }
}

/**
 * Moves a damaged state file aside, under a name that no other has; returns that name. Nothing is deleted. `E_BUSY`
 * while another process uses it. One caller at a time: hold the claim `rebuild`.
 */
export function setStateAside(directory: string, stamp: string): string {
  const path = join(directory, STATE_FILE);
  for (let count = 1; ; count++) {
    const aside = `${path}.damaged-${stamp.slice(0, 19).replaceAll(":", "-")}Z${count > 1 ? `_${count}` : ""}`;
    if (existsSync(aside)) continue;
    if (!existsSync(path)) throw new AftersaveError("E_NOT_FOUND", `${path} does not exist`);
    assertUnused(path);
    for (const suffix of ["-wal", "-shm", ""]) if (existsSync(path + suffix)) renameSync(path + suffix, aside + suffix);
    return aside;
  }
}

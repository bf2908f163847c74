/**
 * SQLite, whichever this Node has. Everything above needs only `exec`, `prepare` and immediate transactions.
 * @module
 */
import { statfsSync } from "node:fs";
import { createRequire } from "node:module";
import { AftersaveError } from "../core/errors.ts";

export type Value = string | number | null;
export type Row = Record<string, Value>;

export interface Statement {
  run(...values: Value[]): { changes: number };
  get(...values: Value[]): Row | undefined;
  all(...values: Value[]): Row[];
  iterate(...values: Value[]): IterableIterator<Row>;
}

export interface Database {
  exec(sql: string): void;
  /** Compiled once per text and kept. */
  prepare(sql: string): Statement;
  /** Runs `work` in one immediate transaction; rolls back when it throws. `work` must not wait for anything. */
  transaction<T>(work: () => T): T;
  /** Calling it twice is fine. */
  close(): void;
}

interface Raw {
  exec(sql: string): unknown;
  prepare(sql: string): unknown;
  close(): unknown;
}

type Open = (path: string) => Raw;
interface Library {
  readonly name: string;
  readonly open: Open;
}

const require = createRequire(import.meta.url);

const cures =
  "Either install the library: `npm install better-sqlite3` with its install script allowed (npm 12: `npm install-scripts approve better-sqlite3`, then `npm rebuild better-sqlite3`); " +
  "or run a Node that brings SQLite along: 22.14 or newer.";

let library: Library | undefined;

/**
 * The SQLite library of this process; never two in one process, since two copies drop each other's POSIX locks.
 * better-sqlite3 13 needs Node-API 10 and kills older processes when opened, so it is not even loaded there.
 * Throws `E_NO_SQLITE` with the two cures.
 */
export function sqliteLibrary(): Library {
  return (library ??= betterSqlite() ?? nodeSqlite() ?? missing());
}

function missing(): never {
  throw new AftersaveError("E_NO_SQLITE", `no SQLite for Node ${process.versions.node} is installed`, { hint: cures });
}

function betterSqlite(): Library | undefined {
  try {
    const { version } = require("better-sqlite3/package.json") as { version: string };
    if (Number.parseInt(version, 10) >= 13 && Number(process.versions.napi) < 10) return undefined;
    const Better = require("better-sqlite3") as new (path: string, options: { timeout: number }) => Raw;
    new Better(":memory:", { timeout: 0 }).close(); // the native part loads only now
    return { name: `better-sqlite3 ${version}`, open: (path) => new Better(path, { timeout: 0 }) };
  } catch {
    return undefined; // absent, or built for another Node: the fallback answers, or `missing` says what to do
  }
}

function nodeSqlite(): Library | undefined {
  const warn = process.emitWarning;
  process.emitWarning = () => undefined; // Node 22 warns that node:sqlite is experimental
  try {
    const loaded = require("node:sqlite") as Record<string, new (path: string) => Raw>;
    const Class = loaded["Database"] ?? loaded["DatabaseSync"];
    return Class && { name: `node:sqlite ${process.versions.node}`, open: (path) => new Class(path) };
  } catch {
    return undefined; // this Node has none
  } finally {
    process.emitWarning = warn;
  }
}

/** Opens `path`. `busyMs` is how long a statement waits for another process's short transaction. */
export function openDatabase(path: string, busyMs: number): Database {
  const raw = sqliteLibrary().open(path);
  raw.exec(`PRAGMA busy_timeout=${busyMs}`);
  const prepared = new Map<string, Statement>();
  const prepare = (sql: string): Statement => {
    const known = prepared.get(sql);
    if (known) return known;
    const statement = raw.prepare(sql) as Statement;
    prepared.set(sql, statement);
    return statement;
  };
  let depth = 0;
  const transaction = <T>(work: () => T): T => {
    if (depth > 0) return work();
    raw.exec("BEGIN IMMEDIATE");
    depth++;
    try {
      const result = work();
      raw.exec("COMMIT");
      return result;
    } catch (error) {
      try {
        raw.exec("ROLLBACK");
      } catch {
        // SQLite has already rolled back (full disk, I/O error); the first error is the one to report
      }
      throw error;
    } finally {
      depth--;
    }
  };
  let closed = false;
  const close = () => {
    if (!closed) raw.close(); // Node's own refuses a second time
    closed = true;
  };
  return { exec: (sql) => void raw.exec(sql), prepare, transaction, close };
}

const text = (error: unknown) => (error instanceof Error ? `${"code" in error ? String(error.code) : ""} ${error.message}` : "");

/** Another connection holds what this one needs. */
export const isBusy = (error: unknown): boolean => /SQLITE_BUSY|database is locked|SQLITE_LOCKED/.test(text(error));

/** The file is not a database, or damaged. */
export const isCorrupt = (error: unknown): boolean =>
  /SQLITE_CORRUPT|SQLITE_NOTADB|file is not a database|disk image is malformed|malformed database schema/.test(text(error));

/** What SQLite did not see, but cannot be: `what` ends the sentence. */
export const stateCorrupt = (what: string, cause?: unknown): AftersaveError =>
  new AftersaveError("E_STATE_CORRUPT", `the state file is damaged${what}`, {
    cause,
    hint: "Run `aftersave doctor --rebuild`: it sets the file aside and rebuilds it from files, archive, logs and targets.",
  });

/** Less than SQLite needs for a page of its shared memory. */
const NO_ROOM = 64 * 1024;

function isFull(directory: string | undefined): boolean {
  if (directory === undefined) return false;
  try {
    const { bavail, bsize } = statfsSync(directory);
    return bavail * bsize < NO_ROOM;
  } catch {
    return false; // the first error is the one to tell
  }
}

/** Turns what SQLite throws into an error with a code; other errors pass through. */
export function stateError(error: unknown, directory?: string): unknown {
  if (error instanceof AftersaveError) return error;
  if (isCorrupt(error)) return stateCorrupt("", error);
  if (error instanceof SyntaxError) return stateCorrupt(": a row cannot be read", error); // rows hold JSON that we wrote
  if (/database (connection )?is not open/.test(text(error)))
    return new AftersaveError("E_CLOSED", "the memory was already closed", { cause: error, hint: "Open it again." });
  if (isBusy(error))
    return new AftersaveError("E_BUSY", "the state file was held by another process for more than ten seconds", {
      cause: error,
      hint: "Look for a stopped aftersave process, end it, and try again.",
    });
  const unreadable = /SQLITE_(IOERR|CANTOPEN)|disk I\/O error|unable to open database file/.test(text(error));
  // SQLite reports a full disk as an I/O error when it is a file beside the state that does not fit
  if (/SQLITE_FULL|database or disk is full/.test(text(error)) || (unreadable && isFull(directory)))
    return new AftersaveError("E_NO_SPACE", "the disk that holds state_dir is full", {
      cause: error,
      hint: "Free some space, then save again.",
    });
  if (/SQLITE_READONLY|readonly database/.test(text(error)))
    return new AftersaveError("E_READ_ONLY", "the state file cannot be written", {
      cause: error,
      hint: "Check owner and mode of state_dir.",
    });
  if (unreadable)
    return new AftersaveError("E_IO", "the state file cannot be read or written", {
      cause: error,
      hint: "Check the disk and the mode of state_dir.",
    });
  return error;
}

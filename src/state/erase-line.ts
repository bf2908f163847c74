/**
 * What an `erase` line does to the rows of the versions that it is about.
 * @module
 */
import type { Key } from "../core/key.ts";
import { actorIn, actorOf, commitmentOf, inOrder, type Redacted, type Version } from "../core/version.ts";
import { MOVES, toVersion } from "./rows.ts";
import type { Database, Row } from "./sqlite.ts";

/** What follows from a line that is not an erasure. */
type Apply = (db: Database, v: Version) => void;

const BLANK = JSON.stringify(actorIn(actorOf()));

/** What a redacted version's line decided counts again; what a person settled since stays settled. */
function decideAgain(db: Database, v: Version, apply: Apply): void {
  const { details } = v;
  if (!details) return;
  apply(db, v);
  if (v.op !== "hold" && !details.held) return;
  const settled = db
    .prepare("SELECT op FROM versions WHERE details ->> '$.settles' = ? ORDER BY place DESC LIMIT 1")
    .get(v.version);
  const state = settled ? (settled["op"] === "reject" ? "rejected" : "accepted") : "open";
  db.prepare("UPDATE held SET state = ? WHERE version = ?").run(state, v.version);
}

/** Within a transaction of the caller: what an `erase` line says. Applying it twice is fine. */
export function applyErase(db: Database, { details }: Version, apply: Apply): void {
  const left = new Map((details?.redacts ?? []).map((redacted) => [redacted.version, redacted]));
  const bases = new Map<string, Key>();
  for (const id of details?.about ?? []) {
    const row = db.prepare("SELECT * FROM versions WHERE version = ?").get(id);
    if (!row) continue;
    const was = toVersion(row);
    const redacted = left.get(id);
    const commitment = was.commitment ?? commitmentOf(was, was.salt ?? "");
    if (redacted) redactRow(db, row, was, redacted, commitment, apply, bases);
    else blankRow(db, was, commitment);
  }
  if (left.size > 0) nameCopies(db, new Set(bases.values()));
  for (const [base, file] of bases) {
    const newest = db
      .prepare("SELECT sha256, size FROM versions WHERE file = ? AND base = ? ORDER BY place DESC LIMIT 1")
      .get(file, base);
    if (newest)
      db.prepare("UPDATE archives SET sha256 = ?, size = ? WHERE base = ?").run(
        newest["sha256"] ?? null,
        newest["size"] ?? null,
        base,
      );
  }
}

/** Copies of what such a version held, made by a line that was not erased: a state that is put together again does not know them until now. */
function nameCopies(db: Database, files: ReadonlySet<Key>): void {
  const copies = db.prepare(
    `SELECT a.key, a.sha256, v.place FROM archives a JOIN versions v ON v.version = a.version AND v.archived_as = a.key
       WHERE a.file = ? AND a.base IS NULL`,
  );
  const prior = db.prepare(
    "SELECT size, base FROM versions WHERE file = ? AND sha256 = ? AND place < ? ORDER BY place DESC LIMIT 1",
  );
  for (const file of files)
    for (const { key, sha256, place } of copies.all(file)) {
      const held = prior.get(file, sha256 ?? null, place ?? null);
      if (held)
        db.prepare("UPDATE archives SET size = ?, base = ? WHERE key = ?").run(
          held["size"] ?? null,
          held["base"] ?? null,
          key ?? null,
        );
    }
}

function blankRow(db: Database, was: Version, commitment: string): void {
  db.prepare(
    `UPDATE versions SET commitment = ?, salt = '', file = '', sha256 = NULL, size = NULL, prev_sha256 = NULL, archived_as = NULL,
       actor = ?, base = NULL, details = NULL WHERE version = ?`,
  ).run(commitment, BLANK, was.version);
  for (const table of ["heads", "archives", "held", "pins"])
    db.prepare(`DELETE FROM ${table} WHERE version = ?`).run(was.version);
}

function redactRow(
  db: Database,
  row: Row,
  was: Version,
  left: Redacted,
  commitment: string,
  apply: Apply,
  bases: Map<string, Key>,
): void {
  const { version, file, sha256, size, archived_as } = left;
  const before = `FROM versions WHERE file = ? AND place < ? AND ${MOVES} ORDER BY place DESC LIMIT 1`;
  const prior = db.prepare(`SELECT sha256, size, base ${before}`).get(file, was.place);
  const base = was.op === "hold" || sha256 === null ? null : (left.base ?? version);
  const details = left.details ? inOrder(left.details) : null;
  db.prepare(
    `UPDATE versions SET commitment = ?, salt = '', file = ?, sha256 = ?, size = ?, prev_sha256 = ?, archived_as = ?, actor = ?,
       base = ?, details = ? WHERE version = ?`,
  ).run(
    commitment,
    file,
    sha256,
    size,
    prior?.["sha256"] ?? null,
    archived_as ?? null,
    BLANK,
    base,
    details && JSON.stringify(details),
    version,
  );
  db.prepare("UPDATE heads SET sha256 = ?, size = ?, stamp = NULL WHERE key = ? AND version = ?").run(
    sha256 ?? "",
    size ?? 0,
    file,
    version,
  );
  if (was.details?.held && !details?.held) db.prepare("DELETE FROM held WHERE version = ?").run(version);
  if (base !== null) bases.set(base, file);
  if (row["details"] === null && details) decideAgain(db, { ...was, file, sha256, size, details }, apply);
  if (archived_as === undefined || !prior?.["sha256"]) return;
  bases.set(String(prior["base"]), file);
  db.prepare("INSERT OR IGNORE INTO archives (key, file, version, sha256, size, base, pruned) VALUES (?,?,?,?,?,?,0)").run(
    archived_as,
    file,
    version,
    prior["sha256"],
    prior["size"] ?? 0,
    prior["base"] ?? null,
  );
}

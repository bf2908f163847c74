/**
 * What the rows of the versions table say.
 * @module
 */
import type { Key } from "../core/key.ts";
import { SAVE_OPS, type Actor, type Details, type Op, type Version } from "../core/version.ts";
import type { Row, Value } from "./sqlite.ts";

export const text = (value: Value | undefined) => (value === null || value === undefined ? null : String(value));

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
  details: typeof row["details"] === "string" ? (JSON.parse(row["details"]) as Details) : null,
  salt: text(row["salt"]) || null,
  sum: String(row["sum"]),
  prev: text(row["prev"]),
  commitment: text(row["commitment"]),
});

/** `movesHead`, in SQL. */
export const MOVES = `(op IN (${SAVE_OPS.map((op) => `'${op}'`).join(",")}) OR (op <> 'hold' AND details ->> '$.applies' IS NOT NULL))`;

/**
 * The diagnostic log: single tries and other details that help to find a fault. It may be lost; it may never be in the way.
 * @module
 */
import { closeSync, fstatSync, mkdirSync, openSync, readdirSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "../core/clock.ts";
import { errnoOf } from "../core/errors.ts";
import { LOG_MODE } from "./files.ts";
import { namesAfter } from "./rotate.ts";
import { inOrder } from "./rotated.ts";

export interface DiagnosticOptions {
  /** A log of this size is rotated (5 MB). */
  readonly bytes?: number | undefined;
  /** How many rotated files stay (2). */
  readonly keep?: number | undefined;
}

/** Writes one record as one line, before it returns. Never throws. */
export interface DiagnosticLog {
  (record: object): void;
  /** Records that could not be written. */
  readonly lost: number;
}

const STRING = 1000;
const ITEMS = 50;
const LINE = 16 * 1024;

/** A sink for the file at `path`. It holds no file open, so any number of processes may share the log. */
export function createDiagnosticLog(
  path: string,
  clock: Pick<Clock, "now">,
  { bytes = 5_000_000, keep = 2 }: DiagnosticOptions = {},
): DiagnosticLog {
  let lost = 0;
  const sink = (record: object) => {
    try {
      const line = Buffer.from(`${lineOf(record)}\n`);
      const size = write(path, line);
      if (size >= bytes) rotate(path, keep, clock.now());
    } catch {
      lost += 1;
    }
  };
  return Object.defineProperty(sink, "lost", { get: () => lost }) as DiagnosticLog;
}

function write(path: string, line: Buffer): number {
  const file = open(path);
  try {
    if (writeSync(file, line) < line.length) throw new Error("the disk took only a part of the line");
    return fstatSync(file).size;
  } finally {
    closeSync(file);
  }
}

function open(path: string): number {
  try {
    return openSync(path, "a", LOG_MODE);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
    mkdirSync(dirname(path), { recursive: true });
    return openSync(path, "a", LOG_MODE);
  }
}

function rotate(path: string, keep: number, now: number): void {
  const rotated = () => inOrder(path, readdirSync(dirname(path)));
  for (const name of namesAfter(path, new Date(now), rotated().at(-1))) {
    try {
      closeSync(openSync(name, "wx", LOG_MODE));
    } catch (error) {
      if (errnoOf(error) === "EEXIST") continue;
      throw error;
    }
    renameSync(path, name);
    break;
  }
  for (const old of rotated().slice(0, -keep)) rmSync(old, { force: true });
}

function lineOf(record: object): string {
  const line = JSON.stringify(record, brief);
  if (line.length <= LINE) return line;
  const scalars = Object.entries(record).filter(([, value]) => typeof value !== "object");
  return JSON.stringify({ ...Object.fromEntries(scalars.slice(0, ITEMS)), shortened: true }, (_name, value: unknown) =>
    typeof value === "string" ? value.slice(0, 100) : brief("", value),
  );
}

/** What JSON would lose or choke on, and what is too long for a line. */
function brief(_name: string, value: unknown): unknown {
  if (typeof value === "string" && value.length > STRING) return `${value.slice(0, STRING)}…`;
  if (typeof value === "bigint") return String(value);
  if (Array.isArray(value) && value.length > ITEMS) return [...(value as unknown[]).slice(0, ITEMS), "…"];
  if (value instanceof Error) {
    const { name, message, cause } = value;
    return { name, message, code: errnoOf(value) || undefined, cause };
  }
  return value;
}

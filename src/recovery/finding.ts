/**
 * What the doctor finds, and what it looks with.
 * @module
 */
import { stat } from "node:fs/promises";
import type { Config } from "../config/load.ts";
import type { Clock } from "../core/clock.ts";
import { asAftersaveError, errnoOf, type ErrorCode } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import type { Target } from "../core/target.ts";
import type { Heads } from "../memory/heads.ts";
import type { LogExport } from "../memory/log-export.ts";
import type { Places } from "../memory/places.ts";
import type { State } from "../state/state.ts";

export interface Finding {
  readonly level: "ok" | "warning" | "error";
  /** Which part was looked at: `config`, `state`, `logs` … */
  readonly part: string;
  readonly message: string;
  readonly cure: string | null;
  readonly code: ErrorCode | null;
  /** `--fix` mended it. */
  readonly fixed: boolean;
}

export interface DoctorTarget {
  readonly name: string;
  readonly enabled: boolean;
  /** Where the mirror lies, when it lies on this machine. */
  readonly localPath: string | undefined;
  /** Null when it cannot be told. */
  readonly sameDevice: boolean | null;
  /** As people read it. */
  readonly pathOf: (key: Key) => string;
  readonly open: () => Promise<Target>;
  /** Looks for what is gone at the target and has it sent again; answers how many files. */
  readonly mend: () => Promise<number>;
  /** Looks for what would make an upload of so many bytes fail; returns one sentence of facts. */
  readonly examine?: (waiting: number) => AsyncGenerator<Found, string>;
}

export interface DoctorParts {
  readonly config: Config;
  readonly state: State;
  readonly heads: Heads;
  readonly places: Places;
  readonly logs: LogExport;
  readonly clock: Clock;
  readonly targets: readonly DoctorTarget[];
  /** Settles what dead processes left unfinished. */
  readonly recover: () => Promise<unknown>;
  /** Writes a record to the diagnostic log. */
  readonly note: (record: object) => void;
  readonly fix: boolean;
}

/** What a check found wrong. */
export type Found = Pick<Finding, "message"> & Partial<Omit<Finding, "part" | "message">>;
/** Yields what is wrong; returns one sentence for when nothing is. */
export type Check = (parts: DoctorParts) => AsyncGenerator<Found, string>;

/** A check's own failure is a finding like any other. */
export function faultOf(error: unknown, doing: string): Found {
  const { message, hint, code } = asAftersaveError(error, doing);
  return { level: "error", message, cure: hint ?? null, code };
}

export const plural = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`;

/** The stats of a path; undefined when nothing is there. */
export const statOf = (path: string) =>
  stat(path).catch((error: unknown) => {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  });

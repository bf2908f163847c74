/** Measuring: figures of one run side by side, and the table that tells them. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Row {
  readonly what: string;
  readonly ours: string;
  readonly beside: string;
  readonly ratio: string;
  /** As the issue states it; null for a figure without one. */
  readonly goal: string | null;
  readonly met: boolean | null;
}

export const quantile = (values: readonly number[], q: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))] ?? Number.NaN;
export const median = (values: readonly number[]): number => quantile(values, 0.5);
export const ms = (value: number) => `${value.toFixed(2)} ms`;
export const times = (value: number) => `${value.toFixed(2)} ×`;
export const mb = (bytes: number) => `${(bytes / 1_000_000).toFixed(0)} MB`;

export async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** A row whose figure is a ratio that shall not exceed `most`. */
export function ratioRow(
  what: string,
  ours: number,
  beside: number,
  most: number,
  unit: (value: number) => string,
  besideName: string,
): Row {
  const ratio = ours / beside;
  return {
    what,
    ours: unit(ours),
    beside: `${unit(beside)} ${besideName}`,
    ratio: times(ratio),
    goal: `≤ ${most} ×`,
    met: ratio <= most,
  };
}

export async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "aftersave-bench-"));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs a process to its end; answers its wall time and peak memory. */
export function run(command: string, args: readonly string[], options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}) {
  const start = performance.now();
  const result = spawnSync(command, args, {
    encoding: "utf8",
    maxBuffer: 1 << 28,
    ...options,
    env: { ...process.env, ...options.env },
  });
  return { ms: performance.now() - start, status: result.status, stdout: result.stdout, stderr: result.stderr };
}

export const has = (command: string): boolean => spawnSync(command, ["--version"]).error === undefined;

export function table(rows: readonly Row[]): string {
  const verdict = (row: Row) => (row.met === null ? "" : row.met ? "met" : "**missed**");
  const lines = rows.map(
    (row) => `| ${row.what} | ${row.ours} | ${row.beside} | ${row.ratio} | ${row.goal ?? ""} | ${verdict(row)} |`,
  );
  return ["| what | aftersave | beside it | ratio | goal | |", "| --- | --- | --- | --- | --- | --- |", ...lines].join("\n");
}

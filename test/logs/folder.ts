import { spawn, type ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { bundled } from "../bundled.ts";

/** A folder of its own for the tests of one file; `next` gives a fresh path in it. */
export function freshFolder(): { next(name?: string): string } {
  let folder = "";
  let n = 0;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "aftersave-logs-"));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));
  return { next: (name = "log.json") => join(folder, String((n += 1)), name) };
}

/** Runs a test program of this folder in a process of its own. */
export async function child(program: string, ...args: string[]): Promise<ChildProcess> {
  return spawn(process.execPath, [await bundled(join(import.meta.dirname, program)), ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

export function ended(process: ChildProcess): Promise<Ended> {
  let out = "";
  let err = "";
  process.stdout?.on("data", (chunk: Buffer) => (out += chunk.toString()));
  process.stderr?.on("data", (chunk: Buffer) => (err += chunk.toString()));
  return new Promise((resolve, reject) => {
    process.on("error", reject);
    process.on("close", (code, signal) => resolve({ code, signal, out, err }));
  });
}

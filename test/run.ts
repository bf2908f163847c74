import { mkdtempSync, rmSync, statfsSync } from "node:fs";
import { freemem, tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  export interface ProvidedContext {
    /** A folder for what the test files of one run share. */
    runFolder: string;
    /** A folder for what they make, in memory where that is possible: see test/temporary.ts. */
    temporary: string;
  }
}

const MEMORY = "/dev/shm";
/** What two test files need at once, with room to spare: the biggest has two files of 400 MiB. */
const NEEDED = 4 * 1024 ** 3;

/** The folder of the system's memory disk, if there is one with room; someone who names a TMPDIR means that one. */
function memoryDisk(): string | undefined {
  if (process.env["TMPDIR"] !== undefined || process.platform !== "linux") return undefined;
  try {
    const { bavail, bsize } = statfsSync(MEMORY);
    return Math.min(bavail * bsize, freemem()) < NEEDED ? undefined : mkdtempSync(join(MEMORY, "aftersave-run-"));
  } catch {
    return undefined; // none here, or not for us
  }
}

export function setup({ provide }: TestProject): () => void {
  const folder = mkdtempSync(join(tmpdir(), "aftersave-run-"));
  const memory = memoryDisk();
  provide("runFolder", folder);
  provide("temporary", memory ?? tmpdir());
  return () => {
    for (const made of [folder, memory]) if (made !== undefined) rmSync(made, { recursive: true, force: true, maxRetries: 5 });
  };
}

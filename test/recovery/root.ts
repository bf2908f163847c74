// A memory root in a folder of its own, and what the tests of this room ask of it.
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { expect, onTestFinished } from "vitest";
import type { Clock } from "../../src/core/clock.ts";
import { readLog } from "../../src/logs/read.ts";
import { verifyChain } from "../../src/logs/verify.ts";
import { openMemory, type Memory, type OpenOptions } from "../../src/open.ts";

export interface Root {
  readonly path: string;
  readonly changelog: string;
  readonly state: string;
  at(...parts: string[]): string;
  /** Opened memories are closed when the test ends. */
  open(options?: OpenOptions): Promise<Memory>;
  /** Path below `folder` → sha256. */
  files(folder: string): Record<string, string>;
}

export const sha256 = (bytes: string | Uint8Array) => createHash("sha256").update(bytes).digest("hex");

export function makeRoot(config: Record<string, unknown> = {}): Root {
  const path = mkdtempSync(join(tmpdir(), "aftersave-recovery-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  const at = (...parts: string[]) => join(path, ...parts);
  mkdirSync(at("Data"));
  mkdirSync(at("mirror"));
  const base = {
    local_data_dir: "Data/",
    llama_input_path: "llama/input.txt",
    llama_output_path: "llama/output.json",
    memory_changelog: "logs/memory_changelog.json",
    upload_log: "logs/upload_log.json",
    archive_log: "logs/archive_log.json",
    drive_root: "Drive/MemoryVDB/",
    targets: { drive: { type: "folder", enabled: true, path: "./mirror" } },
  };
  writeFileSync(at("paths.json"), JSON.stringify({ ...base, ...config }));
  return {
    path,
    at,
    changelog: at("logs/memory_changelog.json"),
    state: at(".aftersave/state.db"),
    async open(options = {}) {
      const memory = await openMemory({ root: path, env: {}, retryBaseMs: 1, ...options });
      onTestFinished(() => memory.close());
      return memory;
    },
    files(folder) {
      const found: Record<string, string> = {};
      for (const entry of readdirSync(at(folder), { recursive: true, withFileTypes: true }))
        if (entry.isFile()) {
          const file = join(entry.parentPath, entry.name);
          found[relative(at(folder), file)] = sha256(readFileSync(file));
        }
      return found;
    },
  };
}

/** The lines of a log, oldest first. */
export async function linesOf(path: string): Promise<Record<string, unknown>[]> {
  const lines: Record<string, unknown>[] = [];
  for await (const { value } of readLog(path, { withRotated: true })) lines.push(value);
  return lines;
}

/** The changelog is one unbroken chain of `length` lines. */
export async function expectChain(path: string, length: number): Promise<void> {
  const report = await verifyChain(await linesOf(path));
  expect(report.broken).toBeNull();
  expect(report.verified).toBe(length);
}

/** A clock that a test sets; it moves a second with each look, so that archive copies get names of their own. */
export function clockAt(start: string): Clock & { set(iso: string): void } {
  let now = Date.parse(start);
  return {
    now: () => (now += 1000),
    sleep: () => new Promise((resolve) => setTimeout(resolve, 1)),
    set: (iso) => void (now = Date.parse(iso)),
  };
}

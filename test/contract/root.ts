/** A memory root in a temporary folder, removed after the test. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { onTestFinished } from "vitest";
import { openMemory, type Memory, type OpenOptions } from "../../src/index.ts";

export const ONE_FOLDER = { targets: { drive: { type: "folder", enabled: true, path: "./" } } };

export function makeRoot(config: object = ONE_FOLDER): string {
  const root = mkdtempSync(join(tmpdir(), "aftersave-contract-"));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  mkdirSync(join(root, "Data"));
  writeFileSync(join(root, "paths.json"), JSON.stringify(config));
  return root;
}

export async function open(root: string, options: OpenOptions = {}): Promise<Memory> {
  const memory = await openMemory({ root, retryBaseMs: 1, env: {}, ...options });
  onTestFinished(() => memory.close());
  return memory;
}

export const read = (root: string, ...path: string[]): string => readFileSync(join(root, ...path), "utf8");

export function write(root: string, path: string, content: string | Uint8Array): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), content);
}

/** The lines of a log; the memory is closed first, so that all of them are there. */
export const lines = (root: string, log: string): Record<string, unknown>[] =>
  read(root, "logs", `${log}.json`)
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

/**
 * Memory roots to be hurt: made, written to by strangers, and read from outside.
 * @module
 */
import { createHash } from "node:crypto";
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

export const sha256 = (bytes: Uint8Array | string): string => createHash("sha256").update(bytes).digest("hex");

/** The folder target of `makeRoot`. */
export const MIRROR = "mirror/Drive/MemoryVDB";

const paths = {
  local_data_dir: "Data/",
  llama_input_path: "llama/input.txt",
  llama_output_path: "llama/output.json",
  memory_changelog: "logs/memory_changelog.json",
  upload_log: "logs/upload_log.json",
  archive_log: "logs/archive_log.json",
  drive_root: "Drive/MemoryVDB/",
  targets: { drive: { type: "folder", enabled: true, path: "./mirror/" } },
};

/** A memory root with a folder target in `mirror/`, below `within`. `more` goes into its paths.json. */
export function makeRoot(more: Record<string, unknown> = {}, within: string = tmpdir()): string {
  const root = mkdtempSync(join(within, "aftersave-root-"));
  mkdirSync(join(root, "Data"));
  mkdirSync(join(root, "mirror"));
  writeFileSync(join(root, "paths.json"), JSON.stringify({ ...paths, ...more }));
  return root;
}

export const removeRoot = (root: string): void => rmSync(root, { recursive: true, force: true });

/** What someone else does to a file, in one call each. */
export function foreignWrite(path: string, bytes: Uint8Array | string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
}

/** All files below `folder`, as POSIX paths relative to it, sorted. */
export function filesBelow(folder: string, relative = ""): string[] {
  let entries;
  try {
    entries = readdirSync(join(folder, relative), { withFileTypes: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
  return entries
    .flatMap((entry) => {
      const below = relative === "" ? entry.name : `${relative}/${entry.name}`;
      return entry.isDirectory() ? filesBelow(folder, below) : [below];
    })
    .toSorted();
}

export interface LogRecord extends Readonly<Record<string, unknown>> {
  readonly file: string | null;
}

/** Every line of a log; throws at one that is not whole JSON. */
export function logLines(root: string, name: "memory_changelog" | "archive_log" | "upload_log"): LogRecord[] {
  const text = readFileSync(join(root, "logs", `${name}.json`), "utf8");
  if (text !== "" && !text.endsWith("\n")) throw new Error(`${name} does not end with a whole line`);
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as LogRecord);
}

export const exists = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false }) !== undefined;

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach } from "vitest";
import { stack, type DriverMemory, type Target } from "../../../src/core/target.ts";
import { type DropboxTuning, openDropboxTarget } from "../../../src/targets/dropbox.ts";
import type { DriverContext } from "../../../src/targets/shared/driver.ts";
import { withRetry } from "../../../src/wraps/retry.ts";
import { type DropboxEmulator, type Settings, startDropbox } from "./emulator.ts";

/** A driver's memory that lives as long as the test. */
export function memoryOf(values = new Map<string, string>()): DriverMemory {
  return {
    get: async (name) => values.get(name),
    set: async (name, value) => void values.set(name, value),
    delete: async (name) => void values.delete(name),
    list: async (prefix) => [...values].filter(([name]) => name.startsWith(prefix)).toSorted(([a], [b]) => (a < b ? -1 : 1)),
  };
}

export const ROOT = "Drive/MemoryVDB/";
export const PART = 64 * 1024;

export interface Opening {
  readonly memory?: DriverMemory;
  readonly tuning?: DropboxTuning;
  readonly options?: Record<string, unknown>;
  readonly env?: NodeJS.ProcessEnv;
  readonly root?: string;
  readonly now?: () => number;
}

/** Signed in with `DROPBOX_TOKEN` unless `opening` says otherwise. */
export function contextFor(url: string, token: string, opening: Opening = {}): DriverContext {
  return {
    name: "box",
    root: opening.root ?? ROOT,
    options: { api_url: url, content_url: url, token_file: "/nowhere/dropbox_token.json", ...opening.options },
    tokenFile: "",
    clientFile: "",
    timeoutMs: 20_000,
    env: opening.env ?? { DROPBOX_TOKEN: token },
    memory: opening.memory ?? memoryOf(),
    claim: async () => () => undefined,
    clock: { now: opening.now ?? (() => Date.now()), sleep: async (ms) => void (await pause(ms)) },
  };
}

export const openAt = (box: DropboxEmulator, opening: Opening = {}): Target =>
  openDropboxTarget(contextFor(box.url, box.token(), opening), opening.tuning ?? { partBytes: PART });

/** Run after each test, in reverse. */
const undo: Array<() => unknown> = [];
afterEach(async () => {
  for (const back of undo.splice(0).toReversed()) await back();
});

export interface OnDropbox {
  readonly box: DropboxEmulator;
  readonly target: Target;
  /** What the driver remembers. */
  readonly values: Map<string, string>;
  /** Another one, with the same memory unless another is given. */
  readonly open: (opening?: Opening) => Target;
  /** Wrapped as the engine does it. */
  readonly retrying: Target;
  readonly folder: () => Promise<string>;
}

export async function onDropbox(settings: Partial<Settings> = {}, opening: Opening = {}): Promise<OnDropbox> {
  const box = await startDropbox(settings);
  undo.push(() => box.close());
  const values = new Map<string, string>();
  const open = (more: Opening = {}) => {
    const target = openAt(box, { memory: memoryOf(values), ...opening, ...more });
    undo.push(() => target.close());
    return target;
  };
  const target = open();
  const folder = async () => {
    const path = await mkdtemp(join(tmpdir(), "aftersave-dropbox-"));
    undo.push(() => rm(path, { recursive: true, force: true }));
    return path;
  };
  return { box, target, values, open, retrying: stack(target, withRetry({ baseMs: 1 })), folder };
}

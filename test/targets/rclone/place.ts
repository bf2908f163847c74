import { execFileSync } from "node:child_process";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { DriverMemory } from "../../../src/core/target.ts";
import type { Rclone } from "../../../src/targets/rclone/daemon.ts";
import type { DriverContext } from "../../../src/targets/shared/driver.ts";

export const ROOT = "Drive/MemoryVDB/";

/** A driver's memory that lives as long as the test. */
export function memoryOf(values = new Map<string, string>()): DriverMemory {
  return {
    get: async (name) => values.get(name),
    set: async (name, value) => void values.set(name, value),
    delete: async (name) => void values.delete(name),
    list: async (prefix) => [...values].filter(([name]) => name.startsWith(prefix)).toSorted(([a], [b]) => (a < b ? -1 : 1)),
  };
}

export interface Opening {
  readonly options?: Record<string, unknown>;
  readonly memory?: DriverMemory;
  readonly env?: NodeJS.ProcessEnv;
  readonly root?: string;
  readonly rclone?: Rclone;
  readonly now?: () => number;
}

export function contextFor(remote: string, opening: Opening = {}): DriverContext {
  return {
    name: "cloud",
    root: opening.root ?? ROOT,
    options: { remote, ...opening.options },
    tokenFile: "",
    clientFile: "",
    timeoutMs: 20_000,
    env: opening.env ?? process.env,
    memory: opening.memory ?? memoryOf(),
    claim: async () => () => undefined,
    clock: { now: opening.now ?? (() => Date.now()), sleep: async (ms, signal) => void (await pause(ms, undefined, { signal })) },
    ...(opening.rclone && { client: opening.rclone }),
  };
}

export function hasProgram(name: string): boolean {
  try {
    execFileSync(name, [name === "rclone" ? "version" : "--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

export const hasRclone = hasProgram("rclone");

export const folder = () => mkdtemp(join(tmpdir(), "rclone-"));

/** A configuration of rclone's of its own, so that a person's is not looked at. */
export async function configOf(text = ""): Promise<string> {
  const file = join(await folder(), "rclone.conf");
  await writeFile(file, text);
  return file;
}

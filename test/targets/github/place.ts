import { setTimeout as pause } from "node:timers/promises";
import { afterEach } from "vitest";
import { type DriverMemory, stack, type Target } from "../../../src/core/target.ts";
import { createGithubTarget } from "../../../src/targets/github.ts";
import { labelOf, nameOf } from "../../../src/targets/github/names.ts";
import type { DriverContext } from "../../../src/targets/shared/driver.ts";
import { withRetry } from "../../../src/wraps/retry.ts";
import { type Github, type Settings, startGithub } from "./emulator.ts";

/** A driver's memory that lives as long as the test. */
export function memoryOf(values = new Map<string, string>()): DriverMemory {
  return {
    get: async (name) => values.get(name),
    set: async (name, value) => void values.set(name, value),
    delete: async (name) => void values.delete(name),
    list: async (prefix) => [...values].filter(([name]) => name.startsWith(prefix)),
  };
}

export const ROOT = "Drive/MemoryVDB/";

export interface Opening {
  readonly root?: string;
  readonly memory?: DriverMemory;
  readonly env?: NodeJS.ProcessEnv;
  readonly options?: Record<string, unknown>;
  readonly now?: () => number;
}

export const contextFor = (opening: Opening): DriverContext => ({
  name: "hub",
  root: opening.root ?? ROOT,
  options: { repo: "me/memory", tag: "aftersave", ...opening.options },
  tokenFile: "",
  clientFile: "",
  timeoutMs: 20_000,
  env: opening.env ?? {},
  memory: opening.memory ?? memoryOf(),
  claim: async () => () => undefined,
  clock: { now: opening.now ?? (() => Date.now()), sleep: async (ms: number) => void (await pause(ms)) },
});

export const openAt = (hub: Github, opening: Opening = {}): Target =>
  createGithubTarget(
    contextFor({
      env: { GH_TOKEN: hub.settings.token },
      ...opening,
      options: { api_url: `${hub.url}/`, uploads_url: `${hub.url}/uploads/`, ...opening.options },
    }),
  );

/** What another program does: GitHub's own page, or `gh release upload --clobber`. */
export function writeAt(hub: Github, path: string, bytes: Uint8Array): void {
  const release = hub.releases.find(({ tag }) => tag === "aftersave") ?? hub.addRelease("aftersave");
  for (const [id, { name }] of hub.assets) if (name === nameOf(path)) hub.assets.delete(id);
  hub.addAsset(release.id, nameOf(path), bytes, { label: labelOf(path) });
}

/** Run after each test, in reverse. */
const undo: Array<() => unknown> = [];
afterEach(async () => {
  for (const back of undo.splice(0).toReversed()) await back();
});

export interface OnGithub {
  readonly hub: Github;
  readonly target: Target;
  /** As the next process would open it: with the same memory, unless another is given. */
  readonly open: (opening?: Opening) => Target;
  /** Wrapped as the engine does it. */
  readonly retrying: Target;
}

export async function onGithub(settings: Partial<Settings> = {}, opening: Opening = {}): Promise<OnGithub> {
  const hub = await startGithub(settings);
  undo.push(() => hub.close());
  const memory = memoryOf();
  const open = (more: Opening = {}) => {
    const target = openAt(hub, { memory, ...opening, ...more });
    undo.push(() => target.close());
    return target;
  };
  const target = open();
  return { hub, target, open, retrying: stack(target, withRetry({ baseMs: 1 })) };
}

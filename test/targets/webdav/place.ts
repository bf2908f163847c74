import { setTimeout as pause } from "node:timers/promises";
import type { DriverMemory, Target } from "../../../src/core/target.ts";
import type { DriverContext } from "../../../src/targets/shared/driver.ts";
import { openWebdavTarget, type WebdavTuning } from "../../../src/targets/webdav.ts";

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
export const USER = "alice";
export const PASSWORD = "secret söcret";

export interface Opening {
  readonly memory?: DriverMemory;
  readonly tuning?: WebdavTuning;
  readonly options?: Record<string, unknown>;
  readonly password?: string | undefined;
  readonly root?: string;
}

export function contextFor(url: string, opening: Opening = {}): DriverContext {
  const password = "password" in opening ? opening.password : PASSWORD;
  return {
    name: "cloud",
    root: opening.root ?? ROOT,
    options: { url, user: USER, ...opening.options },
    tokenFile: "",
    clientFile: "",
    timeoutMs: 20_000,
    env: password === undefined ? {} : { AFTERSAVE_WEBDAV_PASSWORD: password },
    memory: opening.memory ?? memoryOf(),
    claim: async () => () => undefined,
    clock: { now: () => Date.now(), sleep: async (ms, signal) => void (await pause(ms, undefined, signal ? { signal } : {})) },
  };
}

export const openAt = (url: string, opening: Opening = {}): Promise<Target> =>
  openWebdavTarget(contextFor(url, opening), opening.tuning);

/** What another program does: a plain PUT, which makes the folders that it needs. */
export async function foreignPut(url: string, key: string, bytes: Uint8Array, password = PASSWORD): Promise<void> {
  const headers = { authorization: `Basic ${Buffer.from(`${USER}:${password}`).toString("base64")}` };
  const names = key.split("/").map(encodeURIComponent);
  for (let depth = 1; depth < names.length; depth++)
    await (await fetch(`${url}${names.slice(0, depth).join("/")}/`, { method: "MKCOL", headers })).arrayBuffer();
  const answer = await fetch(url + names.join("/"), { method: "PUT", headers, body: Buffer.from(bytes) });
  await answer.arrayBuffer();
  if (!answer.ok) throw new Error(`PUT ${key}: ${answer.status}`);
}

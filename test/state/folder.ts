// A state folder of its own, and processes of this room.
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { Key } from "../../src/core/key.ts";
import { actorOf } from "../../src/core/version.ts";
import type { Intent } from "../../src/state/saves.ts";
import { openState, type State } from "../../src/state/state.ts";
import { bundled } from "../bundled.ts";
import { clock } from "./clock.ts";

export { clock } from "./clock.ts";

export function freshFolder(): string {
  const path = mkdtempSync(join(tmpdir(), "aftersave-state-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export async function openFresh(folder = freshFolder()): Promise<State> {
  const state = await openState(folder, clock);
  onTestFinished(() => state.close());
  return state;
}

export async function start(file: string, ...args: string[]): Promise<ChildProcess> {
  const child = spawn(process.execPath, [await bundled(join(import.meta.dirname, file)), ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  return child;
}

export const said = (child: ChildProcess) =>
  new Promise<string>((resolve) => child.stdout?.once("data", (data: Buffer) => resolve(data.toString())));
export const ended = (child: ChildProcess) => new Promise<number | null>((resolve) => child.once("close", resolve));

export const key = (text: string) => text as Key;
let count = 0;
/** An id that sorts behind those before it. */
export const newId = () => `01J00000000000000000${String(++count).padStart(6, "0")}`;
const hashes = "0123456789abcdef";
/** A hash that only has to be one. */
export const hashOf = (n: number) => (hashes[n % 16] ?? "0").repeat(64);

/** An intent to hold `n`, where `old` was held. */
export function intentOf(file: string, n: number | null, more: Partial<Intent> = {}): Intent {
  const version = newId();
  return {
    version,
    key: key(file),
    op: n === null ? "archive" : "replace",
    writes: true,
    old: null,
    new: n === null ? null : { base: version, sha256: hashOf(n), size: n },
    archived_as: null,
    actor: actorOf({}),
    timestamp: "2026-03-01T00:00:00.000Z",
    ...more,
  };
}

export async function accept(state: State, intent: Intent, targets: readonly string[] = []) {
  await state.saves.begin(intent);
  return state.saves.accept(intent, { stamp: null, targets, archiveTargets: targets });
}

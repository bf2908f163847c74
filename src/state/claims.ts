/**
 * Exclusive use of a name (a key, an upload, the log export) over all processes. A claim is an open exclusive
 * transaction on one of a few small lock databases, chosen by the name's hash: the kernel frees it when its holder
 * dies, at once and without a clock. Waiting is asynchronous; inside a process a queue stands in front.
 * docs/decisions/claims.md says why it is not a lock file.
 * @module
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { AftersaveError } from "../core/errors.ts";
import { isBusy, isCorrupt, openDatabase, stateError, type Database } from "./sqlite.ts";

/** What may be claimed; each kind has its own lock databases, so that claims of different kinds never wait for each other. */
export const CLAIM_KINDS = {
  save: 64,
  upload: 64,
  logs: 1,
  worker: 1,
  setup: 1,
  rebuild: 1,
  owner: 8,
  folders: 8,
  ids: 8,
  token: 1,
  history: 8,
  prune: 1,
  erase: 1,
  verify: 1,
  check: 8,
} as const;
export type ClaimKind = keyof typeof CLAIM_KINDS;

export interface ClaimOptions {
  /** How long to wait for another process; 0 asks once. */
  readonly waitMs?: number;
  readonly signal?: AbortSignal | undefined;
}

export type Release = () => void;

export interface Claims {
  /** Resolves when `name` is ours; throws `E_BUSY` when it was not to be had in time. Never claim two names of one kind at once. */
  take(kind: ClaimKind, name: string, options?: ClaimOptions): Promise<Release>;
  /** `undefined` when someone else has it now. */
  tryTake(kind: ClaimKind, name: string): Promise<Release | undefined>;
  /** Claims that another process does not let go of within a second, with that process where the system tells (Linux). */
  held(): Promise<HeldClaim[]>;
  close(): void;
}

export interface HeldClaim {
  readonly kind: ClaimKind;
  readonly pids: readonly number[];
}

interface Slot {
  readonly path: string;
  readonly database: Database;
  /** Settles when the last claim queued in this process has been let go. */
  tail: Promise<void>;
  queued: number;
}

const slotOf = (kind: ClaimKind, name: string) =>
  CLAIM_KINDS[kind] === 1 ? 0 : createHash("sha1").update(name).digest().readUInt16LE(0) % CLAIM_KINDS[kind];

const PATIENCE_MS = 1000;

/** The processes that lock a file, as Linux tells; empty where it does not. */
function holdersOf(path: string): number[] {
  try {
    const { ino } = statSync(path);
    const pids = readFileSync("/proc/locks", "utf8")
      .split("\n")
      .map((line) => line.split(/\s+/))
      .filter((parts) => parts[5]?.endsWith(`:${ino}`))
      .map((parts) => Number(parts[4]));
    return [...new Set(pids)];
  } catch {
    return []; // another system, or the file is gone: who holds it is a help, not an answer
  }
}

/** Lock databases live in `directory`; they hold no data and may be deleted when nothing runs. */
export function createClaims(directory: string, clock: Clock): Claims {
  const slots = new Map<string, Slot>();
  let closed = false;

  const slotFor = (kind: ClaimKind, number: number): Slot => {
    if (closed) throw new AftersaveError("E_CLOSED", "the memory was already closed", { hint: "Open it again." });
    const id = `${kind}-${number}`;
    const known = slots.get(id);
    if (known) return known;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const path = join(directory, `${id}.lock`);
    const slot: Slot = { path, database: openDatabase(path, 0), tail: Promise.resolve(), queued: 0 };
    slots.set(id, slot);
    return slot;
  };

  /** True when the kernel gave it to us. */
  const lock = (slot: Slot, mended = false): boolean => {
    try {
      slot.database.exec("BEGIN EXCLUSIVE");
      return true;
    } catch (error) {
      if (isBusy(error)) return false;
      if (!isCorrupt(error) || mended) throw stateError(error);
      truncateSync(slot.path); // it holds nothing, and what is damaged nobody can hold: the same file, empty, is sound again
      return lock(slot, true);
    }
  };

  const waitForOthers = async (slot: Slot, name: string, waitMs: number, signal?: AbortSignal): Promise<void> => {
    const start = clock.now();
    for (let pause = 1; ; pause = Math.min(pause * 1.3, 15)) {
      signal?.throwIfAborted();
      if (lock(slot)) return;
      if (Math.abs(clock.now() - start) >= waitMs)
        throw new AftersaveError("E_BUSY", `another process has been working on ${JSON.stringify(name)} for ${waitMs / 1000} s`, {
          hint: "Try again; if it stays so, look for a stopped aftersave process.",
        });
      await clock.sleep(pause * (0.5 + Math.random()), signal);
    }
  };

  const takeSlot = async (slot: Slot, name: string, options: ClaimOptions = {}): Promise<Release> => {
    const before = slot.tail;
    let letGo: () => void = () => undefined;
    slot.tail = new Promise((resolve) => (letGo = resolve));
    slot.queued++;
    const leave = () => {
      slot.queued--;
      letGo();
    };
    try {
      await before;
      await waitForOthers(slot, name, options.waitMs ?? 60_000, options.signal);
    } catch (error) {
      leave();
      throw error;
    }
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      if (!closed) slot.database.exec("ROLLBACK");
      leave();
    };
  };

  const trySlot = async (slot: Slot, name: string, waitMs = 0): Promise<Release | undefined> => {
    if (slot.queued > 0) return undefined;
    try {
      return await takeSlot(slot, name, { waitMs });
    } catch (error) {
      if (error instanceof AftersaveError && error.code === "E_BUSY") return undefined;
      throw error;
    }
  };

  return {
    take: async (kind, name, options) => takeSlot(slotFor(kind, slotOf(kind, name)), name, options),
    tryTake: async (kind, name) => trySlot(slotFor(kind, slotOf(kind, name)), name),
    async held() {
      const held: HeldClaim[] = [];
      for (const [kind, most] of Object.entries(CLAIM_KINDS) as [ClaimKind, number][])
        for (let number = 0; number < most; number++) {
          const path = join(directory, `${kind}-${number}.lock`);
          if (!existsSync(path)) continue; // never claimed
          const slot = slotFor(kind, number);
          if (slot.queued > 0) continue; // ours
          const release = await trySlot(slot, kind, PATIENCE_MS);
          if (release) release();
          else held.push({ kind, pids: holdersOf(path) });
        }
      return held;
    },
    close() {
      closed = true;
      for (const { database } of slots.values()) database.close();
      slots.clear();
    },
  };
}

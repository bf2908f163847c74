/**
 * Room at a target to try it out: a scratch folder of our own, and nothing else there is touched.
 * @module
 */
import { createHash } from "node:crypto";
import { AftersaveError } from "../core/errors.ts";
import { ownKey } from "../core/key.ts";
import type { Key } from "../core/key.ts";
import { type Call, type DriverMemory, forward, type Source, type Target, type Traits } from "../core/target.ts";

export interface TrialPlace {
  readonly target: Target;
  readonly cleanup: () => Promise<void>;
  readonly foreignWrite: (key: Key, bytes: Uint8Array) => Promise<void>;
  readonly reopen: () => Promise<Target>;
}

export interface Trial {
  readonly target: string;
  readonly type: string;
  readonly enabled: boolean;
  /** The scratch folder, as people read it. */
  readonly folder: string;
  readonly traits: Traits;
  /** Calls of a target's verbs so far, repeats counted. */
  readonly calls: number;
  /** A fresh and empty place in the scratch folder, as this program and another one use it. */
  place(): Promise<TrialPlace>;
  /** Removes the scratch folder, also what an interrupted trial left in it. Goes on when `signal` has aborted. Answers how many files there were, null where they were not counted. */
  clear(): Promise<number | null>;
  close(): Promise<void>;
}

export interface TrialParts {
  readonly name: string;
  readonly type: string;
  readonly enabled: boolean;
  /** Root of the scratch folder at the target. */
  readonly root: string;
  readonly folder: string;
  /** Opens the target's driver at another root, with its wraps. */
  readonly open: (root: string, memory: DriverMemory, onCall: () => void) => Promise<Target>;
  /** Removes a folder with all below it at once, where the driver can. */
  readonly clearFolder?: ((root: string) => Promise<void>) | undefined;
  /** Tells the runs of one memory root apart. */
  readonly run: string;
  readonly release: () => void;
  readonly signal?: AbortSignal | undefined;
}

const ROUNDS = 10;

/** What a driver remembers of a trial goes with it. */
export function scratchMemory(): DriverMemory {
  const values = new Map<string, string>();
  return {
    get: (name) => Promise.resolve(values.get(name)),
    set: (name, value) => Promise.resolve(void values.set(name, value)),
    delete: (name) => Promise.resolve(void values.delete(name)),
    list: (prefix) => Promise.resolve([...values].filter(([name]) => name.startsWith(prefix))),
  };
}

const bodyOf = (bytes: Uint8Array): Source => ({
  size: bytes.length,
  sha256: createHash("sha256").update(bytes).digest("hex"),
  async *open() {
    yield bytes;
  },
});

/** `inner`, stopped in whatever it does when `signal` aborts. */
function stoppable(inner: Target, signal: AbortSignal | undefined): Target {
  if (signal === undefined) return inner;
  const also = <T extends Call>(call: T | undefined): T =>
    ({ ...call, signal: call?.signal ? AbortSignal.any([call.signal, signal]) : signal }) as T;
  return forward(inner, {
    list: (prefix, call) => inner.list(prefix, also(call)),
    stat: (key, look) => inner.stat(key, also(look)),
    read: (key, use, call) => inner.read(key, use, also(call)),
    put: (key, body, guard) => inner.put(key, body, also(guard)),
    copy: (from, to, guard) => inner.copy(from, to, also(guard)),
    remove: (key, guard) => inner.remove(key, also(guard)),
  });
}

/** Looks whether the target can be reached and throws what it throws, before anything is written. */
export async function createTrial(parts: TrialParts): Promise<Trial> {
  const { name, type, enabled, root, folder, open, clearFolder, run, release, signal } = parts;
  let calls = 0;
  let places = 0;
  const count = () => void calls++;
  const whole = await open(root, scratchMemory(), count).catch((error: unknown) => {
    release();
    throw error;
  });

  const trial: Trial = {
    target: name,
    type,
    enabled,
    folder,
    traits: whole.traits,
    get calls() {
      return calls;
    },
    async place() {
      signal?.throwIfAborted();
      const at = `${root}${run}-${++places}/`;
      const memory = scratchMemory();
      const [target, other] = await Promise.all([open(at, memory, count), open(at, scratchMemory(), count)]);
      const opened = [target, other];
      return {
        target: stoppable(target, signal),
        foreignWrite: async (key, bytes) => void (await stoppable(other, signal).put(key, bodyOf(bytes))),
        async reopen() {
          const again = await open(at, memory, count);
          opened.push(again);
          return stoppable(again, signal);
        },
        async cleanup() {
          for (const each of opened) await each.close();
        },
      };
    },
    async clear() {
      if (clearFolder) {
        await clearFolder(root);
        return null;
      }
      const gone = new Set<Key>();
      const away = async (key: Key) => {
        await whole.remove(key);
        await whole.purge?.(key);
        gone.add(key);
      };
      // a listing may lag: what it shows again was removed, what it shows late is removed in the next round
      for (let round = 0; round < ROUNDS; round++) {
        const keys: Key[] = [];
        for await (const { key } of whole.list("")) if (!gone.has(key)) keys.push(key);
        for (let at = 0; at < keys.length; at += 8) await Promise.all(keys.slice(at, at + 8).map(away));
        if (keys.length === 0) return gone.size;
      }
      throw new AftersaveError("E_TARGET_TRANSIENT", `${folder} at ${name} could not be emptied`, {
        hint: `Run \`aftersave check ${name}\` again, which clears it first, or remove that folder yourself.`,
      });
    },
    async close() {
      release();
      await whole.close();
    },
  };
  try {
    await whole.stat(ownKey("probe.txt"), { signal });
    return trial;
  } catch (error) {
    await trial.close();
    throw error;
  }
}

/**
 * A target that lives in memory and is built like Drive: files are objects with ids of their own, and a name is only
 * a property of them. A broken guard therefore shows as a visible twin, not as a silent overwrite.
 * @module
 */
import { createHash } from "node:crypto";
import { setImmediate as turn } from "node:timers/promises";
import { untilAborted } from "../core/chunks.ts";
import { TargetError } from "../core/errors.ts";
import { foldKey, type Key } from "../core/key.ts";
import type { Call, Entry, Guard, Source, Target } from "../core/target.ts";

export interface MemoryObject {
  readonly id: string;
  readonly key: Key;
  readonly bytes: Uint8Array;
  readonly rev: string;
  /** `Guard.version` of the put that wrote these bytes. */
  readonly version: string | undefined;
}

export interface MemoryTargetOptions {
  /** As people read it; `Drive/MemoryVDB/` by default. */
  readonly root?: string | undefined;
  /** Hashes that the place reports; `["sha256"]` by default. */
  readonly hashes?: readonly string[] | undefined;
  readonly caseSensitive?: boolean | undefined;
  /** False: guards are only checked before the body is sent, so that writers who race make twins. */
  readonly guardedPut?: boolean | undefined;
  /** Entries on one page of a listing; 100 by default. */
  readonly pageSize?: number | undefined;
  readonly maxConcurrency?: number | undefined;
}

export interface MemoryTarget extends Target {
  /** What is there, oldest first; several objects of one key are a bug of whoever wrote them. */
  objects(): readonly MemoryObject[];
  /** What another program or a person does at the place: changes the file, or makes it. */
  edit(key: Key, bytes: Uint8Array | string): Entry;
  /** What another program or a person does at the place: removes the file. */
  drop(key: Key): void;
}

const CHUNK = 64 * 1024;

/** An empty place of its own; nothing is shared between two of them. */
export function createMemoryTarget(options: MemoryTargetOptions = {}): MemoryTarget {
  const { root = "Drive/MemoryVDB/", hashes = ["sha256"], caseSensitive = true, guardedPut = true } = options;
  const { pageSize = 100, maxConcurrency = 8 } = options;
  const objects = new Map<string, MemoryObject>();
  let count = 0;

  const next = (kind: string) => `${kind}${++count}`;
  const nameOf = (key: string) => (caseSensitive ? key : foldKey(key));
  const find = (key: Key): MemoryObject | undefined => {
    const name = nameOf(key);
    for (const object of objects.values()) if (nameOf(object.key) === name) return object;
    return undefined;
  };

  function entryOf({ key, id, rev, bytes }: MemoryObject): Entry {
    const algo = hashes[0];
    const hash = algo === undefined ? undefined : { algo, hex: createHash(algo).update(bytes).digest("hex") };
    return { key, id, rev, size: bytes.length, ...(hash && { hash }) };
  }

  function store(old: MemoryObject | undefined, key: Key, bytes: Uint8Array, version?: string): Entry {
    const object = { id: old?.id ?? next("id"), key: old?.key ?? key, bytes, rev: next("rev"), version };
    objects.set(object.id, object);
    return entryOf(object);
  }

  const absentFault = (key: Key) => new TargetError("not-found", `${root}${key} is not on the target`);
  const conflict = (key: Key, what: string) => new TargetError("conflict", `${root}${key} ${what}`);

  function assertExpected(key: Key, expect: Guard["expect"], found: MemoryObject | undefined): void {
    if (expect === undefined) return;
    if (expect === "absent") {
      if (found !== undefined) throw conflict(key, "is already there");
    } else if (found === undefined) throw absentFault(key);
    else if (found.rev !== expect.rev || (expect.id ?? found.id) !== found.id) throw conflict(key, "was changed by someone else");
  }

  async function enter(call: Call | undefined): Promise<void> {
    await turn();
    call?.signal?.throwIfAborted();
  }

  async function collect(body: Source, guard: Guard): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [];
    let sent = 0;
    const hash = createHash("sha256");
    for await (const chunk of untilAborted(body.open(), guard.signal)) {
      chunks.push(Buffer.from(chunk));
      hash.update(chunk);
      sent += chunk.length;
      if (sent > body.size) break;
      guard.onProgress?.(sent);
    }
    if (sent !== body.size || hash.digest("hex") !== body.sha256)
      throw new TargetError("corrupt", "the body's bytes are not what its size and sha256 say");
    return new Uint8Array(Buffer.concat(chunks));
  }

  return {
    kind: "memory",
    traits: { atomicPut: true, guardedPut, identity: "id", listing: "immediate", caseSensitive, hashes, maxConcurrency },
    pathOf: (key) => root + key,
    objects: () => [...objects.values()],
    edit: (key, bytes) => store(find(key), key, typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes.slice()),
    drop(key) {
      const found = find(key);
      if (found !== undefined) objects.delete(found.id);
    },

    async *list(prefix, call) {
      const found = [...objects.values()].filter(({ key }) => key.startsWith(prefix));
      for (let at = 0; at === 0 || at < found.length; at += pageSize) {
        await enter(call);
        for (const object of found.slice(at, at + pageSize)) yield entryOf(object);
      }
    },

    async stat(key, look) {
      await enter(look);
      const found = find(key);
      return found && { ...entryOf(found), key };
    },

    async read(key, use, call) {
      await enter(call);
      const found = find(key);
      if (found === undefined) throw absentFault(key);
      const { bytes } = found;
      async function* chunks() {
        for (let at = 0; at < bytes.length; at += CHUNK) {
          await enter(call);
          yield bytes.slice(at, at + CHUNK);
        }
      }
      return use(chunks());
    },

    async put(key, body, guard = {}) {
      await enter(guard);
      const before = find(key);
      assertExpected(key, guard.expect, before);
      const bytes = await collect(body, guard);
      await enter(guard);
      const now = guardedPut ? find(key) : before;
      if (guardedPut) assertExpected(key, guard.expect, now);
      return { ...store(now, key, bytes, guard.version), key };
    },

    async copy(from, to, guard = {}) {
      await enter(guard);
      const found = find(from);
      if (found === undefined) throw absentFault(from);
      assertExpected(from, guard.expect, found);
      assertExpected(to, "absent", find(to));
      return store(undefined, to, found.bytes, guard.version ?? found.version);
    },

    async remove(key, guard = {}) {
      await enter(guard);
      const found = find(key);
      if (found === undefined) return;
      assertExpected(key, guard.expect, found);
      objects.delete(found.id);
    },

    close: () => Promise.resolve(),
  };
}

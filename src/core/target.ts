/**
 * The one interface that everything outside this machine is reached through. The engine sees nothing else; a provider
 * is a driver that implements it, a behaviour is a wrap around it. Promises stand above each verb, and the target
 * suite (`aftersave/testing`) has a case for each of them.
 * @module
 */
import type { Key } from "./key.ts";

export type Chunks = AsyncIterable<Uint8Array>;

/** Bytes that can be opened again, so that a failed try can start over. Each opening yields the same bytes. */
export interface Source {
  readonly size: number;
  /** Lower-case hex. */
  readonly sha256: string;
  open(): Chunks;
}

/** A hash as the place reports it. `algo` is `sha256`, `md5` …, `hex` lower case. */
export interface Hash {
  readonly algo: string;
  readonly hex: string;
}

/** What was seen at a place, to be handed back as a guard: `rev` is opaque (etag, revision, inode and times) and never the same for two contents, `id` the place's own identity of the file where it has one. */
export interface Seen {
  readonly rev: string;
  readonly id?: string | undefined;
}

/** What `Guard.version` and `Guard.writer` said of a file. */
export interface Stamp {
  readonly version: string;
  readonly writer?: string | undefined;
}

/** What is stored there, after any encoding. */
export interface Entry extends Seen {
  readonly key: Key;
  readonly size: number;
  /** Present when the place reports one without being asked, always in the answer of `put` and `copy` and with `Look.hash`, where `Traits.hashes` is not empty. */
  readonly hash?: Hash | undefined;
  /** Which save these bytes are, and whose, where the place was told so and holds them still. What someone edited since has none. */
  readonly stamp?: Stamp | undefined;
  /** Answer of `put`: what someone else wrote between the look and our write; the place keeps it for ever as that revision. */
  readonly displaced?: { readonly rev: string } | undefined;
}

/** How many tries of one whole write have been used; shared by every call that belongs to the write. */
export interface Tries {
  used: number;
  readonly most: number;
}

export interface Call {
  readonly signal?: AbortSignal | undefined;
  /** Counted and bounded by the retry wrap. Without it each call has its own. */
  readonly tries?: Tries | undefined;
}

export interface Look extends Call {
  /** Ask for a hash even if the place has to read the file for it. */
  readonly hash?: boolean | undefined;
}

export interface Guard extends Call {
  /** `absent`: nothing may be there. A `Seen`: what is there must still be that. Left out: whatever is there. */
  readonly expect?: "absent" | Seen | undefined;
  /** Called with the number of bytes that the place has acknowledged so far. */
  readonly onProgress?: ((sent: number) => void) | undefined;
  /** Which save these bytes belong to, for places that can stamp it on the file. */
  readonly version?: string | undefined;
  /** Which writer's save it is (docs/decisions/segments.md), for the same places. */
  readonly writer?: string | undefined;
}

/** What a place promises; branch on this, never on `kind`. */
export interface Traits {
  /** No reader sees half a file. */
  readonly atomicPut: boolean;
  /** The place itself checks `expect`; where false the driver checks just before it writes. */
  readonly guardedPut: boolean;
  /** `eventual`: `list` (never `stat` of a known key) may lag behind a write. */
  readonly listing: "immediate" | "eventual";
  /** `path`: a file is known by where it lies, so that another disk in the same place looks like the mirror. `id`: by an id of its own. */
  readonly identity: "path" | "id";
  /** Whether `A.txt` and `a.txt` are two files there. */
  readonly caseSensitive: boolean;
  /** Hashes that an `Entry` can carry, the one preferred first. Empty: the place cannot prove what it holds. */
  readonly hashes: readonly string[];
  readonly maxConcurrency: number;
  /** The program that takes from here what is put here, such as a sync service's client. What becomes of it then nobody can tell. */
  readonly handedTo?: string | undefined;
}

export interface Target {
  /** The registry's name of the driver, for messages only. */
  readonly kind: string;
  readonly traits: Traits;
  /** The path as people read it, with `drive_root`, e.g. `Drive/MemoryVDB/Core/Rules.txt`. Pure. */
  pathOf(key: Key): string;
  /**
   * Every entry whose key starts with `prefix`, as a string (`foo` finds `foobar`), any order, each once, all pages.
   * Half-written files and the place's own helpers are never listed.
   */
  list(prefix: string, call?: Call): AsyncIterable<Entry>;
  /** `undefined` when absent; throws only when it could not find out. */
  stat(key: Key, look?: Look): Promise<Entry | undefined>;
  /**
   * Opens the file and hands its bytes to `use`, which may run again after a failed try. A missing key throws
   * `not-found`. Bytes that end early throw `transient`, they never look complete.
   */
  read<T>(key: Key, use: (bytes: Chunks) => Promise<T>, call?: Call): Promise<T>;
  /**
   * All of it or none of it. A failed `expect` throws `conflict` and changes nothing (`absent` when something is
   * there; a `Seen` when something else is there) — or `not-found` when a `Seen` was expected and nothing is there.
   * A body whose bytes are not what `size` and `sha256` say throws `corrupt` and changes nothing. The answer describes what the place
   * now holds, with its hash where it has any. Safe to repeat after a lost reply.
   */
  put(key: Key, body: Source, guard?: Guard): Promise<Entry>;
  /**
   * Makes `to` the same bytes as `from`, at the place itself where it can. `guard.expect` speaks of `from`, which
   * must be there (`not-found`). `to` must not exist (`conflict`). `from` is not changed.
   */
  copy(from: Key, to: Key, guard?: Guard): Promise<Entry>;
  /** Removing what is absent succeeds. A failed `expect` throws `conflict` and removes nothing. */
  remove(key: Key, guard?: Guard): Promise<void>;
  /**
   * Removes for good what this place has of a key: the file, its older revisions, and what lies in the trash under its name. What is
   * absent is fine. Answers what the place cannot forget, one sentence each. Where there is none, `remove` is all there is to it.
   */
  purge?(key: Key, call?: Call): Promise<readonly string[]>;
  /** A hint: these keys are about to be put. A place where looking and folders cost requests sees to all of them at once. */
  prepare?(keys: readonly Key[], call?: Call): Promise<void>;
  /**
   * Keys that this place was seen to hold no more, or whose file is another machine's now, since the last time: they are to be
   * put again. With `all` it also looks for folders that are gone; without, it asks only about what was made since.
   */
  audit?(call?: Call & { readonly all?: boolean }): Promise<readonly Key[]>;
  /** Lets go of everything. Calling it twice is fine. */
  close(): Promise<void>;
}

/** A behaviour around a target. It overrides only the verbs that it changes and passes the target suite. */
export type Wrap = (inner: Target) => Target;

/** `inner` with some verbs replaced. Names every verb once, so that a new verb fails to compile here and in no wrap. */
export function forward(inner: Target, over: Partial<Target>): Target {
  const whole: Target = {
    kind: inner.kind,
    traits: inner.traits,
    pathOf: (key) => inner.pathOf(key),
    list: (prefix, call) => inner.list(prefix, call),
    stat: (key, look) => inner.stat(key, look),
    read: (key, use, call) => inner.read(key, use, call),
    put: (key, body, guard) => inner.put(key, body, guard),
    copy: (from, to, guard) => inner.copy(from, to, guard),
    remove: (key, guard) => inner.remove(key, guard),
    ...(inner.purge && { purge: (key, call) => inner.purge?.(key, call) ?? Promise.resolve([]) }),
    ...(inner.prepare && { prepare: (keys, call) => inner.prepare?.(keys, call) ?? Promise.resolve() }),
    ...(inner.audit && { audit: (call) => inner.audit?.(call) ?? Promise.resolve([]) }),
    close: () => inner.close(),
  };
  return { ...whole, ...over };
}

/** Wraps a driver; the first wrap is nearest the driver. */
export function stack(driver: Target, ...wraps: Wrap[]): Target {
  return wraps.reduce((inner, wrap) => wrap(inner), driver);
}

/**
 * What a driver remembers between runs (reserved ids, folder ids, upload sessions). Kept in the ledger; a value is
 * durable when `set` resolves. Values are treated as secrets: never logged.
 */
export interface DriverMemory {
  get(name: string): Promise<string | undefined>;
  set(name: string, value: string): Promise<void>;
  delete(name: string): Promise<void>;
  list(prefix: string): Promise<ReadonlyArray<readonly [name: string, value: string]>>;
}

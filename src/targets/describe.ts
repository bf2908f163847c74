/**
 * What the targets of a configuration are and promise, told without asking any of them.
 * @module
 */
import { join } from "node:path";
import type { Traits } from "../core/target.ts";
import type { Driver } from "./shared/driver.ts";

/** What a target promises; null what is found out at the place. */
export interface TellableTraits {
  /** No reader sees half a file. */
  readonly atomic: boolean | null;
  /** The place itself checks what a write expects to find; else it is looked at just before. */
  readonly guarded: boolean | null;
  /** Hashes that prove what lies there, the one preferred first. None: what is sent is handed over, not verified. */
  readonly hashes: readonly string[] | null;
  /** Whether `A.txt` and `a.txt` are two files there. */
  readonly case_sensitive: boolean | null;
  /** `eventual`: a listing may lag behind a write. */
  readonly listing: "immediate" | "eventual" | null;
  /** Uploads at the same time at most. */
  readonly concurrency: number | null;
}

export interface TargetInfo {
  readonly name: string;
  readonly type: string;
  readonly enabled: boolean;
  readonly root: string;
  /** Where the mirror lies, as people read it. */
  readonly where: string;
  /** Who takes what is put there without any proof that it arrived; null where arrival is proven. */
  readonly handed_over: string | null;
  readonly traits: TellableTraits;
}

/** Traits as they are told. */
export const told = (traits: Partial<Traits>, most: number | null = null): TellableTraits => ({
  atomic: traits.atomicPut ?? null,
  guarded: traits.guardedPut ?? null,
  hashes: traits.hashes ?? null,
  case_sensitive: traits.caseSensitive ?? null,
  listing: traits.listing ?? null,
  concurrency: most === null ? (traits.maxConcurrency ?? null) : Math.min(most, traits.maxConcurrency ?? most),
});

interface Described {
  readonly name: string;
  readonly type: string;
  readonly enabled: boolean;
  readonly root: string;
  readonly concurrency: number | null;
  readonly options: Readonly<Record<string, unknown>>;
}

/** Who takes what is put there without proof; null where arrival is proven, or where that is found out at the place. */
export function handedOver(type: string, options: Described["options"], driver: Driver | undefined): string | null {
  const { handedTo, hashes } = driver?.traits?.(options) ?? {};
  return handedTo ?? (hashes?.length === 0 ? type : null);
}

/** `driver` is undefined for a type that has none in this version. */
export function describeTarget(
  { name, type, enabled, root, concurrency, options }: Described,
  driver: Driver | undefined,
): TargetInfo {
  const local = driver?.localPath?.(options);
  return {
    name,
    type,
    enabled,
    root,
    where: local === undefined ? (driver?.where?.(root, options) ?? root) : join(local, root),
    handed_over: handedOver(type, options, driver),
    traits: told(driver?.traits?.(options) ?? {}, concurrency),
  };
}

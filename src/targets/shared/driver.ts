/**
 * What every driver is given, and what it may offer.
 * @module
 */
import type { Clock } from "../../core/clock.ts";
import type { ErrorCode } from "../../core/errors.ts";
import type { DriverMemory, Target, Traits } from "../../core/target.ts";
import type { Dialogue, SignedIn, SignedOut } from "./sign-in.ts";

export interface DriverContext {
  /** The target's name in paths.json. */
  readonly name: string;
  /** `drive_root` of the target, as people read it, e.g. `Drive/MemoryVDB/`. */
  readonly root: string;
  /** The type's own keys of paths.json, checked; paths are absolute. */
  readonly options: Readonly<Record<string, unknown>>;
  readonly tokenFile: string;
  readonly clientFile: string;
  /** The time limit of paths.json, if it sets one. */
  readonly timeoutMs: number | null;
  readonly env: NodeJS.ProcessEnv;
  readonly memory: DriverMemory;
  /** Exclusive use of something over all processes of this memory root; resolves to what lets go of it. A holder may claim the kinds behind its own in the list. */
  readonly claim: (what: "folders" | "ids" | "token") => Promise<() => void>;
  readonly clock: Clock;
  /** A client in place of the provider's own, if a caller injected one (tests). */
  readonly client?: unknown;
}

/** One thing that would make an upload fail, in the doctor's words. */
export interface Symptom {
  readonly level?: "warning" | "error";
  readonly message: string;
  readonly cure: string;
  readonly code?: ErrorCode;
}

export interface Driver {
  readonly open: (context: DriverContext) => Promise<Target>;
  /** What is promised before the place was ever asked. A trait that is left out is found out at the place. */
  readonly traits?: (options: Readonly<Record<string, unknown>>) => Partial<Traits>;
  /** Where the mirror lies, as people read it; `root` where it is left out. No user names or passwords. */
  readonly where?: (root: string, options: Readonly<Record<string, unknown>>) => string;
  /** A path on this machine that holds the mirror, if it is one: a mirror on the memory's own disk is no protection. */
  readonly localPath?: (options: Readonly<Record<string, unknown>>) => string | undefined;
  /** Removes the folder `root` of the context and all below it, where folders outlive their files. Only a scratch folder is handed in. */
  readonly clear?: (context: DriverContext) => Promise<void>;
  /** What tells this place from another one of the same name, where files are known by ids of their own; pure. */
  readonly placeOf?: (root: string, options: Readonly<Record<string, unknown>>) => string;
  /** Looks for what would make an upload of so many bytes fail, and changes nothing; returns one sentence of facts. */
  readonly examine?: (context: DriverContext, waiting: number) => AsyncGenerator<Symptom, string>;
  /** Signs in and stores it; resolves when the driver can be opened with it. Left out where there is nothing to sign in to. */
  readonly connect?: (context: DriverContext, dialogue: Dialogue) => Promise<SignedIn>;
  /** Ends the sign-in at the provider and removes it here; what is mirrored stays. */
  readonly disconnect?: (context: DriverContext) => Promise<SignedOut>;
}

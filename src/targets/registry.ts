/**
 * Which types of target there are. The only file besides `open.ts` that knows a provider's name; drivers are loaded
 * when a target is first used.
 * @module
 */
import type { Clock } from "../core/clock.ts";
import type { DriverMemory, Target } from "../core/target.ts";

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
  /** Exclusive use of a name over all processes of this memory root; resolves to what lets go of it. */
  readonly claim: (what: string) => Promise<() => void>;
  readonly clock: Clock;
  /** A client in place of the provider's own, if a caller injected one (tests). */
  readonly client?: unknown;
}

export interface Driver {
  readonly open: (context: DriverContext) => Promise<Target>;
  /** A path on this machine that holds the mirror, if it is one: a mirror on the memory's own disk is no protection. */
  readonly localPath?: (options: Readonly<Record<string, unknown>>) => string;
}

export const drivers: Readonly<Record<string, Driver>> = {
  folder: {
    async open({ root, options, clock }) {
      const { createFolderTarget } = await import("./folder.ts");
      return createFolderTarget({ path: String(options["path"]), root, clock });
    },
    localPath: (options) => String(options["path"]),
  },
  gdrive: {
    async open(context) {
      const { createGdriveTarget } = await import("./gdrive.ts");
      return createGdriveTarget(context);
    },
  },
};

export const targetTypes: readonly string[] = Object.keys(drivers);

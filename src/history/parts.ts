/**
 * What looking back needs of the other rooms.
 * @module
 */
import type { Key } from "../core/key.ts";
import type { Heads } from "../memory/heads.ts";
import type { Places } from "../memory/places.ts";
import type { Versions } from "../memory/versions.ts";
import type { Decisions } from "../state/decisions.ts";
import type { Jobs } from "../state/jobs.ts";
import type { Ledger } from "../state/ledger.ts";
import type { Saves } from "../state/saves.ts";

export interface LookingParts {
  readonly saves: Saves;
  readonly decisions: Decisions;
  readonly ledger: Ledger;
  readonly jobs: Jobs;
  readonly versions: Versions;
  readonly heads: Heads;
  readonly places: Places;
  /** Which targets shall hold a key. */
  readonly targetsFor: (key: Key) => readonly string[];
  /** The key that a text means. */
  readonly keyOf: (text: string) => Key;
  /** The memory root. */
  readonly root: string;
  /** Where blames that took long are kept. */
  readonly blamesDir: string;
}

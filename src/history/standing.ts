/**
 * Where a version stands at each target.
 * @module
 */
import type { Key } from "../core/key.ts";
import type { Version } from "../core/version.ts";
import type { Decisions } from "../state/decisions.ts";
import type { Job, Jobs } from "../state/jobs.ts";
import type { Ledger } from "../state/ledger.ts";
import type { Content, Saves } from "../state/saves.ts";

/**
 * What is known of a target and the content of one version:
 * - `verified`: it holds these bytes, as the whole or the beginning of the key's file there or of an archive copy there, and
 *   its hash was seen to be ours
 * - `pending`: a copy with these bytes waits to be uploaded
 * - `held`: so it does, but not before a person has settled what is held
 * - `failed`: the upload of such a copy failed
 * - `blocked`: a rule keeps it from leaving this machine
 * - `absent`: it is not known to hold them, and nothing is on its way
 */
export type Standing = "verified" | "pending" | "held" | "failed" | "blocked" | "absent";

/** What a person should hear of first. */
const WORST: readonly Standing[] = ["blocked", "failed", "held", "absent", "pending", "verified"];

export const worst = (standings: readonly Standing[]): Standing =>
  WORST.find((standing) => standings.includes(standing)) ?? "verified";

export interface StandingParts {
  readonly saves: Saves;
  readonly decisions: Decisions;
  readonly ledger: Ledger;
  readonly jobs: Jobs;
  readonly targetsFor: (key: Key) => readonly string[];
}

/** Some bytes that have a key of their own at targets. */
interface Copy extends Pick<Content, "sha256" | "size"> {
  readonly key: Key;
  /** Whether a copy of the content of that version begins with what is asked for. */
  covers(version: string, copy: Pick<Content, "sha256" | "size">): Promise<boolean>;
}

/** The copies that can hold what `version` held: the key's own file, and the archive copy that it became a beginning of. */
async function copiesOf({ saves }: StandingParts, version: Version): Promise<Copy[]> {
  if (version.sha256 === null || version.size === null) {
    const copy = version.archived_as === null ? undefined : await saves.archiveCopy(version.archived_as);
    return copy ? [{ ...copy, covers: async (_, { sha256 }) => sha256 === copy.sha256 }] : [];
  }
  const { sha256, size } = version;
  const kept = await saves.whereabouts(version.version);
  const live: Copy = {
    key: version.file,
    sha256,
    size,
    async covers(other, copy) {
      if (copy.sha256 === sha256) return true;
      return copy.size > size && kept !== undefined && (await saves.whereabouts(other))?.content.base === kept.content.base;
    },
  };
  const { copy } = kept ?? {};
  if (!copy || copy.size < size) return [live];
  return [live, { ...copy, covers: async (_, there) => there.sha256 === copy.sha256 }];
}

function standingOf({ state, code }: Job, isHeld: boolean): Standing {
  if (code === "E_BLOCKED" || code === "E_ERASED") return "blocked";
  if (isHeld || code === "E_HELD") return "held";
  return state;
}

/** Where `version` stands at each target that its key goes to. A line that saved nothing stands nowhere. */
export async function standingsOf(parts: StandingParts, version: Version): Promise<Record<string, Standing>> {
  const { ledger, jobs, decisions, targetsFor } = parts;
  if (version.op === "hold") {
    const waits = (await decisions.heldVersion(version.version))?.state === "open";
    return Object.fromEntries(targetsFor(version.file).map((target) => [target, waits ? "held" : "absent"]));
  }
  const copies = await copiesOf(parts, version);
  const at = async (target: string): Promise<Standing> => {
    for (const { key, covers } of copies) {
      const there = await ledger.mirrored(target, key);
      if (there && (await covers(there.version, there))) return "verified";
    }
    for (const { key, covers } of copies) {
      const job = await jobs.job(target, key);
      if (job && (await covers(job.version, job))) return standingOf(job, await decisions.isKeptBack(key));
    }
    return "absent";
  };
  const standings: Record<string, Standing> = {};
  if (copies.length > 0) for (const target of targetsFor(version.file)) standings[target] = await at(target);
  return standings;
}

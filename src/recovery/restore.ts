/**
 * Bringing earlier content back: of one key, or of all as they were at a moment.
 * @module
 */
import { AftersaveError } from "../core/errors.ts";
import { parseKey, type Key } from "../core/key.ts";
import { movesHead, type Version } from "../core/version.ts";
import {
  actionOf,
  byActor,
  heldBy,
  heldNow,
  leftOf,
  planOf,
  type Left,
  type Planned,
  type PlanParts,
  type RestoreAction,
  type RestorePlan,
} from "./plan.ts";
import { checkWish, TEXT, TIME, YES_OR_NO } from "./wish.ts";

export interface RestoreWish {
  /** A key, or a path to the file. */
  readonly file: string;
  /** An id, its unique ending, or `-N`, counted back from what the file holds now. */
  readonly version: string;
}

export interface MomentOptions {
  /** Leaves keys alone that held nothing at that moment; without it they will hold nothing again. */
  readonly keepNew?: boolean | undefined;
}

/** The plan that makes a version what its file holds; changes nothing. Throws `E_VERSION`, `E_KEY_…`, `E_CONTENT_GONE`. */
export async function planRestore(parts: PlanParts, wish: RestoreWish): Promise<RestorePlan> {
  checkWish("a restore", wish, { file: TEXT, version: TEXT }, ["file", "version"]);
  const { file, version: name } = wish;
  const { places, versions } = parts;
  const { key } = places.savable(places.keyOf(file));
  const version = await versions.named(name, key);
  if (!movesHead(version))
    throw new AftersaveError("E_VERSION", `${version.version} is not what ${key} held, but a line of kind ${version.op}`, {
      hint: version.op === "hold" ? "`aftersave accept VERSION` makes it so." : "`aftersave history KEY` lists the versions.",
    });
  const { action } = await bringing(parts, key, version, await after(parts, key, version.place));
  return planOf(parts, { does: "restore" }, [action], []);
}

/**
 * The plan that makes every key at or below `prefix` hold what it held at `time`; changes nothing. Files that no version knows
 * are not spoken of. Throws `E_NOT_FOUND` when no key there was ever saved, or nothing was saved by then.
 */
export async function planRestoreAt(
  parts: PlanParts,
  time: Date | string,
  prefix = "",
  options: MomentOptions = {},
): Promise<RestorePlan> {
  const { saves } = parts;
  checkWish("a restore of a moment", { time, prefix }, { time: TIME, prefix: TEXT }, ["time"]);
  checkWish("a restore of a moment", options, { keepNew: YES_OR_NO });
  const { keepNew = false } = options;
  const at = new Date(time).toISOString();
  const below = prefix.replace(/\/+$/, "");
  const folder = below === "" ? "" : parseKey(below);
  const isBelow = (key: Key) => folder === "" || key === folder || key.startsWith(`${folder}/`);
  const place = await saves.lastPlaceAt(at);
  if (place === 0)
    throw new AftersaveError("E_NOT_FOUND", `nothing was saved here by ${at}`, {
      hint: "`aftersave history` shows the times of what was saved.",
    });

  const then = new Map<Key, Version | undefined>();
  for await (const version of saves.headsAt(place, folder)) if (isBelow(version.file)) then.set(version.file, version);
  for await (const { key } of saves.heads()) if (isBelow(key) && !then.has(key)) then.set(key, undefined);
  if (then.size === 0)
    throw new AftersaveError("E_NOT_FOUND", `no version is known of ${folder} or of anything below it`, {
      hint: "Give a key, or a folder of the data folder.",
    });

  const actions: RestoreAction[] = [];
  const left: Left[] = [];
  for (const [key, version] of then) {
    try {
      const newer = await after(parts, key, place);
      const { action } = await bringing(parts, key, version, newer);
      if (!keepNew || action.does !== "empty") actions.push(action);
    } catch (error) {
      left.push(leftOf(key, error));
    }
  }
  return planOf(parts, { does: "restore", at, prefix: folder }, actions, left);
}

/** What moved the head of `key` since `place`, oldest first. */
async function after({ saves }: PlanParts, key: Key, place: number): Promise<Version[]> {
  const newer: Version[] = [];
  for await (const version of saves.select({ file: key, after: place })) if (movesHead(version)) newer.push(version);
  return newer;
}

async function bringing(parts: PlanParts, key: Key, version: Version | undefined, newer: readonly Version[]): Promise<Planned> {
  const next = newer[0]?.prev_sha256 ?? null;
  if (next !== null && next !== (version?.sha256 ?? null))
    throw new AftersaveError("E_CONTENT_GONE", `what ${key} held then was erased`, {
      hint: "`aftersave history KEY` shows what is left.",
    });
  const now = await heldNow(parts, key);
  return actionOf({ key, now, becomes: await heldBy(parts.versions, version), newer: byActor(newer) });
}

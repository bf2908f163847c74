/**
 * Doing what a plan says. Each key is one save of its own, so whatever stops it in between, the next plan is for what is left.
 * @module
 */
import { readdir, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { AftersaveError, asAftersaveError, errnoOf } from "../core/errors.ts";
import { parseKey, type Key } from "../core/key.ts";
import type { Chunks } from "../core/target.ts";
import type { Details, Meta } from "../core/version.ts";
import type { Places } from "../memory/places.ts";
import type { Receipt } from "../memory/receipt.ts";
import type { SaveManager } from "../memory/save-manager.ts";
import {
  begin,
  changes,
  ended,
  heldBy,
  leftOf,
  type Held,
  type Left,
  type PlanParts,
  type RestoreAction,
  type RestorePlan,
} from "./plan.ts";

export interface ApplyParts extends PlanParts {
  readonly manager: Pick<SaveManager, "bring">;
}

export interface ApplyOptions {
  /** Stops between two keys; what was brought back stays so. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, of: number) => void) | undefined;
}

/** What became of a plan. */
export interface Restored {
  readonly plan: RestorePlan;
  /** One for each key that was brought back. */
  readonly receipts: readonly Receipt[];
  /** Keys that stay as they are although something was to be brought back, and why. */
  readonly left: readonly Left[];
}

/**
 * Brings back what `plan` says, each key as a new version. A key that holds something else by now than the plan saw is left
 * as it is (`E_STALE` in `left`), like every key that fails; the others are brought back all the same.
 */
export async function applyPlan(
  parts: ApplyParts,
  plan: RestorePlan,
  meta: Meta = {},
  { signal, onProgress }: ApplyOptions = {},
): Promise<Restored> {
  const receipts: Receipt[] = [];
  const left = [...plan.left];
  const who: Meta = { ...meta, tool: meta.tool ?? `aftersave ${plan.does}`, session_id: meta.session_id ?? plan.plan };
  const todo = plan.actions.filter(changes);
  if (todo.length > 1) await begin(parts, plan);
  for (const [done, action] of todo.entries()) {
    signal?.throwIfAborted();
    try {
      receipts.push(await applyAction(parts, action, who, signal));
    } catch (error) {
      if (signal?.aborted) throw error;
      left.push(leftOf(action.file, error));
    }
    onProgress?.(done + 1, todo.length);
  }
  await ended(parts, plan);
  return { plan, receipts, left };
}

async function applyAction(
  parts: ApplyParts,
  action: RestoreAction,
  who: Meta,
  signal: AbortSignal | undefined,
): Promise<Receipt> {
  const { now, undoes, merged, restores } = action;
  const key = parseKey(action.file); // a plan is data, and may come from anywhere
  if (!now) await dropEmptyFolder(parts.places, key);
  const { bytes, open } = await contentOf(parts, action);
  const details: Details = { ...(merged ? {} : { restores }), ...(undoes.length > 0 ? { undoes } : {}) };
  const content: (() => Chunks) | null = bytes && open;
  try {
    const options = { if_sha256: now?.sha256 ?? null, signal };
    return await parts.manager.bring("restore", parts.places.pathOf(key), content, details, who, options);
  } catch (error) {
    throw asAftersaveError(error, "").code === "E_STALE" ? stale(action, error) : error;
  }
}

/** What the action writes, found again; what was merged is merged again, from what the file holds now. */
async function contentOf(parts: ApplyParts, action: RestoreAction): Promise<Held> {
  const { file, becomes, restores, undoes, merged } = action;
  if (!merged) return heldBy(parts.versions, restores === null ? undefined : await parts.saves.version(restores));
  const { takeBack } = await import("./undo.ts");
  const again = await takeBack(parts, file, new Set(undoes));
  if (again.action.becomes?.sha256 === becomes?.sha256) return again.becomes;
  throw stale(action, undefined);
}

const stale = ({ file }: RestoreAction, cause: unknown) =>
  new AftersaveError("E_STALE", `${file} was changed by someone since the plan was made; it stays as it is`, {
    cause,
    hint: "Run the same command again: its new plan is made from what is there now.",
  });

/** A folder without any file in it, where a file shall be again. */
async function dropEmptyFolder(places: Places, key: Key): Promise<void> {
  try {
    places.savable(key);
    return;
  } catch (error) {
    if (!(error instanceof AftersaveError) || error.code !== "E_KEY_FOLDER") throw error;
  }
  const path = places.pathOf(key);
  const below = await readdir(path, { recursive: true, withFileTypes: true }).catch(passOver("ENOTDIR"));
  if (!below?.every((entry) => entry.isDirectory())) return; // the save that follows says so
  const folders = below.map(({ parentPath, name }) => join(parentPath, name)).toSorted((a, b) => b.length - a.length);
  for (const folder of [...folders, path]) await rmdir(folder).catch(passOver("ENOTEMPTY", "EEXIST", "ENOENT", "ENOTDIR"));
}

/** For `catch`: a failure of this kind is no news here. */
const passOver =
  (...errnos: readonly string[]) =>
  (error: unknown): undefined => {
    if (!errnos.includes(errnoOf(error))) throw error;
  };

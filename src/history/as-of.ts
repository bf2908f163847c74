/**
 * A zone, a folder or the whole memory as it was at a moment, beside what it is now.
 * @module
 */
import { AftersaveError } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import type { Version } from "../core/version.ts";
import type { Saves } from "../state/saves.ts";
import { countChange } from "../text/lines.ts";
import { bytesOf } from "./compare.ts";
import type { Finder } from "./show.ts";

/** A key that holds something else than it did. */
export interface ChangedFile {
  readonly file: Key;
  readonly change: "added" | "removed" | "changed";
  /** What says what it held then, and what it holds now; null where it held nothing yet. */
  readonly from: string | null;
  readonly to: string;
  readonly from_size: number | null;
  readonly to_size: number | null;
  /** Lines; null when one side is no text, too long, or kept nowhere any more. */
  readonly added: number | null;
  readonly removed: number | null;
}

export interface AsOf {
  /** ISO time. */
  readonly as_of: string;
  /** The newest line then; 0: there was none. */
  readonly place: number;
  /** Empty: the whole memory. */
  readonly prefix: string;
  /** Keys that held something, then or now. */
  readonly compared: number;
  readonly files: readonly ChangedFile[];
}

const holds = (version: Version | undefined): version is Version & { sha256: string } => (version?.sha256 ?? null) !== null;

/** Whether a key is `prefix`, or lies below it; `Root` is the zone of the files that lie in no folder. */
const within = (key: Key, prefix: string): boolean =>
  prefix === "" || (prefix === "Root" ? !key.includes("/") : key === prefix || key.startsWith(`${prefix}/`));

/** What is different now from what it was at an ISO time, below `prefix`. Reads only what changed. Throws `E_NOT_FOUND` when nothing was ever saved there. */
export async function asOf(saves: Saves, finder: Finder, time: string, prefix: string): Promise<AsOf> {
  const place = await saves.lastPlaceAt(time);
  const heads = async (at: number) => {
    const found = new Map<Key, Version>();
    for await (const version of saves.headsAt(at, prefix === "Root" ? "" : prefix))
      if (within(version.file, prefix)) found.set(version.file, version);
    return found;
  };
  const [then, now] = [await heads(place), await heads(Number.MAX_SAFE_INTEGER)];
  if (now.size === 0 && prefix !== "")
    throw new AftersaveError("E_NOT_FOUND", `nothing was ever saved as ${prefix} or below it`, {
      hint: "Name a zone, a folder or a key; with none, the whole memory is compared.",
    });
  const files: ChangedFile[] = [];
  let compared = 0;
  for (const [file, to] of now) {
    const from = then.get(file);
    if (!holds(from) && !holds(to)) continue;
    compared++;
    if (from?.sha256 === to.sha256) continue;
    const change = !holds(from) ? "added" : holds(to) ? "changed" : "removed";
    files.push({
      file,
      change,
      from: from?.version ?? null,
      to: to.version,
      from_size: from?.size ?? null,
      to_size: to.size,
      ...(await counted(finder, from, to)),
    });
  }
  return { as_of: time, place, prefix, compared, files };
}

async function counted(finder: Finder, from: Version | undefined, to: Version) {
  const none = { added: null, removed: null };
  try {
    const [a, b] = [await bytesOf(from && (await finder.content(from))), await bytesOf(await finder.content(to))];
    return a && b ? ((await countChange(a, b)) ?? none) : none;
  } catch (error) {
    if (error instanceof AftersaveError && error.code === "E_CONTENT_GONE") return none; // that it changed is known all the same
    throw error;
  }
}

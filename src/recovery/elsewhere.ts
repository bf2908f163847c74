/**
 * Bytes that are on this machine no more, from whichever target is known to hold them.
 * @module
 */
import { join } from "node:path";
import { asAftersaveError, type AftersaveError } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import type { Source } from "../core/target.ts";
import type { Version } from "../core/version.ts";
import { digestOfFile, fileSource } from "../memory/content.ts";
import type { MirrorTarget } from "../mirror/place.ts";
import type { Content } from "../state/saves.ts";
import type { State } from "../state/state.ts";
import { fetchTo } from "./fetch.ts";

export interface ElsewhereParts {
  readonly state: State;
  /** Enabled targets, in the order in which they are asked. */
  readonly targets: readonly string[];
  readonly open: (target: string) => Promise<MirrorTarget>;
  /** What is fetched lies here until it is a day old. */
  readonly spoolDir: string;
}

/**
 * Brings what a version held, its hash checked, from where the ledger says it is, else from whoever has it; undefined when nobody does. Throws what the target
 * throws when one has it and cannot give it.
 */
export function createElsewhere({ state: { saves, ledger }, targets, open, spoolDir }: ElsewhereParts) {
  /** Keys under which a target may have bytes that begin with these. */
  const keysOf = async ({ file }: Version, { sha256 }: Content, copy: Key | undefined): Promise<Key[]> => {
    const copies = (await saves.archivesOf(sha256)).map(({ key }) => key);
    return [...new Set([...(copy === undefined ? [] : [copy]), ...copies, file])];
  };

  return async (version: Version, content: Content, copy: Key | undefined): Promise<Source | undefined> => {
    const { sha256, size } = content;
    const spool = join(spoolDir, `elsewhere-${sha256}`);
    if ((await digestOfFile(spool))?.sha256 === sha256) return fileSource(spool, size, sha256);
    const places: { readonly key: Key; readonly target: string; readonly known: boolean }[] = [];
    for (const key of await keysOf(version, content, copy))
      for (const target of targets) {
        const there = await ledger.mirrored(target, key);
        if (!there || there.size >= size) places.push({ key, target, known: there !== undefined });
      }
    let fault: AftersaveError | undefined;
    // a state that was rebuilt has a ledger that knows nothing of what was pruned before
    for (const { key, target } of places.toSorted((a, b) => Number(b.known) - Number(a.known)))
      try {
        const to = await open(target);
        if ((await fetchTo(to.target, key, content, spool, {})) === "fetched") return fileSource(spool, size, sha256);
      } catch (error) {
        fault ??= asAftersaveError(error, `reading ${key} from ${target}`);
      }
    if (fault) throw fault;
    return undefined;
  };
}

/**
 * The writers of a target. Each has a folder of its own, `.aftersave/<writer>/`, which nobody else writes to; what the
 * others say there of their history makes their bytes known, so that they are not taken for a stranger's.
 * @module
 */
import { sourceOf } from "../core/chunks.ts";
import type { Clock } from "../core/clock.ts";
import { OWN_FOLDER, ownKey, type Key } from "../core/key.ts";
import type { Call, Target } from "../core/target.ts";
import { isWhole, type Version } from "../core/version.ts";
import type { Held, TargetWriter } from "../state/segments.ts";
import type { State } from "../state/state.ts";
import { fieldsOf, putOnce, readText, type MirrorTarget } from "./place.ts";

/** Larger than any segment that is written; what is larger is somebody's file. */
export const MOST = 64 << 20;
const SMALL = 64 << 10;

export const segmentKey = (writer: string, name: string): Key => ownKey(`${writer}/history/${name}`);
const writerKey = (writer: string): Key => ownKey(`${writer}/writer.json`);

/** Writer, what it is, and of a segment its name. */
export const ownParts = new RegExp(`^${OWN_FOLDER.replace(".", "\\.")}/([^/]+)/(writer\\.json|history/(\\d+-\\d+\\.jsonl))$`);

export interface Peers {
  /** Puts this writer's `writer.json`; false when it was there already. */
  introduce(to: MirrorTarget, memoryRoot: string, call: Call): Promise<boolean>;
  /** The owner that this very writer says, at the target, to have joined: a state that was rebuilt finds its decision there. */
  joinedThere(to: MirrorTarget, memoryRoot: string, call: Call): Promise<string | undefined>;
  /** Reads what the other writers' history has that was not read yet. */
  learn(to: MirrorTarget, call: Call): Promise<void>;
  /** The other writer whose key ever held these bytes, also by what was written there a moment ago. */
  whose(to: MirrorTarget, key: Key, sha256: string, call: Call): Promise<string | undefined>;
  /** A writer of the target in words, as far as it is known: `another machine of yours ("laptop")`. */
  inWords(to: MirrorTarget, writer: string | undefined): Promise<string>;
}

/** What a writer says of itself at a target. Throws `not-found` when it says nothing. */
export async function writerAt(target: Target, writer: string, call: Call): Promise<TargetWriter & { readonly joined: unknown }> {
  const { memory_root, host, first_seen, joined } = fieldsOf(await readText(target, writerKey(writer), SMALL, call));
  const text = (value: unknown) => (typeof value === "string" ? value : null);
  return { writer, memory_root: text(memory_root), host: text(host), first_seen: text(first_seen), joined };
}

/** The whole lines of a segment. */
async function linesIn(text: string): Promise<Version[]> {
  const { parseChangelogLine } = await import("../logs/verify.ts");
  return text.split("\n").flatMap((line) => {
    const version = parseChangelogLine(fieldsOf(line));
    return version && isWhole(version) ? [version] : [];
  });
}

/** What lines say was held: content under its key, and what was before under the archive copy's; also what an erasure left of it. */
function heldIn(lines: readonly Version[]): Held[] {
  const held: Held[] = [];
  for (const { file, sha256, archived_as, prev_sha256, details } of lines) {
    const before = new Map<string, string>();
    for (const left of details?.redacts ?? []) {
      const prior = before.get(left.file);
      if (left.archived_as !== undefined && prior !== undefined) held.push({ key: left.archived_as, sha256: prior });
      if (left.sha256 === null) continue;
      held.push({ key: left.file, sha256: left.sha256 });
      before.set(left.file, left.sha256);
    }
    if (sha256 !== null) held.push({ key: file, sha256 });
    if (archived_as !== null && prev_sha256 !== null) held.push({ key: archived_as, sha256: prev_sha256 });
  }
  return held;
}

export function createPeers({ erasure, saves, segments }: State, clock: Clock): Peers {
  const learn = async (to: MirrorTarget, call: Call): Promise<void> => {
    const { id } = await segments.writer();
    const found: { writer: string; key: Key; segment: string | undefined; size: number }[] = [];
    for await (const { key, size } of to.target.list(`${OWN_FOLDER}/`, call)) {
      const [, writer, , segment] = ownParts.exec(key) ?? [];
      if (writer !== undefined && writer !== id) found.push({ writer, key, segment, size });
    }
    const known = new Set((await segments.writers(to.name)).map(({ writer }) => writer));
    for (const { writer, key, segment, size } of found) {
      if (segment === undefined) {
        if (!known.has(writer)) await segments.addWriter(to.name, await writerAt(to.target, writer, call));
        continue;
      }
      const name = `${writer}/${segment}`;
      if (size > MOST || (await segments.isRead(to.name, name))) continue;
      const lines = await linesIn((await readText(to.target, key, MOST, call)) ?? "");
      await erasure.heard(lines);
      await segments.learn(to.name, writer, name, heldIn(lines));
    }
    await segments.settleConflicts(to.name);
  };

  return {
    learn,
    async introduce(to, memoryRoot, call) {
      const { id, host } = await segments.writer();
      const joined = (await segments.joined(to.name)) ?? null;
      const own = { writer: id, memory_root: memoryRoot, host, first_seen: new Date(clock.now()).toISOString() };
      const made = await putOnce(to.target, writerKey(id), sourceOf(`${JSON.stringify({ ...own, joined }, null, 2)}\n`), call);
      await segments.addWriter(to.name, own);
      if (made === "made") await segments.found(to.name, id, 0);
      return made === "made";
    },
    async joinedThere(to, memoryRoot, call) {
      const { id } = await segments.writer();
      if (!(await to.target.stat(writerKey(id), call))) return undefined;
      const { memory_root, joined } = await writerAt(to.target, id, call);
      return memory_root === memoryRoot && typeof joined === "string" ? joined : undefined;
    },
    async inWords(to, id) {
      const { memory_root, host } = (await segments.writers(to.name)).find(({ writer }) => writer === id) ?? {};
      const isJoined = typeof memory_root === "string" && memory_root !== (await saves.rootId());
      const name = host ? ` (${JSON.stringify(host)})` : "";
      return isJoined ? `the memory that writes here too${name}` : `another machine of yours${name}`;
    },
    async whose(to, key, sha256, call) {
      const known = await segments.heldBy(to.name, key, sha256);
      if (known !== undefined) return known;
      await learn(to, call);
      return segments.heldBy(to.name, key, sha256);
    },
  };
}

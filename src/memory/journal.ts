/**
 * The order of a save (DESIGN section 3): intent, archive copy, head, live file, acceptance. Whatever stops it in
 * between, here or in a process that died, is finished or taken back from what is on the disk; what fits neither is
 * left as it is, and the next look keeps it as an external version.
 * @module
 */
import { rm, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { AftersaveError, errnoOf } from "../core/errors.ts";
import { parseKey, type Key } from "../core/key.ts";
import type { Version } from "../core/version.ts";
import { fsyncFolder } from "../logs/files.ts";
import type { Content, Intent, Saves } from "../state/saves.ts";
import { digestOfFile, readPieces, sameBytes } from "./content.ts";
import { appendDurably, cutDurably, syncTheirs, temporariesOf, writeDurably, type Appended, type Bytes } from "./durable.ts";
import type { Heads, Owner } from "./heads.ts";
import { identityOf, statLive } from "./live.ts";
import type { Places } from "./places.ts";

/** Where a save is, the last two where it is held; tests stop the process there. */
export type Step = "begun" | "archived" | "headed" | "written" | "accepted" | "cleaned" | "kept" | "held";

export interface JournalParts {
  readonly saves: Saves;
  readonly heads: Heads;
  readonly places: Places;
  /** Which targets shall hold a key. */
  readonly targetsFor: (key: Key) => readonly string[];
  readonly step?: ((step: Step) => void | Promise<void>) | undefined;
}

/** The live file of a save. */
export interface LiveFile {
  readonly path: string;
  /** Its identity when it was looked at; a save that writes it takes place only if it still is that. */
  readonly seen: string;
  /** Its stamp, where someone else has already written it. */
  readonly stamp: string | null;
}

/** Bytes, or a file below `state_dir` that holds them; it is there again when the save ends in `Moved`. */
export type NewBytes = Bytes | { readonly spooled: string };

export interface Journal {
  /**
   * Does what `intent` says and accepts it. `bytes` are the new content, or for a growing head what is added.
   * `owner` is that of the archive copy. Throws with everything taken back.
   */
  run(intent: Intent, file: LiveFile, bytes: NewBytes, owner: Owner | undefined): Promise<Version>;
  /** Settles what a save left behind that did not come to its end. The key must be claimed. */
  recover(intent: Intent): Promise<"forwards" | "backwards" | "neither">;
}

/** Thrown by `run` when another program appended at the same moment. The live file is then left as it is. */
export class Interleaved extends Error {}

/** The live file is no longer what was looked at; nothing was changed. */
export class Moved extends Error {}

const isSpooled = (bytes: NewBytes): bytes is { readonly spooled: string } => typeof bytes === "object" && "spooled" in bytes;

export function createJournal({ saves, heads, places, targetsFor, step }: JournalParts): Journal {
  const grows = (intent: Intent) => intent.old !== null && intent.new !== null && intent.old.base === intent.new.base;

  const makeArchive = async (intent: Intent, owner: Owner | undefined) => {
    if (!intent.archived_as || !intent.old) return;
    await heads.become(intent.old, places.pathOf(intent.archived_as), owner);
    await step?.("archived");
  };

  /** As open to others as the live file: the head becomes the archive copy when that is gone. */
  const headMode = (owner: Owner | undefined) => (owner ? (owner.mode & 0o777) | 0o600 : undefined);

  const makeHead = async (intent: Intent & { new: Content }, bytes: NewBytes, owner: Owner | undefined) => {
    if (isSpooled(bytes)) await heads.adopt(intent.new.base, bytes.spooled, headMode(owner));
    else if (grows(intent)) await heads.grow(intent.new.base, intent.old?.size ?? 0, bytes);
    else await heads.create(intent.new.base, bytes, headMode(owner) ?? 0o666);
    await step?.("headed");
  };

  const writeLive = async (intent: Intent, path: string, seen: string, bytes: NewBytes): Promise<string | null> => {
    const unmoved = () => {
      if (identityOf(statLive(path)) !== seen) throw new Moved();
    };
    if (!intent.new) {
      unmoved();
      await unlink(path);
      await fsyncFolder(dirname(path));
      return null;
    }
    if (grows(intent)) {
      unmoved();
      const appended: Appended = await appendDurably(path, bytes as Uint8Array);
      if (appended.size !== intent.new.size || !seen.startsWith(`${appended.ino}:`)) throw new Interleaved();
      return appended.stamp;
    }
    const { new: content } = intent;
    const source: Bytes = isSpooled(bytes) ? () => heads.source(content).open() : bytes;
    return writeDurably(path, source, { beforeRename: async () => unmoved() });
  };

  const accept = (intent: Intent, stamp: string | null): Promise<Version> =>
    saves.accept(intent, {
      stamp,
      targets: intent.new ? targetsFor(intent.key) : [],
      archiveTargets: intent.archived_as ? targetsFor(intent.archived_as) : [],
    });

  const clean = async (intent: Intent) => {
    await step?.("accepted");
    try {
      if (intent.old && intent.old.base !== intent.new?.base) await heads.remove(intent.old.base);
    } catch {
      // the save is accepted whatever happens now; `doctor` finds a head that no key uses
    }
    await step?.("cleaned");
  };

  /** Removes what a save made beside the live file; the old head stays what it was. */
  const dropTraces = async (intent: Intent) => {
    const { old, archived_as } = intent;
    if (old && archived_as) {
      const copy = places.pathOf(archived_as);
      const isOurs = await heads.isCopy(old, copy).catch((error: unknown) => {
        if (errnoOf(error) === "ENOENT") return false;
        throw error;
      });
      if (isOurs) {
        await unlink(copy);
        await fsyncFolder(dirname(copy));
      }
    }
    if (grows(intent) && old) await heads.shrink(old.base, old.size);
    else if (intent.new) await heads.remove(intent.new.base);
  };

  /** Brings the old content back where the new one was already put in place. */
  const putBack = async (intent: Intent, path: string) => {
    const { old } = intent;
    const live = await digestOfFile(path);
    if (live?.sha256 !== intent.new?.sha256) return;
    if (grows(intent) && old) await cutDurably(path, old.size);
    else if (old) await writeDurably(path, () => heads.source(old).open());
    else {
      await rm(path, { force: true });
      await fsyncFolder(dirname(path));
    }
  };

  /** A commit whose sync failed can still come to light after a power cut, until another one is written over it. */
  const disown = (intent: Intent, error: unknown) =>
    saves.disown(intent).catch((still: unknown) => {
      if (!(error instanceof AftersaveError) || error.code !== "E_NO_SPACE") throw still; // a full disk took no commit
    });

  const takeBack = async (intent: Intent, path: string, bytes: NewBytes, error: unknown, accepting: boolean) => {
    try {
      if (accepting) await disown(intent, error);
      // a disk that failed may have kept the temporary file too: then the intent must stay to tell whose it is
      if (intent.writes && intent.new && !grows(intent)) await dropTemporaries(intent, path);
      if (error instanceof Moved && intent.new && isSpooled(bytes)) await heads.release(intent.new.base, bytes.spooled);
      if (intent.writes && !(error instanceof Interleaved) && !(error instanceof Moved)) {
        if (grows(intent)) await cutOwnTail(intent, path);
        else if (intent.new) await heads.remove(intent.new.base); // room for the old content, where the disk is full
        await putBack(intent, path);
      }
      await dropTraces(intent);
      await saves.withdraw(intent);
    } catch {
      // the disk refuses this too: the intent stays, and whoever opens the memory next settles it the same way
    }
  };

  /** An append that was cut off: what is behind the old length is a beginning of the bytes that were to be added. */
  const cutOwnTail = async (intent: Intent, path: string): Promise<boolean> => {
    const { old } = intent;
    const size = Number(statLive(path)?.size ?? -1n);
    if (!old || !intent.new || size <= old.size || size >= intent.new.size) return false;
    if ((await digestOfFile(path, old.size))?.sha256 !== old.sha256) return false;
    if (!(await sameBytes(path, old.size, size, heads.path(old.base), old.size))) return false;
    await cutDurably(path, old.size);
    return true;
  };

  /** Finishes a save whose new content is in place. */
  const forwards = async (intent: Intent, path: string) => {
    const { new: content, old } = intent;
    if (content && !(await heads.holds(content))) {
      if (grows(intent) && old) await heads.grow(old.base, old.size, () => readPieces(path, old.size, content.size));
      else await heads.create(content.base, () => readPieces(path, 0, content.size), 0o666);
    }
    if (intent.archived_as && old) {
      const copy = places.pathOf(intent.archived_as);
      if ((await digestOfFile(copy))?.sha256 !== old.sha256) {
        await rm(copy, { force: true }); // a copy that was cut off; the name was free when the save began
        await heads.become(old, copy, undefined);
      }
    }
    await accept(intent, null);
    await clean(intent);
  };

  const dropTemporaries = async (intent: Intent, path: string) => {
    for (const temporary of await temporariesOf(path)) {
      const size = sizeOf(temporary);
      if (await saves.head(parseKey(`${intent.key}${temporary.slice(path.length)}`))) continue; // a memory file with such a name
      let isOurs = size === 0;
      for (const content of [intent.new, intent.old])
        isOurs ||= content !== null && size <= content.size && (await beginsLike(temporary, size, heads.path(content.base)));
      if (isOurs) await rm(temporary, { force: true });
    }
  };

  const sizeOf = (path: string) => Number(statLive(path)?.size ?? -1n);

  /** Whether a file is a beginning of another one; after a power cut, zeros may stand for what did not reach the disk. */
  const beginsLike = async (path: string, size: number, other: string): Promise<boolean> => {
    const others = readPieces(other, 0, size)[Symbol.asyncIterator]();
    try {
      let theirs = Buffer.alloc(0);
      for await (const mine of readPieces(path, 0, size)) {
        while (theirs.length < mine.length) {
          const next = await others.next();
          if (next.done) return false;
          theirs = Buffer.concat([theirs, next.value]);
        }
        for (const [at, byte] of mine.entries()) if (byte !== 0 && byte !== theirs[at]) return false;
        theirs = theirs.subarray(mine.length);
      }
      return true;
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return false;
      throw error;
    } finally {
      await others.return?.();
    }
  };

  return {
    async run(intent, { path, seen, stamp }, bytes, owner) {
      await saves.begin(intent);
      let accepting = false;
      let version: Version;
      try {
        await step?.("begun");
        await makeArchive(intent, owner);
        if (intent.new) await makeHead({ ...intent, new: intent.new }, bytes, owner);
        if (!intent.writes && intent.new) await syncTheirs(path);
        const written = intent.writes ? await writeLive(intent, path, seen, bytes) : stamp;
        await step?.("written");
        accepting = true;
        version = await accept(intent, written);
      } catch (error) {
        await takeBack(intent, path, bytes, error, accepting);
        throw error;
      }
      await clean(intent);
      return version;
    },
    async recover(intent) {
      const path = places.place(intent.key).path;
      if (!intent.writes) {
        await dropTraces(intent);
        await saves.withdraw(intent);
        return "backwards";
      }
      await dropTemporaries(intent, path);
      const live = await digestOfFile(path);
      if (live?.sha256 === intent.new?.sha256) {
        await forwards(intent, path);
        return "forwards";
      }
      const untouched = live?.sha256 === intent.old?.sha256 || (grows(intent) && (await cutOwnTail(intent, path)));
      await dropTraces(intent);
      await saves.withdraw(intent);
      return untouched ? "backwards" : "neither";
    },
  };
}

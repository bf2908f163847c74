/**
 * Heads: the current content of every key, kept below `state_dir/heads`, so that an overwrite or removal by anyone
 * loses nothing that was accepted. A head is a file of its own, never a link to the live one. It is named by its base
 * (the version that began it) and grows when bytes are appended; a new whole content is a new file.
 * @module
 */
import { chmod, chown, constants, copyFile, link, open, readdir, rename, rm, stat } from "node:fs/promises";
import { statSync } from "node:fs";
import { dirname, join } from "node:path";
import { errnoOf } from "../core/errors.ts";
import type { Source } from "../core/target.ts";
import type { Content } from "../state/saves.ts";
import { digestOfFile, fileSource, sameBytes } from "./content.ts";
import { fsyncFolder } from "../logs/files.ts";
import { createDurably, cutDurably, makeFolder, moveDurably, type Bytes } from "./durable.ts";

/** Whose an archive copy shall be, and who may read it: the same as the file that it was made from. */
export interface Owner {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

export interface Heads {
  path(base: string): string;
  source(content: Content): Source;
  /** Writes a new head; replaces what an unfinished save may have left under this name. */
  create(base: string, bytes: Bytes, mode: number): Promise<void>;
  /** Puts bytes behind the first `size` ones. */
  grow(base: string, size: number, bytes: Bytes): Promise<void>;
  /** Takes back what an unfinished append left behind `size`. */
  shrink(base: string, size: number): Promise<void>;
  /** Whether the head is there and long enough. Does not read it. */
  has(content: Content): boolean;
  /** Whether the head holds these bytes. Reads it. */
  holds(content: Content): Promise<boolean>;
  /** Makes the head's content a file at `to` that did not exist (`EEXIST` otherwise): a link where possible, else a copy. */
  become(content: Content, to: string, owner: Owner | undefined): Promise<void>;
  /** Takes a file that was written elsewhere below `state_dir` as the head. */
  adopt(base: string, spooled: string, mode: number | undefined): Promise<void>;
  /** Undoes `adopt`. */
  release(base: string, spooled: string): Promise<void>;
  /** Whether the file at `path` is this head under another name, or a beginning of a copy of it. */
  isCopy(content: Content, path: string): Promise<boolean>;
  remove(base: string): Promise<void>;
  /** Every file that is there, whichever key uses it. */
  files(): Promise<readonly HeadFile[]>;
}

export interface HeadFile {
  /** The version that began it, unless someone else put the file there. */
  readonly base: string;
  readonly path: string;
}

const noLinks = new Set(["EXDEV", "EPERM", "ENOTSUP", "EMLINK", "ENOSYS"]);

export function createHeads(directory: string): Heads {
  // the last character of a ULID is random: 32 folders, so that none grows large and each is soon there
  const path = (base: string) => join(directory, base.slice(-1), base);

  const shrink = async (base: string, size: number) => {
    if ((await stat(path(base))).size > size) await cutDurably(path(base), size);
  };

  return {
    path,
    source: ({ base, size, sha256 }) => fileSource(path(base), size, sha256),
    async create(base, bytes, mode) {
      await rm(path(base), { force: true });
      await createDurably(path(base), bytes, mode);
    },
    async grow(base, size, bytes) {
      const handle = await open(path(base), "r+");
      try {
        const { size: now } = await handle.stat();
        if (now < size) throw new Error(`head ${base} has ${now} bytes where ${size} were kept`);
        if (now > size) await handle.truncate(size);
        let at = size;
        for await (const piece of typeof bytes === "function" ? bytes() : [bytes])
          for (let done = 0; done < piece.length;) {
            const { bytesWritten } = await handle.write(piece, done, piece.length - done, at);
            done += bytesWritten;
            at += bytesWritten;
          }
        await handle.datasync();
      } finally {
        await handle.close();
      }
    },
    shrink,
    has: ({ base, size }) => (statSync(path(base), { throwIfNoEntry: false })?.size ?? -1) >= size,
    async holds({ base, size, sha256 }) {
      return (await digestOfFile(path(base), size))?.sha256 === sha256;
    },
    async become({ base, size }, to, owner) {
      await makeFolder(dirname(to));
      await shrink(base, size);
      try {
        await link(path(base), to);
      } catch (error) {
        if (!noLinks.has(errnoOf(error))) throw error;
        await copyFile(path(base), to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
        const handle = await open(to, "r+");
        try {
          await handle.sync();
        } finally {
          await handle.close();
        }
      }
      if (owner) await chmod(to, owner.mode & 0o7777);
      if (owner && process.getuid?.() === 0) await chown(to, owner.uid, owner.gid);
      await fsyncFolder(dirname(to));
    },
    async adopt(base, spooled, mode) {
      if (mode !== undefined) await chmod(spooled, mode);
      await moveDurably(spooled, path(base));
    },
    release: (base, spooled) => rename(path(base), spooled),
    async isCopy({ base, size }, other) {
      const [mine, theirs] = await Promise.all([stat(path(base), { bigint: true }), stat(other, { bigint: true })]);
      if (mine.ino === theirs.ino && mine.dev === theirs.dev) return true;
      return theirs.size <= BigInt(size) && (await sameBytes(other, 0, Number(theirs.size), path(base), 0));
    },
    async remove(base) {
      await rm(path(base), { force: true });
    },
    async files() {
      const entries = await readdir(directory, { recursive: true, withFileTypes: true }).catch((error: unknown) => {
        if (errnoOf(error) === "ENOENT") return [];
        throw error;
      });
      return entries
        .filter((entry) => entry.isFile())
        .map((entry) => ({ base: entry.name, path: join(entry.parentPath, entry.name) }));
    },
  };
}

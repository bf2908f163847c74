/**
 * Files with a sign-in in them: read as JSON, written whole with mode 0600. No message ever says what a file holds.
 * @module
 */
import { mkdir, open, readFile, realpath, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { errnoOf, TargetError } from "../../core/errors.ts";

export interface Kept {
  /** The whole file, unknown fields included. A secret. */
  readonly raw: Readonly<Record<string, unknown>>;
  readonly savedAt: number;
  readonly othersCanRead: boolean;
}

const MODE = 0o600;

export const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** A file that cannot be used. */
export const unusable = (path: string, why: string, hint: string) =>
  new TargetError("auth", `${path} cannot be used: ${why}`, { hint });

/** The file, undefined when there is none. Throws `auth` for one that cannot be read, or holds no JSON object. */
export async function readJson(path: string, hint: string): Promise<(Kept & { raw: Record<string, unknown> }) | undefined> {
  let bytes: string;
  let stats;
  try {
    [bytes, stats] = [await readFile(path, "utf8"), await stat(path)];
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes(errnoOf(error))) return undefined;
    throw new TargetError("auth", `${path} cannot be read (${errnoOf(error)})`, {
      hint: "Check the owner and mode of this file and its folder.",
    });
  }
  let raw: unknown;
  try {
    raw = JSON.parse(bytes.replace(/^\uFEFF/, ""));
  } catch {
    throw unusable(path, "it is not JSON", hint); // without its cause, which quotes the file
  }
  if (!isRecord(raw)) throw unusable(path, "it holds no JSON object", hint);
  const othersCanRead = process.platform !== "win32" && (stats.mode & 0o077) !== 0;
  return { raw, savedAt: stats.mtimeMs, othersCanRead };
}

async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** One name, used under the claim only: what a process that was killed left there, the next one takes away. */
const freshOf = (path: string) => `${path}.aftersave-new`;

/** Links followed, so that a linked file stays linked. */
async function placeOf(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return path;
    throw error;
  }
}

/** Replaces a file of secrets: all of it or the old one, 0600 from its first byte, with the old one's owner. */
export async function writeSecret(path: string, value: object): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const place = await placeOf(path);
  const fresh = freshOf(place);
  await rm(fresh, { force: true });
  try {
    const handle = await open(fresh, "wx", MODE);
    try {
      await handle.writeFile(`${JSON.stringify(value, null, 2)}\n`);
      const before = await stat(place).catch(() => undefined);
      const mine = await handle.stat();
      if (before && (before.uid !== mine.uid || before.gid !== mine.gid)) await handle.chown(before.uid, before.gid);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(fresh, place);
  } catch (error) {
    await rm(fresh, { force: true });
    throw error;
  }
  await syncFolder(dirname(place));
}

/** Exclusive use of the sign-in's files over all processes of the memory root. */
export type Claim = (what: "token") => Promise<() => void>;

/** Runs `work` while no other process of this memory root changes the file. */
export async function exclusively<T>(claim: Claim, work: () => Promise<T>): Promise<T> {
  const release = await claim("token");
  try {
    return await work();
  } finally {
    release();
  }
}

/** Removes the token file and whatever copies of it a killed process left; answers whether there was one. */
export async function removeTokenFile(path: string, claim: Claim): Promise<boolean> {
  return exclusively(claim, async () => {
    await rm(freshOf(path), { force: true });
    try {
      await rm(await realpath(path)); // of a link, what it leads to: that is the secret
      await rm(path, { force: true });
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return false;
      throw error;
    }
    await syncFolder(dirname(path));
    return true;
  });
}

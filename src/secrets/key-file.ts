/**
 * Keys that never leave this machine: 32 random bytes as hex in a file of mode 0600 below `state_dir`.
 * @module
 */
import { randomBytes } from "node:crypto";
import { link, mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { AftersaveError, errnoOf } from "../core/errors.ts";

const KEY = /^[0-9a-f]{64}\n?$/;

async function readKey(path: string, hint: string): Promise<Buffer | undefined> {
  try {
    const text = await readFile(path, "utf8");
    if (KEY.test(text)) return Buffer.from(text.trim(), "hex");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
  throw new AftersaveError("E_STATE_CORRUPT", `${path} does not hold a key`, { hint });
}

async function makeKey(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const own = `${path}.${randomBytes(6).toString("hex")}`;
  const handle = await open(own, "wx", 0o600);
  try {
    await handle.writeFile(`${randomBytes(32).toString("hex")}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  try {
    await link(own, path);
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") await rename(own, path); // a place without links: there the last one wins
  } finally {
    await rm(own, { force: true });
  }
}

/**
 * The key in the file, which is made where there is none; whoever comes second takes the first one's.
 *
 * @param hint What to do about a file that holds something else.
 * @throws {AftersaveError} `E_STATE_CORRUPT`.
 */
export async function keyIn(path: string, hint: string): Promise<Buffer> {
  for (;;) {
    const key = await readKey(path, hint);
    if (key) return key;
    await makeKey(path);
  }
}

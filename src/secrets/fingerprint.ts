/**
 * Names for what was found that say nothing of it: an HMAC under a key that stays in `state_dir`, so that not even a short
 * password can be guessed from one.
 * @module
 */
import { createHmac, randomBytes } from "node:crypto";
import { link, mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { AftersaveError, errnoOf } from "../core/errors.ts";

const KEY = /^[0-9a-f]{64}\n?$/;

async function readKey(path: string): Promise<string | undefined> {
  try {
    const text = await readFile(path, "utf8");
    if (KEY.test(text)) return text.trim();
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
  throw new AftersaveError("E_STATE_CORRUPT", `${path} does not hold a key`, {
    hint: "Remove this file: a new key is made, and what was allowed by fingerprint is to be allowed once more.",
  });
}

/** Makes the key where there is none; whoever comes second takes the first one's. */
async function makeKey(path: string): Promise<string> {
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
  return (await readKey(path)) ?? makeKey(path);
}

/** How values are named: the same value always alike, here and nowhere else. The key is read, or made, when first needed. */
export function createFingerprints(keyFile: string): () => Promise<(value: string) => string> {
  let key: Promise<string> | undefined;
  return async () => {
    key ??= readKey(keyFile).then((known) => known ?? makeKey(keyFile));
    key.catch(() => (key = undefined)); // what failed is tried anew
    const secret = await key;
    return (value) => createHmac("sha256", Buffer.from(secret, "hex")).update(value).digest("hex").slice(0, 16);
  };
}

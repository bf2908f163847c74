/**
 * Names for what was found that say nothing of it: an HMAC under a key that stays in `state_dir`, so that not even a short
 * password can be guessed from one.
 * @module
 */
import { createHmac } from "node:crypto";
import { keyIn } from "./key-file.ts";

const DAMAGED = "Remove this file: a new key is made, and what was allowed by fingerprint is to be allowed once more.";

/** How values are named: the same value always alike, here and nowhere else. The key is read, or made, when first needed. */
export function createFingerprints(keyFile: string): () => Promise<(value: string) => string> {
  let key: Promise<Buffer> | undefined;
  return async () => {
    key ??= keyIn(keyFile, DAMAGED);
    key.catch(() => (key = undefined)); // what failed is tried anew
    const secret = await key;
    return (value) => createHmac("sha256", secret).update(value).digest("hex").slice(0, 16);
  };
}

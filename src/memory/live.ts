/**
 * A look at the live file: does it hold what was last accepted? Trusted by size, mtime, ctime and inode when the
 * stamp says so, else read.
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import { lstatSync, type BigIntStats } from "node:fs";
import { errnoOf } from "../core/errors.ts";
import type { Head } from "../state/saves.ts";
import { readPieces, type Digest } from "./content.ts";
import { settledStamp, stampOf } from "./durable.ts";

/** `seen` is the identity of the file that was looked at: a write that follows checks that it is still that. */
export type Look =
  /** It holds the head's content; `stamp` is news when it differs from the head's. */
  | { readonly kind: "same"; readonly seen: string; readonly stamp: string | null; readonly state: Hash | undefined }
  | { readonly kind: "absent"; readonly seen: string }
  /** `prefix`, the hash state of the head's bytes, is there when the file is just that and more behind. `stamp` is null when the file changed while it was read. */
  | {
      readonly kind: "changed";
      readonly seen: string;
      readonly digest: Digest;
      readonly prefix: Hash | undefined;
      readonly stamp: string | null;
    };

export function statLive(path: string): BigIntStats | undefined {
  try {
    return lstatSync(path, { bigint: true });
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Which file it is and when it was last changed, also by someone who puts the time back. Empty: no file. */
export const identityOf = (s: BigIntStats | undefined): string => (s ? stampOf(s) : "");

/** Hashes a file; answers the hash state of the head's bytes too when they are how it begins. */
async function read(path: string, end: number, head: Head | undefined): Promise<Digest & { prefix: Hash | undefined }> {
  const state = createHash("sha256");
  let size = 0;
  let prefix: Hash | undefined;
  const feed = (piece: Uint8Array) => {
    state.update(piece);
    size += piece.length;
    if (size === head?.size && state.copy().digest("hex") === head.sha256) prefix = state.copy();
  };
  feed(new Uint8Array());
  for await (const piece of readPieces(path, 0, end)) {
    const cut = head && size < head.size && size + piece.length > head.size ? head.size - size : piece.length;
    feed(piece.subarray(0, cut));
    if (cut < piece.length) feed(piece.subarray(cut));
  }
  return { state, size, sha256: state.copy().digest("hex"), prefix: head && size > head.size ? prefix : undefined };
}

/** Compares the live file with the head. A file that keeps changing is taken as it was read, without a stamp. */
export async function lookAt(path: string, head: Head | undefined): Promise<Look> {
  for (let tries = 1; ; tries++) {
    const before = statLive(path);
    if (!before) return { kind: "absent", seen: "" };
    const identity = identityOf(before);
    if (head && head.stamp === stampOf(before)) return { kind: "same", seen: identity, stamp: head.stamp, state: undefined };
    // oxlint-disable-next-line aftersave/no-wall-clock -- compared with the kernel's times of the file
    const seen = Date.now();
    const { prefix, ...digest } = await read(path, Number(before.size), head).catch((error: unknown) => {
      if (errnoOf(error) === "ENOENT") return { prefix: undefined, size: -1, sha256: "", state: createHash("sha256") };
      throw error;
    });
    const after = statLive(path);
    const calm = after !== undefined && stampOf(after) === stampOf(before) && digest.size === Number(before.size);
    if (!calm && tries < 4) continue;
    if (digest.size < 0) return { kind: "absent", seen: "" };
    const stamp = calm ? settledStamp(before, seen) : null;
    if (head && digest.sha256 === head.sha256 && digest.size === head.size)
      return { kind: "same", seen: identity, stamp, state: digest.state };
    return { kind: "changed", seen: identity, digest, prefix, stamp };
  }
}

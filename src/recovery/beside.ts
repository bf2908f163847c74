/**
 * Where at a target the bytes of versions lie that are not brought: under which name, and at the beginning of which file.
 * @module
 */
import { createHash } from "node:crypto";
import { isArchiveKey, type ArchiveFolder, type Key } from "../core/key.ts";
import type { Call, Entry } from "../core/target.ts";
import { kindOf, type MirrorTarget } from "../mirror/place.ts";
import { inParallel, type Wanted } from "./fetch.ts";
import type { Told } from "./told.ts";

/** Content of a version, and the key that held it. */
export interface WantedOf extends Wanted {
  readonly file: Key;
}

interface Searched {
  readonly to: MirrorTarget & { readonly concurrency: number };
  readonly told: Told;
  readonly listed: ReadonlyMap<string, Entry>;
  readonly call: Call;
}

/** For each hash that was found the name of a file that begins with those bytes. Reads what the listing does not prove. */
export async function whereTheyLie(
  { to, told, listed, call }: Searched,
  wanted: readonly WantedOf[],
  archive: ArchiveFolder,
): Promise<ReadonlyMap<string, Key>> {
  const found = new Map<string, Key>();
  const open = new Set(wanted.map(({ sha256 }) => sha256));
  const sizes = [...new Set(wanted.map(({ size }) => size))].toSorted((a, b) => a - b);
  const likely = new Set<string>(wanted.map(({ file }) => file));
  for (const { archived_as } of [...told.lines, ...told.beside]) if (archived_as !== null) likely.add(archived_as);
  const note = (sha256: string, key: Key) => {
    if (open.delete(sha256)) found.set(sha256, key);
  };
  const look = async ({ key, size, hash }: Entry) => {
    const within = sizes.filter((one) => one <= size);
    const isCopy = isArchiveKey(key, archive) && within.includes(size);
    if (open.size === 0 || within.length === 0 || !(likely.has(key) || isCopy)) return;
    if (hash?.algo === "sha256") note(hash.hex, key);
    if (hash?.algo === "sha256" && (within.length === 1 || !likely.has(key)) && within.at(-1) === size) return;
    await to.target
      .read(
        key,
        async (chunks) => {
          for (const sha256 of await beginnings(chunks, within)) note(sha256, key);
        },
        call,
      )
      .catch((error: unknown) => {
        if (kindOf(error) !== "not-found") throw error;
      });
  };
  await inParallel(listed.values(), to.concurrency, look);
  return found;
}

/** The hashes of the first `sizes` bytes, which ascend. */
async function beginnings(chunks: AsyncIterable<Uint8Array>, sizes: readonly number[]): Promise<string[]> {
  const hash = createHash("sha256");
  const hashes: string[] = [];
  let at = 0;
  const reach = (piece: Uint8Array) => {
    let from = 0;
    for (let size = sizes[hashes.length]; size !== undefined && size <= at + piece.length; size = sizes[hashes.length]) {
      hash.update(piece.subarray(from, size - at));
      from = size - at;
      hashes.push(hash.copy().digest("hex"));
    }
    hash.update(piece.subarray(from));
    at += piece.length;
  };
  reach(new Uint8Array());
  for await (const chunk of chunks) {
    reach(chunk);
    if (hashes.length === sizes.length) break;
  }
  return hashes;
}

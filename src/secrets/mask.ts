/**
 * Masks: what looks like a secret is covered by asterisks, byte for byte, so that everything else stays where it is.
 * @module
 */
import type { Chunks } from "../core/target.ts";
import { scan, type Found, type WindowSizes } from "./scan.ts";

const COVER = 0x2a;
/** Line ends stay, and the zeros of UTF-16: the file stays what it was. */
const STAYS = new Set([0x00, 0x0a, 0x0d]);

/** The same bytes with those that `covers` names covered; as long as before. Masking twice changes nothing. */
export async function* maskedChunks(chunks: Chunks, covers: (found: Found) => boolean, sizes?: WindowSizes): Chunks {
  let until = 0; // of what began in an earlier stretch
  for await (const { at, bytes, found } of scan(chunks, sizes)) {
    const masked = Buffer.from(bytes);
    const cover = (start: number, end: number) => {
      for (let i = Math.max(0, start - at); i < Math.min(masked.length, end - at); i++)
        if (!STAYS.has(masked[i] ?? 0)) masked[i] = COVER;
    };
    cover(at, until);
    for (const one of found) {
      if (!covers(one)) continue;
      cover(one.start, one.end);
      until = Math.max(until, one.end);
    }
    yield masked;
  }
}

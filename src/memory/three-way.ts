/**
 * Two changes to one content, brought together where they are text.
 * @module
 */
import type { Source } from "../core/target.ts";

/** A text that is longer is not merged. */
const MOST = 16 << 20;

async function textOf(source: Source): Promise<string | undefined> {
  if (source.size > MOST) return undefined;
  const pieces: Uint8Array[] = [];
  for await (const piece of source.open()) pieces.push(Buffer.from(piece));
  const bytes = Buffer.concat(pieces);
  const { isText } = await import("../text/lines.ts");
  return isText(bytes) ? bytes.toString("utf8") : undefined;
}

/** What `ours` and `theirs` made of `base`, together; undefined where both changed the same lines, or one of them is no text. */
export async function threeWay(base: Source, ours: Source, theirs: Source): Promise<Uint8Array | undefined> {
  const [was, mine, other] = [await textOf(base), await textOf(ours), await textOf(theirs)];
  if (was === undefined || mine === undefined || other === undefined) return undefined;
  const { mergeLines } = await import("../text/merge.ts");
  const { text, conflicts } = await mergeLines(was, mine, other);
  return conflicts === 0 ? Buffer.from(text, "utf8") : undefined;
}

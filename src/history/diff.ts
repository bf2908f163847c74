/**
 * What is different between two versions of a key.
 * @module
 */
import { AftersaveError } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import { movesHead, type Op, type Version } from "../core/version.ts";
import { compare, DIFF_WAYS, type CompareOptions, type Difference } from "./compare.ts";
import type { Finder } from "./show.ts";

export interface DiffQuery extends CompareOptions {
  /** A version; left out: the one before `to`. One that is held, with no `to`: what accepting it would change. */
  readonly from?: string | undefined;
  /** A version; left out: what the key holds now. */
  readonly to?: string | undefined;
}

/** What a key held on one side of a difference. */
export interface DiffSide {
  readonly version: string;
  readonly op: Op;
  readonly timestamp: string;
  /** Both null when it held nothing. */
  readonly sha256: string | null;
  readonly size: number | null;
}

/** `from` is null where the history of the key begins. */
export type Diff = Difference & { readonly file: Key; readonly from: DiffSide | null; readonly to: DiffSide };

const side = ({ version, op, timestamp, sha256, size }: Version): DiffSide => ({ version, op, timestamp, sha256, size });

/** What is different between two versions of `file`. Throws `E_VERSION`, `E_NOT_FOUND`, `E_CONTENT_GONE`, `E_USAGE`. */
export async function diff(finder: Finder, file: Key, { from, to, by, context = 3 }: DiffQuery = {}): Promise<Diff> {
  if (by !== undefined && !DIFF_WAYS.includes(by))
    throw new AftersaveError("E_USAGE", `nothing is compared by ${JSON.stringify(by)}`, {
      hint: `Compare by ${DIFF_WAYS.join(", ")}.`,
    });
  if (!Number.isSafeInteger(context) || context < 0)
    throw new AftersaveError("E_USAGE", "context is not a number of lines", { hint: "Use a whole number from 0." });
  const named = async (text: string) => {
    const { version } = await finder.named(file, text);
    if (movesHead(version) || version.op === "hold") return version;
    throw new AftersaveError("E_VERSION", `${version.version} is a decision (${version.op}) and holds nothing`, {
      hint: "`aftersave history KEY` lists versions.",
    });
  };
  let after = to === undefined ? (await finder.now(file)).version : await named(to);
  let before = from === undefined ? await finder.before(after) : await named(from);
  if (to === undefined && before?.op === "hold") [before, after] = [after, before];
  const [a, b] = [before && (await finder.content(before)), await finder.content(after)];
  return { file, from: before ? side(before) : null, to: side(after), ...(await compare(file, a, b, { by, context })) };
}

/**
 * What changed between two JSON values, path by path.
 * @module
 */
import { diffTokens } from "./lines.ts";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

/**
 * One step from one value to the other. Steps are meant one after the other, as those of a JSON Patch (RFC 6902) are: a path is
 * the place in what the steps before it made.
 */
export type PathChange =
  | { readonly path: string; readonly op: "add"; readonly after: Json }
  | { readonly path: string; readonly op: "remove"; readonly before: Json }
  | { readonly path: string; readonly op: "change"; readonly before: Json; readonly after: Json };

/** Values that are nested deeper are not compared. */
const DEEPEST = 500;
/** More digits than a number keeps. */
const LONG_NUMBER = /\d{16}/;

function isDeep(value: Json): boolean {
  let level: readonly Json[] = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > DEEPEST) return true;
    level = level.flatMap((each) => (typeof each === "object" && each !== null ? Object.values(each) : []));
  }
  return false;
}

/** The value that a text is as JSON; undefined when it is none, or one whose differences could not be told for sure. */
export function jsonOf(text: string): Json | undefined {
  if (LONG_NUMBER.test(text)) return undefined;
  try {
    const value = JSON.parse(text.replace(/^\uFEFF/, "")) as Json;
    return isDeep(value) ? undefined : value;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

const isObject = (value: Json): value is { readonly [name: string]: Json } =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isList = (value: Json): value is readonly Json[] => Array.isArray(value);

/** The same text for the same value, whatever the order of names. */
const spelled = (value: Json): string =>
  JSON.stringify(value, (_, each: Json) =>
    isObject(each) ? Object.fromEntries(Object.entries(each).toSorted(([a], [b]) => (a < b ? -1 : 1))) : each,
  );

const step = (name: string | number) => `/${String(name).replaceAll("~", "~0").replaceAll("/", "~1")}`;

/** What changed from `a` to `b`, in steps. Lists that are too different to be compared within `timeoutMs` change element by element. */
export async function diffJson(a: Json, b: Json, timeoutMs = 500): Promise<PathChange[]> {
  const changes: PathChange[] = [];
  const compare = async (path: string, before: Json, after: Json): Promise<void> => {
    if (isObject(before) && isObject(after)) await compareObjects(path, before, after);
    else if (isList(before) && isList(after)) await compareLists(path, before, after);
    else if (spelled(before) !== spelled(after)) changes.push({ path, op: "change", before, after });
  };

  const compareObjects = async (path: string, before: { readonly [name: string]: Json }, after: typeof before) => {
    for (const [name, value] of Object.entries(before)) {
      const now = Object.hasOwn(after, name) ? after[name] : undefined;
      if (now === undefined) changes.push({ path: path + step(name), op: "remove", before: value });
      else await compare(path + step(name), value, now);
    }
    for (const [name, value] of Object.entries(after))
      if (!Object.hasOwn(before, name)) changes.push({ path: path + step(name), op: "add", after: value });
  };

  const compareLists = async (path: string, before: readonly Json[], after: readonly Json[]) => {
    const [from, to] = [before.map(spelled), after.map(spelled)];
    const runs = (await diffTokens(from, to, timeoutMs)) ?? [
      { kind: "removed", tokens: from },
      { kind: "added", tokens: to },
    ];
    let [i, j] = [0, 0];
    for (let at = 0; at < runs.length; at++) {
      const { kind, tokens } = runs[at] ?? { kind: "same", tokens: [] };
      if (kind === "same") {
        i += tokens.length;
        j += tokens.length;
        continue;
      }
      const next = kind === "removed" ? runs[at + 1] : undefined;
      const gone = kind === "removed" ? tokens.length : 0;
      const come = kind === "added" ? tokens.length : next?.kind === "added" ? next.tokens.length : 0;
      if (next?.kind === "added") at++;
      const both = Math.min(gone, come);
      // what stands in the place of another is that one changed
      for (let n = 0; n < both; n++) await compare(path + step(j + n), before[i + n] ?? null, after[j + n] ?? null);
      for (const value of before.slice(i + both, i + gone))
        changes.push({ path: path + step(j + both), op: "remove", before: value });
      for (let n = both; n < come; n++) changes.push({ path: path + step(j + n), op: "add", after: after[j + n] ?? null });
      i += gone;
      j += come;
    }
  };

  await compare("", a, b);
  return changes;
}

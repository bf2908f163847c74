/**
 * Partial answers: the `fields` parameter.
 * @module
 */
import { ApiError, type Json } from "./errors.ts";

/** Names that are wanted, each with what is wanted below it; an empty map below means all. */
export interface Mask extends Map<string, Mask> {}

const refuse = (name: string) => new ApiError(400, "invalidParameter", `Invalid field selection ${name}`, { location: "fields" });

export function parseFields(text: string): Mask {
  let at = 0;

  function name(): string {
    const [found] = /^[\w*.-]+/.exec(text.slice(at)) ?? [];
    if (found === undefined) throw refuse(text.slice(at) || text);
    at += found.length;
    return found;
  }
  const eat = (mark: string) => {
    if (text[at] !== mark) return false;
    at++;
    return true;
  };

  function list(into: Mask): Mask {
    do {
      let mask = into;
      do {
        const key = name();
        let below = mask.get(key);
        if (below === undefined) mask.set(key, (below = new Map()));
        mask = below;
      } while (eat("/"));
      if (eat("(")) {
        list(mask);
        if (!eat(")")) throw refuse(text);
      }
    } while (eat(","));
    return into;
  }

  text = text.replaceAll(/\s+/g, "");
  const mask = list(new Map());
  if (at < text.length) throw refuse(text.slice(at));
  return mask;
}

/** Refuses what no such resource has: a misspelt field must not look like an empty one. */
export function checkFields(mask: Mask, known: ReadonlySet<string>): void {
  for (const name of mask.keys()) if (name !== "*" && !known.has(name)) throw refuse(name);
}

/** Only what the mask wants. Getters of what it does not want are not run. */
export function applyMask(value: unknown, mask: Mask): unknown {
  if (mask.size === 0 || mask.has("*")) return value;
  if (Array.isArray(value)) return value.map((one: unknown) => applyMask(one, mask));
  if (typeof value !== "object" || value === null) return value;
  const picked: Json = {};
  for (const [name, below] of mask) {
    const found = (value as Json)[name];
    if (found !== undefined) picked[name] = applyMask(found, below);
  }
  return picked;
}

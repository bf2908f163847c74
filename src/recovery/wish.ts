/**
 * What callers in plain JavaScript hand in: a wish that is not understood must never pass for a wider one.
 * @module
 */
import { AftersaveError } from "../core/errors.ts";
import { nearestOf } from "../core/nearest.ts";

/** What a value must be, and how a message says it. */
interface Kind {
  readonly says: string;
  readonly is: (value: unknown) => boolean;
}

const isText = (value: unknown) => typeof value === "string";

export const TEXT: Kind = { says: "a text", is: isText };
export const YES_OR_NO: Kind = { says: "true or false", is: (value) => typeof value === "boolean" };
export const TEXTS: Kind = {
  says: "a list of texts, and not an empty one",
  is: (value) => Array.isArray(value) && value.length > 0 && value.every(isText),
};
export const TIME: Kind = {
  says: "a time such as 2026-04-13T18:00:00Z",
  is: (value) => (isText(value) || value instanceof Date) && !Number.isNaN(new Date(value).getTime()),
};

/** Throws `E_USAGE`, naming the nearest right field, for what is no object of these fields. `what` is said as "an undo". */
export function checkWish(
  what: string,
  wish: unknown,
  fields: Readonly<Record<string, Kind>>,
  needed: readonly string[] = [],
): void {
  const names = Object.keys(fields);
  const all = `There ${names.length === 1 ? "is" : "are"} ${names.join(", ").replace(/, (?=[^,]*$)/, " and ")}.`;
  const refused = (why: string, hint = all) => new AftersaveError("E_USAGE", why, { hint });
  if (typeof wish !== "object" || wish === null || Array.isArray(wish) || wish instanceof Date)
    throw refused(`${what} takes an object that says what is wished`);
  for (const [name, value] of Object.entries(wish)) {
    const kind = Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (!kind) {
      const near = nearestOf(name, names) ?? names.find((known) => known.startsWith(name));
      throw refused(`${what} has no field ${JSON.stringify(name)}`, near === undefined ? all : `Did you mean ${near}? ${all}`);
    }
    if (value !== undefined && !kind.is(value)) throw refused(`${name} of ${what} is not ${kind.says}`);
  }
  const missing = needed.find((name) => (wish as Readonly<Record<string, unknown>>)[name] === undefined);
  if (missing !== undefined) throw refused(`${what} needs ${missing}`);
}

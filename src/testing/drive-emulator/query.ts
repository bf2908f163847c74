/**
 * The `q` parameter of `files.list`. What is not understood is refused with 400: a condition must never hold by accident.
 * @module
 */
import { invalid } from "./errors.ts";

/** A file as the search index sees it; what the index does not know yet is `undefined`. */
export interface Indexed {
  readonly name: string | undefined;
  readonly text: string;
  readonly mimeType: string;
  readonly parents: readonly string[] | undefined;
  readonly owners: readonly string[];
  readonly writers: readonly string[];
  readonly trashed: boolean;
  readonly starred: boolean;
  readonly sharedWithMe: boolean;
  readonly modifiedTime: number;
  readonly createdTime: number;
  readonly viewedByMeTime: number;
  readonly properties: ReadonlyMap<string, string> | undefined;
  readonly appProperties: ReadonlyMap<string, string> | undefined;
  readonly shortcutTarget: string | undefined;
}

/** Whether a file is found; false also where the index lacks what was asked. */
export type Query = (file: Indexed) => boolean;

type Test = (file: Indexed) => boolean | undefined;
type Token = { readonly kind: "word" | "text" | "mark"; readonly value: string };

const refuse = (): Error => invalid("Invalid Value", "q");

function tokens(q: string): Token[] {
  const found: Token[] = [];
  const pattern = /\s+|([A-Za-z][\w.]*)|'((?:[^'\\]|\\.)*)'|(!=|<=|>=|[=<>(){}])/suy;
  while (pattern.lastIndex < q.length) {
    const match = pattern.exec(q);
    if (match === null) throw refuse();
    const [, word, text, mark] = match;
    if (word !== undefined) found.push({ kind: "word", value: word });
    else if (text !== undefined) found.push({ kind: "text", value: text.replaceAll(/\\(.)/gsu, "$1") });
    else if (mark !== undefined) found.push({ kind: "mark", value: mark });
  }
  return found;
}

const fold = (text: string) => text.normalize("NFC").toLowerCase();
const words = (text: string) => fold(text).match(/[\p{L}\p{N}]+/gu) ?? [];

const has =
  (value: string) =>
  (text: string): boolean => {
    const there = words(text);
    const wanted = words(value);
    return wanted.length > 0 && wanted.every((word) => there.some((one) => one.startsWith(word)));
  };

const equality = (operator: string, same: boolean): boolean => (operator === "=" ? same : !same);

function compare(operator: string, left: number, right: number): boolean {
  if (operator === "<") return left < right;
  if (operator === "<=") return left <= right;
  if (operator === ">") return left > right;
  if (operator === ">=") return left >= right;
  return equality(operator, left === right);
}

const TIMES: Readonly<Record<string, "modifiedTime" | "createdTime" | "viewedByMeTime">> = {
  modifiedTime: "modifiedTime",
  createdTime: "createdTime",
  viewedByMeTime: "viewedByMeTime",
};
/** Version 2 of the API has other names for the same terms. */
const V2_TERMS: Readonly<Record<string, string>> = {
  title: "name",
  modifiedDate: "modifiedTime",
  createdDate: "createdTime",
  lastViewedByMeDate: "viewedByMeTime",
};

/** `alias` turns `root` and `me` into what they stand for. */
export function parseQuery(q: string, alias: (value: string) => string, version: 2 | 3 = 3): Query {
  const list = tokens(q);
  let at = 0;

  const eat = (value: string, kind: Token["kind"] = "mark"): boolean => {
    const token = list[at];
    if (token?.kind !== kind || token.value !== value) return false;
    at++;
    return true;
  };
  const need = (ok: boolean): void => {
    if (!ok) throw refuse();
  };
  const take = (kind: Token["kind"]): string => {
    const token = list[at++];
    if (token?.kind !== kind) throw refuse();
    return token.value;
  };
  const operator = (...allowed: string[]): string => {
    const value = list[at++]?.value ?? "";
    need(allowed.includes(value));
    return value;
  };
  const yes = (): boolean => {
    const value = take("word");
    need(value === "true" || value === "false");
    return value === "true";
  };

  function membership(): Test {
    const value = alias(take("text"));
    need(eat("in", "word"));
    const term = take("word");
    if (term === "parents") return ({ parents }) => parents?.includes(value);
    const person = fold(value);
    if (term === "owners") return ({ owners }) => owners.includes(person);
    if (term === "writers" || term === "readers") return ({ writers }) => writers.includes(person);
    throw refuse();
  }

  function property(term: "properties" | "appProperties"): Test {
    need(eat("has", "word") && eat("{") && eat("key", "word") && eat("="));
    const key = take("text");
    need(eat("and", "word") && eat("value", "word") && eat("="));
    const value = take("text");
    let kind = term;
    if (version === 2 && eat("and", "word")) {
      need(eat("visibility", "word") && eat("="));
      const visibility = take("text");
      need(visibility === "PRIVATE" || visibility === "PUBLIC");
      if (visibility === "PRIVATE") kind = "appProperties";
    }
    need(eat("}"));
    return (file) => {
      const there = file[kind];
      return there && there.get(key) === value;
    };
  }

  function textual(term: "name" | "mimeType"): Test {
    const how = operator("=", "!=", "contains");
    const value = take("text");
    if (how !== "contains") {
      const wanted = fold(value);
      return (file) => {
        const there = file[term];
        return there === undefined ? undefined : equality(how, fold(there) === wanted);
      };
    }
    if (term === "mimeType") return ({ mimeType }) => fold(mimeType).startsWith(fold(value));
    const matches = has(value);
    return ({ name }) => (name === undefined ? undefined : matches(name));
  }

  function condition(): Test {
    if (list[at]?.kind === "text") return membership();
    const word = take("word");
    const term = version === 2 ? (V2_TERMS[word] ?? (word in TIMES || word === "name" ? "" : word)) : word;
    if (term === "name" || term === "mimeType") return textual(term);
    if (term === "properties" || (term === "appProperties" && version === 3)) return property(term);
    if (term === "trashed" || term === "starred" || term === "sharedWithMe") {
      const how = operator("=", "!=");
      const value = yes();
      return (file) => equality(how, file[term] === value);
    }
    if (term === "fullText") {
      need(eat("contains", "word"));
      const matches = has(take("text"));
      return ({ text, name }) => matches(`${name ?? ""} ${text}`);
    }
    if (term === "visibility") {
      const how = operator("=", "!=");
      const value = take("text");
      need(["anyoneCanFind", "anyoneWithLink", "domainCanFind", "domainWithLink", "limited"].includes(value));
      return () => equality(how, value === "limited");
    }
    if (term === "shortcutDetails.targetId") {
      const how = operator("=", "!=");
      const value = take("text");
      return ({ shortcutTarget }) => equality(how, shortcutTarget === value);
    }
    const time = TIMES[term];
    if (time === undefined) throw refuse();
    const how = operator("=", "!=", "<", "<=", ">", ">=");
    const text = take("text");
    const value = Date.parse(/[zZ]$|[+-]\d\d:?\d\d$/.test(text) || !text.includes("T") ? text : `${text}Z`);
    need(/^\d{4}-\d\d-\d\d/.test(text) && !Number.isNaN(value));
    return (file) => compare(how, file[time], value);
  }

  function unary(): Test {
    if (eat("not", "word")) {
      const inner = unary();
      return (file) => {
        const found = inner(file);
        return found === undefined ? undefined : !found;
      };
    }
    if (!eat("(")) return condition();
    const inner = either();
    need(eat(")"));
    return inner;
  }

  /** `and` and `or` bind alike, from left to right. */
  function either(): Test {
    let left = unary();
    for (;;) {
      const before = left;
      if (eat("and", "word")) {
        const right = unary();
        left = (file) => {
          const found = before(file);
          return found === true ? right(file) : found;
        };
      } else if (eat("or", "word")) {
        const right = unary();
        left = (file) => before(file) === true || right(file);
      } else return left;
    }
  }

  const test = either();
  need(at === list.length);
  return (file) => test(file) === true;
}

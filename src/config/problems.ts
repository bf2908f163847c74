/**
 * What is wrong with a configuration, said so that a person can put it right: where, what was expected, what was found.
 * @module
 */
import type { z } from "zod";
import { AftersaveError, type ErrorCode } from "../core/errors.ts";
import { nearestOf } from "../core/nearest.ts";

export interface Problem {
  readonly code: ErrorCode;
  /** Where in the file, e.g. `targets.drive.enabled` or `routes[1].match`. */
  readonly path: string;
  readonly expected: string;
  readonly found: string;
  /** The known word that was probably meant. */
  readonly nearest?: string | undefined;
}

/** A place in the file as people read it. */
export function placeOf(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, part) => (typeof part === "number" ? `${text}[${part}]` : `${text}${text && "."}${String(part)}`),
    "",
  );
}

/** A value as a message may show it: short, on one line, without the user and password of an address. */
export function show(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "an object";
  const text = JSON.stringify(value).replace(/\/\/[^/@]*@/, "//[redacted]@");
  return text.length > 80 ? `${text.slice(0, 77)}…"` : text;
}

const kinds: Record<string, string> = {
  string: "text in double quotes",
  boolean: "true or false",
  number: "a number",
  int: "a whole number",
  array: "a list in [ ]",
  object: "an object in { }",
  record: "an object in { }",
};

const either = (words: readonly unknown[]) => words.map((word) => JSON.stringify(word)).join(" or ");

/** What zod missed, in our words. Used as the error map of a parse, so that each issue's message says what was expected. */
export function expectation(issue: z.core.$ZodRawIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return kinds[issue.expected] ?? issue.expected;
    case "invalid_value":
      return either(issue.values);
    case "too_small":
      return issue.origin === "array"
        ? "a list that is not empty"
        : issue.origin === "string"
          ? "text that is not empty"
          : `at least ${issue.minimum}`;
    case "too_big":
      return issue.origin === "string" ? `at most ${issue.maximum} characters` : `at most ${issue.maximum}`;
    default:
      return "another value";
  }
}

type Node = z.core.$ZodType & { def: Record<string, unknown>; shape?: Record<string, Node> };

/** The keys that the schema knows at a place of the file; unions are settled by the type that stands in the data. */
function knownKeys(schema: z.ZodType, path: readonly PropertyKey[], data: unknown): string[] {
  let node = schema as unknown as Node;
  let at = data;
  const settle = () => {
    for (;;) {
      const options = node.def.options as Node[] | undefined;
      const type = (at as { type?: unknown } | null)?.type;
      const inner = options
        ? (options.find((option) => (option.shape?.type?.def.values as unknown[] | undefined)?.includes(type)) ??
          (typeof at === "object" ? options.find((option) => option.shape ?? option.def.valueType) : undefined))
        : (node.def.innerType as Node | undefined);
      if (!inner) return;
      node = inner;
    }
  };
  settle();
  for (const part of path) {
    const next = node.shape?.[String(part)] ?? (node.def.valueType as Node | undefined) ?? (node.def.element as Node | undefined);
    if (!next) return [];
    node = next;
    at = valueAt(at, [part]);
    settle();
  }
  return Object.keys(node.shape ?? {});
}

function valueAt(data: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (at, part) =>
      typeof at === "object" && at !== null && Object.hasOwn(at, part) ? (at as Record<PropertyKey, unknown>)[part] : undefined,
    data,
  );
}

/** The problems behind zod's issues, each with what stands in `data`. */
export function problemsOf(issues: readonly z.core.$ZodIssue[], schema: z.ZodType, data: unknown): Problem[] {
  return issues.flatMap((issue): Problem[] => {
    const path = placeOf(issue.path);
    const value = valueAt(data, issue.path);
    if (issue.code === "unrecognized_keys") {
      const known = knownKeys(schema, issue.path, data);
      return issue.keys.map((key) => ({
        code: "E_CONFIG",
        path: placeOf([...issue.path, key]),
        expected: "a known key",
        found: "an unknown one",
        nearest: nearestOf(key, known),
      }));
    }
    if (issue.code === "invalid_key")
      return [
        { code: "E_CONFIG", path, expected: issue.issues[0]?.message ?? issue.message, found: show(String(issue.path.at(-1))) },
      ];
    if (issue.code === "invalid_union" && issue.discriminator === "type") {
      const types = (issue as { options?: string[] }).options ?? [];
      const nearest = typeof value === "string" ? nearestOf(value, types) : undefined;
      return [
        {
          code: value === undefined ? "E_CONFIG" : "E_TARGET_TYPE",
          path,
          expected: `a type of target (${types.join(", ")})`,
          found: show(value),
          nearest,
        },
      ];
    }
    if (issue.code === "invalid_union") {
      // The variant that fits the value's shape says most: an object is judged as an object, anything else by the union's own words.
      const deepest = issue.errors
        .map((nested) => nested.filter((n) => n.path.length > 0 || n.code === "unrecognized_keys"))
        .find((nested) => nested.length > 0);
      if (deepest)
        return problemsOf(
          deepest.map((n) => ({ ...n, path: [...issue.path, ...n.path] })),
          schema,
          data,
        );
      const expected =
        issue.message === "another value" ? [...new Set(issue.errors.flat().map((n) => n.message))].join(", or ") : issue.message;
      const words = issue.errors.flat().map((n) => nearestValue(n, value).nearest);
      return [{ code: "E_CONFIG", path, expected, found: show(value), nearest: words.find((word) => word !== undefined) }];
    }
    return [{ code: "E_CONFIG", path, expected: issue.message, found: show(value), ...nearestValue(issue, value) }];
  });
}

function nearestValue(issue: z.core.$ZodIssue, value: unknown): { nearest?: string | undefined } {
  if (issue.code !== "invalid_value" || typeof value !== "string") return {};
  return {
    nearest: nearestOf(
      value,
      issue.values.filter((v) => typeof v === "string"),
    ),
  };
}

const hints: Partial<Record<ErrorCode, string>> = {
  E_CONFIG_UNSUPPORTED: "Take it out, or wait for a version that can do it; aftersave does not pretend to protect.",
  E_LOG_PLACE: "Name a file inside a folder that can be written, for example logs/upload_log.json.",
  E_STATE_PLACE: 'Set "state_dir" to a folder on this machine\'s own disk, for example "~/.local/state/aftersave/<name>".',
};

/** The error that lists all `problems` of `file`. Its code is theirs if they share one, else `E_CONFIG`. */
export function configError(problems: readonly Problem[], file: string): AftersaveError {
  const [first] = problems;
  const code = first && problems.every((problem) => problem.code === first.code) ? first.code : "E_CONFIG";
  const lines = problems.map(({ path, expected, found, nearest }) => {
    const meant = nearest === undefined ? "" : `; did you mean ${JSON.stringify(nearest)}?`;
    return `${path || "the whole file"}: expected ${expected}, found ${found}${meant}`;
  });
  const message = lines.length === 1 ? `${file}: ${lines[0]}` : `${file} has ${lines.length} problems:\n  ${lines.join("\n  ")}`;
  const hint = hints[code] ?? "Correct the file; docs/paths-json.md explains every key.";
  return new AftersaveError(code, message, { hint, details: { problems } });
}

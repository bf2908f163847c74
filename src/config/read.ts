/**
 * From the bytes of `paths.json` to plain data: JSON, or JSON with comments and trailing commas.
 * @module
 */
import type { ParseError } from "jsonc-parser";
import { AftersaveError } from "../core/errors.ts";
import type { Problem } from "./problems.ts";
import { placeOf, show } from "./problems.ts";

/** How deep a configuration may nest; far beyond what any key needs. */
const DEEPEST = 32;

const expected: Record<string, string> = {
  InvalidSymbol: "a value: text in double quotes, a number, true, false, null, { or [",
  InvalidNumberFormat: "a number",
  PropertyNameExpected: "a key in double quotes",
  ValueExpected: "a value",
  ColonExpected: "a colon",
  CommaExpected: "a comma",
  CloseBraceExpected: "a closing }",
  CloseBracketExpected: "a closing ]",
  EndOfFileExpected: "the end of the file",
  InvalidCommentToken: "// or /*",
  UnexpectedEndOfComment: "the comment's closing */",
  UnexpectedEndOfString: "a closing double quote on the same line",
  UnexpectedEndOfNumber: "the rest of the number",
  InvalidUnicode: "four hex digits after \\u",
  InvalidEscapeCharacter: 'one of \\" \\\\ \\/ \\b \\f \\n \\r \\t \\u after the backslash',
  InvalidCharacter: "a control character written as an escape such as \\n",
};

const syntax = (message: string, hint: string, details = {}, cause?: unknown) =>
  new AftersaveError("E_CONFIG_SYNTAX", message, { hint, details, cause });

function decode(bytes: Uint8Array, file: string): string {
  const [first, second] = bytes;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff))
    throw syntax(`${file} is UTF-16, expected UTF-8`, "Save the file again as UTF-8.");
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw syntax(`${file} is not valid UTF-8`, "Save the file again as UTF-8.", {}, cause);
  }
}

/** The data in `bytes`, and whether it took more than strict JSON. Throws `E_CONFIG_SYNTAX` with line and column. */
export async function readData(bytes: Uint8Array, file: string): Promise<{ data: unknown; lenient: boolean }> {
  const text = decode(bytes, file);
  try {
    return { data: JSON.parse(text), lenient: false };
  } catch (cause) {
    const { parse, printParseErrorCode } = await import("jsonc-parser");
    const errors: ParseError[] = [];
    let data: unknown;
    try {
      data = parse(text, errors, { allowTrailingComma: true });
    } catch {
      throw syntax(`${file} is nested too deeply`, "Remove the stray brackets.", {}, cause);
    }
    const first = errors[0];
    if (!first) return { data, lenient: true };
    const before = text.slice(0, first.offset).split(/\r\n|\r|\n/);
    const [line, column] = [before.length, (before.at(-1)?.length ?? 0) + 1];
    const wanted = expected[printParseErrorCode(first.error)] ?? "valid JSON";
    const hint = `Correct line ${line}; comments and a trailing comma are fine.`;
    throw syntax(
      `${file} is not valid JSON: line ${line}, column ${column}: expected ${wanted}`,
      hint,
      { line, column, expected: wanted },
      cause,
    );
  }
}

/** `data` without its comments (a text under the key `//` in any object). A comment that is no text joins `problems`. */
export function withoutComments(data: unknown, problems: Problem[], path: readonly PropertyKey[] = []): unknown {
  if (typeof data !== "object" || data === null || path.length > DEEPEST) return data;
  if (Array.isArray(data)) return data.map((item, i) => withoutComments(item, problems, [...path, i]));
  const entries = Object.entries(data).filter(([key, value]) => {
    if (key !== "//") return true;
    if (typeof value !== "string")
      problems.push({
        code: "E_CONFIG",
        path: placeOf([...path, key]),
        expected: "a comment: text in double quotes",
        found: show(value),
      });
    return false;
  });
  return Object.fromEntries(entries.map(([key, value]) => [key, withoutComments(value, problems, [...path, key])]));
}

/**
 * The content of a save: a text, a file, or stdin. Bytes in, bytes out.
 * @module
 */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { AftersaveError, asAftersaveError, type Body } from "../index.ts";

export interface ContentOptions {
  readonly file?: string;
}

/** The one content that was given; throws `E_USAGE` when there is none, or more than one. */
export async function contentOf(text: string | undefined, { file }: ContentOptions): Promise<Body> {
  if ((text === undefined) === (file === undefined))
    throw new AftersaveError("E_USAGE", text === undefined ? "no content was given" : "content was given twice", {
      hint: "Give one of: the text itself, --file FILE, or - to read stdin.",
    });
  const given = text ?? file ?? "";
  if (text !== undefined && !text.isWellFormed())
    throw new AftersaveError("E_USAGE", "the text is not valid Unicode: half of a surrogate pair", {
      hint: "Correct the text, or give bytes with --file FILE or on stdin.",
    });
  if (given === "-") return process.stdin;
  return file === undefined ? given : fileContent(file);
}

async function fileContent(file: string): Promise<Body> {
  const path = resolve(file);
  const stats = await stat(path).catch((error: unknown) => {
    throw asAftersaveError(error, `reading the content from ${file}`);
  });
  if (stats.isDirectory())
    throw new AftersaveError("E_KEY_FOLDER", `${file} is a folder`, { hint: "--file takes a file that holds the content." });
  return stats.isFile() ? { path } : createReadStream(path);
}

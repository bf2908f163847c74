/**
 * The content of a save: a text, a file, or stdin. Bytes in, bytes out.
 * @module
 */
import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { AftersaveError, type Body } from "../index.ts";

export interface ContentOptions {
  readonly file?: string;
}

const IN_MEMORY = 8 << 20;

/** Runs `use` with the one content that was given; throws `E_USAGE` when there is none, or more than one. */
export async function withContent<T>(
  text: string | undefined,
  { file }: ContentOptions,
  use: (body: Body) => Promise<T>,
): Promise<T> {
  if ((text === undefined) === (file === undefined))
    throw new AftersaveError("E_USAGE", text === undefined ? "no content was given" : "content was given twice", {
      hint: "Give one of: the text itself, --file FILE, or - to read stdin.",
    });
  if (file !== undefined && file !== "-") return withFile(file, use);
  return text === "-" || file === "-" ? withStream(process.stdin, use) : use(text ?? "");
}

async function withFile<T>(file: string, use: (body: Body) => Promise<T>): Promise<T> {
  const path = resolve(file);
  const stats = await stat(path);
  if (stats.isDirectory())
    throw new AftersaveError("E_KEY_FOLDER", `${file} is a folder`, { hint: "--file takes a file that holds the content." });
  return stats.isFile() ? use({ path }) : withStream(createReadStream(path), use);
}

/** A stream can be read once, but a save may have to begin again: what is large goes into a temporary file first. */
async function withStream<T>(stream: AsyncIterable<Buffer>, use: (body: Body) => Promise<T>): Promise<T> {
  const pieces: Buffer[] = [];
  let size = 0;
  const rest = stream[Symbol.asyncIterator]();
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) {
    pieces.push(next.value);
    size += next.value.length;
    if (size > IN_MEMORY) break;
  }
  if (size <= IN_MEMORY) return use(Buffer.concat(pieces));
  const folder = await mkdtemp(join(tmpdir(), "aftersave-"));
  try {
    const path = join(folder, "stdin");
    const all = async function* () {
      yield* pieces.splice(0);
      yield* { [Symbol.asyncIterator]: () => rest };
    };
    await pipeline(Readable.from(all()), createWriteStream(path, { mode: 0o600 }));
    return await use({ path });
  } finally {
    await rm(folder, { recursive: true });
  }
}

/**
 * `aftersave show KEY[@VERSION]`.
 * @module
 */
import { isUtf8 } from "node:buffer";
import type { Command } from "commander";
import { AftersaveError, type Shown } from "../../index.ts";
import { exits, type Cli } from "../cli.ts";
import { pour } from "../pour.ts";
import { noteTime, pastTimeOf } from "../times.ts";
import { versionOf } from "../version-of.ts";
import { bytes } from "../words.ts";

interface Flags {
  readonly at?: string;
}

/** Content that is longer does not fit into one JSON document. */
const MAX_JSON = 64 << 20;

export function define(command: Command, cli: Cli): void {
  exits(
    command
      .description(
        "Writes what a memory file holds, as last accepted, to stdout, byte for byte; with a version or a time, what it held then.",
      )
      .argument(
        "<KEY[@VERSION]>",
        "key or path; the version as an id, its last four or more characters, or -N: the Nth before now",
      )
      .option("--at <time>", 'what it held at that time: ISO 8601, "2h ago", or yesterday (a day is its beginning)'),
    {
      0: "done",
      1: "it holds or held nothing, or the content is kept nowhere any more",
      2: "wrong usage, key or version; or a terminal, and content that is no text",
    },
  ).action(async (text: string, { at }: Flags) => {
    const time = at === undefined ? undefined : await pastTimeOf(at, "--at");
    const memory = await cli.memory();
    const { key, version } = versionOf(memory, text, cli.out.note);
    noteTime(cli.out, "--at", time);
    const shown = await memory.show(key, { version, at: time });
    if (cli.out.json) cli.out.answer({ ...(await documentOf(shown)), ...(time && { at: time.toISOString() }) }, () => "");
    else {
      if (process.stdout.isTTY) await checkPrintable(shown);
      await pour(shown.open(), cli.out);
    }
    if (shown.redacted) cli.out.note(`note: something was erased from the version ${shown.version.version} of ${key}`);
  });
}

async function documentOf({ file, version, sha256, size, redacted, open }: Shown): Promise<Readonly<Record<string, unknown>>> {
  if (size > MAX_JSON)
    throw new AftersaveError("E_USAGE", `${file} held ${bytes(size)}, too much for one JSON document`, {
      hint: "Without --json it is written to stdout as it is, whatever its length.",
    });
  const pieces: Uint8Array[] = [];
  for await (const piece of open()) pieces.push(piece);
  const all = Buffer.concat(pieces);
  return {
    file,
    version: version.version,
    op: version.op,
    timestamp: version.timestamp,
    sha256,
    size,
    ...(isUtf8(all) ? { content: all.toString("utf8") } : { content_base64: all.toString("base64") }),
    redacted,
  };
}

// eslint-disable-next-line no-control-regex -- control characters are what is looked for
const control = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/;

/** Refuses what would write to the terminal's own control, or as nothing that people can read. */
async function checkPrintable({ file, size, open }: Shown): Promise<void> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const refused = (cause?: unknown) =>
    new AftersaveError("E_USAGE", `${file} (${bytes(size)}) is no plain text, and stdout is a terminal`, {
      hint: `Send it to a file: \`aftersave show ${file} > FILE\`; or use --json.`,
      ...(cause === undefined ? {} : { cause }),
    });
  try {
    for await (const piece of open())
      if (control.test(decoder.decode(piece, { stream: true }).replaceAll("\r\n", "\n"))) throw refused();
    decoder.decode();
  } catch (error) {
    throw error instanceof TypeError ? refused(error) : error;
  }
}

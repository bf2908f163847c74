/**
 * `aftersave ingest`: save events in, one reply line each out.
 * @module
 */
import type { Command } from "commander";
import { asAftersaveError, EXIT, type Memory } from "../../index.ts";
import { uploadInBackground } from "../background.ts";
import { exits, type Cli } from "../cli.ts";
import { errorDocument } from "../report.ts";
import { plural } from "../words.ts";

export function define(command: Command, cli: Cli): void {
  exits(
    command
      .description(
        "Reads save events as JSON Lines on stdin and answers one line each, in order: a receipt, or an error. " +
          "A bad line does not stop the others.",
      )
      .option("--llama", "read the events from llama_output_path instead; what was taken before is not taken again")
      .addHelpText(
        "after",
        '\nAn event: {"op": "append", "file": "Meta/Notes.txt", "content": "a line\\n", "chat_name": "…", "tags": ["…"]}\n' +
          "With no content it says that the file was already saved by someone else (post-save hook).",
      ),
    {
      0: "every event was taken",
      1: "none was taken",
      2: "none was taken: wrong keys, usage or configuration",
      3: "some were taken, some were not",
    },
  ).action(async ({ llama }: { llama?: boolean }) => {
    const memory = await cli.memory();
    const counts = await (llama === true ? fromLlama(memory, cli) : fromStdin(memory, cli));
    if (counts.taken > 0) await uploadInBackground(cli, memory);
    const { taken, failed } = counts;
    if (!cli.out.json) cli.out.note(`${plural(taken, "event")} taken${failed.length > 0 ? `, ${failed.length} not taken` : ""}`);
    if (failed.length > 0) cli.exit = taken > 0 ? EXIT.partly : Math.max(...new Set(failed));
  });
}

interface Counts {
  taken: number;
  /** Exit codes of what could not be taken. */
  readonly failed: number[];
}

/** Takes one event and replies; answers whether it was taken. */
async function reply(memory: Memory, cli: Cli, line: number, value: () => unknown, counts: Counts): Promise<boolean> {
  const { idOf, take } = await import("../events.ts");
  let id: { id?: string | number } = {};
  try {
    const event = value();
    id = idOf(event);
    await cli.out.line({ line, ...id, ...(await take(memory, event)) });
    counts.taken++;
    return true;
  } catch (error) {
    const known = asAftersaveError(error, `taking line ${line}`);
    await cli.out.line({ line, ...id, error: errorDocument(known) });
    counts.failed.push(known.exit);
    return false;
  }
}

async function fromStdin(memory: Memory, cli: Cli): Promise<Counts> {
  const [{ linesOf }, { parseLine }] = await Promise.all([import("../lines.ts"), import("../events.ts")]);
  const counts: Counts = { taken: 0, failed: [] };
  for await (const { line, text, fault } of linesOf(process.stdin)) {
    const value = () => {
      if (fault) throw fault;
      return parseLine(text);
    };
    await reply(memory, cli, line, value, counts);
  }
  return counts;
}

async function fromLlama(memory: Memory, cli: Cli): Promise<Counts> {
  const [{ leftOf, readEvents }, { parseLine }] = await Promise.all([import("../llama.ts"), import("../events.ts")]);
  const counts: Counts = { taken: 0, failed: [] };
  const path = memory.config.llamaOutput;
  const events = await readEvents(path);
  const left = await leftOf(memory, events);
  if (left.another) cli.out.note(`${path} is not the file that was read the last time: all of it is taken`);
  else if (left.before > 0) cli.out.note(`taken before from ${path}: ${plural(left.before, "event")}`);
  for (const place of left.places) {
    const { line, text, fault } = events[place] ?? { line: 0, text: "" };
    const value = () => {
      if (fault) throw fault;
      return parseLine(text);
    };
    left.done(place, await reply(memory, cli, line, value, counts));
    await left.keep();
  }
  return counts;
}

/**
 * `aftersave replace KEY [TEXT]`.
 * @module
 */
import type { Command } from "commander";
import { pathOf, type Cli } from "../cli.ts";
import { contentOf } from "../content.ts";
import { metaOf } from "../meta.ts";
import { accepted, asSave, saveOptions, type SaveFlags } from "../save.ts";

export function define(command: Command, cli: Cli): void {
  asSave(
    command
      .description("Makes content the whole of a memory file. What was there before is kept in the archive.")
      .argument("<KEY>", "the memory file: its key (Meta/Notes.txt) or its path")
      .argument("[TEXT]", "the content, taken as it is: a line end is not added; - reads stdin")
      .option("--file <path>", "take the content from this file")
      .option("--merge", "where the file holds another content than --if-sha256 by now, bring both together by line"),
  ).action(async (key: string, text: string | undefined, flags: SaveFlags) => {
    const options = saveOptions(flags);
    const body = await contentOf(text, flags);
    const memory = await cli.memory();
    const receipt = await memory.replace(pathOf(memory, key), body, metaOf(flags), options);
    await accepted(cli, memory, receipt, flags);
  });
}

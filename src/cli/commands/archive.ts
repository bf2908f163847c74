/**
 * `aftersave archive KEY`.
 * @module
 */
import type { Command } from "commander";
import { pathOf, type Cli } from "../cli.ts";
import { metaOf } from "../meta.ts";
import { accepted, asSave, saveOptions, type SaveFlags } from "../save.ts";

export function define(command: Command, cli: Cli): void {
  asSave(
    command
      .description("Moves a memory file to the archive. A later save to its key starts afresh.")
      .argument("<KEY>", "the memory file: its key (Meta/Notes.txt) or its path"),
  ).action(async (key: string, flags: SaveFlags) => {
    const options = saveOptions(flags);
    const memory = await cli.memory();
    const receipt = await memory.archive(pathOf(memory, key), metaOf(flags), options);
    await accepted(cli, memory, receipt, flags);
  });
}

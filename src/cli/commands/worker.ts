/**
 * `aftersave worker`: the background process that a save starts. Ends when there is nothing left that is due.
 * @module
 */
import type { Command } from "commander";
import type { Cli } from "../cli.ts";

export function define(command: Command, cli: Cli): void {
  command.description("Uploads what is due, as the only worker of this memory root, and ends.").action(async () => {
    const memory = await cli.memory();
    const worked = await memory.work();
    cli.out.answer({ worked }, () => (worked ? "nothing is due any more" : "another worker is at it"));
  });
}

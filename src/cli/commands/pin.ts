/**
 * `aftersave pin VERSION [--remove]`.
 * @module
 */
import type { Command } from "commander";
import type { Pinned } from "../../index.ts";
import { uploadInBackground } from "../background.ts";
import { exits, type Cli } from "../cli.ts";
import { metaOf, withMeta, type MetaOptions } from "../meta.ts";
import { printable, shortened } from "../short.ts";
import { localTime } from "../words.ts";

interface Flags extends MetaOptions {
  readonly remove?: boolean;
}

export function define(command: Command, cli: Cli): void {
  exits(
    withMeta(
      command
        .description("Pins a version: `prune` keeps it, here and on every target, whatever the rules say.")
        .argument("<VERSION>", "its id or the end of it, or KEY@VERSION; KEY@-1 is the one before what KEY holds now")
        .option("--remove", "take the pin back"),
    ),
    { 0: "done, or it was so already", 1: "failed", 2: "wrong usage or configuration, or no such version" },
  ).action(async (version: string, flags: Flags) => {
    const memory = await cli.memory();
    const pinned = await memory[flags.remove === true ? "unpin" : "pin"](version, metaOf(flags));
    if (pinned.changed) await uploadInBackground(cli, memory);
    cli.out.answer(pinned, () => say(pinned));
  });
}

function say({ version, file, timestamp, pinned, changed, guarded }: Pinned): string {
  const what = `${printable(file)}@${shortened([version])(version)} of ${localTime(timestamp)}`;
  const state = pinned ? "pinned" : "not pinned";
  const stays = guarded ? "; `prune` keeps it all the same: it is the version before an alarm of the guard" : "";
  return `${what} ${changed ? (pinned ? "is pinned now" : "is not pinned any more") : `was ${state} already`}${stays}`;
}

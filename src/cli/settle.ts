/**
 * What `accept` and `reject` share.
 * @module
 */
import type { Command } from "commander";
import type { Settled } from "../index.ts";
import { uploadInBackground } from "./background.ts";
import { exits, type Cli } from "./cli.ts";
import { metaOf, withMeta, type MetaOptions } from "./meta.ts";
import { plural, sayReceipt } from "./words.ts";

interface Flags extends MetaOptions {
  readonly anyway?: boolean;
}

export function defineSettling(command: Command, cli: Cli, op: "accept" | "reject", description: string): void {
  exits(
    withMeta(
      command
        .description(description)
        .argument("<VERSION>", "the version that is held: its id or the end of it (`aftersave history --held` lists them)")
        .option("--anyway", "also where the file was saved since and both cannot be brought together; that is archived"),
    ),
    {
      0: "done, or it was decided so before",
      1: "failed, for instance because the file was saved since",
      2: "wrong usage or configuration, no such version, or it was decided otherwise",
    },
  ).action(async (version: string, flags: Flags) => {
    const memory = await cli.memory();
    const settled = await memory[op](version, metaOf(flags), { anyway: flags.anyway === true });
    if (!settled.already) await uploadInBackground(cli, memory);
    cli.out.answer(settled, () => say(settled, cli));
  });
}

function say({ version, file, decision, already, merged, receipt, waiting }: Settled, { out }: Cli): string {
  const what = `${decision} ${out.paint("bold", version)} of ${file}`;
  if (already) return `was ${what} before`;
  return [
    merged ? `${what}, brought together with what was saved since` : what,
    ...(receipt
      ? [sayReceipt(receipt, out.paint)]
      : [decision === "accepted" ? "The file holds it already." : "The file was not changed."]),
    ...(waiting.length > 0
      ? [`${plural(waiting.length, "more version")} of it ${waiting.length === 1 ? "waits" : "wait"}: ${waiting.join(", ")}`]
      : []),
  ].join("\n");
}

/**
 * `aftersave sweep`: looks for changes made by others.
 * @module
 */
import type { Command } from "commander";
import { EXIT } from "../../index.ts";
import { uploadInBackground } from "../background.ts";
import { exits, type Cli } from "../cli.ts";
import { isHeld } from "../save.ts";
import { plural, sayReceipt } from "../words.ts";

export function define(command: Command, cli: Cli): void {
  exits(
    command.description(
      "Looks at every memory file for changes that others made past aftersave, and versions them as `external`. " +
        "What was there before is kept in the archive.",
    ),
    {
      0: "done",
      1: "failed",
      2: "wrong usage or configuration",
      3: "some files could not be taken; they are listed",
      5: "what was found is held: a person must decide",
    },
  ).action(async () => {
    const memory = await cli.memory();
    const { checked, changed, refused } = await memory.sweep();
    const reasons = refused.map(({ path, error }) => ({
      path,
      code: error.code,
      message: error.message,
      hint: error.hint ?? null,
    }));
    if (changed.length > 0) await uploadInBackground(cli, memory);
    const said = (receipts: typeof changed) => receipts.map((receipt) => sayReceipt(receipt, cli.out.paint));
    const held = await Promise.all(changed.map((receipt) => isHeld(memory, receipt)));
    const bad = reasons.map(({ path, message, hint }) =>
      `${cli.out.paint("red", "refused")} ${path}: ${message}. ${hint ?? ""}`.trimEnd(),
    );
    cli.out.answer(
      { checked, changed, refused: reasons },
      () =>
        [
          ...said(changed),
          ...bad,
          `looked at ${plural(checked, "file")}: ${changed.length} changed` + (bad.length > 0 ? `, ${bad.length} refused` : ""),
        ].join("\n"),
      () => [...said(changed.filter(({ alarms, warnings }) => alarms.length + warnings.length > 0)), ...bad].join("\n"),
    );
    cli.exit = refused.length > 0 ? EXIT.partly : held.includes(true) ? EXIT.undecided : EXIT.ok;
  });
}

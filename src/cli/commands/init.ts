/**
 * `aftersave init [DIR]`.
 * @module
 */
import { relative } from "node:path";
import type { Command } from "commander";
import { initRoot } from "../../config/init.ts";
import { AftersaveError } from "../../index.ts";
import { exits, type Cli } from "../cli.ts";

export function define(command: Command, cli: Cli): void {
  exits(
    command
      .description("Makes a folder a memory root: paths.json, Data/Core, Data/Meta, logs/. Changes nothing that exists.")
      .argument("[DIR]", "the folder; the current one by default"),
    { 0: "done, or it was a memory root already", 1: "failed", 2: "a paths.json that is there cannot be used" },
  ).action(async (folder: string | undefined) => {
    if (folder !== undefined && cli.root !== undefined)
      throw new AftersaveError("E_USAGE", "the folder was given twice", { hint: "Give DIR or --root, not both." });
    const made = await initRoot(folder ?? cli.root ?? ".");
    cli.out.answer(made, () => {
      const { root, created, kept } = made;
      const way = relative(process.cwd(), root);
      const here = way.startsWith("..") ? root : way;
      const at = here === "" ? "" : ` --root ${/^[\w./-]+$/.test(here) ? here : JSON.stringify(here)}`;
      return [
        created.length === 0 ? `${root} is a memory root already; nothing was changed.` : `${root} is a memory root now.`,
        ...(created.length > 0 ? [`  made: ${created.join(", ")}`] : []),
        ...(created.length > 0 && kept.length > 0 ? [`  left as they are: ${kept.join(", ")}`] : []),
        "Next:",
        `  aftersave${at} append Meta/Notes.txt "a first note"`,
        `  aftersave${at} status`,
      ].join("\n");
    });
  });
}

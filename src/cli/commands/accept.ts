/**
 * `aftersave accept VERSION`.
 * @module
 */
import type { Command } from "commander";
import type { Cli } from "../cli.ts";
import { defineSettling } from "../settle.ts";

export function define(command: Command, cli: Cli): void {
  defineSettling(
    command,
    cli,
    "accept",
    "Lets a version be that the guard holds: one that was kept aside becomes what the file holds, one that stands in the file " +
      "goes to the targets.",
  );
}

/**
 * `aftersave reject VERSION`.
 * @module
 */
import type { Command } from "commander";
import type { Cli } from "../cli.ts";
import { defineSettling } from "../settle.ts";

export function define(command: Command, cli: Cli): void {
  defineSettling(
    command,
    cli,
    "reject",
    "Turns a version down that the guard holds: the file stays as it is, or gets back what it held before. The version itself " +
      "stays in the history.",
  );
}

/**
 * What every command gets: the global options, the output, and the memory when it asks for it.
 * @module
 */
import { join } from "node:path";
import type { Command } from "commander";
import type { Memory } from "../index.ts";
import type { Output } from "./output.ts";

export interface Cli {
  /** `--root`, as it was given. */
  readonly root: string | undefined;
  readonly debug: boolean;
  /** The file that runs as `aftersave`, to start the background worker from. */
  readonly program: string;
  readonly out: Output;
  /** Opens the memory root, once; it is closed when the command ends. */
  memory(options?: { rebuild?: boolean }): Promise<Memory>;
  /** Aborts at the first Ctrl-C; the second one ends the process at once. */
  interrupted(): AbortSignal;
  /** What the answer has told already: a notice that begins so is not told again. */
  readonly told: string[];
  /** What the process will exit with. */
  exit: number;
}

/** One command: what it takes, and in its action what it does. */
export interface CommandModule {
  define(command: Command, cli: Cli): void;
}

/** The absolute path of the memory file that `text` means; throws `E_KEY_…`, touching nothing. The one form that no cwd can change. */
export const pathOf = (memory: Memory, text: string): string => join(memory.config.dataDir, memory.checkedKeyOf(text));

/** The exit codes of a command, for its `--help`. */
export function exits(command: Command, codes: Readonly<Record<number, string>>): Command {
  const lines = Object.entries(codes).map(([code, meaning]) => `  ${code}  ${meaning}`);
  return command.addHelpText("after", `\nExit codes:\n${lines.join("\n")}`);
}

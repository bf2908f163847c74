/**
 * How an error is told: what happened, what to do next, whether data is at risk.
 * @module
 */
import { inspect, styleText } from "node:util";
import { CommanderError } from "commander";
import { AftersaveError, asAftersaveError } from "../index.ts";
import type { Cli } from "./cli.ts";

/** An error as JSON documents and reply lines carry it. */
export interface ErrorDocument {
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
  readonly data: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

export const errorDocument = ({ code, message, hint, data, details }: AftersaveError): ErrorDocument => ({
  code,
  message,
  hint: hint ?? null,
  data,
  ...(Object.keys(details).length === 0 ? {} : { details }),
});

/** The parser's complaint as an error of ours. */
function usageError(error: CommanderError): AftersaveError {
  const message = error.code === "commander.help" ? "no command was given" : error.message.replace(/^error: /, "");
  const text = error.code === "commander.unknownOption" ? "; a text that begins with - goes behind --" : "";
  const hint = `\`aftersave --help\` lists the commands, \`aftersave help COMMAND\` what one takes${text}.`;
  return new AftersaveError("E_USAGE", message.replaceAll(/\s*\n\s*/g, " "), { hint, cause: error });
}

/** Tells `error` on stdout (`--json`) or stderr, and answers the exit code. */
export function report(error: unknown, { out, debug }: Pick<Cli, "out" | "debug">): number {
  const known = error instanceof CommanderError ? usageError(error) : asAftersaveError(error, "the command");
  if (out.json) out.answer({ error: errorDocument(known) }, () => "");
  else {
    const lines = [
      `${styleText("red", "error:", { stream: process.stderr })} ${known.message}`,
      ...(known.hint === undefined ? [] : [`  ${known.hint}`]),
      `  ${known.data} (${known.code})`,
    ];
    out.fail(lines.join("\n"));
  }
  if (debug) process.stderr.write(`${inspect(known)}\n`);
  return known.exit;
}

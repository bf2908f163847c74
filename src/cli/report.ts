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

/** `error` for people: what happened, what to do next and, with `data`, what it means for their data. */
function sayError(known: AftersaveError, data = true): string {
  const { code, message, hint, details } = known;
  const held = code === "E_STALE" ? details["sha256"] : undefined;
  return [
    `${styleText("red", "error:", { stream: process.stderr })} ${message}`,
    ...(typeof held === "string" ? [`  It holds now: ${held}`] : held === null ? ["  It holds nothing now."] : []),
    ...(hint === undefined ? [] : [`  ${hint}`]),
    data ? `  ${known.data} (${code})` : `  (${code})`,
  ].join("\n");
}

/** Tells people `known`, whatever the answer is. */
export function tell(known: AftersaveError, { out, debug, told }: Pick<Cli, "out" | "debug" | "told">, data: boolean): void {
  out.fail(sayError(known, data));
  told.push(known.message);
  if (debug) process.stderr.write(`${inspect(known)}\n`);
}

/** Tells `error` on stdout (`--json`, unless the one answer was given) or stderr, and answers the exit code. */
export function report(error: unknown, cli: Pick<Cli, "out" | "debug" | "told">): number {
  const { out, debug } = cli;
  const known = error instanceof CommanderError ? usageError(error) : asAftersaveError(error, "the command");
  if (!out.json || out.answered) tell(known, cli, !out.answered);
  else {
    out.answer({ error: errorDocument(known) }, () => "");
    if (debug) process.stderr.write(`${inspect(known)}\n`);
  }
  return known.exit;
}

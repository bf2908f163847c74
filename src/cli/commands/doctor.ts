/**
 * `aftersave doctor`: what is wrong, why, and what to do.
 * @module
 */
import type { Command } from "commander";
import { AftersaveError, ERRORS, EXIT, type Finding } from "../../index.ts";
import { exits, type Cli } from "../cli.ts";

interface Flags {
  readonly fix?: boolean;
  readonly rebuild?: boolean;
}

export function define(command: Command, cli: Cli): void {
  exits(
    command
      .description("Checks configuration, locks, state, logs, clock, credentials and folders; every finding with its cure.")
      .option("--fix", "mend what can be mended without losing anything")
      .option("--rebuild", "set the state file aside and build it again from the changelog and the files"),
    {
      0: "no error was found, or all were mended",
      1: "an error was found",
      2: "wrong usage, or paths.json cannot be used",
      4: "not signed in at a target",
      5: "held or in conflict: a person must decide",
    },
  ).action(async ({ fix, rebuild }: Flags) => {
    const findings = await examine(cli, fix === true, rebuild === true);
    for (const { level, message } of findings) if (level !== "ok") cli.told.push(message);
    const told = (some: readonly Finding[]) => some.map((finding) => say(finding, cli)).join("\n");
    cli.out.answer(
      findings,
      () => told(findings),
      () => told(findings.filter(({ level, fixed }) => level !== "ok" && !fixed)),
    );
    const bad = findings.filter(({ level, fixed }) => level === "error" && !fixed);
    cli.exit = Math.max(EXIT.ok, ...new Set(bad.map(({ code }) => (code === null ? EXIT.failed : ERRORS[code].exit))));
  });
}

/** What keeps the memory from being opened is a finding like any other. */
async function examine(cli: Cli, fix: boolean, rebuild: boolean): Promise<Finding[]> {
  try {
    const memory = await cli.memory({ rebuild });
    return await memory.doctor({ fix });
  } catch (error) {
    if (!(error instanceof AftersaveError)) throw error;
    const { code, message, hint } = error;
    return [{ level: "error", part: partOf(code), message, cure: hint ?? null, code, fixed: false }];
  }
}

const partOf = (code: string): string => {
  if (code === "E_NO_ROOT" || code.startsWith("E_CONFIG") || code === "E_TARGET_TYPE" || code === "E_TARGET_UNKNOWN")
    return "config";
  if (code.startsWith("E_STATE") || code === "E_NO_SQLITE" || code === "E_BUSY") return "state";
  return code.startsWith("E_LOG") ? "logs" : "open";
};

const marks = { ok: "ok", warning: "warning", error: "error" } as const;
const colours = { ok: "green", warning: "yellow", error: "red" } as const;

function say({ level, part, message, cure, code, fixed }: Finding, { out }: Cli): string {
  const mark = out.paint(fixed ? "green" : colours[level], (fixed ? "mended" : marks[level]).padEnd(7));
  return [
    `${mark}  ${part}: ${message}${code === null ? "" : ` (${code})`}`,
    ...(cure === null || fixed ? [] : [`         ${cure}`]),
  ].join("\n");
}

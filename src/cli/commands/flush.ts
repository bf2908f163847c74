/**
 * `aftersave flush`: uploads all that is pending.
 * @module
 */
import type { Command } from "commander";
import type { Drained, DrainOptions, Memory, Outcome } from "../../index.ts";
import { exits, type Cli } from "../cli.ts";
import { exitOfUploads } from "../exits.ts";
import { plural } from "../words.ts";

export function define(command: Command, cli: Cli): void {
  exits(command.description("Uploads all that is pending, now, also what failed before. Ctrl-C stops between two pieces."), {
    0: "nothing is left that failed",
    1: "nothing could be uploaded",
    2: "wrong usage or configuration; nothing was changed",
    3: "some was uploaded, some failed or is left",
    4: "not signed in at the target",
    5: "in conflict, held or blocked: a person must decide",
  }).action(async () => {
    const memory = await cli.memory();
    const outcomes: Outcome[] = [];
    const { pending, failed } = await memory.status();
    const signal = cli.interrupted();
    const onOutcome = (outcome: Outcome) => {
      outcomes.push(outcome);
      cli.out.progress(outcomes.length, pending + failed, outcome.file);
    };
    const drained = await flush(memory, { signal, onOutcome }, outcomes);
    cli.out.answer(drained, () => [say(drained, signal.aborted), ...failures(outcomes, cli)].join("\n"));
    cli.exit = exitOfUploads([...outcomes, ...(signal.aborted && drained.pending > 0 ? [{ status: "interrupted" }] : [])]);
  });
}

/** Flushes; when it is interrupted, what was done until then counts. */
async function flush(memory: Memory, options: DrainOptions, outcomes: readonly Outcome[]): Promise<Drained> {
  try {
    return await memory.flush(options);
  } catch (error) {
    if (options.signal?.aborted !== true) throw error;
    const count = (...statuses: string[]) => outcomes.filter(({ status }) => statuses.includes(status)).length;
    const [uploaded, skipped] = [count("success", "conflict"), count("skipped")];
    const { pending, failed } = await memory.status();
    return { uploaded, skipped, failed: outcomes.length - uploaded - skipped, pending: pending + failed };
  }
}

function say({ uploaded, skipped, failed, pending }: Drained, interrupted: boolean): string {
  const parts = [
    ...(uploaded > 0 ? [`${uploaded} uploaded`] : []),
    ...(skipped > 0 ? [`${skipped} there already`] : []),
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(pending > 0 ? [`${pending} still pending`] : []),
  ];
  const what = parts.length === 0 ? "nothing was pending" : parts.join(", ");
  return interrupted
    ? `stopped: ${plural(uploaded, "file")} uploaded, ${pending} still pending; run \`aftersave flush\` again`
    : what;
}

const failures = (outcomes: readonly Outcome[], { out }: Cli): string[] =>
  outcomes
    .filter(({ status }) => status !== "success" && status !== "skipped")
    .map(({ file, target, status, notes }) => `${out.paint("red", status)} ${file} → ${target}: ${notes}`);

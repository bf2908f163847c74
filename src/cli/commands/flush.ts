/**
 * `aftersave flush`: uploads all that is pending.
 * @module
 */
import { setTimeout as pause } from "node:timers/promises";
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
    const bar = cli.out.lively ? await progress((await memory.status()).pending) : undefined;
    const signal = cli.interrupted();
    const drained = await flush(memory, {
      signal,
      onOutcome(outcome) {
        outcomes.push(outcome);
        bar?.advance(1, outcome.file);
      },
    });
    const said = say(drained, signal.aborted);
    bar?.stop(said);
    cli.out.answer(drained, () => [...(bar ? [] : [said]), ...failures(outcomes, cli)].join("\n"));
    cli.exit = exitOfUploads([...outcomes, ...(signal.aborted && drained.pending > 0 ? [{ status: "interrupted" }] : [])]);
  });
}

/** Flushes; what the background worker has in hand is waited for. */
async function flush(memory: Memory, options: DrainOptions): Promise<Drained> {
  const sum = { uploaded: 0, skipped: 0, failed: 0 };
  for (;;) {
    try {
      const { uploaded, skipped, failed, pending } = await memory.flush(options);
      sum.uploaded += uploaded;
      sum.skipped += skipped;
      sum.failed += failed;
      if (pending === 0 || sum.failed > 0 || !(await memory.workerRuns())) return { ...sum, pending };
      while (await memory.workerRuns()) await pause(20, undefined, { signal: options.signal });
    } catch (error) {
      if (options.signal?.aborted !== true) throw error;
      return { ...sum, pending: (await memory.status()).pending };
    }
  }
}

async function progress(max: number) {
  const { progress } = await import("@clack/prompts");
  const bar = progress({ max: Math.max(1, max), output: process.stderr });
  bar.start("uploading");
  return bar;
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

/**
 * `aftersave flush`: uploads all that is pending.
 * @module
 */
import type { Command } from "commander";
import { asAftersaveError, type AftersaveError, type Memory, type Outcome } from "../../index.ts";
import { exits, type Cli } from "../cli.ts";
import { exitOfUploads } from "../exits.ts";
import { tell } from "../report.ts";
import { warnOfOpenToken } from "../token-mode.ts";
import { plural } from "../words.ts";

/** `pending`: unfinished, and not among those that failed in this run. `held`: waits for a person's decision. `erasing`: places that may still have what was erased. */
interface Counts {
  readonly uploaded: number;
  readonly skipped: number;
  readonly failed: number;
  readonly pending: number;
  readonly held: number;
  readonly erasing: number;
}

export function define(command: Command, cli: Cli): void {
  exits(command.description("Uploads all that is pending, now, also what failed before. Ctrl-C stops between two pieces."), {
    0: "nothing is left that failed",
    1: "nothing could be uploaded, or a target could not be made to forget what was erased",
    2: "wrong usage or configuration; nothing was changed",
    3: "some was uploaded, some failed or is left",
    4: "not signed in at the target",
    5: "in conflict, held or blocked: a person must decide",
  }).action(async () => {
    const memory = await cli.memory();
    await warnOfOpenToken(memory, cli);
    const outcomes: Outcome[] = [];
    const before = await memory.status();
    const unfinished = before.pending + before.failed + before.blocked;
    const signal = cli.interrupted();
    const onOutcome = (outcome: Outcome) => {
      outcomes.push(outcome);
      cli.out.progress(outcomes.length, unfinished, outcome.file);
    };
    let stopped: AftersaveError | undefined;
    await memory.flush({ signal, onOutcome }).catch((error: unknown) => {
      if (!signal.aborted) stopped = asAftersaveError(error, "uploading what is pending");
    });
    const counts = await count(memory, outcomes, unfinished);
    const why = stopped && { error: { code: stopped.code, message: stopped.message, hint: stopped.hint ?? null } };
    const bad = [...failures(outcomes, cli), ...(counts.held > 0 ? await sayHeld(memory, cli) : [])];
    cli.out.answer(
      { ...counts, ...why },
      () => [say(counts, signal.aborted), ...bad].join("\n"),
      () => bad.join("\n"),
    );
    if (stopped) tell(stopped, cli, false);
    const left = signal.aborted && counts.pending > 0 ? [{ status: "interrupted" }] : [];
    const held = Array.from({ length: counts.held }, () => ({ status: "held" }));
    const owed = counts.erasing > 0 ? [{ status: "fail" }] : [];
    const ended = [...outcomes.filter(({ status }) => status !== "held"), ...left, ...held, ...owed];
    cli.exit = exitOfUploads([...ended, ...(stopped ? [{ status: "stopped", code: stopped.code }] : [])]);
  });
}

/** What became of each job, the last time that it was tried; `before` is how many there were. */
async function count(memory: Memory, outcomes: readonly Outcome[], before: number): Promise<Counts> {
  const last = [...new Map(outcomes.map((outcome) => [`${outcome.target}\n${outcome.file}`, outcome])).values()];
  const of = (...statuses: string[]) => last.filter(({ status }) => statuses.includes(status)).length;
  const [uploaded, skipped, seenHeld] = [of("success", "conflict"), of("skipped"), of("held")];
  const failed = last.length - uploaded - skipped - seenHeld;
  const { unfinished, ...now } = await memory.status().then(
    (status) => ({
      unfinished: status.pending + status.failed + status.blocked,
      held: status.held_uploads,
      erasing: status.erasing,
    }),
    () => ({ unfinished: before - uploaded - skipped - seenHeld, held: seenHeld, erasing: 0 }), // the state's disk is full: it cannot even be asked
  );
  return { uploaded, skipped, failed, pending: Math.max(0, unfinished - failed), ...now };
}

/** Versions that keep uploads waiting, and how each is settled. */
const sayHeld = async (memory: Memory, { out }: Cli): Promise<string[]> =>
  (await memory.held())
    .filter(({ applied }) => applied)
    .map(
      ({ file, version, alarms }) =>
        `${out.paint("red", "held")} ${file}: ${alarms.map(({ says }) => says).join("; ")}; a person settles it with \`aftersave accept ${version}\` or \`aftersave reject ${version}\``,
    );

function say({ uploaded, skipped, failed, pending, held, erasing }: Counts, interrupted: boolean): string {
  const parts = [
    ...(uploaded > 0 ? [`${uploaded} uploaded`] : []),
    ...(skipped > 0 ? [`${skipped} there already`] : []),
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(pending > 0 ? [`${pending} still pending`] : []),
    ...(held > 0 ? [`${held} held until a person decides`] : []),
    ...(erasing > 0 ? [`${plural(erasing, "place")} may still have what was erased`] : []),
  ];
  const what = parts.length === 0 ? "nothing was pending" : parts.join(", ");
  return interrupted
    ? `stopped: ${plural(uploaded, "file")} uploaded, ${pending} still pending; run \`aftersave flush\` again`
    : what;
}

const failures = (outcomes: readonly Outcome[], { out }: Cli): string[] =>
  outcomes
    .filter(({ status }) => !["success", "skipped", "held"].includes(status))
    .map(({ file, target, status, notes }) => `${out.paint("red", status)} ${file} → ${target}: ${notes}`);

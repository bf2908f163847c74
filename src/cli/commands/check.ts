/**
 * `aftersave check TARGET`: the target suite against the user's own target.
 * @module
 */
import type { Command } from "commander";
import { asAftersaveError, AftersaveError, ERRORS, EXIT, type ErrorCode, type Trial } from "../../index.ts";
import type { SuiteCase } from "../../testing/target-suite.ts";
import { exits, type Cli } from "../cli.ts";
import { bytes, plural, took } from "../words.ts";

interface Flags {
  readonly big?: boolean;
}

interface Checked {
  readonly group: string;
  readonly name: string;
  readonly ok: boolean;
  readonly ms: number;
  /** Calls of the target that it took. */
  readonly calls: number;
  readonly error: { readonly code: ErrorCode | null; readonly message: string } | null;
}

const MIB = 1024 * 1024;
const SIZES = { bigBytes: MIB, manyEntries: 24 };
const BIG = { bigBytes: 20 * MIB, manyEntries: 1100 };
const PATIENCE_MS = 120_000;

export function define(command: Command, cli: Cli): void {
  exits(
    command
      .description(
        "Tries a target out: every promise that aftersave builds on, one by one, in a scratch folder at the target that is removed " +
          "again, also after Ctrl-C. Nothing else there is touched, and nothing of your memory is sent. Works while the target is " +
          "not enabled.",
      )
      .argument("TARGET", "the target")
      .option("--big", `also with files of ${bytes(BIG.bigBytes)} and with listings of several pages; takes longer`),
    {
      0: "the target keeps every promise",
      1: "it does not, or it could not be tried out",
      2: "wrong usage or configuration, or no such target",
      4: "not signed in at the target",
    },
  ).action(async (name: string, { big }: Flags) => {
    const memory = await cli.memory();
    const signal = cli.interrupted();
    const sizes = big === true ? BIG : SIZES;
    const { targetCases } = await import("../../testing/target-suite.ts");
    const cases = targetCases({ ...sizes, patienceMs: PATIENCE_MS });
    const started = performance.now();
    const trial = await memory.trial(name, { signal });
    try {
      cli.out.note(
        `checking ${name}: ${cases.length} cases with files of up to ${bytes(sizes.bigBytes)} in ${trial.folder}, which is removed afterwards; Ctrl-C stops and removes it too`,
      );
      await trial.clear();
      const checked: Checked[] = [];
      try {
        for (const one of cases) {
          cli.out.progress(checked.length, cases.length, `${one.group}: ${one.name}`);
          const result = await tryOut(one, trial, signal);
          checked.push(result);
          if (!process.stderr.isTTY && !cli.out.json) cli.out.note(sayCase(result));
          if (isSignedOut(result.error?.code)) break;
        }
      } finally {
        await trial.clear();
      }
      answer(trial, checked, cases.length, Math.round(performance.now() - started), cli);
    } finally {
      await trial.close();
    }
  });
}

const isSignedOut = (code: ErrorCode | null | undefined) => !!code && ERRORS[code].exit === EXIT.signedOut;

/** Never throws for what a case finds; throws when it was interrupted. */
async function tryOut({ group, name, run }: SuiteCase, trial: Trial, signal: AbortSignal): Promise<Checked> {
  const [start, before] = [performance.now(), trial.calls];
  let error: Checked["error"] = null;
  try {
    const place = await trial.place();
    try {
      await run(place);
    } finally {
      await place.cleanup();
    }
  } catch (thrown) {
    signal.throwIfAborted();
    error = said(thrown);
  }
  return { group, name, ok: error === null, ms: Math.round(performance.now() - start), calls: trial.calls - before, error };
}

/** What an assertion says is for people; anything else is an error with a code. */
function said(thrown: unknown): NonNullable<Checked["error"]> {
  if (!(thrown instanceof AftersaveError) && thrown instanceof Error && thrown.name === "AssertionError")
    return { code: null, message: thrown.message.split("\n")[0] ?? "" };
  const { code, message } = asAftersaveError(thrown, "the check");
  return { code, message };
}

const sayCase = ({ group, name, ok, ms, calls, error }: Checked): string =>
  `${ok ? "ok    " : "FAILED"}  ${group}: ${name} (${took(ms)}, ${plural(calls, "call")})${error === null ? "" : `: ${error.message}`}`;

function answer(trial: Trial, checked: readonly Checked[], of: number, ms: number, cli: Cli): void {
  const failed = checked.filter(({ ok }) => !ok);
  const { target, type, enabled, folder, calls, traits } = trial;
  const { atomicPut, guardedPut, hashes, caseSensitive, listing, maxConcurrency } = traits;
  const missing = failed.map(sayCase);
  const sentence =
    failed.length > 0
      ? cli.out.paint("red", `${target} breaks ${plural(failed.length, "promise")} of ${of}.`)
      : cli.out.paint("green", `${target} keeps all ${of} promises.`);
  cli.out.answer(
    {
      target,
      type,
      enabled,
      folder,
      traits: {
        atomic: atomicPut,
        guarded: guardedPut,
        hashes,
        case_sensitive: caseSensitive,
        listing,
        concurrency: maxConcurrency,
      },
      cases: checked,
      passed: checked.length - failed.length,
      failed: failed.length,
      skipped: of - checked.length,
      calls,
      ms,
    },
    () =>
      [
        ...missing,
        sentence + (checked.length < of ? ` ${of - checked.length} were not tried: it is not signed in.` : ""),
        `${plural(calls, "call")} in ${took(ms)}; ${folder} is removed.`,
      ].join("\n"),
    () => missing.join("\n"),
  );
  if (failed.length > 0) cli.exit = failed.some(({ error }) => isSignedOut(error?.code)) ? EXIT.signedOut : EXIT.failed;
}

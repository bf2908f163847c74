/**
 * `aftersave verify`: whether everything is what was accepted, here and at a target.
 * @module
 */
import type { Command } from "commander";
import { AftersaveError, EXIT, type VerifyFinding, type VerifyReport } from "../../index.ts";
import { exits, type Cli } from "../cli.ts";
import { printable } from "../short.ts";
import { bytes, plural, took } from "../words.ts";

interface Flags {
  readonly target?: string;
  readonly sample?: string;
  readonly download?: boolean;
  readonly restore?: boolean;
}

export function define(command: Command, cli: Cli): void {
  exits(
    command
      .description(
        "Checks that nothing that was accepted has been altered: the chain of the changelog, line by line, and of the state; kept " +
          "copies, archive copies, and live files. With --target also what that target holds, and the history there. Changes nothing.",
      )
      .option("--target <name>", "also compare what this target says that it holds")
      .option("--sample <n>", "with --target: also read back n files, each time the next ones")
      .option("--download", "with --target: also read back every file")
      .option(
        "--restore",
        "with --target: rebuild the whole tree from it alone, in a scratch folder, and compare it byte for byte",
      ),
    {
      0: "all is well, or only changed by others since the last save",
      1: "damage was found, also earlier in the changelog (until `doctor --fix`), or the target could not be asked",
      2: "wrong usage or configuration",
      4: "not signed in at the target",
    },
  ).action(async (flags: Flags) => {
    const { target, download, restore } = flags;
    const sample = sampleOf(flags);
    if (target === undefined && (sample !== undefined || download || restore))
      throw new AftersaveError("E_USAGE", "--sample, --download and --restore say what to do at a target", {
        hint: "Add --target NAME.",
      });
    const memory = await cli.memory();
    const report = await memory.verify({ target, sample, download, restore, signal: cli.interrupted() });
    const told = (some: readonly VerifyFinding[]) => some.map((finding) => sayFinding(finding, cli));
    cli.out.answer(
      report,
      () => [...told(report.findings), ...say(report, cli)].join("\n"),
      () => told(report.findings).join("\n"),
    );
    if (!report.ok) cli.exit = EXIT.failed;
  });
}

function sampleOf({ sample }: Flags): number | undefined {
  if (sample === undefined || /^[1-9]\d{0,8}$/.test(sample)) return sample === undefined ? undefined : Number(sample);
  throw new AftersaveError("E_USAGE", `--sample is not a number of files: ${JSON.stringify(sample)}`, {
    hint: "Say how many files to read back, for example --sample 20.",
  });
}

const sayFinding = ({ level, code, what, why, next }: VerifyFinding, { out }: Cli): string =>
  `${out.paint(level === "error" ? "red" : "yellow", level.padEnd(7))}  ${what}${code === null ? "" : ` (${code})`}\n` +
  `         ${why} ${next}`;

function say({ ok, history, files, copies, pruned, target, findings }: VerifyReport, { out }: Cli): string[] {
  const damage = findings.filter(({ level }) => level === "error").length;
  return [
    ok
      ? out.paint("green", findings.length === 0 ? "All is what was accepted." : "Nothing is damaged.")
      : out.paint("red", `Damage was found: ${plural(damage, "finding")}.`),
    `here: ${plural(history.lines, "line")} of history` +
      (history.erased > 0 ? ` (${history.erased} erased)` : "") +
      `, ${plural(files, "file")}, ${copies} archive ${copies === 1 ? "copy" : "copies"}` +
      (pruned > 0 ? `, ${pruned} pruned` : ""),
    ...(target ? sayTarget(target) : ["Targets were not asked: `aftersave verify --target NAME` does."]),
  ];
}

function sayTarget(target: NonNullable<VerifyReport["target"]>): string[] {
  const { name, files, compared, read, bytes: size, unproven, pending, history, restore } = target;
  const parts = [
    plural(files, "file"),
    ...(compared > 0 ? [`${compared} by the hash that it reports`] : []),
    ...(read > 0 ? [`${read} read back (${bytes(size)})`] : []),
    ...(unproven > 0 ? [`${unproven} that it reports no hash for (--download reads them)`] : []),
    ...(pending > 0 ? [`${pending} on the way`] : []),
    `${plural(history.lines, "line")} of history in ${plural(history.segments, "segment")}`,
  ];
  const ways = history.own_ways.map(
    ({ writer, host, from }) =>
      `${name}: another machine (${host === null ? writer : printable(host)}) goes its own way from line ${from} on`,
  );
  return [`${name}: ${parts.join(", ")}`, ...ways, ...(restore ? [sayRestore(name, restore)] : [])];
}

function sayRestore(
  name: string,
  { proven, files, bytes: size, ms, excused }: NonNullable<NonNullable<VerifyReport["target"]>["restore"]>,
) {
  if (!proven) return `${name}: a restore is not proven: ${plural(files, "file")} came back, see above for the others`;
  const others = excused === 0 ? "" : `; ${plural(excused, "file")} it does not hold, or not yet`;
  return `${name}: a restore of ${plural(files, "file")} (${bytes(size)}) is proven, took ${took(ms)}${others}`;
}

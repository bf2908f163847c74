/**
 * `aftersave prune [KEY|FOLDER]`.
 * @module
 */
import { Option, type Command } from "commander";
import { AftersaveError, EXIT, type Pruned, type PrunePlan, type PlannedVersion } from "../../index.ts";
import { uploadInBackground } from "../background.ts";
import { exits, type Cli } from "../cli.ts";
import type { Output } from "../output.ts";
import { agreed, canAsk } from "../plan.ts";
import { metaOf, withMeta, type MetaOptions } from "../meta.ts";
import { printable, shortened } from "../short.ts";
import { bytes, localTime, plural } from "../words.ts";

interface Flags extends MetaOptions {
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  readonly target?: string;
  readonly here?: boolean;
}

export function define(command: Command, cli: Cli): void {
  exits(
    withMeta(
      command
        .description(
          "Removes archive copies that no rule of `retention` in paths.json keeps; without a rule, none. What a file holds now, pinned " +
            "versions, those before an alarm of the guard, what no target holds and the last copy always stay.",
        )
        .argument("[KEY]", "only this file, or the files in this folder")
        .addOption(new Option("--target <name>", "only the copies on this target").conflicts("here"))
        .option("--here", "only the copies on this machine")
        .option("--dry-run", "show what keeps each version, and change nothing")
        .option("-y, --yes", "do it without asking; needed where nobody can be asked"),
    ),
    {
      0: "done, or nothing to do",
      1: "failed, or declined",
      2: "wrong usage, key or configuration, or --yes is missing; nothing was changed",
      3: "partly done: what stays although it was to go, is listed",
      4: "not signed in at the target",
    },
  ).action(async (key: string | undefined, flags: Flags) => {
    const { out } = cli;
    const memory = await cli.memory();
    const plan = await memory.planPrune({ under: key, from: flags.here === true ? "here" : flags.target });
    if (flags.dryRun === true) {
      out.answer(plan, () => sayPlan(plan, out));
      return;
    }
    if (plan.removes.length > 0 && flags.yes !== true) {
      if (!canAsk(out)) throw unasked(plan, out);
      out.fail(saySum(plan));
      if (!(await agreed("Remove them?"))) {
        out.fail("Nothing was removed.");
        cli.exit = EXIT.failed;
        return;
      }
    }
    const pruned = await memory.applyPrune(plan, metaOf(flags), {
      signal: cli.interrupted(),
      onProgress: (done, of) => out.progress(done, of, "copies"),
    });
    if (pruned.lines.length > 0) await uploadInBackground(cli, memory);
    if (pruned.left.length > 0) cli.exit = pruned.removed.length > 0 ? EXIT.partly : EXIT.failed;
    out.answer(
      pruned,
      () => sayPruned(pruned, plan).join("\n"),
      () => sayLeft(pruned).join("\n"),
    );
  });
}

const NO_RULE = "Nothing goes: paths.json has no rule in `retention` for this.";

function unasked(plan: PrunePlan, out: Output): AftersaveError {
  out.say(saySum(plan));
  const places = sums(plan).map(({ from, copies, bytes: size }) => ({ from, copies, bytes: size }));
  return new AftersaveError("E_USAGE", "nothing was removed: where nobody can be asked, --yes is needed", {
    hint: "Look at the plan (--dry-run), then run the same command with --yes.",
    details: { removes: places },
  });
}

const copiesOf = (n: number) => `${n.toLocaleString("en")} archive cop${n === 1 ? "y" : "ies"}`;
const where = (from: string) => (from === "here" ? "on this machine" : `on ${from}`);

function sums({ removes }: PrunePlan) {
  const places = new Map<string, { from: string; copies: number; bytes: number; files: Set<string>; versions: number }>();
  for (const { from, size, key, versions } of removes) {
    const sum = places.get(from) ?? { from, copies: 0, bytes: 0, files: new Set<string>(), versions: 0 };
    places.set(from, sum);
    sum.copies++;
    sum.bytes += size;
    sum.versions += versions;
    sum.files.add(key);
  }
  return [...places.values()];
}

function saySum(plan: PrunePlan): string {
  if (!plan.ruled) return NO_RULE;
  if (plan.removes.length === 0) return "Nothing goes: every version is kept by a rule, or has to stay.";
  return sums(plan)
    .map(
      ({ from, copies, bytes: size, files, versions }) =>
        `${copiesOf(copies)} (${bytes(size)}, ${plural(versions, "version")} of ${plural(files.size, "file")}) ${copies === 1 ? "goes" : "go"} ${where(from)}; a copy of each stays elsewhere.`,
    )
    .join("\n");
}

/** Versions by file and place, the newest first, with what keeps each of them. */
function sayPlan(plan: PrunePlan, { paint }: Output): string {
  const short = shortened(plan.versions.map(({ version }) => version));
  const reason = (text: string) => text.replace(/[0-9A-HJKMNP-TV-Z]{26}$/, short);
  const line = ({ version, timestamp, size, kept_by }: PlannedVersion) =>
    `  ${short(version)}  ${localTime(timestamp)}  ${bytes(size).padStart(10)}  ` +
    (kept_by.length === 0 ? paint("red", "goes") : printable(kept_by.map(reason).join(", ")));
  const rows: string[] = [];
  let group = "";
  for (const each of plan.versions) {
    const head = `${printable(each.key)}, ${where(each.at)}:`;
    if (head !== group) rows.push(paint("bold", head));
    group = head;
    rows.push(line(each));
  }
  return [...rows, saySum(plan)].join("\n");
}

const sayLeft = ({ left }: Pruned): string[] =>
  left.map(({ copy, from, says }) => `stays ${where(from)}: ${printable(copy)}: ${printable(says)}`);

function sayPruned(pruned: Pruned, plan: PrunePlan): string[] {
  const done = pruned.removed.map(
    ({ from, copies, bytes: size }) => `removed ${copiesOf(copies)} (${bytes(size)}) ${where(from)}`,
  );
  const nothing = plan.removes.length === 0 ? saySum(plan) : "removed nothing";
  return [...(done.length > 0 ? done : [nothing]), ...sayLeft(pruned)];
}

/**
 * `aftersave restore --from TARGET`: the plan as people read it, the asking, and what became of it.
 * @module
 */
import { AftersaveError, EXIT, type FromTarget, type FromTargetOptions, type Memory, type Missing } from "../index.ts";
import { uploadInBackground } from "./background.ts";
import type { Cli } from "./cli.ts";
import type { Output } from "./output.ts";
import { agreed, canAsk, type PlanFlags } from "./plan.ts";
import { bytes, localTime, plural } from "./words.ts";

/** Shows the plan, asks where someone can be asked, does it, and tells what became of it. */
export async function restoreFrom(
  cli: Cli,
  memory: Memory,
  target: string,
  options: Pick<FromTargetOptions, "at" | "prefix" | "meta">,
  flags: PlanFlags,
): Promise<void> {
  const { out } = cli;
  const signal = cli.interrupted();
  const plan = await memory.restoreFrom(target, { ...options, dryRun: true, signal });
  const said = () => say(plan, out, options);
  const bad = (report: FromTarget) => lacking(report, out).join("\n");
  const isNothing = !plan.bare && plan.changes.length === 0;
  if (flags.dryRun === true || isNothing) {
    out.answer(plan, said, () => bad(plan));
    if (flags.dryRun !== true) cli.exit = exitOf(plan);
    return;
  }
  if (flags.yes !== true) {
    if (!canAsk(out)) {
      out.say(said());
      throw new AftersaveError("E_USAGE", "nothing was brought back: where nobody can be asked, --yes is needed", {
        hint: "Look at the plan (--dry-run shows it too), then run the same command with --yes.",
        details: { plan },
      });
    }
    out.fail(said());
    if (!(await agreed("Bring this back?"))) {
      out.fail("Nothing was changed.");
      cli.exit = EXIT.failed;
      return;
    }
  }
  const onProgress = (done: number, of: number, file: string) => out.progress(done, of, file);
  const report = await memory.restoreFrom(target, { ...options, signal, onProgress });
  await uploadInBackground(cli, memory);
  cli.exit = exitOf(report);
  out.answer(
    report,
    () => say(report, out, options),
    () => bad(report),
  );
}

const isLoss = ({ why }: Missing) => why === "absent" || why === "other" || why === "taken";

/** 0 when all came back that the target should hold; 3 when some did, 1 when nothing did. */
function exitOf({ missing, gaps, left, files, copies, here }: FromTarget): number {
  if (!missing.some(isLoss) && gaps.length === 0 && left.length === 0) return EXIT.ok;
  return files + copies + here > 0 ? EXIT.partly : EXIT.failed;
}

const whys: Record<Missing["why"], string> = {
  absent: "is not there",
  other: "what is there is not what the history says; it was not taken",
  held: "was kept from the targets, and is nowhere else",
  elsewhere: "goes to other targets",
  pruned: "was pruned there",
  taken: "another file is here in its place, and stays",
};

const LISTED = 100;

/** What the target does not give, and what is wrong with its history. */
function lacking({ missing, gaps, bad, left }: FromTarget, out: Output): string[] {
  const lines = [
    ...missing.map((one) => `  ${out.paint(isLoss(one) ? "red" : "yellow", "missing ")}  ${one.file}: ${whys[one.why]}`),
    ...left.map(({ message, hint }) => `  ${out.paint("red", "leaves  ")}  ${message}${hint === null ? "" : `. ${hint}`}`),
    ...gaps.map(({ first, last }) => `  ${out.paint("red", "gap     ")}  nobody tells lines ${first} to ${last} of the history`),
    ...bad.map(({ segment, line, why }) => `  ${out.paint("red", "refused ")}  line ${line} of ${segment}: ${why}`),
  ];
  const more = lines.length - LISTED;
  return more > 0 ? [...lines.slice(0, LISTED), `  … and ${more} more: --json lists all`] : lines;
}

function say(report: FromTarget, out: Output, { at }: Pick<FromTargetOptions, "at">): string {
  const { target, bare, dry_run, versions, until, beside, files, copies, bytes: size, here, changes, receipts } = report;
  const will = (future: string, past: string) => (dry_run ? future : past);
  const changed = changes.map(
    ({ file, from, to }) =>
      `  ${to === null ? out.paint("red", "removes ") : from === null ? out.paint("green", "brings  ") : out.paint("yellow", "replaces")}  ${out.paint("bold", file)}`,
  );
  return [
    `${target} tells ${plural(versions, "line")} of history` + (until === null ? "" : `, the last of ${localTime(until)}`) + ".",
    ...(beside > 0
      ? [`${plural(beside, "line")} there are of another machine that went on by itself: its files come as new versions.`]
      : []),
    ...(bare
      ? [
          `${will("To be fetched", "Fetched")}: ${plural(files, "file")} and ${copies} archive ${copies === 1 ? "copy" : "copies"}, ${bytes(size)}, with the whole history.` +
            (here > 0 ? ` ${plural(here, "file")} ${here === 1 ? "is" : "are"} here already.` : ""),
        ]
      : []),
    ...changed.slice(0, LISTED),
    ...(changed.length > LISTED ? [`  … and ${changed.length - LISTED} more: --json lists all`] : []),
    ...lacking(report, out),
    ...(bare && at !== undefined && dry_run ? [`Then everything is made what it was at ${localTime(at)}, as new versions.`] : []),
    ...(!bare && changes.length === 0 ? ["Nothing is to be done: what the target holds is here."] : []),
    ...(!bare && changes.length > 0 && dry_run
      ? [`${plural(files, "file")} will change; what is there now goes to the archive.`]
      : []),
    ...(receipts.length > 0
      ? [`${plural(receipts.length, "new version")}; what was there is in the archive, and \`aftersave undo\` takes them back.`]
      : []),
  ].join("\n");
}

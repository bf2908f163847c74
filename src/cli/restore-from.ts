/**
 * `aftersave restore --from TARGET`: the plan as people read it, the asking, and what became of it.
 * @module
 */
import { AftersaveError, EXIT, type FromTarget, type FromTargetOptions, type Memory, type Missing } from "../index.ts";
import { uploadInBackground } from "./background.ts";
import type { Cli } from "./cli.ts";
import type { Output } from "./output.ts";
import { agreed, canAsk, type PlanFlags } from "./plan.ts";
import { printable } from "./short.ts";
import { bytes, localTime, plural } from "./words.ts";

/** Shows the plan, asks where someone can be asked, does it, and tells what became of it. */
export async function restoreFrom(
  cli: Cli,
  memory: Memory,
  target: string,
  options: Pick<FromTargetOptions, "at" | "prefix" | "meta" | "memory">,
  flags: PlanFlags,
): Promise<void> {
  const { out } = cli;
  const signal = cli.interrupted();
  const plan = await memory.restoreFrom(target, { ...options, dryRun: true, signal });
  const said = () => say(plan, out, options);
  const bad = (report: FromTarget) => lacking(report, out).join("\n");
  const isNothing = !plan.bare && plan.changes.length === 0 && plan.copies === 0;
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
function exitOf(report: FromTarget): number {
  const { files, copies, here } = report;
  if (isAll(report)) return EXIT.ok;
  return files + copies + here > 0 ? EXIT.partly : EXIT.failed;
}

const isAll = ({ missing, gaps, bad, left, not_brought }: FromTarget) =>
  !missing.some(isLoss) && gaps.length === 0 && bad.length === 0 && left.length === 0 && not_brought.length === 0;

const whys: Record<Missing["why"], string> = {
  absent: "is not there",
  other:
    "what is there is not what the history says (a copy with its secrets masked, or somebody else's); it was not taken. Whoever wants it copies it from there by hand, and saves it",
  held: "was kept from the targets, and is nowhere else",
  elsewhere: "goes to other targets",
  pruned: "was pruned there",
  taken: "another file is here in its place, and stays",
  covered:
    "what the history says is here; what lies there now is something else (somebody changed it) and stays there. Whoever wants that copies it from there by hand, and saves it",
};

const LISTED = 100;

/** What the target does not give, and what is wrong with its history. */
function lacking({ target, missing, gaps, bad, left, not_brought, not_ours }: FromTarget, out: Output): string[] {
  const lines = [
    ...not_brought.map(
      ({ file, version, timestamp, size, at }) =>
        `  ${out.paint("red", "stays   ")}  ${file} of ${localTime(timestamp)}, version ${version}: ` +
        (at === null ? `its bytes were not found on ${target}` : `its bytes are the first ${size} of ${at} on ${target}`),
    ),
    ...missing.map(
      (one) =>
        `  ${out.paint(isLoss(one) ? "red" : "yellow", one.why === "covered" ? "differs " : "missing ")}  ${one.file}: ${whys[one.why]}`,
    ),
    ...left.map(({ message, hint }) => `  ${out.paint("red", "leaves  ")}  ${message}${hint === null ? "" : `. ${hint}`}`),
    ...gaps.map(({ first, last }) => `  ${out.paint("red", "gap     ")}  nobody tells lines ${first} to ${last} of the history`),
    ...bad.map(({ segment, line, why }) => `  ${out.paint("red", "refused ")}  line ${line} of ${segment}: ${why}`),
    ...not_ours.map(
      ({ file, memory_root }) =>
        `  not ours  ${file}: ${memory_root === null ? "the history does not name it" : `it is of the memory ${memory_root}`}; it stays there`,
    ),
  ];
  const more = lines.length - LISTED;
  return more > 0 ? [...lines.slice(0, LISTED), `  … and ${more} more: --json lists all`] : lines;
}

/** The memories that write there, when it is more than one, and how to say which. */
function sayMemories({ memories, memory_root, target, bare }: FromTarget): string[] {
  if (memories.length < 2) return [];
  const isOwner = memories.some(({ memory_root: root, owner }) => root === memory_root && owner);
  return [
    `${memories.length} memories write there; this is about ${memory_root}. \`--memory ID\` chooses, by an id or its last four or more characters:`,
    ...memories.map(
      ({ memory_root: root, owner, hosts, lines, until }) =>
        `  ${root}  ${plural(lines, "line")}` +
        (until === null ? "" : `, the last of ${localTime(until)}`) +
        (hosts.length > 0 ? `, of ${printable(hosts.join(", "))}` : "") +
        (owner ? ", the owner of the place" : ""),
    ),
    ...(bare && !isOwner
      ? [`The place is another memory's: before anything is sent there from here, run \`aftersave targets join ${target}\`.`]
      : []),
  ];
}

/** What does not come of the history there, and what to do. */
function sayHistory(report: FromTarget, out: Output): string[] {
  const { target, memory_root, memories, beside, not_brought, not_taken, dry_run } = report;
  const which = memories.length > 1 ? ` --memory ${memory_root}` : "";
  const { lines = 0, copies = 0 } = not_taken ?? {};
  return [
    ...(not_taken === null
      ? []
      : [
          out.paint("red", "NOT taken over:") +
            ` the history there (${plural(lines, "line")}, ${copies} archive ${copies === 1 ? "copy" : "copies"}), because this folder has a history of its own. ` +
            `Only what the files there hold ${dry_run ? "comes" : "came"}, as new versions. For the whole history make an empty folder with the same paths.json, and run \`aftersave restore --from ${target}${which}\` there.`,
        ]),
    ...(beside > 0
      ? [
          `${plural(beside, "line")} there are of a history that another machine went on with by itself; it is not merged. ` +
            (not_brought.length === 0
              ? "No content is lost by that: what those versions hold is here, or comes as new versions."
              : `${plural(not_brought.length, "version")} with content that is nowhere else in the history ${not_brought.length === 1 ? "stays" : "stay"} behind, and ${not_brought.length === 1 ? "is" : "are"} named below. Whoever needs ${not_brought.length === 1 ? "it" : "one"} copies its bytes from there, or from that machine, and saves them.`),
        ]
      : not_brought.length > 0
        ? [
            `The history there went on by itself; it is not merged. ${plural(not_brought.length, "version")} of it ${not_brought.length === 1 ? "stays" : "stay"} behind, named below; ` +
              "whoever needs one copies its bytes from there and saves them.",
          ]
        : []),
  ];
}

function say(report: FromTarget, out: Output, { at }: Pick<FromTargetOptions, "at">): string {
  const {
    target,
    bare,
    dry_run,
    versions,
    until,
    gaps,
    bad,
    missing,
    not_brought,
    files,
    copies,
    bytes: size,
    here,
    changes,
    receipts,
  } = report;
  const will = (future: string, past: string) => (dry_run ? future : past);
  const changed = changes.map(
    ({ file, from, to }) =>
      `  ${to === null ? out.paint("red", "removes ") : from === null ? out.paint("green", "brings  ") : out.paint("yellow", "replaces")}  ${out.paint("bold", file)}`,
  );
  const isWhole = gaps.length === 0 && bad.length === 0 && not_brought.length === 0;
  const history = isWhole ? "with the whole history" : `with ${plural(versions, "line")} of history, which is not all of it`;
  const lacks = missing.length > 0 || !isAll(report);
  return [
    `${target} tells ${plural(versions, "line")} of history` + (until === null ? "" : `, the last of ${localTime(until)}`) + ".",
    ...sayMemories(report),
    ...sayHistory(report, out),
    ...(bare
      ? [
          `${will("To be fetched", "Fetched")}: ${plural(files, "file")} and ${copies} archive ${copies === 1 ? "copy" : "copies"}, ${bytes(size)}, ${history}.` +
            (here > 0 ? ` ${plural(here, "file")} ${here === 1 ? "is" : "are"} here already.` : ""),
        ]
      : []),
    ...changed.slice(0, LISTED),
    ...(changed.length > LISTED ? [`  … and ${changed.length - LISTED} more: --json lists all`] : []),
    ...lacking(report, out),
    ...(bare && at !== undefined && dry_run ? [`Then everything is made what it was at ${localTime(at)}, as new versions.`] : []),
    ...(!bare && copies > 0
      ? [
          `${copies} archive ${copies === 1 ? "copy" : "copies"} that ${will(copies === 1 ? "is" : "are", copies === 1 ? "was" : "were")} gone here ${will(copies === 1 ? "comes" : "come", "came")} back.`,
        ]
      : []),
    ...(!bare && changes.length === 0 && copies === 0
      ? [
          lacks
            ? "Nothing can be brought: what is named above does not come from there, and the rest is here."
            : "Nothing is to be done: what the target holds is here.",
        ]
      : []),
    ...(!bare && changes.length > 0 && dry_run
      ? [`${plural(files, "file")} will change; what is there now goes to the archive.`]
      : []),
    ...(receipts.length > 0
      ? [`${plural(receipts.length, "new version")}; what was there is in the archive, and \`aftersave undo\` takes them back.`]
      : []),
  ].join("\n");
}

/**
 * A plan to bring something back, as people read it, and the asking before it is done.
 * @module
 */
import { once } from "node:events";
import { createInterface } from "node:readline/promises";
import type { Command } from "commander";
import {
  AftersaveError,
  ERRORS,
  EXIT,
  type Left,
  type Memory,
  type Meta,
  type Restored,
  type RestoreAction,
  type RestorePlan,
  type SavesOf,
} from "../index.ts";
import { uploadInBackground } from "./background.ts";
import { exits, type Cli } from "./cli.ts";
import type { Output } from "./output.ts";
import { printable } from "./short.ts";
import { bytes, localTime, plural, sayReceipt } from "./words.ts";

export interface PlanFlags {
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

export const asPlanned = (command: Command): Command =>
  exits(
    command
      .option("--dry-run", "show the plan and change nothing")
      .option("-y, --yes", "do it without asking; needed where nobody can be asked"),
    {
      0: "done, or nothing to do",
      1: "failed, or declined",
      2: "wrong usage, key or configuration, or --yes is missing; nothing was changed",
      3: "partly done: what stays as it is, is listed",
      5: "newer saves are in the way: a person must decide",
    },
  );

/** Shows the plan, asks where someone can be asked, does it, and tells what became of it. */
export async function carryOut(cli: Cli, memory: Memory, plan: RestorePlan, flags: PlanFlags, meta: Meta): Promise<void> {
  const { out } = cli;
  const said = () => sayPlan(plan, out);
  const bad = (left: readonly Left[]) => left.map((each) => sayLeft(each, out)).join("\n");
  if (flags.dryRun === true || plan.files === 0) {
    const restored: Restored = { plan, receipts: [], left: plan.left };
    out.answer(restored, said, () => bad(plan.left));
    if (flags.dryRun !== true) cli.exit = exitOf(restored);
    return;
  }
  if (flags.yes !== true) {
    if (!canAsk(out)) throw unasked(plan, said, out);
    out.fail(said());
    if (!(await agreed("Bring this back?"))) {
      out.fail("Nothing was changed.");
      cli.exit = EXIT.failed;
      return;
    }
  }
  const restored = await memory.apply(plan, meta, { onProgress: (done, of) => out.progress(done, of, "files") });
  if (restored.receipts.some(({ unchanged }) => !unchanged)) await uploadInBackground(cli, memory);
  cli.exit = exitOf(restored);
  out.answer(
    restored,
    () => sayRestored(restored, meta.session_id, out),
    () => bad(restored.left),
  );
}

function unasked(plan: RestorePlan, said: () => string, out: Output): AftersaveError {
  out.say(said());
  return new AftersaveError("E_USAGE", "nothing was brought back: where nobody can be asked, --yes is needed", {
    hint: "Look at the plan (--dry-run shows it too), then run the same command with --yes.",
    details: { plan },
  });
}

/** Whether there is someone to ask. */
export const canAsk = ({ json }: Output): boolean => process.stdin.isTTY && process.stderr.isTTY && !json;

/** No answer is a no. */
export async function agreed(question: string): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr, terminal: false });
  try {
    const closed = once(terminal, "close").then(() => "");
    const said = await Promise.race([terminal.question(`${question} [y/N] `), closed]);
    return /^\s*y(es)?\s*$/i.test(said);
  } finally {
    terminal.close();
  }
}

/** 3 when some came back and some did not, else that of the worst. */
function exitOf({ receipts, left }: Restored): number {
  if (left.length === 0) return EXIT.ok;
  if (receipts.length > 0) return EXIT.partly;
  const own = left.map(({ code }) => ERRORS[code].exit);
  return Math.max(...new Set(own.map((exit) => (exit === EXIT.usage ? EXIT.failed : exit))));
}

function sayActor({ chat_name, session_id, origin }: SavesOf): string {
  const named = [
    ...(chat_name === "UNKNOWN" ? [] : [`chat ${printable(chat_name)}`]),
    ...(session_id === null ? [] : [`session ${printable(session_id)}`]),
  ];
  return named.length > 0 ? named.join(", ") : origin === "unattributed" ? "someone past aftersave" : "someone unnamed";
}

/** An undo of the last save finds that someone changed the file since: that goes, and the save does not. */
const sayStranger = ({ timestamp }: SavesOf): string =>
  timestamp === null
    ? "takes back that someone removed the file past aftersave; the last save stays"
    : `takes back a change that someone made past aftersave at ${localTime(timestamp)}; the last save stays`;

const isStranger = ({ saves }: SavesOf) => saves === 0;

const sayTaken = (by: SavesOf): string => {
  if (isStranger(by) || by.timestamp === null) return `This ${sayStranger(by)}:`;
  if (by.saves > 1) return `Takes back ${by.saves} saves by ${sayActor(by)}, the last of ${localTime(by.timestamp)}:`;
  return `Takes back the ${by.op} of ${localTime(by.timestamp)} by ${sayActor(by)} (version ${by.version}):`;
};

const sayWhat = (plan: RestorePlan): string[] => {
  if (plan.does === "undo") return plan.takes_back.map(sayTaken);
  if (plan.at === null) return [];
  const where = plan.prefix ? `at and below ${plan.prefix}` : "all memory files";
  return [`Brings back what was there at ${localTime(plan.at)}, ${where}:`];
};

const sayNewer = ({ newer, merged }: RestoreAction): string => {
  if (newer.length === 0) return "";
  const saves = newer.reduce((sum, by) => sum + by.saves, 0);
  const by = newer.length > 3 ? "several" : newer.map(sayActor).join("; ");
  const fate = merged ? (saves === 1 ? "stays in it" : "stay in it") : saves === 1 ? "goes to the archive" : "go to the archive";
  return `; ${plural(saves, "newer save")} (${by}) ${fate}`;
};

function sayAction(action: RestoreAction, out: Output): string {
  const { file, does, now, becomes, lines, restores } = action;
  const name = out.paint("bold", file);
  const changed =
    lines === null ? "" : `, ${out.paint("green", `+${lines.added}`)} ${out.paint("red", `-${lines.removed}`)} lines`;
  const from = restores === null ? "" : ` (version ${restores})`;
  const edited = now !== null && now.version === null ? "; someone changed it since, that is kept as a version first" : "";
  if (does === "empty")
    return `  ${out.paint("red", "removes ")}  ${name}  ${bytes(now?.size ?? 0)}, kept in the archive${sayNewer(action)}${edited}`;
  const sizes = does === "create" ? bytes(becomes?.size ?? 0) : `${bytes(now?.size ?? 0)} → ${bytes(becomes?.size ?? 0)}`;
  const word = does === "create" ? out.paint("green", "brings  ") : out.paint("yellow", "replaces");
  return `  ${word}  ${name}  ${sizes}${changed}${from}${sayNewer(action)}${edited}`;
}

const sayLeft = ({ message, hint }: Left, out: Output): string =>
  `  ${out.paint("red", "leaves  ")}  ${printable(message)}${hint === null ? "" : `\n            ${printable(hint)}`}`;

/** So many keys are listed for people; --json lists all. */
const LISTED = 100;

function listed(lines: readonly string[], what: string): string[] {
  const more = lines.length - LISTED;
  return more > 0 ? [...lines.slice(0, LISTED), `  … and ${plural(more, what)} more: --dry-run --json lists all`] : [...lines];
}

function sayPlan(plan: RestorePlan, out: Output): string {
  const changing = plan.actions.filter(({ does }) => does !== "nothing" && does !== "conflict");
  const still = plan.actions.filter(({ does }) => does === "nothing");
  const rest =
    still.length === 1 ? `${still[0]?.file} stays as it is: ${still[0]?.says}` : `${still.length} files stay as they are`;
  return [
    ...listed(sayWhat(plan), "actor"),
    ...listed(
      changing.map((action) => sayAction(action, out)),
      "file",
    ),
    ...listed(
      plan.left.map((left) => sayLeft(left, out)),
      "file",
    ),
    ...(still.length === 0 ? [] : [`  ${rest}`]),
    ...sayHeld(plan, out),
    plan.files === 0
      ? "Nothing is to be done."
      : `${plural(plan.files, "file")} will change; what is there now goes to the archive.`,
  ].join("\n");
}

/** What a guard held stays held, whatever the file holds by now. */
const sayHeld = ({ held }: RestorePlan, out: Output): string[] =>
  held.map(
    (version) =>
      `  ${out.paint("yellow", "held    ")}  version ${version} keeps its file from the targets until it is settled: aftersave reject ${version}`,
  );

/** The command that takes all of it back. */
function wayBack({ plan, receipts }: Restored, session: string | undefined): string[] {
  const [first, ...more] = receipts.filter(({ unchanged }) => !unchanged);
  if (!first) return [];
  const own = session === undefined ? plan.plan : `${quoted(session)} --since ${first.timestamp}`;
  return [`To take this back: aftersave undo ${more.length === 0 ? first.version : `--session ${own}`}`];
}

const quoted = (word: string) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${printable(word).replaceAll("'", `'\\''`)}'`);

function sayRestored(restored: Restored, session: string | undefined, out: Output): string {
  const { plan, receipts, left } = restored;
  const told = receipts.map((receipt) =>
    sayReceipt(receipt.sha256 === null ? { ...receipt, op: "archive" } : receipt, out.paint),
  );
  return [
    ...(receipts.length === 0 ? [] : plan.takes_back.filter(isStranger).map((by) => `This ${sayStranger(by)}.`)),
    ...listed(told, "file"),
    ...listed(
      left.map((each) => sayLeft(each, out)),
      "file",
    ),
    ...sayHeld(plan, out),
    ...wayBack(restored, session),
  ].join("\n");
}

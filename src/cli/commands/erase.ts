/**
 * `aftersave erase`: the one thing that cannot be taken back.
 * @module
 */
import { once } from "node:events";
import { createInterface } from "node:readline/promises";
import { text as textOf } from "node:stream/consumers";
import { Option, type Command } from "commander";
import { AftersaveError, EXIT, type EraseWish, type Erasing, type Forgotten, type ErasedCopy, type Memory } from "../../index.ts";
import { uploadInBackground } from "../background.ts";
import { exits, type Cli } from "../cli.ts";
import type { Output } from "../output.ts";
import { canAsk } from "../plan.ts";
import { printable, shortened } from "../short.ts";
import { versionOf } from "../version-of.ts";
import { localTime, plural } from "../words.ts";

interface Flags {
  readonly chat?: string;
  readonly session?: string;
  readonly match?: string;
  readonly reason?: string;
  readonly list?: boolean;
  readonly lift?: string;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

export function define(command: Command, cli: Cli): void {
  exits(
    command
      .description(
        "Makes what was accepted unrecoverable: in the file, every version, the archive, the logs, the queue, and on every target with its " +
          "revisions and trash. It cannot be taken back, and may not come back.",
      )
      .argument("[KEY[@VERSION]]", "a memory file with all that it ever held, or what one version brought")
      .option("--chat <name>", "what the saves of this chat brought")
      .option("--session <id>", "what the saves of this session brought")
      .option(
        "--match <text>",
        "this text, letter by letter, wherever it stands; - reads it from stdin, and keeps it out of the shell's history",
      )
      .option("--reason <text>", "why; it is kept in the changelog")
      .option("--dry-run", "show what would be erased, and change nothing")
      .option("-y, --yes", "do it without asking; needed where nobody can be asked")
      .addOption(new Option("--list", "show what was erased and may not come back").conflicts("lift"))
      .option("--lift <id>", "let back in what an erasure keeps out; brings nothing back"),
    {
      0: "erased everywhere, or nothing of it was found",
      1: "failed, or declined",
      2: "wrong usage, key or configuration, or --yes is missing; nothing was changed",
      3: "erased here; a target could not be reached, and is tried again by each flush",
    },
  ).action(async (what: string | undefined, flags: Flags) => {
    if (flags.list === true || flags.lift !== undefined) alone(what, flags);
    const memory = await cli.memory();
    if (flags.list === true) return list(cli.out, await memory.erasures());
    if (flags.lift !== undefined) {
      const lifted = await memory.liftErasure(flags.lift);
      return cli.out.answer(lifted, () => `lifted: what was erased at ${localTime(lifted.at)} may be saved again`);
    }
    await erase(cli, memory, await wishOf(memory, what, flags, cli.out), flags);
  });
}

/** `--list` and `--lift` erase nothing: whoever says what to erase beside them believes that they do. */
function alone(what: string | undefined, { chat, session, match, reason, dryRun, yes }: Flags): void {
  if ([what, chat, session, match, reason, dryRun, yes].every((flag) => flag === undefined || flag === false)) return;
  throw new AftersaveError("E_USAGE", "--list and --lift stand alone: nothing was erased", {
    hint: "Leave the rest out, or leave them out to erase.",
  });
}

async function wishOf(
  memory: Memory,
  what: string | undefined,
  { chat, session, match }: Flags,
  { note }: Output,
): Promise<EraseWish> {
  const given = [what, chat, session, match].filter((one) => one !== undefined).length;
  if (given !== 1)
    throw new AftersaveError("E_USAGE", given === 0 ? "nothing was named to erase" : "more than one thing was named to erase", {
      hint: "Name one of: KEY, KEY@VERSION, --chat, --session, --match.",
    });
  if (what !== undefined) return versionOf(memory, what, note);
  const text = match === "-" ? (await textOf(process.stdin)).replace(/\r?\n$/, "") : match;
  return { chat, session, match: text };
}

async function erase(cli: Cli, memory: Memory, wish: EraseWish, flags: Flags): Promise<void> {
  const { out } = cli;
  const reason = flags.reason === undefined ? {} : { reason: flags.reason };
  if (flags.dryRun === true || flags.yes !== true) {
    const plan = await memory.erase(wish, { dry_run: true, ...reason });
    if (flags.dryRun === true) return out.answer(plan, () => say(plan, out));
    if (!canAsk(out)) throw unasked(plan, out);
    out.fail(say(plan, out));
    const word = wish.key !== undefined && wish.version === undefined ? wish.key : "erase";
    if ((await typed(`This cannot be taken back. Type ${word} to go on: `)) !== word) {
      out.fail("Nothing was erased.");
      cli.exit = EXIT.failed;
      return;
    }
  }
  const done = await memory.erase(wish, { signal: cli.interrupted(), ...reason });
  if (done.pending > 0) cli.exit = EXIT.partly;
  await uploadInBackground(cli, memory); // what is left of the files is sent anew
  out.answer(
    done,
    () => say(done, out),
    () => (done.pending > 0 ? sayPending(done) : ""),
  );
}

/** No answer is a no. */
async function typed(question: string): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr, terminal: false });
  try {
    return (await Promise.race([terminal.question(question), once(terminal, "close").then(() => "")])).trim();
  } finally {
    terminal.close();
  }
}

function unasked(plan: Forgotten, out: Output): AftersaveError {
  out.say(say(plan, out));
  const { lines, redacted, files } = plan;
  return new AftersaveError("E_USAGE", "nothing was erased: where nobody can be asked, --yes is needed", {
    hint: "Look at the plan (--dry-run), then run the same command with --yes.",
    details: { lines, redacted, files },
  });
}

/** So many names are listed for people; --json lists all. */
const LISTED = 40;
const listed = (rows: readonly string[]) =>
  rows.length > LISTED ? [...rows.slice(0, LISTED), `  … and ${rows.length - LISTED} more: --json lists all`] : rows;

const sayPending = ({ pending }: Forgotten) =>
  `${plural(pending, "place")} could not be reached yet: each \`aftersave flush\` tries again, and \`status\` counts them.`;

function say(done: Forgotten, out: Output): string {
  const { dry_run, erasure, lines, files, copies, remains } = done;
  const removed = files.filter((file) => file.removed).length;
  const changed = files.length - removed;
  const sum = [
    ...(removed > 0 ? [`${plural(removed, "file")} with all that ${removed === 1 ? "it" : "they"} ever held`] : []),
    ...(changed > 0 ? [`${plural(done.redacted, "version")} in ${plural(changed, "file")}`] : []),
    `${plural(lines, "line")} of the changelog`,
  ].join(", ");
  const unreached = [
    ...(remains.length > 0 ? ["What this does not reach:"] : []),
    ...remains.map(({ what, why, cure }) => `  ${out.paint("yellow", what)}: ${why}. ${cure}`),
  ];
  if (done.resumed)
    return [
      `It was erased here before; an erasure is under way for what targets may have of it:`,
      ...listed(copies.map((copy) => sayCopy(copy, out))),
      ...(dry_run ? [] : [done.pending > 0 ? out.paint("yellow", sayPending(done)) : "That is done now."]),
      ...retained(copies),
      ...unreached,
    ].join("\n");
  const blocks = erasure === null ? [] : [`It may not come back: erasure ${shortened([erasure])(erasure)}.`];
  if (lines === 0 && files.length === 0 && copies.every(({ what }) => what === "state"))
    return ["It stands in no file, version, archive copy or log that is kept here.", ...unreached, ...blocks].join("\n");
  const isOwed = !dry_run && lines === 0 && files.length === 0 && done.pending > 0;
  if (isOwed)
    return [
      out.paint("yellow", "Nothing was erased here yet. What targets may have of it is owed:"),
      ...listed(copies.map((copy) => sayCopy(copy, out))),
      out.paint("yellow", sayPending(done)),
      ...unreached,
      ...(done.by === "match" ? blocks : []), // what a chat said is not known before it is read
    ].join("\n");
  return [
    dry_run ? `${out.paint("red", "would erase")} ${sum}:` : `${out.paint("red", "erased")} ${sum}:`,
    ...listed(copies.map((copy) => sayCopy(copy, out))),
    ...(done.pending > 0 ? [out.paint("yellow", sayPending(done))] : []),
    ...retained(copies),
    ...unreached,
    ...blocks,
  ].join("\n");
}

const retained = (copies: readonly ErasedCopy[]): string[] => [
  ...new Set(copies.flatMap(({ notes }) => (notes === undefined ? [] : [`  ${notes}.`]))),
];

function sayCopy({ where, what, name, outcome, code }: ErasedCopy, out: Output): string {
  const place = where === "here" ? "" : `${where}: `;
  const why = code === undefined ? "" : ` (${code})`;
  const word = outcome === "pending" ? out.paint("yellow", "pending") : outcome;
  return `  ${word.padEnd(9)} ${place}${what} ${printable(name)}${why}`;
}

function list(out: Output, erasures: readonly Erasing[]): void {
  const short = shortened(erasures.map(({ erasure }) => erasure));
  out.answer(erasures, () =>
    erasures.length === 0
      ? "Nothing was erased."
      : erasures
          .map(({ erasure, at, by, texts, pending }) => {
            const owed = pending === 0 ? "" : `, ${out.paint("yellow", `${plural(pending, "place")} not reached yet`)}`;
            return `${out.paint("bold", short(erasure))}  ${localTime(at)}  by ${by}, keeps out ${plural(texts, "text")}${owed}`;
          })
          .join("\n"),
  );
}

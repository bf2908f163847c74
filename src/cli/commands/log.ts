/**
 * `aftersave log [uploads|archives|changes]`.
 * @module
 */
import { type Command, Argument } from "commander";
import { AftersaveError, type LogKind, type LogQuery, type LogValue } from "../../index.ts";
import { exits, type Cli } from "../cli.ts";
import { timeOf } from "../times.ts";
import { bytes, localTime, plural } from "../words.ts";

interface Flags {
  readonly file?: string;
  readonly status?: string;
  readonly chat?: string;
  readonly since?: string;
  readonly limit?: string;
  readonly follow?: boolean;
}

const FOR_PEOPLE = 20;
const STATUSES = ["success", "skipped", "fail", "token_missing", "conflict", "held", "blocked"];

export function define(command: Command, cli: Cli): void {
  exits(
    command
      .description("Shows a log, newest last.")
      .addArgument(new Argument("[LOG]", "which one").choices(["uploads", "archives", "changes"]).default("uploads"))
      .option("--file <key>", "only lines of this memory file (key or path)")
      .option("--status <status>", `only uploads that ended so (${STATUSES.join(", ")})`)
      .option("--chat <name>", "only lines of this chat")
      .option("--since <time>", 'only lines of that time and later: ISO 8601, yesterday, "2h ago"')
      .option("--limit <n>", "the last N lines (20 for people, all with --json)")
      .option("--follow", "go on with new lines as they are written, until Ctrl-C"),
    { 0: "done", 1: "failed", 2: "wrong usage or configuration" },
  ).action(async (log: LogKind, flags: Flags) => {
    checkFlags(log, flags);
    const asked = limitOf(flags.limit);
    const since = flags.since === undefined ? undefined : await timeOf(flags.since, "--since");
    const memory = await cli.memory();
    const bad = new Map<string, number>();
    const query: LogQuery = {
      file: flags.file === undefined ? undefined : memory.keyOf(flags.file),
      status: flags.status,
      chat: flags.chat,
      since,
      onBad: ({ why }) => bad.set(why, (bad.get(why) ?? 0) + 1),
    };
    const limit = asked ?? (cli.out.json && flags.follow !== true ? Number.POSITIVE_INFINITY : FOR_PEOPLE);
    const show = (line: LogValue) => say(log, line, cli);
    if (flags.follow === true) {
      const until = AbortSignal.any([cli.interrupted(), cli.out.closed]);
      for await (const line of memory.followLog(log, until, { ...query, limit }))
        await (cli.out.json ? cli.out.line(line) : cli.out.say(show(line)));
    } else {
      const lines = await memory.log(log, { ...query, limit });
      cli.out.answer(lines, () => (lines.length === 0 ? nothing(log, flags) : lines.map(show).join("\n")));
    }
    for (const [why, n] of bad)
      if (why !== "blank") cli.out.warn(`${plural(n, "line")} of the log could not be read (${why}); see \`aftersave doctor\``);
  });
}

function checkFlags(log: LogKind, { status, chat }: Flags): void {
  if (status !== undefined && log !== "uploads")
    throw new AftersaveError("E_USAGE", "only the upload log has a status", { hint: "Use --status with `log uploads`." });
  if (status !== undefined && !STATUSES.includes(status))
    throw new AftersaveError("E_USAGE", `no upload ends with the status ${JSON.stringify(status)}`, {
      hint: `Use one of ${STATUSES.join(", ")}.`,
    });
  if (chat !== undefined && log === "archives")
    throw new AftersaveError("E_USAGE", "the archive log does not say which chat it was", { hint: "Use `log changes --chat`." });
}

function limitOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new AftersaveError("E_USAGE", `--limit is not a number of lines: ${JSON.stringify(text)}`, {
    hint: "Use a whole number from 1.",
  });
}

function nothing(log: LogKind, flags: Flags): string {
  const filtered = [flags.file, flags.status, flags.chat, flags.since].some((flag) => flag !== undefined);
  return filtered ? `The log of ${log} has no such line.` : `The log of ${log} is empty.`;
}

const colours = { success: "green", skipped: "dim", fail: "red", token_missing: "red", conflict: "yellow" } as const;
/** Control characters are not for a terminal: whoever writes to the log must not write to it. */
const text = (value: unknown, otherwise = ""): string =>
  typeof value === "string" ? value.replaceAll(/\p{Cc}/gu, "\uFFFD") : otherwise;

/** One line for people. The log may be older than us, so any field may be missing. */
function say(log: LogKind, line: LogValue, { out }: Cli): string {
  const time = text(line["timestamp"]);
  const when = out.paint("dim", Number.isNaN(Date.parse(time)) ? time.padEnd(19) : localTime(time));
  const chat = text(line["chat_name"], "UNKNOWN");
  const who = chat === "UNKNOWN" ? "" : `  [${chat}]`;
  const file = text(line["file"], "(all files)");
  if (log === "archives") return `${when}  ${file} → ${text(line["archived_as"])}  (${text(line["reason"])})`;
  if (log === "changes") {
    const size = typeof line["size"] === "number" ? `  ${bytes(line["size"])}` : "";
    return `${when}  ${text(line["op"]).padEnd(8)}  ${file}${size}${who}  ${out.paint("dim", text(line["version"]))}`;
  }
  const status = text(line["status"]);
  const colour = colours[status as keyof typeof colours];
  const to = text(line["target"]) === "" ? "" : ` → ${text(line["target"])}`;
  const notes = status === "success" || status === "skipped" || text(line["notes"]) === "" ? "" : `: ${text(line["notes"])}`;
  return `${when}  ${colour === undefined ? status.padEnd(8) : out.paint(colour, status.padEnd(8))}  ${file}${to}${who}${notes}`;
}

/**
 * `aftersave history [KEY]`.
 * @module
 */
import { type Command, Option } from "commander";
import {
  AftersaveError,
  ORIGINS,
  type History,
  type HistoryEntry,
  type HistoryQuery,
  type HistoryVersion,
  type Memory,
  type Origin,
  type Standing,
} from "../../index.ts";
import { exits, type Cli } from "../cli.ts";
import { printable, shortened } from "../short.ts";
import { noteTime, timeOf } from "../times.ts";
import { bytes, localTime, plural } from "../words.ts";

interface Flags {
  readonly chat?: string;
  readonly tag?: string;
  readonly model?: string;
  readonly session?: string;
  readonly origin?: Origin;
  readonly since?: string;
  readonly until?: string;
  readonly limit?: string;
  readonly before?: string;
  readonly open?: true | string;
  readonly grouped: boolean;
  readonly held?: boolean;
}

export function define(command: Command, cli: Cli): void {
  exits(
    command
      .description(
        "Shows what was saved and decided, newest first: time, what was done, lines that came and went, who, and where each target stands. What one actor did in one go is one entry.",
      )
      .argument("[KEY]", "key or path; with a / at its end, everything below that folder; left out: everything")
      .option("--open [version]", "show the versions of each entry, or of the one that this version belongs to")
      .option("--no-grouped", "an entry for each version")
      .option("--held", "only what waits for `accept` or `reject`")
      .option("--chat <name>", "only of this chat")
      .option("--tag <tag>", "only with this context tag")
      .option("--model <name>", "only by this model")
      .option("--session <id>", "only of this session")
      .addOption(new Option("--origin <origin>", "only by such an author").choices(ORIGINS))
      .option("--since <time>", 'from that time on: ISO 8601, yesterday, "2h ago"')
      .option("--until <time>", "up to that time")
      .option("--limit <n>", "so many entries (20)")
      .option("--before <version>", "only what is older than that version: the next page"),
    { 0: "done", 1: "the file has no history", 2: "wrong usage, key or version" },
  ).action(async (text: string | undefined, flags: Flags) => {
    const limit = limitOf(flags.limit);
    const since = flags.since === undefined ? undefined : await timeOf(flags.since, "--since");
    const until = flags.until === undefined ? undefined : await timeOf(flags.until, "--until");
    const memory = await cli.memory();
    noteTime(cli.out, "--since", since);
    noteTime(cli.out, "--until", until);
    const { chat, tag, model, session, origin, before, open, grouped, held } = flags;
    const where = whereOf(memory, text);
    const query = { ...where, chat, tag, model, session, origin, since, until, limit, before, open, grouped, held };
    const history = await memory.history(query);
    cli.out.answer(history, () => (history.entries.length === 0 ? nothing(query) : say(history, cli)));
  });
}

/** A folder stands for everything below it. */
function whereOf(memory: Memory, text: string | undefined): Pick<HistoryQuery, "key" | "prefix"> {
  if (text === undefined) return {};
  return /[^/\\][/\\]$/.test(text) ? { prefix: memory.keyOf(`${text}x`).slice(0, -1) } : { key: text };
}

function limitOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new AftersaveError("E_USAGE", `--limit is not a number of entries: ${JSON.stringify(text)}`, {
    hint: "Use a whole number from 1.",
  });
}

function nothing({ held, before, ...query }: HistoryQuery): string {
  if (held === true) return "Nothing waits for a decision.";
  if (before !== undefined) return "There is nothing older.";
  const filters = [query.prefix, query.chat, query.tag, query.model, query.session, query.origin, query.since, query.until];
  return filters.some((filter) => filter !== undefined) ? "The history has nothing of that kind." : "Nothing was saved yet.";
}

const colours: Readonly<Record<Standing, "green" | "yellow" | "red" | "dim">> = {
  verified: "green",
  pending: "dim",
  held: "yellow",
  failed: "red",
  blocked: "red",
  absent: "red",
};

/** The words of one command's answer. */
interface Words {
  readonly short: (id: string) => string;
  readonly paint: Cli["out"]["paint"];
}

const versionsIn = ({ first, last, held, about, versions = [] }: HistoryEntry): string[] => [
  first,
  last,
  ...held,
  ...about,
  ...versions.map(({ version }) => version),
];

function say({ entries, next }: History, { out }: Cli): string {
  const words: Words = { short: shortened(entries.flatMap(versionsIn)), paint: out.paint };
  const shown = entries.map((entry) => sayEntry(entry, words)).join("\n");
  return next === null ? shown : `${shown}\n${out.paint("dim", `older: --before ${words.short(next)}`)}`;
}

const MOST_FILES = 3;

function filesOf(files: readonly string[], erased: number): string {
  if (files.length === 0) return erased > 0 ? "(erased)" : "(no file)";
  const more = files.length > MOST_FILES ? ` and ${files.length - MOST_FILES} more` : "";
  return printable(files.slice(0, MOST_FILES).join(", ")) + more;
}

/** A decision, such as a pin, changes no content. */
const changeOf = (
  { added, removed, bytes: grown }: Pick<HistoryEntry, "added" | "removed" | "bytes">,
  { paint }: Words,
): string =>
  added === null || removed === null || (added === 0 && removed === 0 && grown === 0)
    ? ""
    : `  ${paint("green", `+${added}`)} ${paint("red", `−${removed}`)}`;

function whoOf({ chat_name, model, origin, session_id, context_tags }: HistoryEntry | HistoryVersion): string {
  const chat = chat_name === "UNKNOWN" ? [] : [`[${printable(chat_name)}]`];
  const by = [model, origin, session_id === null ? null : `session ${session_id}`].filter((part) => part !== null);
  const tags = context_tags.map((tag) => `#${tag}`);
  return [...chat, printable([...by, ...tags].join(" "))].filter((part) => part !== "").join(" ");
}

const targetsOf = (targets: HistoryEntry["targets"], { paint }: Words): string =>
  Object.entries(targets)
    .map(([target, standing]) => `${target}: ${paint(colours[standing], standing)}`)
    .join(", ");

/** The time of an entry, and how long it went on. */
function timeOfEntry({ from, until }: HistoryEntry): string {
  const [start, end] = [localTime(from), localTime(until)];
  if (start === end) return start;
  return start.slice(0, 10) === end.slice(0, 10) ? `${start}–${end.slice(11)}` : `${start}–${end}`;
}

const settling: Readonly<Record<"accept" | "reject", string>> = {
  accept: "lets the new content stand and go to the targets",
  reject: "keeps the content from before it",
};

/** Lines below an entry, each indented. */
function remarks(entry: HistoryEntry, { short, paint }: Words): string[] {
  const alarm = ({ rule, says }: HistoryEntry["alarms"][number]) => `${paint("yellow", `alarm (${rule}):`)} ${printable(says)}`;
  const settle = (version: string) =>
    (["accept", "reject"] as const).map((verb) => `\`aftersave ${verb} ${short(version)}\` ${settling[verb]}`);
  return [
    ...entry.reasons.map((reason) => `why: ${printable(reason)}`),
    ...(entry.about.length > 0 ? [`about ${entry.about.map(short).join(", ")}`] : []),
    ...entry.alarms.map(alarm),
    ...entry.held.flatMap((version) => [`${paint("yellow", "waits for a decision:")} ${short(version)}`, ...settle(version)]),
    ...(entry.pinned.length > 0 ? [`pinned: ${entry.pinned.map(short).join(", ")}`] : []),
    ...(entry.redacted > 0 ? [`erased from ${plural(entry.redacted, "version")}; what is left can be shown`] : []),
    ...(entry.erased > entry.redacted
      ? [`${plural(entry.erased - entry.redacted, "line")} erased: only place and time are left`]
      : []),
  ];
}

function sayEntry(entry: HistoryEntry, words: Words): string {
  const { short, paint } = words;
  const ops = Object.entries(entry.ops).map(([op, n]) => (n === 1 ? op : `${op} ×${n}`));
  const end = [whoOf(entry), targetsOf(entry.targets, words)].filter((part) => part !== "").join("  ");
  const head = `${paint("dim", timeOfEntry(entry))}  ${paint("cyan", short(entry.last))}  ${ops.join(", ")}  ${paint("bold", filesOf(entry.files, entry.erased))}`;
  const lines = [
    `${head}${changeOf(entry, words)}${end === "" ? "" : `  ${end}`}`,
    ...remarks(entry, words).map((line) => `    ${line}`),
  ];
  return [...lines, ...(entry.versions ?? []).map((version) => `    ${sayVersion(version, entry, words)}`)].join("\n");
}

function sayVersion(v: HistoryVersion, { files }: HistoryEntry, words: Words): string {
  const { short, paint } = words;
  const size = v.size === null ? "" : `  ${bytes(v.size)}`;
  const file = files.length > 1 && v.file !== null ? `  ${printable(v.file)}` : "";
  const marks = [v.pinned ? "pinned" : "", v.erased ? "erased" : "", v.held === null ? "" : `held: ${v.held}`];
  const targets = targetsOf(v.targets, words);
  return [
    `${paint("dim", localTime(v.timestamp))}  ${paint("cyan", short(v.version))}  ${v.op}${file}${size}${changeOf(v, words)}`,
    ...marks.filter((mark) => mark !== ""),
    ...(targets === "" ? [] : [targets]),
  ].join("  ");
}

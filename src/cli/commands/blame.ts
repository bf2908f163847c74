/**
 * `aftersave blame KEY[@VERSION]`.
 * @module
 */
import { type Command, Option } from "commander";
import type { Blame, BlameLine } from "../../index.ts";
import { exits, type Cli } from "../cli.ts";
import { jsonText } from "../output.ts";
import { pour } from "../pour.ts";
import { printable, shortened } from "../short.ts";
import { versionOf } from "../version-of.ts";
import { localTime, plural } from "../words.ts";

interface Flags {
  readonly format: "text" | "agent-trace";
}

/** Longer names of chats and models are cut off in the columns. */
const WIDEST = 28;

export function define(command: Command, cli: Cli): void {
  exits(
    command
      .description(
        "Names for each line of a memory file the save that wrote it: version, chat, model or origin, and time. Lines that were moved, or brought back, keep who wrote them.",
      )
      .argument("<KEY[@VERSION]>", "key or path; a version as an id, its last four or more characters, or -N: the Nth before now")
      .addOption(
        new Option("--format <format>", "for people, or an Agent Trace record (agent-trace.dev) as JSON")
          .choices(["text", "agent-trace"])
          .default("text"),
      ),
    {
      0: "done",
      1: "it holds or held nothing, is no text, or its content is kept nowhere any more",
      2: "wrong usage, key or version",
    },
  ).action(async (text: string, { format }: Flags) => {
    const memory = await cli.memory();
    const { key, version } = versionOf(memory, text, cli.out.note);
    if (format === "agent-trace") {
      const record = await memory.trace(key, { version });
      if (cli.out.json) cli.out.answer(record, () => "");
      else await pour(once(`${jsonText(record, 2)}\n`), cli.out);
      return;
    }
    const blame = await memory.blame(key, { version });
    if (cli.out.json) cli.out.answer(blame, () => "");
    else await pour(once(say(blame, cli)), cli.out);
    if (blame.missing.length > 0)
      cli.out.note(
        `note: the content of ${plural(blame.missing.length, "version")} is kept nowhere any more; what came with them is named after the version that followed`,
      );
  });
}

async function* once(text: string): AsyncGenerator<string> {
  yield text;
}

const cut = (text: string) => (text.length > WIDEST ? `${text.slice(0, WIDEST - 1)}…` : text);

function who({ chat_name, model, origin }: BlameLine): string {
  const chat = chat_name === "UNKNOWN" ? [] : [cut(printable(chat_name))];
  const by = model === null ? (origin === null ? [] : [origin]) : [cut(printable(model))];
  return [...chat, ...by].join(", ") || "unknown";
}

/** One line for each line: the version's end, who, when, the line's number (`~`: it was moved), the line. */
function say({ lines }: Blame, { out }: Cli): string {
  const short = shortened(lines.map(({ version }) => version));
  const names = lines.map(who);
  const wide = Math.max(0, ...new Set(names.map((name) => name.length)));
  const digits = String(lines.length).length;
  return lines
    .map((line, n) => {
      const same = n > 0 && lines[n - 1]?.version === line.version;
      const columns = `${short(line.version)}  ${(names[n] ?? "").padEnd(wide)}  ${localTime(line.timestamp)}`;
      const mark = line.moved ? "~" : " ";
      return `${out.paint(same ? "dim" : "cyan", columns)} ${mark}${String(line.line).padStart(digits)}  ${printable(line.text)}\n`;
    })
    .join("");
}

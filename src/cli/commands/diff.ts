/**
 * `aftersave diff KEY [A] [B]`, `aftersave diff --as-of TIME [PREFIX]`.
 * @module
 */
import { type Command, Option } from "commander";
import { AftersaveError, type DiffQuery, type DiffWay } from "../../index.ts";
import { exits, type Cli } from "../cli.ts";
import { pour } from "../pour.ts";
import { pastTimeOf } from "../times.ts";
import { sayAsOf, sayDiff } from "../unified.ts";
import { versionOf } from "../version-of.ts";

interface Flags {
  readonly asOf?: string;
  readonly by?: DiffWay;
  readonly context?: string;
}

export function define(command: Command, cli: Cli): void {
  exits(
    command
      .description(
        "Shows what changed in a memory file: by its last change, or from the version A to B (to now without B). By word for prose, by path for JSON, else by line. With --as-of, which files are different from what they were.",
      )
      .argument("[KEY]", "key or path; with --as-of a zone, a folder or a key, else everything")
      .argument("[A]", "a version: an id, its last four or more characters, or -N: the Nth before now")
      .argument("[B]", "a version")
      .addOption(new Option("--by <way>", "how to compare, whatever the file is").choices(["word", "path", "line"]))
      .option("--context <n>", "lines around a change (3)")
      .option("--as-of <time>", 'compare with that time: ISO 8601, yesterday, "2h ago"'),
    {
      0: "done, different or not",
      1: "the file is not known, or the content of a version is kept nowhere any more",
      2: "wrong usage, key or version",
    },
  ).action(async (text: string | undefined, a: string | undefined, b: string | undefined, flags: Flags) => {
    const canvas = { paint: cli.out.paint, terminal: process.stdout.isTTY };
    if (flags.asOf !== undefined) {
      if ([a, flags.by, flags.context].some((given) => given !== undefined))
        throw new AftersaveError("E_USAGE", "--as-of takes a zone, a folder or a key, and nothing else", {
          hint: "To see what changed in one file, use `aftersave diff KEY A B`.",
        });
      const time = await pastTimeOf(flags.asOf, "--as-of");
      const found = await (await cli.memory()).diffAsOf(time, text);
      if (cli.out.json) cli.out.answer(found, () => "");
      else await pour(once(sayAsOf(found, canvas)), cli.out);
      return;
    }
    if (text === undefined)
      throw new AftersaveError("E_USAGE", "no file was named", {
        hint: "Name a key, or a time: `aftersave diff --as-of yesterday`.",
      });
    const context = contextOf(flags.context);
    const memory = await cli.memory();
    const { key, version } = versionOf(memory, text, cli.out.note);
    const [from, to, ...more] = [version, a, b].flatMap((each) => (each === undefined ? [] : [each.replace(/^@/, "")]));
    if (more.length > 0) throw new AftersaveError("E_USAGE", "three versions were named", { hint: "Two can be compared." });
    const query: DiffQuery = { from, to, by: flags.by, context };
    const diff = await memory.diff(key, query);
    if (cli.out.json) cli.out.answer(diff, () => "");
    else {
      const said = sayDiff(diff, canvas);
      if (said === "") cli.out.note(`${key} holds the same in both versions.`);
      await pour(once(said), cli.out);
    }
    if (diff.by !== "path" && diff.by !== "none" && diff.coarse)
      cli.out.warn(
        `the two versions of ${key} are too different to be compared in time: what differs is shown as replaced as a whole`,
      );
  });
}

async function* once(text: string): AsyncGenerator<string> {
  yield text;
}

function contextOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw new AftersaveError("E_USAGE", `--context is not a number of lines: ${JSON.stringify(text)}`, {
    hint: "Use a whole number from 0.",
  });
}

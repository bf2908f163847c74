/**
 * `aftersave restore KEY@VERSION`, `aftersave restore --at TIME [PREFIX]`, `aftersave restore --from TARGET`.
 * @module
 */
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { AftersaveError, parseKey, type Memory } from "../../index.ts";
import type { Cli } from "../cli.ts";
import { metaOf, withMeta, type MetaOptions } from "../meta.ts";
import { asPlanned, carryOut, type PlanFlags } from "../plan.ts";
import { restoreFrom } from "../restore-from.ts";
import { pastTimeOf } from "../times.ts";
import { versionOf } from "../version-of.ts";

interface Flags extends PlanFlags, MetaOptions {
  readonly at?: string;
  readonly keepNew?: boolean;
  readonly from?: string;
  readonly memory?: string;
}

export function define(command: Command, cli: Cli): void {
  asPlanned(
    withMeta(
      command
        .description(
          "Brings back what a memory file held in a version, or with --at what all files held at a moment, as new versions. " +
            "What is there now goes to the archive.",
        )
        .argument(
          "[WHAT]",
          "KEY@VERSION: the version as an id, its last four or more characters, or -N: the Nth before now; " +
            "with --at a file or folder, all by default",
        )
        .option(
          "--at <time>",
          'everything as it was at that time: ISO 8601, yesterday, "2h ago"; files that are newer are removed',
        )
        .option("--keep-new", "with --at: leave files alone that were not there at that time")
        .option(
          "--from <target>",
          "what this target holds: on a machine where nothing was saved yet, the whole memory with its history; with --at, as it was then",
        )
        .option(
          "--memory <id>",
          "with --from: whose history, where several memories write; an id or its last four or more characters",
        ),
    ),
  ).action(async (what: string | undefined, flags: Flags) => {
    const { at, keepNew, from, memory: whose } = flags;
    if (whose !== undefined && from === undefined) throw wrong("--memory goes with --from");
    if (keepNew === true && at === undefined) throw wrong("--keep-new goes with --at");
    const time = at === undefined ? undefined : await pastTimeOf(at, "--at");
    const memory = await cli.memory();
    if (from !== undefined) {
      if (keepNew === true) throw wrong("--keep-new does not go with --from");
      const prefix = what === undefined ? undefined : prefixOf(memory, what);
      return restoreFrom(cli, memory, from, { at: time?.toISOString(), prefix, memory: whose, meta: metaOf(flags) }, flags);
    }
    const plan =
      time === undefined
        ? await memory.planRestore(wishOf(cli, memory, what))
        : await memory.planRestoreAt(time, prefixOf(memory, what ?? ""), { keepNew });
    await carryOut(cli, memory, plan, flags, metaOf(flags));
  });
}

const wrong = (what: string) =>
  new AftersaveError("E_USAGE", what, {
    hint: "Say KEY@VERSION (`aftersave history KEY` lists the versions, KEY@-1 is the one before now), or --at TIME [PREFIX].",
  });

function wishOf({ out }: Cli, memory: Memory, text: string | undefined): { file: string; version: string } {
  if (text === undefined) throw wrong("what is to be brought back was not said");
  const { key, version } = versionOf(memory, text, out.note);
  if (version === undefined) throw wrong(`${JSON.stringify(text)} does not say which version`);
  return { file: join(memory.config.dataDir, key), version };
}

/** The key of a file or folder, also of one that is not there now; the data folder itself is all of them. */
function prefixOf(memory: Memory, text: string): string {
  const { dataDir } = memory.config;
  const folder = text.replace(/[/\\]+$/, "");
  if (folder === "" || [resolve(folder), resolve(memory.root, folder)].includes(dataDir)) return "";
  try {
    return memory.keyOf(folder);
  } catch (error) {
    if (error instanceof AftersaveError && error.code === "E_KEY_FOLDER") return parseKey(folder); // a file stands in its way now
    throw error;
  }
}

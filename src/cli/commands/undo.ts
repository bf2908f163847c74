/**
 * `aftersave undo [VERSION…]`.
 * @module
 */
import { type Command, Option } from "commander";
import { ORIGINS, type Origin } from "../../index.ts";
import type { Cli } from "../cli.ts";
import { asPlanned, carryOut, type PlanFlags } from "../plan.ts";
import { noteTime, pastTimeOf } from "../times.ts";

interface Flags extends PlanFlags {
  readonly session?: string;
  readonly chat?: string;
  readonly since?: string;
  readonly reason?: string;
  readonly tool?: string;
  readonly origin?: Origin;
}

export function define(command: Command, cli: Cli): void {
  asPlanned(
    command
      .description(
        "Takes saves back: the last one, those named, or all of a session or chat. What newer saves changed elsewhere in a file " +
          "stays; where that cannot be told apart the file stays as it is. The result is a new version, which can be undone like any other.",
      )
      .argument("[VERSION...]", "versions, as receipts and `aftersave history` show them; the last save by default")
      .option("--session <id>", "all saves of this session")
      .option("--chat <name>", "all saves of this chat")
      .option("--since <time>", 'of a session or chat: only saves from that time on: ISO 8601, yesterday, "2h ago"')
      .option("--reason <text>", "why")
      .option("--tool <name>", "the tool that does it")
      .addOption(new Option("--origin <origin>", "who does it").choices(ORIGINS)),
  ).action(async (versions: string[], { session, chat, since, reason, tool, origin, ...flags }: Flags) => {
    const from = since === undefined ? undefined : await pastTimeOf(since, "--since");
    const memory = await cli.memory();
    noteTime(cli.out, "--since", from);
    const plan = await memory.planUndo({
      versions: versions.length > 0 ? versions : undefined,
      session_id: session,
      chat_name: chat,
      since: from,
    });
    await carryOut(cli, memory, plan, flags, { reason, tool, origin });
  });
}

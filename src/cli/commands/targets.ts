/**
 * `aftersave targets [list|enable|disable|join]`.
 * @module
 */
import { Argument, type Command } from "commander";
import { AftersaveError, switchTarget, type Joined, type Memory, type Switched } from "../../index.ts";
import { exits, type Cli } from "../cli.ts";
import { sayTraits } from "../traits.ts";
import { sayWriters } from "../words.ts";

const ACTIONS = ["list", "enable", "disable", "join"] as const;

export function define(command: Command, cli: Cli): void {
  exits(
    command
      .description(
        "Lists the targets, where each lies and what it promises, without asking any. `enable NAME` and `disable NAME` say in " +
          "paths.json whether anything is sent there; what lies there stays. `join NAME` lets this memory write to a place that " +
          "another memory root owns, beside it: each keeps a history of its own there, and what either wrote last stands under a " +
          "key that both have.",
      )
      .addArgument(new Argument("[ACTION]", "what to do").choices(ACTIONS).default("list"))
      .argument("[NAME]", "with enable, disable and join: the target"),
    {
      0: "done, or it was so already",
      1: "failed",
      2: "wrong usage or configuration (nothing is written that could not be used), or no such target",
      4: "not signed in at the target",
      5: "the place does not say which memory root owns it",
    },
  ).action(async (action: (typeof ACTIONS)[number], name: string | undefined) => {
    if ((action !== "list") !== (name !== undefined))
      throw new AftersaveError("E_USAGE", action === "list" ? "list takes no name" : `${action} which target?`, {
        hint: `Use \`aftersave targets\` or \`aftersave targets ${action === "list" ? "join" : action} NAME\`.`,
      });
    if (name === undefined) return list(await cli.memory(), cli);
    if (action === "join") {
      const joined = await (await cli.memory()).join(name, { signal: cli.interrupted() });
      return cli.out.answer(joined, () => sayJoined(joined));
    }
    const switched = await switchTarget(name, action === "enable", { root: cli.root });
    cli.out.answer(switched, () => saySwitched(switched));
  });
}

async function list(memory: Memory, cli: Cli): Promise<void> {
  const { targets } = await memory.status();
  const all = memory.targets().map((target) => ({
    ...target,
    state: targets[target.name]?.state ?? "disabled",
    code: targets[target.name]?.code ?? null,
    writers: targets[target.name]?.writers ?? [],
  }));
  const wide = Math.max(0, ...all.map(({ name }) => name.length));
  cli.out.answer(all, () =>
    all.length === 0
      ? "paths.json names no target."
      : all
          .flatMap(({ name, type, where, state, code, writers, handed_over, traits }) => [
            [
              `${cli.out.paint("bold", name.padEnd(wide))}  ${type}  ${where}  ${state}${code === null ? "" : ` (${code})`}`,
              ...sayWriters(writers),
            ].join(", "),
            `${"".padEnd(wide)}  ${sayTraits(traits, handed_over)}`,
          ])
          .join("\n"),
  );
}

function saySwitched({ target, enabled, changed, signs_in }: Switched): string {
  if (!changed) return `${target} is ${enabled ? "enabled" : "disabled"} already; nothing was changed.`;
  if (!enabled)
    return `${target} is disabled: nothing is sent there any more, uploads that wait for it wait on, and what lies there stays.`;
  return [
    `${target} is enabled: what is saved from now on goes there too.`,
    ...(signs_in ? [`\`aftersave connect ${target}\` signs in, where that was not done yet.`] : []),
    `What is here already goes with \`aftersave sync-file PATH…\`, or when it is saved next. \`aftersave check ${target}\` tries the target out.`,
  ].join("\n");
}

function sayJoined({ target, joined, writers }: Joined): string {
  const others = sayWriters(writers).join("");
  if (!joined) return `${target} is this memory's own place; there was nothing to join`;
  return `joined: this memory writes to ${target} too${others === "" ? "" : `, ${others}`}; \`aftersave flush\` uploads now`;
}

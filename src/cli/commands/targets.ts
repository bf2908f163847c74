/**
 * `aftersave targets [list|join]`.
 * @module
 */
import { Argument, type Command } from "commander";
import { AftersaveError, type Joined, type Memory } from "../../index.ts";
import { exits, type Cli } from "../cli.ts";
import { sayWriters } from "../words.ts";

export function define(command: Command, cli: Cli): void {
  exits(
    command
      .description(
        "Lists the targets. `join NAME` lets this memory write to a place that another memory root owns, beside it: " +
          "each keeps a history of its own there, and what either wrote last stands under a key that both have.",
      )
      .addArgument(new Argument("[ACTION]", "what to do").choices(["list", "join"]).default("list"))
      .argument("[NAME]", "with join: the target"),
    {
      0: "done",
      1: "failed",
      2: "wrong usage or configuration, or no such target",
      4: "not signed in at the target",
      5: "the place does not say which memory root owns it",
    },
  ).action(async (action: string, name: string | undefined) => {
    if ((action === "join") !== (name !== undefined))
      throw new AftersaveError("E_USAGE", action === "join" ? "join which target?" : "list takes no name", {
        hint: "Use `aftersave targets` or `aftersave targets join NAME`.",
      });
    const memory = await cli.memory();
    if (name === undefined) return list(memory, cli);
    const joined = await memory.join(name, { signal: cli.interrupted() });
    cli.out.answer(joined, () => say(joined));
  });
}

async function list(memory: Memory, cli: Cli): Promise<void> {
  const { targets } = await memory.status();
  const all = memory.config.targets.map(({ name, type, enabled, root }) => ({
    name,
    type,
    enabled,
    root,
    state: targets[name]?.state ?? "disabled",
    code: targets[name]?.code ?? null,
    writers: targets[name]?.writers ?? [],
  }));
  const wide = Math.max(0, ...all.map(({ name }) => name.length));
  cli.out.answer(all, () =>
    all.length === 0
      ? "paths.json names no target."
      : all
          .map(({ name, type, root, state, code, writers }) =>
            [`${name.padEnd(wide)}  ${type}  ${root}  ${state}${code === null ? "" : ` (${code})`}`, ...sayWriters(writers)].join(
              ", ",
            ),
          )
          .join("\n"),
  );
}

function say({ target, joined, writers }: Joined): string {
  const others = sayWriters(writers).join("");
  if (!joined) return `${target} is this memory's own place; there was nothing to join`;
  return `joined: this memory writes to ${target} too${others === "" ? "" : `, ${others}`}; \`aftersave flush\` uploads now`;
}

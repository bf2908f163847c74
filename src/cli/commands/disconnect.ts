/**
 * `aftersave disconnect TARGET`: ends the sign-in; the mirror stays.
 * @module
 */
import type { Command } from "commander";
import type { Disconnected } from "../../index.ts";
import { exits, type Cli } from "../cli.ts";

export function define(command: Command, cli: Cli): void {
  exits(
    command
      .description(
        "Revokes the sign-in to a target and removes it here. What is mirrored there stays, and so does the OAuth client.",
      )
      .argument("TARGET", "a target of paths.json"),
    {
      0: "revoked and removed, or there was no sign-in",
      1: "the provider could not be asked; the sign-in is still there",
      2: "wrong usage, or there is nothing to revoke",
      4: "the token file cannot be read",
    },
  ).action(async (name: string) => {
    const memory = await cli.memory();
    const disconnected = await memory.disconnect(name);
    cli.out.answer(disconnected, () => say(disconnected));
  });
}

function say({ target, file, removed, revoked }: Disconnected): string {
  if (!removed) return `${target} was not signed in: there is no ${file}`;
  const how = {
    revoked: "its access is revoked",
    "already invalid": "it was invalid already, so there was nothing to revoke",
    nothing: "there was nothing to revoke",
  }[revoked];
  return `signed out of ${target}: ${how}, and ${file} is removed. What is mirrored there stays.`;
}

/**
 * `aftersave connect TARGET`: signs in, and proves the target.
 * @module
 */
import { homedir } from "node:os";
import { resolve } from "node:path";
import { createInterface } from "node:readline/promises";
import type { Command } from "commander";
import { AftersaveError, type Connected, type Memory } from "../../index.ts";
import { exits, type Cli } from "../cli.ts";
import { plural } from "../words.ts";

interface Flags {
  /** False with `--no-browser`. */
  readonly browser: boolean;
  readonly client?: string;
  readonly timeout?: string;
}

export function define(command: Command, cli: Cli): void {
  exits(
    command
      .description(
        "Signs in to a target in the browser, stores that, and proves it by writing, reading back and removing a probe.",
      )
      .argument("TARGET", "a target of paths.json")
      .option("--no-browser", "print the address to open instead of opening it")
      .option("--client <file>", "the OAuth client as the Google console lets you download it; it is copied to drive_client")
      .option("--timeout <seconds>", "how long to wait for the sign-in", "300"),
    {
      0: "signed in where there is something to sign in to, and proven",
      1: "the proof failed; a sign-in stays stored",
      2: "wrong usage, no such target, or a --client file that cannot be used",
      4: "not signed in: declined, no OAuth client, or the credentials are refused",
      5: "in conflict: a person must decide",
    },
  ).action(async (name: string, { browser, client, timeout = "" }: Flags) => {
    const seconds = Number(timeout);
    if (!(seconds > 0 && seconds <= 86_400))
      throw new AftersaveError("E_USAGE", `--timeout is not a number of seconds: ${JSON.stringify(timeout)}`, {
        hint: "Give seconds, for example --timeout 600.",
      });
    const memory = await cli.memory();
    const signal = cli.interrupted();
    const dialogue = {
      signal,
      waitMs: seconds * 1000,
      clientFile: client === undefined ? undefined : resolve(client),
      onAddress: (address: string) => void show(cli, address, browser),
      ...(process.stdin.isTTY && process.stderr.isTTY && !cli.out.json ? { ask: asker(cli, signal) } : {}),
    };
    const connected = await memory.connect(name, dialogue).catch((error: unknown) => {
      if (!signal.aborted) throw error;
      throw new AftersaveError("E_TOKEN_MISSING", `connecting ${name} was interrupted`, {
        cause: error,
        hint: `Run \`aftersave connect ${name}\` again.`,
      });
    });
    const waiting = await waitingFor(memory, name);
    cli.out.answer(connected, () => say(connected, waiting, cli));
  });
}

/** The address is always shown: a browser may open on another screen, or not at all. */
async function show({ out }: Cli, address: string, browser: boolean): Promise<void> {
  const how = browser
    ? "Your browser should open now. If it does not, open this address:"
    : "Open this address in a browser on this machine:";
  out.fail(`${how}\n\n${address}\n\nWaiting for the sign-in; Ctrl-C stops.`);
  if (!browser) return;
  const failed = (error: unknown) =>
    out.warn(`no browser could be opened (${error instanceof Error ? error.message : String(error)})`);
  try {
    const { default: open } = await import("open");
    (await open(address)).once("error", failed);
  } catch (error) {
    failed(error);
  }
}

/** Asks on the terminal. It stays in its usual mode, so that Ctrl-C is what it always is. */
function asker({ out }: Cli, signal: AbortSignal) {
  return async (guide: string, question: string, as: "path" | "text" = "path"): Promise<string | undefined> => {
    out.fail(guide);
    const terminal = createInterface({ input: process.stdin, output: process.stderr, terminal: false });
    try {
      const said = (await terminal.question(`\n${question}: `, { signal })).trim().replace(/^(['"])(.*)\1$/, "$2");
      if (said === "" || as === "text") return said || undefined;
      return resolve(said.replace(/^~(?=\/|$)/, homedir()));
    } finally {
      terminal.close();
    }
  };
}

async function waitingFor(memory: Memory, name: string): Promise<number> {
  const { targets } = await memory.status();
  const target = targets[name];
  return target ? target.pending + target.failed : 0;
}

function say({ target, enabled, sign_in, folder }: Connected, waiting: number, { out }: Cli): string {
  const scopes = sign_in?.scopes.map((scope) => scope.replace("https://www.googleapis.com/auth/", "")).join(", ");
  const who = sign_in?.account ?? undefined;
  return [
    ...(sign_in === null
      ? []
      : [
          `${out.paint("green", "signed in")} to ${out.paint("bold", target)}${who === undefined ? "" : ` as ${who}`}${scopes ? ` (${scopes})` : ""}`,
          ...(sign_in.file === null ? [] : [`  kept in ${sign_in.file}`]),
        ]),
    `${out.paint("green", "proven")}: a probe was written, read back and removed; files land in ${out.paint("bold", folder)}`,
    ...(enabled
      ? []
      : [`${target} is not enabled yet, so nothing is sent there: set "enabled": true at targets.${target} in paths.json.`]),
    ...(enabled && waiting > 0
      ? [`${plural(waiting, "upload")} waiting: \`aftersave flush\` sends ${waiting === 1 ? "it" : "them"} now.`]
      : []),
  ].join("\n");
}

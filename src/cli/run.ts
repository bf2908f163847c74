/**
 * Runs one command line. Only the command that is asked for is loaded.
 * @module
 */
import { readFileSync } from "node:fs";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { Command, CommanderError } from "commander";
import type { Memory } from "../index.ts";
import type { Cli, CommandModule } from "./cli.ts";
import { createOutput } from "./output.ts";

interface Entry {
  readonly summary: string;
  readonly hidden?: boolean;
  readonly load: () => Promise<CommandModule>;
}

const commands: Readonly<Record<string, Entry>> = {
  init: { summary: "make a folder a memory root", load: () => import("./commands/init.ts") },
  append: { summary: "add to the end of a memory file", load: () => import("./commands/append.ts") },
  replace: { summary: "make new content the whole of a memory file", load: () => import("./commands/replace.ts") },
  archive: { summary: "move a memory file to the archive", load: () => import("./commands/archive.ts") },
  "sync-file": { summary: "upload files now, and wait", load: () => import("./commands/sync-file.ts") },
  ingest: { summary: "take save events as JSON Lines on stdin", load: () => import("./commands/ingest.ts") },
  flush: { summary: "upload all that is pending", load: () => import("./commands/flush.ts") },
  sweep: { summary: "version changes that others made", load: () => import("./commands/sweep.ts") },
  status: { summary: "say whether the memory is safe", load: () => import("./commands/status.ts") },
  log: { summary: "show uploads, archives or changes", load: () => import("./commands/log.ts") },
  doctor: { summary: "look for what is wrong, with cause and cure", load: () => import("./commands/doctor.ts") },
  worker: { summary: "upload in the background", hidden: true, load: () => import("./commands/worker.ts") },
};

/** A text such as "- a point" or "---\ntitle: …" looks like an option to the parser. No argument holds a NUL, so it can mark one. */
const MARK = "\0";
const marked = (text: string) => (/^-[^\s=]*\s/.test(text) ? MARK + text : text);
const unmarked = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(unmarked);
  return typeof value === "string" && value.startsWith(MARK) ? value.slice(1) : value;
};

/** Global options may stand before or after the command. */
const withGlobals = (command: Command) =>
  command
    .option("--root <dir>", "the memory root (else AFTERSAVE_ROOT, else the nearest folder upwards with a paths.json)")
    .option("--json", "answer with one JSON document")
    .option("--quiet", "print nothing but errors and warnings")
    .option("--debug", "show where an error came from");

/** Where in `args` the command is named; -1 when it is not. */
const commandAt = (args: readonly string[]) => args.findIndex((arg, at) => !arg.startsWith("-") && args[at - 1] !== "--root");

/** `help COMMAND` is `COMMAND --help`. */
function withoutHelp(args: readonly string[]): readonly string[] {
  const at = commandAt(args);
  return args[at] === "help" ? [...args.toSpliced(at, 1), "--help"] : args;
}

/** The package's version; package.json stands two folders above the program, in the sources and in what is installed. */
function versionOf(url: string): string {
  const manifest = JSON.parse(readFileSync(new URL("../../package.json", url), "utf8")) as { version: string };
  return manifest.version;
}

/** Runs the command line `argv`; `url` is the program that was started. Answers the exit code and never throws. */
export async function run(argv: readonly string[], url: string): Promise<number> {
  const args = withoutHelp(argv.map(marked));
  const before = args.includes("--") ? args.slice(0, args.indexOf("--")) : args;
  const has = (option: string) => before.includes(option);
  const out = createOutput(has("--json"), has("--quiet"));
  let opening: Promise<Memory> | undefined;
  let root: string | undefined;
  const cli: Cli = {
    get root() {
      return root;
    },
    debug: has("--debug"),
    program: fileURLToPath(new URL(`./main${extname(url)}`, url)),
    out,
    memory: (options = {}) => (opening ??= import("../index.ts").then(({ openMemory }) => openMemory({ root, ...options }))),
    interrupted() {
      const controller = new AbortController();
      // not `once`: a library's handler that finds itself alone ends the process
      process.on("SIGINT", function again() {
        if (controller.signal.aborted) process.off("SIGINT", again).kill(process.pid, "SIGINT");
        controller.abort(new DOMException("interrupted", "AbortError"));
      });
      return controller.signal;
    },
    exit: 0,
  };

  let help = "";
  const program = withGlobals(new Command("aftersave"))
    .description("Versions what your agents write to their memory, and mirrors it to storage that you own.")
    .usage("[options] COMMAND")
    .option("-V, --version", "print the version")
    .enablePositionalOptions()
    .helpCommand(false)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void (help += text),
      writeErr: (text) => void (help += text),
      outputError: () => undefined,
    })
    .addHelpText("after", "\n`aftersave help COMMAND` tells what a command takes, and its exit codes.");

  const failed = async (error: unknown): Promise<number> => (await import("./report.ts")).report(error, cli);

  const work = async (): Promise<number> => {
    const name = args[commandAt(args)];
    for (const [known, { summary, hidden, load }] of Object.entries(commands)) {
      const command = program.command(known, { hidden: hidden === true }).summary(summary);
      if (known === name) (await load()).define(withGlobals(command), cli);
    }
    program.hook("preAction", (_, command) => {
      command.processedArgs = command.processedArgs.map(unmarked);
      for (const [option, value] of Object.entries(command.opts())) command.setOptionValue(option, unmarked(value));
      root = command.optsWithGlobals<{ root?: string }>().root;
    });
    if (name === undefined && (has("--version") || has("-V"))) {
      const version = versionOf(url);
      out.answer({ version }, () => version);
      return 0;
    }
    try {
      await program.parseAsync(args, { from: "user" });
    } catch (error) {
      if (!(error instanceof CommanderError) || error.exitCode !== 0) throw error;
      const text = help.trimEnd();
      out.answer({ help: text }, () => text);
    }
    return cli.exit;
  };

  let exit: number;
  try {
    exit = await work();
  } catch (error) {
    if (error instanceof CommanderError && error.code === "commander.help" && !out.json)
      process.stderr.write(`${help.trimEnd()}\n\n`);
    exit = await failed(error);
  }
  const memory = await opening?.catch(() => undefined); // its failure was the command's
  if (memory) {
    try {
      await memory.close();
    } catch (error) {
      exit = Math.max(exit, await failed(error));
    }
    for (const notice of new Set(memory.notices)) out.warn(notice);
  }
  return exit;
}

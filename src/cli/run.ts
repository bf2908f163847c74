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
  /** What is done all the same when the answer cannot be written; a command without it only answers. */
  readonly done?: string;
  readonly load: () => Promise<CommandModule>;
}

const ACCEPTED = "the save was accepted";
const UPLOADS = "`aftersave log uploads` says what was done";
const CHANGES = "`aftersave log changes` says what was done";

const commands: Readonly<Record<string, Entry>> = {
  init: { done: "the folder is a memory root", summary: "make a folder a memory root", load: () => import("./commands/init.ts") },
  append: { done: ACCEPTED, summary: "add to the end of a memory file", load: () => import("./commands/append.ts") },
  replace: {
    done: ACCEPTED,
    summary: "make new content the whole of a memory file",
    load: () => import("./commands/replace.ts"),
  },
  archive: { done: ACCEPTED, summary: "move a memory file to the archive", load: () => import("./commands/archive.ts") },
  ingest: { done: CHANGES, summary: "take save events as JSON Lines on stdin", load: () => import("./commands/ingest.ts") },
  sweep: { done: CHANGES, summary: "version changes that others made", load: () => import("./commands/sweep.ts") },
  history: { summary: "show what was saved and decided, and by whom", load: () => import("./commands/history.ts") },
  show: { summary: "show what a memory file holds or held", load: () => import("./commands/show.ts") },
  diff: { summary: "show what changed in a memory file, or since a time", load: () => import("./commands/diff.ts") },
  blame: { summary: "name who wrote each line of a memory file", load: () => import("./commands/blame.ts") },
  undo: { done: CHANGES, summary: "take saves back", load: () => import("./commands/undo.ts") },
  restore: { done: CHANGES, summary: "bring back what was, of one file or of all", load: () => import("./commands/restore.ts") },
  accept: { done: CHANGES, summary: "let a held version be", load: () => import("./commands/accept.ts") },
  reject: { done: CHANGES, summary: "turn a held version down", load: () => import("./commands/reject.ts") },
  pin: { done: CHANGES, summary: "keep a version whatever the rules say", load: () => import("./commands/pin.ts") },
  prune: { done: CHANGES, summary: "remove archive copies that no rule keeps", load: () => import("./commands/prune.ts") },
  erase: {
    done: "`aftersave erase --list` says what was erased",
    summary: "make what was accepted unrecoverable, here and everywhere",
    load: () => import("./commands/erase.ts"),
  },
  secrets: {
    done: "`aftersave secrets` says what is so",
    summary: "list what is kept here because it looks like a secret, and allow it",
    load: () => import("./commands/secrets.ts"),
  },
  "sync-file": { done: UPLOADS, summary: "upload files now, and wait", load: () => import("./commands/sync-file.ts") },
  flush: { done: UPLOADS, summary: "upload all that is pending", load: () => import("./commands/flush.ts") },
  targets: {
    done: "`aftersave targets` says what is so",
    summary: "list the targets, enable or disable one, or join one that another memory root owns",
    load: () => import("./commands/targets.ts"),
  },
  check: {
    done: "the scratch folder is removed",
    summary: "try a target out, promise by promise",
    load: () => import("./commands/check.ts"),
  },
  connect: {
    done: "the target was proven, and a sign-in is stored",
    summary: "sign in to a target, and prove it",
    load: () => import("./commands/connect.ts"),
  },
  disconnect: {
    done: "the sign-in is revoked and removed",
    summary: "end the sign-in to a target",
    load: () => import("./commands/disconnect.ts"),
  },
  status: { summary: "say whether the memory is safe", load: () => import("./commands/status.ts") },
  verify: {
    summary: "check that nothing that was accepted was altered, here and at a target",
    load: () => import("./commands/verify.ts"),
  },
  log: { summary: "show uploads, archives or changes", load: () => import("./commands/log.ts") },
  doctor: { summary: "look for what is wrong, with cause and cure", load: () => import("./commands/doctor.ts") },
  worker: { summary: "upload in the background", hidden: true, load: () => import("./commands/worker.ts") },
};

/** A text such as "- a point" or "---\ntitle: …", and a version such as -1, look like options to the parser. No argument holds a NUL, so it can mark one. */
const MARK = "\0";
const marked = (text: string) => (/^-([^\s=]*\s|\d+$)/.test(text) ? MARK + text : text);
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

/** `help COMMAND` is `COMMAND --help`; of a command that does not exist there is no help. */
function withoutHelp(args: readonly string[]): readonly string[] {
  const at = commandAt(args);
  const name = args[at];
  const known = name === undefined || name === "help" || Object.hasOwn(commands, name);
  if (!known) return args.filter((arg) => arg !== "--help" && arg !== "-h");
  return name === "help" ? withoutHelp([...args.toSpliced(at, 1), "--help"]) : args;
}

/** The package's version; package.json stands two folders above the program, in the sources and in what is installed. */
function versionOf(url: string): string {
  const manifest = JSON.parse(readFileSync(new URL("../../package.json", url), "utf8")) as { version: string };
  return manifest.version;
}

/** Each of `notices` once; one that only begins another says nothing of its own, nor does one that was `told`. */
const once = (notices: readonly string[], told: readonly string[]): string[] =>
  [...new Set(notices)]
    .filter((notice, _, all) => !all.some((other) => other !== notice && other.startsWith(notice)))
    .filter((notice) => !told.some((message) => notice.startsWith(message)));

/** Runs the command line `argv`; `url` is the program that was started. Answers the exit code and never throws. */
export async function run(argv: readonly string[], url: string): Promise<number> {
  const args = withoutHelp(argv.map(marked));
  const name = args[commandAt(args)];
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
    told: [],
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

  let failure: unknown;
  let helped = false;
  const failed = async (error: unknown): Promise<number> => (await import("./report.ts")).report(error, cli);

  const work = async (): Promise<number> => {
    for (const [known, { summary, hidden, load }] of Object.entries(commands)) {
      const command = program.command(known, { hidden: hidden === true }).summary(summary);
      if (known === name) (await load()).define(withGlobals(command), cli);
    }
    program.hook("preAction", (_, command) => {
      command.processedArgs = command.processedArgs.map(unmarked);
      for (const [option, value] of Object.entries(command.opts())) command.setOptionValue(option, unmarked(value));
      root = command.optsWithGlobals<{ root?: string }>().root;
    });
    if ((name === undefined || name === "sync-file") && (has("--version") || has("-V"))) {
      const version = versionOf(url);
      out.answer({ version }, () => version);
      return 0;
    }
    try {
      await program.parseAsync(args, { from: "user" });
    } catch (error) {
      if (!(error instanceof CommanderError) || error.exitCode !== 0) throw error;
      helped = true;
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
    failure = error;
    exit = await failed(error);
  }
  const memory = await opening?.catch(() => undefined); // its failure was the command's
  if (memory) {
    try {
      await memory.close();
    } catch (error) {
      exit = Math.max(exit, await failed(error));
    }
    for (const notice of once(memory.notices, cli.told)) out.warn(notice);
  }
  const fault = await out.fault();
  if (!fault) return exit;
  const done = failure === undefined && !helped ? commands[name ?? ""]?.done : undefined;
  out.warn(`the answer could not be written: ${fault.message}${done === undefined ? "" : `; ${done}`}`);
  if (failure !== undefined && out.json) await failed(failure);
  return done === undefined ? exit || 1 : exit;
}

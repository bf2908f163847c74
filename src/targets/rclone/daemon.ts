/**
 * rclone as a child process that is told what to do through its remote control, on a port of 127.0.0.1 that asks for a
 * random password. It ends with us, however we end: a keeper between us and it waits for our end of a pipe to close.
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { Agent, type IncomingMessage, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TargetError } from "../../core/errors.ts";

/** What rclone answered that it could not do. */
export class Refusal extends Error {
  readonly status: number;
  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

export interface DaemonOptions {
  readonly program?: string | undefined;
  readonly config?: string | undefined;
  readonly env: NodeJS.ProcessEnv;
}

export interface Rclone {
  /** A folder of our own on this machine, for bytes on their way. It goes when rclone ends. */
  folder(signal?: AbortSignal): Promise<string>;
  /** One command of the remote control. Throws `Refusal`, a `TargetError` when rclone cannot be started, or a system error. */
  call(command: string, parameters: Readonly<Record<string, unknown>>, signal?: AbortSignal): Promise<Record<string, unknown>>;
  /** A file's bytes as they arrive, and how many there should be. */
  open(fs: string, path: string, signal?: AbortSignal): Promise<{ readonly stream: IncomingMessage; readonly size: number }>;
  /** Ends rclone. The next call starts it again. */
  close(): Promise<void>;
}

const OLDEST = [1, 60];
const INSTALL =
  "Install rclone 1.60 or newer (https://rclone.org/install/, `apt install rclone`, `brew install rclone`, `winget install Rclone.Rclone`), or name it with `program` at this target in paths.json.";

/** Settings of a person's shell that would change what a call does, or how we talk to it. A remote's own settings stay. */
const OURS =
  /^(AWS_CA_BUNDLE|RCLONE_(RC|LOG|STATS|PROGRESS|VERBOSE|QUIET|USE_JSON_LOG|SYSLOG|DRY_RUN|INTERACTIVE|RETRIES|LOW_LEVEL_RETRIES|IGNORE|IMMUTABLE|UPDATE|SIZE_ONLY|CHECKSUM|EXCLUDE|INCLUDE|FILTER|FILES_FROM|MAX|MIN|BACKUP_DIR|SUFFIX|COMPARE_DEST|COPY_DEST|CHECK_FIRST|NO_TRAVERSE|NO_CHECK_DEST|NO_UPDATE|METADATA|INPLACE|CUTOFF|ERROR_ON_NO_TRANSFER|CONFIG$)[A-Z_]*)$/;

// the retry wrap tries again, and rclone would only multiply that
const ARGUMENTS =
  "rcd --rc-addr 127.0.0.1:0 --rc-serve --retries 1 --low-level-retries 1 --ask-password=false --log-level NOTICE".split(" ");

/** Runs rclone, removes its folder after it, and ends it when the pipe from us closes. */
const KEEPER = `
const { spawn } = require("node:child_process");
const { rmSync } = require("node:fs");
const [program, folder, ...args] = process.argv.slice(1);
const child = spawn(program, args, { stdio: ["ignore", "ignore", "inherit"], windowsHide: true });
const over = (code) => { try { rmSync(folder, { recursive: true, force: true }); } finally { process.exit(code); } };
child.on("error", (error) => { process.stderr.write("keeper: " + error.code + "\\n", () => over(127)); });
child.on("exit", (code) => over(code ?? 1));
const end = () => { child.kill(); setTimeout(() => child.kill("SIGKILL"), 2000); };
process.stdin.on("end", end).on("error", end).resume();
process.stderr.on("error", () => undefined);
`;

interface Running {
  readonly keeper: ChildProcess;
  readonly port: number;
  readonly authorization: string;
  readonly folder: string;
  readonly agent: Agent;
  readonly ended: Promise<void>;
}

const environment = ({ env, config }: DaemonOptions, password: string): NodeJS.ProcessEnv => ({
  ...Object.fromEntries(Object.entries(env).filter(([name]) => name === "RCLONE_CONFIG" || !OURS.test(name))),
  ...(config !== undefined && { RCLONE_CONFIG: config }),
  RCLONE_RC_USER: "aftersave",
  RCLONE_RC_PASS: password,
  ELECTRON_RUN_AS_NODE: "1",
});

const missing = (message: string) => new TargetError("unsupported", message, { code: "E_SDK_MISSING", hint: INSTALL });

/** Why rclone ended before it listened. */
function startFault(program: string, said: string): TargetError {
  const errno = /^keeper: (\w+)/m.exec(said)?.[1];
  if (errno === "ENOENT") return missing(`targets of type rclone need the program ${program}, which is not installed`);
  if (errno !== undefined) return missing(`the program ${program} cannot be run (${errno})`);
  if (/unknown (flag|command)/.test(said)) return missing(`the rclone of ${program} is too old`);
  if (/decrypt configuration|config(uration)? password|RCLONE_CONFIG_PASS/i.test(said))
    return new TargetError("auth", "rclone's configuration is encrypted, and its password is not known here", {
      hint: "Set RCLONE_CONFIG_PASS or RCLONE_PASSWORD_COMMAND where aftersave runs.",
    });
  if (/load config/i.test(said))
    return new TargetError("unsupported", "rclone cannot read its configuration file", {
      hint: "Run `rclone listremotes`, with `--config` if the target names a file: it says what is wrong.",
    });
  return new TargetError("transient", "rclone ended while it was started", {
    hint: "Run `rclone rcd --rc-addr 127.0.0.1:0` to see why. It is tried again.",
  });
}

/** rclone, started by the first call. */
export function createRclone(options: DaemonOptions): Rclone {
  const program = options.program ?? "rclone";
  let starting: Promise<Running> | undefined;

  async function start(): Promise<Running> {
    const folder = await mkdtemp(join(tmpdir(), "aftersave-rclone-"));
    const password = randomBytes(24).toString("hex");
    // a group of its own: Ctrl-C is ours to act on
    const keeper = spawn(process.execPath, ["-e", KEEPER, program, folder, ...ARGUMENTS], {
      stdio: ["pipe", "ignore", "pipe"],
      env: environment(options, password),
      detached: true,
      windowsHide: true,
    });
    const agent = new Agent({ keepAlive: true });
    let over = (): void => undefined;
    const ended = new Promise<void>((resolve) => (over = resolve));
    let port: number;
    try {
      port = await new Promise<number>((resolve, reject) => {
        let said = "";
        keeper.stderr?.setEncoding("utf8").on("data", (text: string) => {
          said = (said + text).slice(-4096);
          const at = /remote control on http:\/\/127\.0\.0\.1:(\d+)\//.exec(said)?.[1];
          if (at !== undefined) resolve(Number(at));
        });
        keeper.stdin?.on("error", () => undefined);
        keeper.once("error", reject);
        keeper.once("close", () => {
          over();
          starting = undefined;
          reject(startFault(program, said));
        });
      });
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
    const running = { keeper, port, authorization: `Basic ${btoa(`aftersave:${password}`)}`, folder, agent, ended };
    const { decomposed } = (await ask(running, "core/version", {})) as { decomposed?: readonly number[] };
    const [major = 0, minor = 0] = decomposed ?? [];
    if (major < (OLDEST[0] ?? 0) || (major === OLDEST[0] && minor < (OLDEST[1] ?? 0))) {
      await end(running);
      throw missing(`the rclone of ${program} is version ${major}.${minor}, which is too old`);
    }
    // who forgets to close is not kept waiting; rclone ends with the process
    keeper.unref();
    for (const pipe of [keeper.stdin, keeper.stderr]) (pipe as { unref?: () => void } | null)?.unref?.();
    return running;
  }

  function up(signal?: AbortSignal): Promise<Running> {
    const running = (starting ??= start().catch((error: unknown) => {
      starting = undefined;
      throw error;
    }));
    if (!signal) return running;
    signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      const stop = () => reject(signal.reason);
      signal.addEventListener("abort", stop, { once: true });
      running.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
    });
  }

  function send(
    { port, authorization, agent }: Running,
    method: string,
    path: string,
    body: string | undefined,
    signal?: AbortSignal,
  ): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const stop = () => {
        sent.destroy();
        reject(signal?.reason);
      };
      const sent = request({
        host: "127.0.0.1",
        port,
        path,
        method,
        agent,
        headers: {
          authorization,
          ...(body !== undefined && { "content-type": "application/json", "content-length": Buffer.byteLength(body) }),
        },
      });
      signal?.addEventListener("abort", stop, { once: true });
      sent.on("close", () => signal?.removeEventListener("abort", stop));
      sent.on("error", (error) => reject(signal?.aborted === true ? signal.reason : error));
      sent.on("response", resolve);
      sent.end(body);
    });
  }

  async function textOf(answer: IncomingMessage, signal?: AbortSignal): Promise<string> {
    const parts: Buffer[] = [];
    try {
      for await (const part of answer) parts.push(part as Buffer);
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    }
    return Buffer.concat(parts).toString();
  }

  /** What is said in an answer that is no success. */
  const refusalOf = (text: string, status: number): Refusal => {
    let said = text;
    try {
      said = String((JSON.parse(text) as { error?: unknown }).error);
    } catch {
      // a plain text answer says it itself
    }
    return new Refusal(said.trim(), status);
  };

  async function ask(
    running: Running,
    command: string,
    parameters: Readonly<Record<string, unknown>>,
    signal?: AbortSignal,
  ): Promise<Record<string, unknown>> {
    const answer = await send(running, "POST", `/${command}`, JSON.stringify(parameters), signal);
    const text = await textOf(answer, signal);
    if (answer.statusCode !== 200) throw refusalOf(text, answer.statusCode ?? 0);
    return JSON.parse(text) as Record<string, unknown>;
  }

  async function end({ keeper, agent, ended }: Running): Promise<void> {
    agent.destroy();
    keeper.ref();
    keeper.stdin?.end();
    await ended;
  }

  return {
    folder: async (signal) => (await up(signal)).folder,
    call: async (command, parameters, signal) => ask(await up(signal), command, parameters, signal),
    async open(fs, path, signal) {
      const way = [`[${fs}]`, ...path.split("/")].map(encodeURIComponent).join("/");
      const stream = await send(await up(signal), "GET", `/${way}`, undefined, signal);
      if (stream.statusCode !== 200) throw refusalOf(await textOf(stream, signal), stream.statusCode ?? 0);
      return { stream, size: Number(stream.headers["content-length"]) };
    },
    async close() {
      const running = await starting?.catch(() => undefined);
      starting = undefined;
      if (running) await end(running);
    },
  };
}

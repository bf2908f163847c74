/**
 * A writing child and what it said before it ended.
 * @module
 */
import { spawn } from "node:child_process";
import type { Did, Doing, Failed, Line, Orders } from "./orders.ts";

export interface Ended {
  readonly accepted: readonly Did[];
  /** The save that was announced last and not answered, and those that failed. */
  readonly unsure: readonly Doing[];
  readonly failed: readonly Failed[];
  readonly signal: NodeJS.Signals | null;
  readonly code: number | null;
  readonly stderr: string;
}

export interface Running {
  readonly pid: number;
  /** Resolves when the child has opened the memory. */
  readonly ready: Promise<void>;
  readonly ended: Promise<Ended>;
  kill(): void;
  /** How many saves it has told of so far. */
  told(): number;
}

/** Starts the bundled writer. `wrapper` is a command that runs it, such as strace with its arguments. */
export function startWriter(program: string, orders: Orders, wrapper: readonly string[] = []): Running {
  const [command, ...rest] = [...wrapper, process.execPath, program, JSON.stringify(orders)];
  const child = spawn(command ?? process.execPath, rest, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, AFTERSAVE_NO_BACKGROUND: "1", UV_THREADPOOL_SIZE: wrapper.length > 0 ? "1" : "4" },
  });
  const lines: Line[] = [];
  let text = "";
  let stderr = "";
  let isReady = (): void => undefined;
  const ready = new Promise<void>((resolve) => (isReady = resolve));
  child.stdout.setEncoding("utf8").on("data", (piece: string) => {
    text += piece;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      lines.push(JSON.parse(text.slice(0, end)) as Line);
      text = text.slice(end + 1);
    }
    if (lines.length > 0) isReady();
  });
  child.stderr.setEncoding("utf8").on("data", (piece: string) => (stderr += piece));
  const accepted = () => lines.filter((line): line is Did => "version" in line);
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on("error", reject).on("close", (code, signal) => {
      isReady();
      const failed = lines.filter((line): line is Failed => "live" in line);
      const last = lines.at(-1);
      const open = last && "doing" in last && "file" in last && !("live" in last) ? [last] : [];
      resolve({ accepted: accepted(), unsure: [...failed, ...open], failed, signal, code, stderr });
    });
  });
  return { pid: child.pid ?? 0, ready, ended, kill: () => void child.kill("SIGKILL"), told: () => accepted().length };
}

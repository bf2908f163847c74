/**
 * Uploads that go on when the command has ended.
 * @module
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { extname } from "node:path";
import type { Memory } from "../index.ts";
import type { Cli } from "./cli.ts";

/** Starts the one worker of this memory root, unless it runs, may not, or has nowhere to upload to. */
export async function uploadInBackground(cli: Cli, memory: Memory): Promise<void> {
  if (process.env["AFTERSAVE_NO_BACKGROUND"] === "1") return;
  if (!memory.config.targets.some(({ enabled }) => enabled) || (await memory.workerRuns())) return;
  const loader = extname(cli.program) === ".ts" ? ["--import", import.meta.resolve("tsx")] : [];
  const worker = spawn(process.execPath, [...loader, cli.program, "worker", "--root", memory.root], {
    cwd: memory.root,
    detached: true,
    stdio: "ignore",
    windowsHide: true,
  });
  try {
    await once(worker, "spawn");
  } catch (error) {
    cli.out.warn(`no background upload could be started (${(error as Error).message}); run \`aftersave flush\``);
  }
  worker.unref();
}

// A prune in a process of its own, which dies on the way.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { bundled } from "../bundled.ts";

/** Prunes `root` until the `n`-th step of that name; answers what ended it: a signal, or what it said. */
export async function killedAt(root: string, step: string, n: number): Promise<string> {
  const child = spawn(process.execPath, [await bundled(join(import.meta.dirname, "prune.child.ts")), root, step, String(n)], {
    env: { ...process.env, NODE_OPTIONS: "" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (data: Buffer) => (said += data.toString()));
  return new Promise((resolve, reject) =>
    child.on("error", reject).on("close", (code, signal) => resolve(signal ?? `exit ${code}: ${said}`)),
  );
}

// Processes of this room's tests, all started before the first is waited for.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { bundled } from "../bundled.ts";

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export async function children(commands: readonly (readonly string[])[]): Promise<Ended[]> {
  const programs = await Promise.all(commands.map(([file = ""]) => bundled(join(import.meta.dirname, file))));
  return Promise.all(
    commands.map(
      ([, ...args], n) =>
        new Promise<Ended>((resolve, reject) => {
          const child = spawn(process.execPath, [programs[n] ?? "", ...args], {
            env: { ...process.env, NODE_OPTIONS: "" },
          });
          let [stdout, stderr] = ["", ""];
          child.stdout.on("data", (data: Buffer) => (stdout += data.toString()));
          child.stderr.on("data", (data: Buffer) => (stderr += data.toString()));
          child.on("error", reject).on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
        }),
    ),
  );
}

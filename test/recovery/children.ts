// Processes of this room's tests, all started before the first is waited for.
import { spawn } from "node:child_process";
import { join } from "node:path";

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function children(commands: readonly (readonly string[])[]): Promise<Ended[]> {
  return Promise.all(
    commands.map(
      ([file = "", ...args]) =>
        new Promise<Ended>((resolve, reject) => {
          const child = spawn(process.execPath, ["--import", "tsx", join(import.meta.dirname, file), ...args], {
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

/** Running clients that this project did not write. */
import { execFileSync, spawn } from "node:child_process";
import { text } from "node:stream/consumers";

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, with `input` on its stdin and nothing but `env` in its environment. */
export async function run(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  input = "",
): Promise<Ended> {
  const child = spawn(program, args, { env, timeout: 100_000 });
  const ended = new Promise<number | null>((resolve, reject) => child.once("error", reject).once("close", resolve));
  child.stdin.end(input);
  const [code, stdout, stderr] = await Promise.all([ended, text(child.stdout), text(child.stderr)]);
  return { code, stdout, stderr };
}

/** What goes into the title of tests that need programs, each with a command that shows that it works: why they are skipped. */
export function whyNot(...probes: readonly (readonly [debianPackage: string, program: string, ...args: string[]])[]): string {
  const missing = probes.flatMap(([debianPackage, program, ...args]) => {
    try {
      execFileSync(program, args, { stdio: "ignore" });
      return [];
    } catch {
      return [debianPackage];
    }
  });
  return missing.length === 0 ? "" : ` (SKIPPED: not installed: ${missing.join(", ")})`;
}

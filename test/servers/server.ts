/** Starts and ends real servers by the scripts beside this file. */
import { execFile, execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const script = (name: string) => join(import.meta.dirname, name);

/** The Debian packages of those programs that are not installed. */
export function missing(programs: Readonly<Record<string, string>>): string[] {
  const found = (program: string) => {
    try {
      execFileSync("sh", ["-c", 'command -v "$0"', program], {
        env: { ...process.env, PATH: `${process.env["PATH"]}:/usr/sbin:/sbin` },
      });
      return true;
    } catch {
      return false;
    }
  };
  return [...new Set(Object.entries(programs).flatMap(([program, debian]) => (found(program) ? [] : [debian])))];
}

const isFree = (port: number) =>
  new Promise<boolean>((done) => {
    const server = createServer();
    server.once("error", () => done(false));
    server.listen(port, "127.0.0.1", () => server.close(() => done(true)));
  });

/** The first of `count` ports in a row that nobody uses. */
export async function freePorts(count: number): Promise<number> {
  for (let round = 0; round < 100; round++) {
    const first = 20_000 + Math.floor(Math.random() * 300) * 40;
    const free = await Promise.all(Array.from({ length: count }, (_, at) => isFree(first + at)));
    if (free.every(Boolean)) return first;
  }
  throw new Error(`no ${count} free ports in a row`);
}

export interface Server {
  readonly folder: string;
  readonly port: number;
  /** Ends it and removes what it stored. */
  readonly stop: () => Promise<void>;
}

/** Runs `name`, a script that takes a folder and a port and records its processes in `<folder>/pids`. */
export async function startServer(name: string, ports: number): Promise<Server> {
  // sockets of servers lie in it, whose paths may have 107 characters
  const folder = await mkdtemp(join(tmpdir(), "as-"));
  const port = await freePorts(ports);
  const stop = async () => {
    await run("bash", [script("stop.sh"), folder, "KILL"]).catch(() => undefined);
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    await run("bash", [script(name), folder, String(port)], { timeout: 240_000 });
  } catch (error) {
    await stop();
    throw error;
  }
  return { folder, port, stop };
}

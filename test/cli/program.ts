/** The program as users install it: bundled once for a run of the tests, and run as processes of their own. */
import { execFileSync, spawn, spawnSync, type ChildProcessWithoutNullStreams } from "node:child_process";
import {
  closeSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeAll, expect, inject } from "vitest";
import { onceInRun } from "../bundled.ts";

let folder: string;
const roots: string[] = [];

/** The first test file of a run that needs the program bundles it; the others wait for that one. */
beforeAll(async () => {
  folder = join(inject("runFolder"), "program");
  await onceInRun("program", join(folder, "package.json"), () => {
    const build = ["node_modules/tsdown/dist/run.mjs", "--no-dts", "--out-dir", join(folder, "dist"), "--log-level", "error"];
    execFileSync(process.execPath, build, { stdio: ["ignore", "ignore", "pipe"] });
    symlinkSync(resolve("node_modules"), join(folder, "node_modules"), "dir");
    cpSync("package.json", join(folder, "package.json"));
  });
});

afterEach(() => {
  for (const root of roots.splice(0)) rmSync(root, { recursive: true, maxRetries: 5 });
});

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly input?: string | Uint8Array;
  readonly env?: NodeJS.ProcessEnv;
  readonly program?: "main" | "sync-file";
}

const place = ({ cwd, env }: RunOptions) => ({
  cwd: cwd ?? tmpdir(),
  env: { ...process.env, NODE_OPTIONS: "", AFTERSAVE_NO_BACKGROUND: "1", AFTERSAVE_ROOT: "", TZ: "UTC", ...env },
});
export const programOf = ({ program = "main" }: RunOptions = {}) => join(folder, `dist/cli/${program}.js`);

export function start(args: readonly string[], options: RunOptions = {}): ChildProcessWithoutNullStreams {
  return spawn(process.execPath, [programOf(options), ...args], place(options));
}

/** Runs to the end with stdout going to the file or device `into`. */
export function runInto(into: string, args: readonly string[], options: RunOptions = {}): Omit<Ended, "stdout"> {
  const stdout = openSync(into, "w");
  try {
    const { status, stderr } = spawnSync(process.execPath, [programOf(options), ...args], {
      ...place(options),
      input: options.input ?? "",
      stdio: ["pipe", stdout, "pipe"],
      encoding: "utf8",
    });
    return { code: status, stderr };
  } finally {
    closeSync(stdout);
  }
}

/** Runs to the end. Whatever happens, no stack trace is shown without --debug. */
export async function run(args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  const child = start(args, options);
  const [out, err]: Buffer[][] = [[], []];
  child.stdout.on("data", (piece: Buffer) => out?.push(piece));
  child.stderr.on("data", (piece: Buffer) => err?.push(piece));
  child.stdin.on("error", () => undefined); // a program that needs no input may have ended
  child.stdin.end(options.input ?? "");
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  const ended = { code, stdout: Buffer.concat(out ?? []).toString(), stderr: Buffer.concat(err ?? []).toString() };
  if (!args.includes("--debug")) expect(ended.stdout + ended.stderr).not.toMatch(/\n\s+at .*[:(]/);
  return ended;
}

/** Runs with --json; stdout must be one document. */
export async function ask(args: readonly string[], options: RunOptions = {}) {
  const { code, stdout, stderr } = await run(["--json", ...args], options);
  expect(stdout.trimEnd().split("\n")).toHaveLength(1);
  return { code, answer: JSON.parse(stdout) as Answer & readonly Answer[], stderr };
}

/** A document of any command. */
export interface Answer {
  readonly [field: string]: unknown;
  readonly error?: { readonly code: string; readonly message: string };
  readonly uploads?: readonly Answer[];
  readonly refused?: readonly Answer[];
  readonly timestamp?: string;
}

/** A new folder; with `config`, a memory root that has one folder target, changed by it. */
export function makeRoot(config?: Readonly<Record<string, unknown>> | string): string {
  const root = mkdtempSync(join(tmpdir(), "aftersave-root-"));
  roots.push(root);
  if (config === undefined) return root;
  const whole = { targets: { drive: { type: "folder", enabled: true, path: "./" } }, ...(config as object) };
  writeFileSync(join(root, "paths.json"), typeof config === "string" ? config : JSON.stringify(whole));
  return root;
}

export function put(root: string, path: string, content: string | Uint8Array): string {
  const file = join(root, path);
  mkdirSync(join(file, ".."), { recursive: true });
  writeFileSync(file, content);
  return file;
}

export const read = (root: string, path: string) => readFileSync(join(root, path), "utf8");
export const mirrored = (root: string, key: string) => read(root, `Drive/MemoryVDB/${key}`);

/** Every file below `root` with its bytes and its time of change: two equal ones mean that nothing was written. */
export function everything(root: string): Record<string, string> {
  const files = readdirSync(root, { recursive: true, encoding: "utf8" }).toSorted();
  return Object.fromEntries(
    files.map((name) => {
      const stats = statSync(join(root, name));
      return [name, stats.isFile() ? `${stats.mtimeMs} ${readFileSync(join(root, name), "latin1")}` : "folder"];
    }),
  );
}

/**
 * `npm start`: the main job on real files, without an account. Makes a memory root in `demo/` from the documents in
 * `Data/` (or from the files that are named), replays a day of an agent's saves, mirrors them, and shows what came of it.
 * Every line behind a $ is really run.
 */
import { spawn, spawnSync } from "node:child_process";
import {
  appendFileSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, extname, join, relative, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { styleText } from "node:util";

const project = fileURLToPath(new URL("..", import.meta.url));
const demo = join(project, "demo");
const marker = join(demo, ".made-by-npm-start");
const cli = [...process.execArgv, join(project, "src/cli/main.ts")];
const day = join(project, "scripts/start/day.jsonl");
const env = { ...process.env, AFTERSAVE_NO_BACKGROUND: "1", AFTERSAVE_ROOT: demo };

const styled = (style: Parameters<typeof styleText>[0], text: string) => (process.stdout.isTTY ? styleText(style, text) : text);
const say = (text = "") => process.stdout.write(`${text}\n`);
const title = (text: string) => say(`\n${styled("bold", text)}`);

function fail(message: string): never {
  process.stderr.write(`npm start: ${message}\n`);
  process.exit(1);
}

/** Runs one aftersave command in the demo root, as a user would, and shows it. */
function run(args: string[], options: { input?: string; shown?: string; quiet?: boolean } = {}): string {
  say(styled("cyan", `$ aftersave ${options.shown ?? args.join(" ")}`));
  const stdin = options.input === undefined ? "ignore" : openSync(options.input, "r");
  const { status, stdout, error } = spawnSync(process.execPath, [...cli, ...args], {
    cwd: demo,
    env,
    stdio: [stdin, "pipe", "inherit"],
    encoding: "utf8",
    maxBuffer: 64 << 20,
  });
  if (error) fail(error.message);
  if (!options.quiet) process.stdout.write(stdout);
  if (status !== 0) fail(`the command above ended with ${status}; its output stands before this line`);
  return stdout;
}

function showTree(folder: string, indent = "  "): void {
  for (const entry of readdirSync(folder, { withFileTypes: true }).toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      say(`${indent}${entry.name}/`);
      showTree(path, `${indent}  `);
    } else say(`${indent}${entry.name}  ${styled("dim", `${statSync(path).size} bytes`)}`);
  }
}

interface Emulated {
  readonly rootUrl: string;
  readonly tokenUrl: string;
  readonly token: unknown;
}

/** Starts the emulated Google Drive beside us: our own commands run one after the other and could not serve it. */
async function startDrive(): Promise<{ drive: Emulated; stop: () => void }> {
  const child = spawn(process.execPath, [...process.execArgv, join(project, "scripts/start/drive.child.ts")], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  for await (const line of createInterface({ input: child.stdout }))
    return { drive: JSON.parse(line) as Emulated, stop: () => child.stdin.end() };
  return fail("the emulated Google Drive did not start");
}

interface OnDrive {
  readonly path: string;
  readonly folder: boolean;
  readonly size?: number;
  readonly sha256?: string;
}

async function showDrive(at: string): Promise<void> {
  const answer = await fetch(new URL("__emulator/tree", at));
  const { tree } = (await answer.json()) as { tree: OnDrive[] };
  for (const { path, folder, size, sha256 } of tree.toSorted((a, b) => (a.path < b.path ? -1 : 1))) {
    const depth = path.split("/").length;
    const what = folder ? "/" : `  ${styled("dim", `${size} bytes, sha256 ${sha256?.slice(0, 8)}…`)}`;
    say(`${"  ".repeat(depth)}${basename(path)}${what}`);
  }
}

/** The demo's paths.json: the project's own, and Google Drive, as an emulator. */
function writeConfig(drive: Emulated, enabled: boolean): void {
  const config = JSON.parse(readFileSync(join(project, "paths.json"), "utf8")) as { targets: Record<string, unknown> };
  const why = enabled
    ? "Google Drive, emulated on this machine while npm start runs."
    : "It was emulated while npm start ran. Your own Drive: docs/targets/gdrive.md.";
  const cloud = { "//": why, type: "gdrive", enabled, root_url: drive.rootUrl, token_url: drive.tokenUrl };
  writeFileSync(join(demo, "paths.json"), `${JSON.stringify({ ...config, targets: { ...config.targets, cloud } }, null, 2)}\n`);
}

const files = process.argv.slice(2).map((file) => resolve(process.env["INIT_CWD"] ?? process.cwd(), file));
for (const file of files) if (!existsSync(file) || !statSync(file).isFile()) fail(`${file} is not a file`);
/** Their names in the demo; one that is taken, in whatever case, gets a number. */
const names: string[] = [];
for (const file of files) {
  const [stem, ending] = [basename(file, extname(file)), extname(file)];
  const taken = (name: string) => names.some((other) => other.toLowerCase() === name.toLowerCase());
  let name = basename(file);
  for (let n = 2; taken(name); n++) name = `${stem}_${n}${ending}`;
  names.push(name);
}
if (existsSync(demo) && !existsSync(marker)) fail(`${demo} exists and was not made by npm start; move it away`);

rmSync(demo, { recursive: true, force: true });
mkdirSync(join(demo, "logs"), { recursive: true });
writeFileSync(marker, "made anew by each npm start\n");
const { drive, stop } = await startDrive();
writeConfig(drive, true);
writeFileSync(join(demo, "drive_token.json"), `${JSON.stringify(drive.token, null, 2)}\n`, { mode: 0o600 });
title(`1. A memory root in ${relative(process.cwd(), demo) || "."}/`);
if (files.length === 0) {
  cpSync(join(project, "Data"), join(demo, "Data"), { recursive: true });
  say("   paths.json, and Data/ with a rules file, an architecture note and a conversation summary");
} else {
  mkdirSync(join(demo, "Data/Mine"), { recursive: true });
  for (const [at, file] of files.entries()) copyFileSync(file, join(demo, "Data/Mine", names[at] ?? ""));
  say(`   paths.json, and Data/Mine/ with copies of your ${files.length === 1 ? "file" : `${files.length} files`}`);
}
run(["sweep"]);

if (files.length === 0) {
  title("2. A day of an agent's saves");
  const replies = run(["ingest"], { input: day, shown: "ingest < scripts/start/day.jsonl", quiet: true }).trim().split("\n");
  for (const reply of replies) {
    const { op, file, unchanged, archived_as } = JSON.parse(reply) as {
      op: string;
      file: string;
      unchanged: boolean;
      archived_as: string | null;
    };
    say(`  ${op.padEnd(8)} ${file}${unchanged ? "  (same bytes: nothing to do)" : ""}${archived_as ? `  → ${archived_as}` : ""}`);
  }
} else {
  title("2. A save, through aftersave");
  const key = `Mine/${names[0]}`;
  run(["append", key, "a line that was added by npm start\n", "--chat", "npm start"], { shown: `append ${key} "a line …"` });
}

title("3. Someone else writes to a file, past aftersave");
const victim = files.length === 0 ? "Core/Rules.txt" : `Mine/${names[0]}`;
appendFileSync(join(demo, "Data", victim), "\n(by hand) Be kind.\n");
say(styled("cyan", `$ echo "(by hand) Be kind." >> Data/${victim}`));
run(["sweep"]);

title("4. An agent overwrites that file with next to nothing, and the way back");
const actor = ["--chat", "Night shift", "--session", "s-0300", "--origin", "agent"];
run(["replace", victim, "Be helpful.\n", ...actor], { shown: `replace ${victim} "Be helpful." ${actor.join(" ")}` });
run(["history", victim, "--limit", "3"]);
run(["undo", "--yes"]);

title("5. Everything to the mirrors: a folder, and Google Drive (emulated on this machine)");
run(["flush"]);
run(["sync-file", `Data/${victim}`]);

title("6. What the mirrors hold");
say("  the folder, Drive/MemoryVDB/");
showTree(join(demo, "Drive/MemoryVDB"), "    ");
say("  Google Drive, as its API tells it");
await showDrive(drive.rootUrl);

title("7. The three logs");
for (const log of ["uploads", "archives", "changes"]) run(["log", log, "--limit", "4"]);

title("8. Is everything safe? And could it all be had from one mirror alone?");
run(["verify", "--target", "cloud", "--restore"]);
run(["status"]);

writeConfig(drive, false);
stop();

say(styled("dim", "The emulated Drive ends here; the target `cloud` is switched off again in demo/paths.json."));

title("What to try next");
const root = relative(process.cwd(), demo) || ".";
say(`  npm start -- your-notes.md another.txt        the same with your own files (they are copied)
  npx tsx src/cli/main.ts --root ${root} append Core/Rules.txt "6. Ask before deleting."
  npx tsx src/cli/main.ts --root ${root} blame Core/Rules.txt
  npx tsx src/cli/main.ts --root ${root} restore --at "1 minute ago" --dry-run
  npx tsx src/cli/main.ts --root ${root} log changes --follow
  npx tsx src/cli/main.ts --root ${root} doctor
  and in your own program: the three lines at the top of README.md`);

/**
 * Beside rclone. It knows Google's addresses only, so both reach the emulator in the same way: over TLS through one
 * CONNECT proxy, which stands for Google's hosts in the process of the bench. What the proxy costs is shown.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { openMemory } from "../src/index.ts";
import { startGoogleHosts, type GoogleHosts } from "../test/witness/google-hosts.ts";
import { driveRoot, keyAt, project, tsx, type Served } from "./drive-place.ts";
import { has, inFolder, median, ms, times, type Row } from "./measure.ts";

const FILES = 1000;
const FOLDERS = 20;
/** With its own pace rclone sends ten requests a second after the first hundred, so that fewer files tell as much. */
const FEW = 150;
/** Of a big file; the first of running rclone opens its connection. */
const ROUNDS = 4;
const TUNED = ["--transfers", "8", "--checkers", "16", "--drive-pacer-min-sleep", "10ms"];

interface Run {
  readonly ms: number;
  readonly requests: number;
}

/** A whole process, and the requests that it made. */
async function timed(drive: Served, command: string, args: readonly string[], cwd: string, env: NodeJS.ProcessEnv): Promise<Run> {
  const { result, requests } = await drive.asked(async () => {
    const start = performance.now();
    const child = spawn(command, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
    const ended = new Promise<number | null>((resolve, reject) => child.once("error", reject).once("exit", resolve));
    const said = Promise.all([text(child.stdout), text(child.stderr)]);
    const code = await ended;
    const taken = performance.now() - start;
    if (code !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${code}: ${(await said).join("")}`);
    return taken;
  });
  const refused = requests.find(({ status }) => status >= 400);
  if (refused) throw new Error(`${command} was refused ${refused.method} ${refused.path}: ${refused.status} ${refused.reason}`);
  return { ms: result, requests: requests.length };
}

interface Sides {
  readonly drive: Served;
  /** For a process that shall reach Google's hosts; rclone's names its configuration. */
  readonly env: NodeJS.ProcessEnv;
  readonly rcloneEnv: NodeJS.ProcessEnv;
  /** Sends what a memory root has waiting. */
  ours(root: string, direct?: boolean): Promise<Run>;
  /** `rclone copy`. */
  rclone(from: string, to: string, ...flags: readonly string[]): Promise<Run>;
}

function sides(folder: string, drive: Served, google: GoogleHosts, config: string): Sides {
  const cli = join(project, "dist/cli/main.js");
  const env = { ...google.env, NODE_EXTRA_CA_CERTS: google.caFile, AFTERSAVE_NO_BACKGROUND: "1" };
  const rcloneEnv = { ...google.env, RCLONE_CA_CERT: google.caFile, RCLONE_CONFIG: config };
  const straight = { PATH: google.env["PATH"], AFTERSAVE_NO_BACKGROUND: "1" };
  return {
    drive,
    env,
    rcloneEnv,
    ours: (root, direct = false) => timed(drive, process.execPath, [cli, "flush"], root, direct ? straight : env),
    rclone: (from, to, ...flags) => timed(drive, "rclone", ["copy", from, `gd:${to}`, ...flags], folder, rcloneEnv),
  };
}

async function withSides<T>(drive: Served, work: (folder: string, sides: Sides) => Promise<T>): Promise<T> {
  return inFolder(async (folder) => {
    const google = await startGoogleHosts(drive.rootUrl);
    try {
      const signIn = await drive.signIn("https://www.googleapis.com/auth/drive");
      const { access_token, refresh_token, client_id, client_secret, expiry_date } = signIn;
      const token = JSON.stringify({ access_token, refresh_token, token_type: "Bearer", expiry: new Date(expiry_date) });
      const config = join(folder, "rclone.conf");
      const lines = ["[gd]", "type = drive", "scope = drive", `client_id = ${client_id}`, `client_secret = ${client_secret}`];
      writeFileSync(config, `${[...lines, `token = ${token}`].join("\n")}\n`);
      return await work(folder, sides(folder, drive, google, config));
    } finally {
      await google.close();
    }
  });
}

/** Files for rclone, and a memory root whose saves of the same files wait. */
async function makeFiles(folder: string, drive: Served, count: number) {
  const files = join(folder, `files-${count}`);
  const root = await driveRoot(join(folder, `root-${count}`), drive, { direct: false });
  const memory = await openMemory({ root });
  for (let n = 0; n < count; n++) {
    const path = join(files, keyAt(n, FOLDERS));
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `file ${n}\n`);
    await memory.append(keyAt(n, FOLDERS), `file ${n}\n`);
  }
  await memory.close();
  let copies = 0;
  return {
    files,
    /** The same root, to be mirrored to a folder of its own. */
    async another(direct = false): Promise<string> {
      const copy = join(folder, `root-${count}-${++copies}`);
      cpSync(root, copy, { recursive: true });
      return driveRoot(copy, drive, { direct, folder: `Ours-${count}-${copies}` });
    },
  };
}

const absent = (what: string): Row => ({
  what,
  ours: "not measured",
  beside: "rclone is absent",
  ratio: "",
  goal: null,
  met: null,
});
const seconds = (value: number) => `${(value / 1000).toFixed(2)} s`;

function against(
  what: string,
  ours: Run,
  theirs: Run,
  name: string,
  goals?: { readonly time: number; readonly requests: number },
): Row[] {
  const row = (kind: string, mine: number, other: number, unit: (value: number) => string, most?: number): Row => ({
    what: `${what}: ${kind}`,
    ours: unit(mine),
    beside: `${unit(other)} ${name}`,
    ratio: times(mine / other),
    goal: most === undefined ? null : `≤ ${most} ×`,
    met: most === undefined ? null : mine / other <= most,
  });
  return [
    row("time", ours.ms, theirs.ms, seconds, goals?.time),
    row("requests", ours.requests, theirs.requests, String, goals?.requests),
  ];
}

const middle = (runs: readonly Run[]): Run => ({
  ms: median(runs.map((run) => run.ms)),
  requests: median(runs.map((run) => run.requests)),
});

/** Many new small files with 50 ms per request, whole processes. */
export async function smallFilesRows(drive: Served): Promise<Row[]> {
  if (!has("rclone")) return [absent(`${FILES} new small files beside rclone`)];
  return withSides(drive, async (folder, { ours, rclone }) => {
    await drive.latency(50);
    const many = await makeFiles(folder, drive, FILES);
    const few = await makeFiles(folder, drive, FEW);
    const direct = [await ours(await many.another(true), true)];
    const tuned = await rclone(many.files, "Tuned", ...TUNED);
    direct.push(await ours(await many.another(true), true));
    const proxied = await ours(await many.another());
    const [ourFew, theirFew] = [await ours(await few.another()), await rclone(few.files, "Defaults")];
    await drive.latency(0);
    const what = `${FILES} new files in ${FOLDERS} folders, 50 ms per request, 8 at once`;
    const pace = `rclone tuned, whose own pace is 10 ms per request, so that the proxy costs it nothing: ${seconds(tuned.requests * 10)}`;
    return [
      ...against(what, middle(direct), tuned, pace, { time: 0.5, requests: 0.55 }),
      ...against("the same, ours through the proxy too", proxied, tuned, "rclone tuned"),
      ...against(`${FEW} of them, both through the proxy`, ourFew, theirFew, "rclone with its defaults"),
    ];
  });
}

/** rclone as a process that runs and does what it is told. */
async function withRunning<T>(env: NodeJS.ProcessEnv, work: (copy: (file: string, to: string) => Promise<number>) => Promise<T>) {
  const [command, ...args] = ["rclone", "rcd", "--rc-no-auth", "--rc-addr", "127.0.0.1:0", ...TUNED];
  const child = spawn(command, args, { env, stdio: ["ignore", "ignore", "pipe"] });
  const ended = once(child, "exit");
  try {
    let url: string | undefined;
    for await (const line of createInterface({ input: child.stderr })) {
      url = /remote control on (http:\S+)/.exec(line)?.[1];
      if (url !== undefined) break;
    }
    if (url === undefined) throw new Error("rclone rcd did not start");
    const base = url;
    return await work(async (file, to) => {
      const json = { srcFs: dirname(file), srcRemote: basename(file), dstFs: `gd:${to}`, dstRemote: basename(file) };
      const start = performance.now();
      const answer = await fetch(new URL("operations/copyfile", base), {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(json),
      });
      const said = await answer.text();
      if (!answer.ok) throw new Error(`rclone could not copy ${file}: ${said}`);
      return performance.now() - start;
    });
  } finally {
    child.kill();
    await ended;
  }
}

/** A new file of 64 MiB into a folder that is known: from running process to running process, and as whole processes. */
export async function bigFileRows(drive: Served): Promise<Row[]> {
  if (!has("rclone")) return [absent("a 64 MiB file beside rclone")];
  return withSides(drive, async (folder, { ours, rclone, env, rcloneEnv }) => {
    const root = await driveRoot(join(folder, "root"), drive, { direct: false, folder: "Big" });
    const waiting = async (key: string, content: string | Uint8Array) => {
      const memory = await openMemory({ root });
      await memory.append(key, content);
      await memory.close();
    };
    await waiting("first.txt", "the folder, the marker and the writer are there\n");
    await ours(root);
    const body = (n: number) => Buffer.alloc(64 * 1024 * 1024, `${n} `);
    let n = 0;
    const inTurn = async (mine: (key: string) => Promise<number>, theirs: (file: string) => Promise<number>) => {
      const figures: { mine: number; theirs: number }[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        const file = join(folder, `big-${++n}`, `theirs-${n}.bin`);
        mkdirSync(dirname(file));
        writeFileSync(file, body(n));
        const other = await theirs(file);
        rmSync(dirname(file), { recursive: true });
        figures.push({ mine: await mine(`ours-${n}.bin`), theirs: other });
      }
      return figures;
    };
    const row = (what: string, figures: Awaited<ReturnType<typeof inTurn>>, goal: boolean): Row => {
      const ratio = median(figures.map(({ mine, theirs }) => mine / theirs));
      return {
        what,
        ours: ms(median(figures.map(({ mine }) => mine))),
        beside: `${ms(median(figures.map(({ theirs }) => theirs)))} rclone tuned`,
        ratio: `${times(ratio)}, median of pairs`,
        goal: goal ? "< 1 ×" : null,
        met: goal ? ratio < 1 : null,
      };
    };
    const rows: Row[] = [];
    for (const latency of [0, 50]) {
      await drive.latency(latency);
      const running = await withRunning(rcloneEnv, (copy) =>
        inTurn(
          async (key) => {
            writeFileSync(join(root, "Data", key), body(n));
            return sendRunning(root, key, env);
          },
          (file) => copy(file, "Big"),
        ),
      );
      rows.push(row(`a new file of 64 MiB, ${latency} ms per request, beside running rclone`, running, true));
      const whole = await inTurn(
        async (key) => {
          await waiting(key, body(n));
          return (await ours(root)).ms;
        },
        async (file) => (await rclone(dirname(file), "Big", ...TUNED)).ms,
      );
      rows.push(row("the same as whole processes, started for it", whole, false));
    }
    await drive.latency(0);
    return rows;
  });
}

/** Until a running process of ours has it verified; it has sent a small file before, as rclone has at its second one. */
async function sendRunning(root: string, key: string, env: NodeJS.ProcessEnv): Promise<number> {
  const args = ["--import", tsx, join(project, "bench/drive-client.child.ts"), "big", root, key];
  const child = spawn(process.execPath, args, { cwd: project, env, stdio: ["ignore", "pipe", "inherit"] });
  const [said] = await Promise.all([text(child.stdout), once(child, "exit")]);
  return (JSON.parse(said) as { ms: number }).ms;
}

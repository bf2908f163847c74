/**
 * Beside rclone. It knows Google's addresses only, so both reach the emulator in the same way: over TLS through one
 * CONNECT proxy, which stands for Google's hosts in the process of the bench. What the proxy costs is shown.
 */
import { spawn } from "node:child_process";
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { openMemory } from "../src/index.ts";
import { startGoogleHosts, type GoogleHosts } from "../test/witness/google-hosts.ts";
import { driveRoot, keyAt, project, type Served } from "./drive-place.ts";
import { has, inFolder, median, ms, times, type Row } from "./measure.ts";

const FILES = 1000;
const FOLDERS = 20;
/** With its own pace rclone sends ten requests a second after the first hundred, so that fewer files tell as much. */
const FEW = 200;
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
  /** Sends what a memory root has waiting. */
  ours(root: string, direct?: boolean): Promise<Run>;
  /** `rclone copy`. */
  rclone(from: string, to: string, ...flags: readonly string[]): Promise<Run>;
}

function sides(folder: string, drive: Served, google: GoogleHosts, config: string): Sides {
  const cli = join(project, "dist/cli/main.js");
  return {
    drive,
    ours: (root, direct = false) =>
      timed(drive, process.execPath, [cli, "flush"], root, {
        ...(direct ? { PATH: google.env["PATH"] } : { ...google.env, NODE_EXTRA_CA_CERTS: google.caFile }),
        AFTERSAVE_NO_BACKGROUND: "1",
      }),
    rclone: (from, to, ...flags) =>
      timed(drive, "rclone", ["copy", from, `gd:${to}`, ...flags], folder, {
        ...google.env,
        RCLONE_CA_CERT: google.caFile,
        RCLONE_CONFIG: config,
      }),
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
    const [mine, tuned]: [Run[], Run[]] = [[], []];
    for (let round = 0; round < 2; round++) {
      mine.push(await ours(await many.another()));
      tuned.push(await rclone(many.files, `Tuned-${round}`, ...TUNED));
    }
    const direct = await ours(await many.another(true), true);
    const [ourFew, theirFew] = [await ours(await few.another()), await rclone(few.files, "Defaults")];
    await drive.latency(0);
    const what = `${FILES} new files in ${FOLDERS} folders, 50 ms per request, 8 at once`;
    return [
      ...against(what, middle(mine), middle(tuned), "rclone tuned", { time: 0.5, requests: 0.55 }),
      ...against(`${FEW} of them`, ourFew, theirFew, "rclone with its defaults"),
      ...against("for comparison, the 1,000 without the proxy", direct, middle(mine), "ours through the proxy").slice(0, 1),
    ];
  });
}

/** One file of 64 MiB into a folder that is known, whole processes. */
export async function bigFileRows(drive: Served, body: (n: number) => Uint8Array): Promise<Row[]> {
  if (!has("rclone")) return [absent("a 64 MiB file beside rclone")];
  return withSides(drive, async (folder, { ours, rclone }) => {
    const root = await driveRoot(join(folder, "root"), drive, { direct: false, folder: "Big" });
    const send = async (key: string, content: string | Uint8Array) => {
      const memory = await openMemory({ root });
      await memory.append(key, content);
      await memory.close();
      return ours(root);
    };
    await send("first.txt", "the folder, the marker and the writer are there\n");
    const rows: Row[] = [];
    let n = 0;
    for (const latency of [0, 50]) {
      await drive.latency(latency);
      const [mine, theirs]: [Run[], Run[]] = [[], []];
      for (let round = 0; round < 3; round++) {
        const files = join(folder, `files-${++n}`);
        mkdirSync(files);
        writeFileSync(join(files, `big-${n}.bin`), body(n));
        theirs.push(await rclone(files, "Big", ...TUNED));
        mine.push(await send(`ours-${n}.bin`, body(n)));
      }
      const [we, they] = [middle(mine), middle(theirs)];
      rows.push({
        what: `a new file of 64 MiB, ${latency} ms per request, whole process`,
        ours: `${ms(we.ms)}, ${we.requests} requests`,
        beside: `${ms(they.ms)}, ${they.requests} requests, rclone tuned`,
        ratio: times(we.ms / they.ms),
        goal: "< 1 ×",
        met: we.ms < they.ms,
      });
    }
    await drive.latency(0);
    return rows;
  });
}

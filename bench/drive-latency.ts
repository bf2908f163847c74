/** How long a save takes until Drive has verified it, how fast a big file goes, and what the first call to Drive loads. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { driveRoot, project, tsx, type Served } from "./drive-place.ts";
import { inFolder, mb, median, ms, run, times, type Row } from "./measure.ts";

const LATENCY = 50;
const MiB = 1024 * 1024;

function child(...args: readonly string[]): unknown {
  const script = join(project, "bench/drive-client.child.ts");
  const { status, stdout, stderr } = run(process.execPath, ["--import", tsx, script, ...args], { cwd: project });
  if (status !== 0) throw new Error(`drive-client ${args[0]} ended with ${status}: ${stderr}`);
  return JSON.parse(stdout);
}

interface Saved {
  readonly verified: number;
  readonly settled: number;
}

/** Single saves in a process that runs, one after the other: a good token, known folders, ids in stock, nothing else to do. */
export async function saveRows(drive: Served): Promise<Row[]> {
  return inFolder(async (folder) => {
    const root = await driveRoot(join(folder, "root"), drive, { folder: "Saves" });
    await drive.latency(LATENCY);
    const { fresh, changed } = child("save", root, "20") as Record<"fresh" | "changed", Saved[]>;
    await drive.latency(0);
    const most = 2 * LATENCY + 30;
    return (
      [
        ["a changed file", changed, "1 round trip"],
        ["a new file", fresh, "2 round trips; a third, which looks for twins, before the call ends"],
      ] as const
    ).map(([what, figures, how]) => {
      const verified = median(figures.map((figure) => figure.verified));
      return {
        what: `one save of ${what} to verified, ${LATENCY} ms per request, median`,
        ours: ms(verified),
        beside: `${how}: ${ms(median(figures.map((figure) => figure.settled)))}`,
        ratio: times(verified / LATENCY),
        goal: `≤ 2 round trips + 30 ms = ${most} ms`,
        met: verified <= most,
      };
    });
  });
}

interface Sent {
  readonly ms: number;
  readonly peak: number;
}

/** A file of so many MiB that waits, in turn with the same bytes by nothing but one request; each in a process of its own. */
async function pair(
  drive: Served,
  folder: string,
  mib: number,
  n: number,
): Promise<{ readonly bare: Sent; readonly ours: Sent }> {
  const root = await driveRoot(join(folder, `root-${mib}-${n}`), drive, { folder: `Big-${mib}-${n}-${Date.now()}` });
  const path = join(root, "Data/big.bin");
  writeFileSync(path, Buffer.alloc(mib * MiB, `${mib} ${n} `));
  const bare = () => child("bare", drive.rootUrl, token, path) as Sent;
  const ours = () => child("big", root, "big.bin") as Sent;
  const { access_token: token } = await drive.signIn();
  const both = n % 2 === 0 ? { bare: bare(), ours: ours() } : { ours: ours(), bare: bare() };
  rmSync(root, { recursive: true });
  return both;
}

/** Throughput and memory of big files. */
export async function bigRows(drive: Served): Promise<Row[]> {
  return inFolder(async (folder) => {
    const rows: Row[] = [];
    const peaks: number[] = [];
    for (const latency of [0, LATENCY]) {
      await drive.latency(latency);
      const pairs = [];
      for (let n = 0; n < (latency === 0 ? 7 : 3); n++) pairs.push(await pair(drive, folder, 64, n));
      await drive.latency(0);
      if (latency === 0) peaks.push(...pairs.map(({ ours }) => ours.peak));
      const speed = median(pairs.map(({ bare, ours }) => bare.ms / ours.ms));
      rows.push({
        what: `a new file of 64 MiB to verified, ${latency} ms per request, running process`,
        ours: ms(median(pairs.map(({ ours }) => ours.ms))),
        beside: `${ms(median(pairs.map(({ bare }) => bare.ms)))} bare upload`,
        ratio: `${times(speed)} its speed, median of pairs`,
        goal: latency === 0 ? "≥ 0.9 × the speed" : null,
        met: latency === 0 ? speed >= 0.9 : null,
      });
    }
    const { ours } = await pair(drive, folder, 256, 0);
    const usual = median(peaks);
    rows.push({
      what: "peak memory while 256 MiB are sent",
      ours: mb(ours.peak),
      beside: `${mb(usual)} while 64 MiB are`,
      ratio: times(ours.peak / usual),
      goal: "≤ 1.15 ×: constant",
      met: ours.peak / usual <= 1.15,
    });
    return rows;
  });
}

/** Two targets used for the first time in one process: only the first one loads. */
const CALLS = `
  const { openMemory } = await import(process.argv[1]);
  const taken = [];
  for (const root of process.argv.slice(2)) {
    const memory = await openMemory({ root });
    const receipt = await memory.append("Zone/a.txt", "content\\n");
    const start = performance.now();
    const { uploads } = await memory.settle(receipt);
    taken.push(performance.now() - start);
    if (uploads.some(({ status }) => status !== "success")) throw new Error(uploads[0]?.notes);
    await memory.close();
  }
  process.stdout.write(JSON.stringify(taken));
`;

export async function loadingRows(drive: Served): Promise<Row[]> {
  return inFolder(async (folder) => {
    const measure = async (name: string, library: string, loader: readonly string[]) => {
      const first: number[] = [];
      const second: number[] = [];
      for (let n = 0; n < 5; n++) {
        const roots = [];
        for (const which of ["first", "second"])
          roots.push(await driveRoot(join(folder, `${name}-${n}-${which}`), drive, { folder: `Load-${name}-${n}-${which}` }));
        const url = pathToFileURL(join(project, library)).href;
        const args = [...loader, "--input-type=module", "--eval", CALLS, url, ...roots];
        const { status, stdout, stderr } = run(process.execPath, args, { cwd: project });
        if (status !== 0) throw new Error(`the first call ended with ${status}: ${stderr}`);
        const [one = Number.NaN, two = Number.NaN] = JSON.parse(stdout) as number[];
        first.push(one);
        second.push(two);
      }
      return { first: median(first), second: median(second), cost: median(first.map((value, n) => value - (second[n] ?? 0))) };
    };
    const row = (what: string, { first, second, cost }: Awaited<ReturnType<typeof measure>>, goal: number | null): Row => ({
      what: `what the first Drive call costs above a second one, ${what}`,
      ours: ms(cost),
      beside: `${ms(first)} / ${ms(second)}`,
      ratio: "",
      goal: goal === null ? null : `≤ ${goal} ms`,
      met: goal === null ? null : cost <= goal,
    });
    return [
      row("as built", await measure("dist", "dist/index.js", []), 150),
      row("from source, compiled on the way", await measure("source", "src/index.ts", ["--import", tsx]), null),
    ];
  });
}

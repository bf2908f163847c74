/** What whole processes cost: start-up and peak memory. */
import { spawnSync } from "node:child_process";
import { createWriteStream, existsSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { has, inFolder, mb, median, ms, ratioRow, run, times, type Row } from "./measure.ts";
import { makeKnownRoot, makeRoot } from "./roots.ts";

const project = fileURLToPath(new URL("..", import.meta.url));
const cli = join(project, "dist/cli/main.js");

/** Builds what users install. */
export function built(): void {
  const { status, stderr } = spawnSync("npx", ["tsdown"], { cwd: project, encoding: "utf8" });
  if (status !== 0 || !existsSync(cli)) throw new Error(`the build failed: ${stderr}`);
}

/** `sync-file` of an unchanged file beside an empty Node process, in turn. */
export async function skipRows(): Promise<Row[]> {
  built();
  return inFolder(async (folder) => {
    const root = makeRoot(join(folder, "root"));
    writeFileSync(join(root, "Data/a.txt"), "content\n");
    const skip = () =>
      run(process.execPath, [cli, "sync-file", "Data/a.txt"], { cwd: root, env: { AFTERSAVE_NO_BACKGROUND: "1" } });
    const first = skip();
    if (first.status !== 0) throw new Error(`sync-file ended with ${first.status}: ${first.stdout}${first.stderr}`);
    const figures = { skip: [] as number[], empty: [] as number[], rclone: [] as number[] };
    const rclone = has("rclone");
    for (let n = 0; n < 25; n++) {
      figures.empty.push(run(process.execPath, ["-e", "0"]).ms);
      figures.skip.push(skip().ms);
      if (rclone) figures.rclone.push(run("rclone", ["copyto", join(root, "Data/a.txt"), join(folder, "rclone/a.txt")]).ms);
    }
    const rows = [
      ratioRow(
        "`sync-file` that skips, whole process, median",
        median(figures.skip),
        median(figures.empty),
        4,
        ms,
        "empty Node process",
      ),
    ];
    if (rclone) {
      const theirs = median(figures.rclone);
      rows.push({
        what: "the same against `rclone copyto` that skips",
        ours: ms(median(figures.skip)),
        beside: `${ms(theirs)} rclone`,
        ratio: times(median(figures.skip) / theirs),
        goal: null,
        met: null,
      });
    }
    return rows;
  });
}

function peak(script: string, args: readonly string[]): number {
  const { stdout, stderr, status } = run(process.execPath, ["--import", "tsx", join(project, "bench", script), ...args], {
    cwd: project,
  });
  const found = /peak (\d+)/.exec(stdout)?.[1];
  if (status !== 0 || !found) throw new Error(`${script} ended with ${status}: ${stdout}${stderr}`);
  return Number(found);
}

/** Peak memory above a process that does nothing, both with the same loader. */
export async function memoryRows(): Promise<Row[]> {
  return inFolder(async (folder) => {
    const empty = peak("memory.child.ts", ["nothing", folder]);
    const row = (what: string, bytes: number): Row => ({
      what,
      ours: `${mb(bytes - empty)} above`,
      beside: `${mb(empty)} empty process`,
      ratio: "",
      goal: "≤ 120 MB above",
      met: bytes - empty <= 120_000_000,
    });
    const known = await makeKnownRoot(join(folder, "known"), 100_000);
    const big = makeRoot(join(folder, "big"));
    const file = createWriteStream(join(big, "Data/big.bin"));
    for (let n = 0; n < 1024; n++) if (!file.write(Buffer.alloc(1 << 20, n % 251))) await once(file, "drain");
    file.end();
    await once(file, "finish");
    return [
      row("peak memory: 100,000 ledger rows, one save, status, flush", peak("memory.child.ts", ["rows", known])),
      row("peak memory: a 1 GiB file, versioned, mirrored, verified", peak("memory.child.ts", ["big", big])),
    ];
  });
}

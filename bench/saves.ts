/** What a save costs beside a bare write-file-atomic with fsync. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import writeFileAtomic from "write-file-atomic";
import { openMemory } from "../src/index.ts";
import { has, inFolder, median, ms, quantile, ratioRow, run, timed, times, type Row } from "./measure.ts";
import { makeKnownRoot, makeRoot } from "./roots.ts";

const ROUNDS = 400;
const body = (n: number) => `${String(n).padStart(10)}${"x".repeat(10_230)}`;

/** Append and replace of 10 kB, in turn with the raw write, so that the disk's mood is the same for all. */
export async function saveRows(): Promise<Row[]> {
  return inFolder(async (folder) => {
    const memory = await openMemory({ root: makeRoot(join(folder, "root")) });
    const raw: number[] = [];
    const append: number[] = [];
    const replace: number[] = [];
    for (let n = 0; n < ROUNDS + 20; n++) {
      const measured: [number[], () => Promise<unknown>][] = [
        [raw, () => writeFileAtomic(join(folder, "raw.txt"), body(n))],
        [append, () => memory.append("Bench/append.txt", body(n))],
        [replace, () => memory.replace("Bench/replace.txt", body(n))],
      ];
      for (const [figures, work] of measured) {
        const cost = await timed(work);
        if (n >= 20) figures.push(cost);
      }
    }
    await memory.close();
    const spread = (what: string, figures: readonly number[]): Row => {
      const ratio = quantile(figures, 0.99) / median(figures);
      return {
        what: `p99 of ${what} against its own median`,
        ours: ms(quantile(figures, 0.99)),
        beside: `${ms(median(figures))} median`,
        ratio: times(ratio),
        goal: "< 10 ×",
        met: ratio < 10,
      };
    };
    const peer = "bare write-file-atomic with fsync";
    return [
      ratioRow("accepted append of 10 kB, median", median(append), median(raw), 3, ms, peer),
      ratioRow("accepted replace of 10 kB, median", median(replace), median(raw), 3, ms, peer),
      spread("append", append),
      spread("replace", replace),
      {
        what: "p99 of the bare write against its own median, for comparison",
        ours: "",
        beside: `${ms(quantile(raw, 0.99))} / ${ms(median(raw))}`,
        ratio: times(quantile(raw, 0.99) / median(raw)),
        goal: null,
        met: null,
      },
      ...gitRows(folder, median(replace)),
    ];
  });
}

/** The peer that people use by hand: a commit after each save. */
function gitRows(folder: string, ours: number): Row[] {
  if (!has("git")) return [];
  const repository = join(folder, "git");
  const git = (...args: string[]) =>
    run("git", ["-C", repository, "-c", "user.name=b", "-c", "user.email=b@localhost", "-c", "core.fsync=all", ...args]);
  run("git", ["init", "-q", repository]);
  const costs: number[] = [];
  for (let n = 0; n < 15; n++) {
    writeFileSync(join(repository, "file.txt"), body(n));
    costs.push(git("add", "file.txt").ms + git("commit", "-qm", "save").ms);
  }
  const theirs = median(costs);
  return [
    {
      what: "replace against git add + git commit",
      ours: ms(ours),
      beside: `${ms(theirs)} git`,
      ratio: times(ours / theirs),
      goal: null,
      met: null,
    },
  ];
}

/** fsync calls of one save in a running process, counted by strace from outside. */
export function fsyncRows(): Row[] {
  if (!has("strace"))
    return [
      {
        what: "fsync calls of a save",
        ours: "not counted: strace is absent",
        beside: "",
        ratio: "",
        goal: "≤ 5 / ≤ 8",
        met: null,
      },
    ];
  const child = fileURLToPath(new URL("fsync.child.ts", import.meta.url));
  return [
    { op: "append", most: 5 },
    { op: "replace", most: 8 },
  ].map(({ op, most }) => {
    const saves = 200;
    const { stderr, stdout } = run("strace", [
      "-f",
      "-qq",
      "-e",
      "trace=fsync,fdatasync",
      "-e",
      "signal=none",
      process.execPath,
      "--import",
      "tsx",
      child,
      op,
      String(saves),
    ]);
    const total = stderr.split("\n").filter((line) => /\bf(data)?sync\(/.test(line)).length;
    const before = Number(/warm (\d+)/.exec(stdout)?.[1] ?? Number.NaN);
    const marked = stderr.indexOf("MARK");
    const calls =
      stderr
        .slice(marked)
        .split("\n")
        .filter((line) => /\bf(data)?sync\(/.test(line)).length / saves;
    if (marked < 0 || Number.isNaN(before))
      throw new Error(`the counted process said nothing: ${total} calls\n${stderr.slice(-400)}`);
    return {
      what: `fsync calls of one ${op}`,
      ours: calls.toFixed(2),
      beside: "counted by strace",
      ratio: "",
      goal: `≤ ${most}`,
      met: calls <= most,
    };
  });
}

/** An append to a 50 MB file in a running process, in turn with one to a file that was empty. */
export async function bigAppendRows(): Promise<Row[]> {
  return inFolder(async (folder) => {
    const memory = await openMemory({ root: makeRoot(join(folder, "root")) });
    await memory.replace("Bench/big.txt", Buffer.alloc(50_000_000, "b"));
    await memory.replace("Bench/small.txt", "");
    const big: number[] = [];
    const small: number[] = [];
    for (let n = 0; n < 220; n++) {
      const costs = [
        await timed(() => memory.append("Bench/small.txt", "line\n")),
        await timed(() => memory.append("Bench/big.txt", "line\n")),
      ];
      if (n < 20) continue;
      small.push(costs[0] ?? 0);
      big.push(costs[1] ?? 0);
    }
    await memory.close();
    return [ratioRow("append to a 50 MB file, running process, median", median(big), median(small), 2, ms, "to an empty file")];
  });
}

/** The cost of a save with 100 and with 100,000 known files, in turn. */
export async function manyFilesRows(): Promise<Row[]> {
  return inFolder(async (folder) => {
    const few = await openMemory({ root: await makeKnownRoot(join(folder, "few"), 100) });
    const many = await openMemory({ root: await makeKnownRoot(join(folder, "many"), 100_000) });
    const costs = { few: [] as number[], many: [] as number[] };
    for (let n = 0; n < 320; n++)
      for (const [name, memory] of [
        ["few", few],
        ["many", many],
      ] as const) {
        const cost = await timed(() => memory.replace(`Known/${n % 50}/file-${n % 50}.txt`, body(n)));
        if (n >= 20) costs[name].push(cost);
      }
    await few.close();
    await many.close();
    return [
      ratioRow("replace with 100,000 known files, median", median(costs.many), median(costs.few), 1.25, ms, "with 100 files"),
    ];
  });
}

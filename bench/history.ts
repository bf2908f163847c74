/** What looking back costs: whole processes for `history` and `show`, the library for the rest. */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { archiveKey, type Key } from "../src/core/key.ts";
import { actorOf, chain, type Version } from "../src/core/version.ts";
import { openMemory } from "../src/open.ts";
import type { Line } from "../src/state/restore.ts";
import type { Head } from "../src/state/saves.ts";
import { openDatabase } from "../src/state/sqlite.ts";
import { openState, STATE_FILE } from "../src/state/state.ts";
import { inFolder, median, ms, ratioRow, run, timed, times, type Row } from "./measure.ts";
import { built } from "./processes.ts";
import { makeRoot } from "./roots.ts";

const project = fileURLToPath(new URL("..", import.meta.url));
const cli = join(project, "dist/cli/main.js");
const START = Date.parse("2026-01-01T00:00:00Z");

const idOf = (n: number) => `01K${String(n).padStart(23, "0")}`;

interface Shape {
  readonly versions: number;
  readonly keys: number;
  /** Versions of one growing copy; the next one begins with a replace. 1: every version is a replace. */
  readonly perBase: number;
  /** What version `n` brings: always as many bytes where replaces keep. */
  readonly lineOf: (n: number) => string;
  /** A replace keeps what was there and changes some lines in the middle of it; else it begins with nothing. */
  readonly keeps?: { /** With so many of these the first version begins; 0: a replace adds some too. */ readonly begins: number };
  /** Whether heads and archive copies are really there. */
  readonly files: boolean;
}

interface Growing {
  base: string;
  bytes: Buffer;
  size: number;
  state: ReturnType<typeof createHash>;
  sha256: string;
  last: string;
  begun: number;
}

const held = ({ bytes, size }: Growing) => bytes.subarray(0, size);

function add(growing: Growing, text: string): void {
  const size = growing.size + Buffer.byteLength(text);
  if (size > growing.bytes.length) growing.bytes = Buffer.concat([growing.bytes, Buffer.alloc(size)]);
  growing.bytes.write(text, growing.size);
  growing.state.update(text);
  growing.size = size;
}

/** What version `place` makes of `old` when it replaces it. */
function anewOf({ keeps, lineOf }: Shape, old: Growing | undefined, place: number, base: string): Growing {
  const next = { base, bytes: Buffer.alloc(0), size: 0, state: createHash("sha256"), sha256: "", last: "", begun: 0 };
  if (!keeps || !old) {
    for (let n = 0; n < (keeps?.begins ?? 0); n++) add(next, lineOf(-n));
    if (!keeps?.begins) add(next, lineOf(place));
    return next;
  }
  const [text, size] = [lineOf(place), old.size];
  const bytes = Buffer.from(old.bytes);
  bytes.write(text, ((place * 7919) % (size / text.length)) * text.length);
  Object.assign(next, { bytes, size });
  next.state.update(held(next));
  if (keeps.begins === 0) add(next, text);
  return next;
}

/** A root with a long history. What is measured is looking at it, so it is put in place by the door that a rebuild uses. */
async function makeHistory(root: string, shape: Shape): Promise<string> {
  const { versions, keys, perBase, lineOf, files } = shape;
  makeRoot(root);
  const directory = join(root, ".aftersave");
  const state = await openState(directory, { now: () => Date.now(), sleep: async () => undefined });
  await state.restore.begin(null);
  const put = (path: string, growing: Growing) => {
    if (!files) return;
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, held(growing));
  };
  const headPath = (base: string) => join(directory, "heads", base.slice(-1), base);
  const now = new Map<Key, Growing>();
  let lines: Line[] = [];
  let before: Version | undefined;
  for (let place = 1; place <= versions; place++) {
    const file = `Meta/file-${place % keys}.txt` as Key;
    const version = idOf(place);
    const timestamp = new Date(START + place * 1000).toISOString();
    const old = now.get(file);
    const anew = !old || old.begun === perBase;
    const archived = anew && old ? archiveKey(file, timestamp, 1, "Archive/") : null;
    if (archived && old) put(join(root, "Data", archived), old);
    const prior = old && { sha256: old.sha256 };
    const next = anew ? anewOf(shape, old, place, version) : old;
    if (!anew) add(next, lineOf(place));
    next.begun++;
    next.sha256 = next.state.copy().digest("hex");
    next.last = version;
    now.set(file, next);
    const facts = {
      ...actorOf({ chat_name: `chat ${place % 7}`, session_id: `s${Math.floor(place / 50)}`, model: "m", origin: "agent" }),
      version,
      op: anew ? ("replace" as const) : ("append" as const),
      file,
      sha256: next.sha256,
      size: next.size,
      prev_sha256: prior?.sha256 ?? null,
      archived_as: archived,
      timestamp,
      details: null,
    };
    before = chain(facts, place, before?.sum ?? null, "00".repeat(16));
    lines.push({ version: before, base: next.base });
    if (lines.length === 5000) {
      await state.restore.lines(lines);
      lines = [];
    }
  }
  await state.restore.lines(lines);
  const heads: Head[] = [];
  for (const [key, growing] of now) {
    const { base, sha256, size, last } = growing;
    put(headPath(base), growing);
    put(join(root, "Data", key), growing);
    heads.push({ key, version: last, base, sha256, size, stamp: null });
  }
  await state.restore.heads(heads);
  await state.restore.end({ changes: versions, archives: versions });
  await state.close();
  return root;
}

const aftersave = (root: string, ...args: string[]) => {
  const ran = run(process.execPath, [cli, "--root", root, ...args], { cwd: root, env: { AFTERSAVE_NO_BACKGROUND: "1" } });
  if (ran.status !== 0) throw new Error(`${args.join(" ")} ended with ${ran.status}: ${ran.stdout}${ran.stderr}`);
  return ran.ms;
};

/** Whole processes beside an empty one, in turn. */
function processRows(root: string, versions: number): Row[] {
  const figures = { empty: [] as number[], history: [] as number[], show: [] as number[] };
  for (let n = 0; n < 15; n++) {
    figures.empty.push(run(process.execPath, ["-e", "0"]).ms);
    figures.history.push(aftersave(root, "history", `Meta/file-${n % 20}.txt`));
    const place = 1 + Math.floor((n / 15) * (versions - 1));
    figures.show.push(aftersave(root, "show", `Meta/file-${place % 20}.txt@${idOf(place)}`));
  }
  const row = (what: string, values: readonly number[]) =>
    ratioRow(
      `${what}, 100,000 versions, whole process, median`,
      median(values),
      median(figures.empty),
      3,
      ms,
      "empty Node process",
    );
  return [row("`history` of one key", figures.history), row("`show` of any version", figures.show)];
}

const KEY = "Meta/file-0.txt";

/** Two lines of 50 bytes each. */
const twoLines = (n: number) => {
  const count = String(Math.abs(n)).padStart(6, n < 0 ? "_" : "0");
  return `line ${count} of what is kept in this memory here\nand ${count} more of it, just as long as the first\n`;
};

/** The first look, after which nothing is kept of it. */
async function firstBlame(root: string): Promise<number> {
  rmSync(join(root, ".aftersave/blames"), { recursive: true, force: true });
  const memory = await openMemory({ root });
  try {
    return await timed(() => memory.blame(KEY));
  } finally {
    await memory.close();
  }
}

/** A look, one save after a look. */
async function nextBlame(root: string): Promise<number> {
  const memory = await openMemory({ root });
  try {
    await memory.blame(KEY);
    const runs: number[] = [];
    for (let n = 0; n < 5; n++) {
      await memory.append(KEY, twoLines(n));
      runs.push(await timed(() => memory.blame(KEY)));
    }
    return median(runs);
  } finally {
    await memory.close();
  }
}

const second = (what: string, value: number): Row => ({
  what,
  ours: ms(value),
  beside: "",
  ratio: "",
  goal: "< 1,000 ms",
  met: value < 1000,
});

/** So many versions, and half of them, in turn. */
async function blamesOf(folder: string, what: string, shape: Pick<Shape, "perBase" | "keeps">): Promise<Row[]> {
  const make = (versions: number) =>
    makeHistory(join(folder, `blame-${versions}`), { versions, keys: 1, lineOf: twoLines, files: true, ...shape });
  const [half, whole] = [await make(2_500), await make(5_000)];
  const runs: { half: number; whole: number }[] = [];
  for (let n = 0; n < 3; n++) runs.push({ half: await firstBlame(half), whole: await firstBlame(whole) });
  const ours = median(runs.map((pair) => pair.whole));
  const ratio = median(runs.map((pair) => pair.whole / pair.half));
  const next = await nextBlame(whole);
  for (const root of [half, whole]) rmSync(root, { recursive: true });
  const name = `\`blame\` of 10,000 lines over 5,000 versions, ${what}`;
  return [
    second(`${name}: the first look`, ours),
    second("the same one save later", next),
    {
      what: "the first look against half the versions (linear: 2 ×)",
      ours: ms(ours),
      beside: `${ms(median(runs.map((pair) => pair.half)))} 2,500 versions`,
      ratio: `${times(ratio)}, median of pairs`,
      goal: "≤ 2.6 ×",
      met: ratio <= 2.6,
    },
  ];
}

async function blameRows(folder: string): Promise<Row[]> {
  return [
    ...(await blamesOf(folder, "all appends", { perBase: Infinity })),
    ...(await blamesOf(folder, "every tenth a replace", { perBase: 10, keeps: { begins: 0 } })),
    ...(await blamesOf(folder, "each a replace of 500 kB", { perBase: 1, keeps: { begins: 5_000 } })),
  ];
}

const sizeBelow = (path: string): number =>
  readdirSync(path, { withFileTypes: true }).reduce((sum, entry) => {
    const below = join(path, entry.name);
    return sum + (entry.isDirectory() ? sizeBelow(below) : statSync(below).size);
  }, 0);

async function storageRows(folder: string): Promise<Row[]> {
  const root = makeRoot(join(folder, "storage"));
  writeFileSync(join(root, "paths.json"), JSON.stringify({ targets: {} }));
  const memory = await openMemory({ root });
  for (let n = 0; n < 10_000; n++) await memory.append("Meta/one.txt", `${String(n).padStart(99, ".")}\n`);
  await memory.close();
  const file = statSync(join(root, "Data/Meta/one.txt")).size;
  const changelog = sizeBelow(join(root, "logs"));
  const content = sizeBelow(join(root, "Data")) + sizeBelow(join(root, ".aftersave/heads"));
  const mbOf = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
  const what = "storage of 10,000 appends of 100 bytes to one file";
  return [
    ratioRow(`${what}: all below the root`, sizeBelow(root), file + changelog, 3, mbOf, "file and changelog"),
    ratioRow(`${what}: what holds content`, content, file, 3, mbOf, "file"),
  ];
}

async function pruneRows(folder: string): Promise<Row[]> {
  const shape = { versions: 100_000, keys: 100, perBase: 1, lineOf: (n: number) => `content ${n}\n`, files: false };
  const root = await makeHistory(join(folder, "prune"), shape);
  writeFileSync(
    join(root, "paths.json"),
    JSON.stringify({
      targets: { drive: { type: "folder", enabled: true, path: "./" } },
      retention: { "*": { keep_last: 10, keep_daily: 7 } },
    }),
  );
  const database = openDatabase(join(root, ".aftersave", STATE_FILE), 0);
  database.exec("INSERT INTO ledger SELECT 'drive', key, lower(key), NULL, '1', sha256, size, version, 1, key FROM archives");
  database.close();
  const memory = await openMemory({ root });
  try {
    let removed = 0;
    const took = await timed(async () => {
      removed = (await memory.planPrune()).removes.length;
    });
    return [
      {
        what: `planning a prune of 100,000 versions (${removed.toLocaleString("en")} go), no file of which exists`,
        ours: ms(took),
        beside: "",
        ratio: "",
        goal: "from the index alone",
        met: removed > 90_000,
      },
    ];
  } finally {
    await memory.close();
  }
}

export async function historyRows(): Promise<Row[]> {
  built();
  return inFolder(async (folder) => {
    const shape = { versions: 100_000, keys: 20, perBase: 1000, lineOf: (n: number) => `line ${n} of a memory\n`, files: true };
    const root = await makeHistory(join(folder, "looking"), shape);
    return [
      ...processRows(root, shape.versions),
      ...(await blameRows(folder)),
      ...(await storageRows(folder)),
      ...(await pruneRows(folder)),
    ];
  });
}

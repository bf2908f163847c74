/** Commands as neighbours of other processes: the background worker, Ctrl-C, a reader that goes away. */
import { execFileSync, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, expect, test, vi } from "vitest";
import { openMemory, type Memory } from "../../src/index.ts";
import { createMemoryTarget } from "../../src/testing/index.ts";
import { ask, makeRoot, mirrored, put, run, start } from "./program.ts";

const background = { AFTERSAVE_NO_BACKGROUND: "" };
const patient = { timeout: 30_000, interval: 50 };

const workersOf = (root: string) =>
  execFileSync("ps", ["-Ao", "pid,args"], { encoding: "utf8" })
    .split("\n")
    .filter((line) => line.includes(`worker --root ${root}`))
    .map((line) => Number.parseInt(line, 10));

/** One that waits for the history's minute would go on in a root that is removed. */
async function endWorkers(root: string): Promise<void> {
  const pids = workersOf(root);
  if (pids.length > 0) spawnSync("kill", ["-KILL", ...pids.map(String)]); // one that has ended meanwhile is as good
  await vi.waitFor(() => expect(workersOf(root)).toEqual([]), patient);
}

async function withMemory<T>(root: string, use: (memory: Memory) => Promise<T>): Promise<T> {
  const memory = await openMemory({ root });
  try {
    return await use(memory);
  } finally {
    await memory.close();
  }
}

const pendingOf = (root: string) => withMemory(root, async (memory) => (await memory.status()).pending);

describe("the background worker", () => {
  test("uploads what many saves left, and works no more when nothing is left", async () => {
    const root = makeRoot({});
    const keys = Array.from({ length: 6 }, (_, n) => `Meta/${n}.txt`);
    const saves = await Promise.all(keys.map((key) => run(["append", key, key], { cwd: root, env: background })));
    expect(saves.map(({ code }) => code)).toEqual(keys.map(() => 0));
    await vi.waitFor(() => expect(keys.filter((key) => !existsSync(join(root, "Drive/MemoryVDB", key)))).toEqual([]), patient);
    await vi.waitFor(async () => expect(await withMemory(root, (memory) => memory.workerRuns())).toBe(false), patient);
    expect(keys.map((key) => mirrored(root, key))).toEqual(keys);
    expect(await pendingOf(root)).toBe(0);
    await endWorkers(root);
  });

  test("is the only one: another one ends at once, and a save starts none", async () => {
    const root = makeRoot({});
    const target = createMemoryTarget();
    let put: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (put = resolve));
    const slow = { ...target, put: async (...args: Parameters<typeof target.put>) => held.then(() => target.put(...args)) };
    const memory = await openMemory({ root, targets: { drive: slow } });
    await memory.append("a.txt", "x");
    const working = memory.work();
    await vi.waitFor(async () => expect(await withMemory(root, (other) => other.workerRuns())).toBe(true), patient);
    expect(await ask(["worker"], { cwd: root, env: background })).toMatchObject({ code: 0, answer: { worked: false } });
    expect((await run(["append", "b.txt", "x"], { cwd: root, env: background })).code).toBe(0);
    expect(workersOf(root)).toEqual([]);
    put();
    expect(await working).toBe(true);
    await memory.close();
  });

  test("is not started with AFTERSAVE_NO_BACKGROUND=1", async () => {
    const root = makeRoot({});
    await run(["append", "a.txt", "x"], { cwd: root });
    expect(workersOf(root)).toEqual([]);
    expect(await pendingOf(root)).toBe(1);
  });
});

describe("Ctrl-C", () => {
  const ended = async (child: ChildProcess) => ((await once(child, "close")) as [number | null])[0];

  test("during flush stops cleanly and says what is left", async () => {
    const root = makeRoot({ targets: { drive: { type: "folder", enabled: true, path: "./", bytes_per_second: "20KB" } } });
    put(root, "Data/big.txt", "x".repeat(1_000_000));
    await run(["sweep"], { cwd: root });
    const flush = start(["--json", "flush"], { cwd: root });
    let stdout = "";
    flush.stdout.on("data", (piece: Buffer) => (stdout += piece.toString()));
    const mirror = join(root, "Drive/MemoryVDB");
    const begun = () => expect(existsSync(mirror) ? readdirSync(mirror, { recursive: true }) : []).not.toEqual([]);
    await vi.waitFor(begun, patient);
    flush.kill("SIGINT");
    expect(await ended(flush)).toBe(1);
    expect(JSON.parse(stdout)).toEqual({ uploaded: 0, skipped: 0, failed: 0, pending: 1, held: 0, erasing: 0 });
    expect(existsSync(join(root, "Drive/MemoryVDB/big.txt"))).toBe(false);
  });

  test("during --wait answers the receipt of the save, which is accepted", async () => {
    const root = makeRoot({ targets: { drive: { type: "folder", enabled: true, path: "./", bytes_per_second: "20KB" } } });
    const file = put(root, "big.txt", "x".repeat(1_000_000));
    const save = start(["--json", "replace", "big.txt", "--file", file, "--wait"], { cwd: root });
    let stdout = "";
    save.stdout.on("data", (piece: Buffer) => (stdout += piece.toString()));
    const mirror = join(root, "Drive/MemoryVDB");
    const begun = () => expect(existsSync(mirror) ? readdirSync(mirror, { recursive: true }) : []).not.toEqual([]);
    await vi.waitFor(begun, patient);
    save.kill("SIGINT");
    expect(await ended(save)).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ op: "replace", size: 1_000_000, uploads: [{ status: "pending" }] });
    expect(await pendingOf(root)).toBe(1);
  });

  test("ends log --follow, which has shown each new line", async () => {
    const root = makeRoot({});
    await run(["append", "a.txt", "1"], { cwd: root });
    const follow = start(["--json", "log", "changes", "--follow"], { cwd: root });
    const lines = createInterface({ input: follow.stdout })[Symbol.asyncIterator]();
    const next = async () => (JSON.parse(String((await lines.next()).value)) as { place: number }).place;
    expect(await next()).toBe(1);
    await run(["append", "a.txt", "2"], { cwd: root });
    expect(await next()).toBe(2);
    follow.kill("SIGINT");
    expect(await ended(follow)).toBe(0);
  });
});

test("a reader that goes away is not an error", async () => {
  const root = makeRoot({});
  const event = `${JSON.stringify({ op: "append", file: "a.txt", content: "x", reason: "y".repeat(1000) })}\n`;
  await run(["ingest"], { cwd: root, input: event.repeat(200) });
  const log = start(["--json", "log", "changes"], { cwd: root });
  log.stdout.destroy();
  let stderr = "";
  log.stderr.on("data", (piece: Buffer) => (stderr += piece.toString()));
  const [code] = (await once(log, "close")) as [number | null];
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
});

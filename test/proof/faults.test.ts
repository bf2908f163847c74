/** Disks that are full, read-only or broken: the old content stays, the error says what to do, and the next save works. */
import { closeSync, fstatSync, fsyncSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { bundleChildren, type Bundle } from "../../scripts/campaign/bundle.ts";
import { examine } from "../../scripts/campaign/check.ts";
import { startWriter } from "../../scripts/campaign/child.ts";
import { whyNoStrace } from "../../scripts/campaign/kill.ts";
import type { Act, Did } from "../../scripts/campaign/orders.ts";
import { createVolume, run, whyNoVolume, type FileSystem, type Volume } from "../../scripts/campaign/power.ts";
import { filesBelow, makeRoot, removeRoot } from "../../scripts/campaign/root.ts";
import { openMemory, type Memory, type Receipt } from "../../src/open.ts";
import { anySeed } from "../../src/testing/random.ts";

const seed = anySeed();
const KEY = "Meta/notes.txt";

const skipped = (what: string, why: string | undefined): boolean => {
  if (why !== undefined) process.stderr.write(`SKIPPED ${what}: ${why}\n`);
  return why !== undefined;
};

const undo: (() => void)[] = [];
afterEach(() => {
  for (const step of undo.splice(0).toReversed()) step();
});

function volumeOf(type: FileSystem, megabytes: number): Volume {
  const volume = createVolume(type, megabytes);
  undo.push(() => volume.remove());
  return volume;
}

/** Runs `work` with the memory open, which is closed before the volume goes. */
async function withMemory<T>(root: string, work: (memory: Memory) => Promise<T>): Promise<T> {
  const memory = await openMemory({ root, retryBaseMs: 1 });
  try {
    return await work(memory);
  } finally {
    await memory.close();
  }
}

const did = ({ version, file, sha256, size, archived_as }: Receipt): Did => ({
  did: "append",
  version,
  file,
  sha256,
  size,
  archived_as,
});

/** Takes all the space of a volume but `left` bytes; returns what gives it back. */
function fill(volume: Volume, left: number): () => void {
  const filler = join(volume.path, "filler");
  const file = openSync(filler, "w");
  try {
    for (const piece of [1 << 20, 4096])
      for (;;)
        try {
          writeSync(file, Buffer.alloc(piece));
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code === "ENOSPC") break;
          throw error;
        }
    ftruncateSync(file, Math.max(0, fstatSync(file).size - left));
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  return () => rmSync(filler);
}

async function* pieces(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 4096) yield bytes.subarray(at, at + 4096);
}

const disks = [
  ["everything on it, tmpfs", "tmpfs", 4, "all"],
  ["everything on it, ext4", "ext4", 24, "all"],
  ["only state_dir on it, tmpfs", "tmpfs", 4, "state"],
  ["only the memory root on it, ext4", "ext4", 24, "root"],
] as const;

/** A root whose parts lie on `volume` as `on` says. */
function rootOn(volume: Volume, on: "all" | "state" | "root"): string {
  const state =
    on === "all"
      ? {}
      : { state_dir: on === "state" ? join(volume.path, "state") : mkdtempSync(join(tmpdir(), "aftersave-state-")) };
  const root = on === "state" ? makeRoot(state) : makeRoot(state, volume.path);
  undo.push(() => {
    removeRoot(root);
    if (state.state_dir !== undefined) rmSync(state.state_dir, { recursive: true, force: true });
  });
  return root;
}

describe.each(disks)("a disk that is full: %s", (_, type, megabytes, on) => {
  const none = skipped(`a full disk on ${type}`, whyNoVolume(type));

  it.skipIf(none)("each save is there wholly or not at all, and works again when there is space", async () => {
    const volume = volumeOf(type, megabytes);
    const root = rootOn(volume, on);
    const accepted: Did[] = [];
    const codes = new Set<unknown>();
    for (const left of [0, 4096, 12_288, 24_576, 49_152, 98_304, 196_608]) {
      await withMemory(root, async (memory) => {
        accepted.push(
          did(await memory.append(KEY, `before ${left}\n`)),
          did(await memory.replace("Meta/whole.txt", `before ${left}`)),
        );
        const free = fill(volume, left);
        const attempts: readonly (() => Promise<Receipt>)[] = [
          () => memory.append(KEY, "x".repeat(9000)),
          () => memory.replace("Meta/whole.txt", "y".repeat(30_000)),
          () => memory.replace("Meta/whole.txt", pieces(Buffer.alloc(70_000, left % 251))),
          () => memory.replace(`New/${left}.txt`, "z".repeat(20_000)),
        ];
        for (const attempt of attempts) {
          const before = [KEY, "Meta/whole.txt"].map((key) => readFileSync(join(root, "Data", key), "utf8"));
          const answer: unknown = await attempt().catch((error: unknown) => error);
          if (!(answer instanceof Error)) {
            accepted.push(did(answer as Receipt));
            continue;
          }
          expect(answer).toMatchObject({ code: "E_NO_SPACE", hint: expect.stringMatching(/space/) });
          codes.add((answer as { code?: unknown }).code);
          expect([KEY, "Meta/whole.txt"].map((key) => readFileSync(join(root, "Data", key), "utf8"))).toEqual(before);
          expect(filesBelow(join(root, "Data")).filter((name) => /\.\d{6,10}$/.test(name))).toEqual([]);
        }
        free();
        accepted.push(did(await memory.append(KEY, `after ${left}\n`)));
      });
    }
    expect(codes).toEqual(new Set(["E_NO_SPACE"]));
    const { problems } = await examine(root, { accepted });
    expect(problems).toEqual([]);
  });
});

describe("a file system that turns read-only", () => {
  const none = skipped("a read-only file system", whyNoVolume("ext4"));

  it.skipIf(none)("refuses the save, keeps the file, and goes on when it can be written again", async () => {
    const volume = volumeOf("ext4", 24);
    const root = rootOn(volume, "root");
    const accepted: Did[] = [];
    await withMemory(root, async (memory) => {
      accepted.push(did(await memory.append(KEY, "one\n")));
      await memory.flush();
      await new Promise((resolve) => setImmediate(resolve));
      volume.remount("ro");
      const saves = [
        () => memory.append(KEY, "two\n"),
        () => memory.replace(KEY, "whole"),
        () => memory.archive(KEY),
        () => memory.append("New/x.txt", "new"),
      ];
      for (const save of saves)
        await expect(save()).rejects.toMatchObject({ code: "E_READ_ONLY", hint: expect.stringMatching(/writable/) });
      expect(readFileSync(join(root, "Data", KEY), "utf8")).toBe("one\n");
      volume.remount("rw");
      accepted.push(did(await memory.append(KEY, "three\n")));
    });
    expect((await examine(root, { accepted })).problems).toEqual([]);
  });

  it.skipIf(none)("from the start: opening says so and changes nothing", async () => {
    const volume = volumeOf("ext4", 24);
    const root = rootOn(volume, "all");
    const accepted: Did[] = [];
    await withMemory(root, async (memory) => accepted.push(did(await memory.append(KEY, "one\n"))));
    volume.remount("ro");
    undo.push(() => volume.remount("rw"));
    const answer: unknown = await withMemory(root, (memory) => memory.append(KEY, "two\n")).catch((error: unknown) => error);
    expect(answer).toMatchObject({ code: "E_READ_ONLY", hint: expect.any(String) });
    volume.remount("rw");
    await withMemory(root, async (memory) => accepted.push(did(await memory.append(KEY, "three\n"))));
    expect((await examine(root, { accepted })).problems).toEqual([]);
  });
});

describe("a file that the system does not let go", () => {
  const none = skipped("immutable files", whyNoVolume("ext4"));

  it.skipIf(none)("append, replace and archive are refused and leave it as it is; other files are saved", async () => {
    const volume = volumeOf("ext4", 24);
    const root = rootOn(volume, "all");
    const accepted: Did[] = [];
    const path = join(root, "Data", KEY);
    undo.push(() => run("chattr", "-R", "-i", root));
    await withMemory(root, async (memory) => {
      accepted.push(did(await memory.append(KEY, "one\n")));
      run("chattr", "+i", path);
      const saves = [() => memory.append(KEY, "two\n"), () => memory.replace(KEY, "whole"), () => memory.archive(KEY)];
      for (const save of saves) {
        const error = (await save().catch((thrown: unknown) => thrown)) as Error;
        expect(error).toMatchObject({ code: "E_PERMISSION", hint: expect.stringMatching(/owner and mode/) });
        expect(error.message).toMatch(/of Meta\/\S+ failed: the system does not allow it \(/);
        expect(error.message).not.toMatch(/\.\d+'/); // a temporary file is nobody's business
        expect(readFileSync(path, "utf8")).toBe("one\n");
      }
      accepted.push(did(await memory.append("Meta/other.txt", "well\n")));
      expect(filesBelow(join(root, "Data"))).toEqual([KEY, "Meta/other.txt"]);
      run("chattr", "-i", path);
      accepted.push(did(await memory.append(KEY, "three\n")));
      expect(readFileSync(path, "utf8")).toBe("one\nthree\n");
    });
    expect((await examine(root, { accepted })).problems).toEqual([]);
  });
});

describe("system calls that fail once, or from some moment on", () => {
  const none = skipped("injected faults", whyNoStrace());
  let bundle: Bundle;
  beforeAll(async () => {
    if (!none) bundle = await bundleChildren();
  });
  afterAll(() => bundle?.remove());

  const a = "Own/a.txt";
  const b = "Foreign/b.txt";
  const acts: readonly [Act, string][] = [
    ["append", a],
    ["append", a],
    ["replace", a],
    ["saved-whole", b],
    ["stream", a],
    ["saved-growth", b],
    ["archive", a],
    ["append", a],
    ["replace", "c.txt"],
    ["append", a],
    ["append", "c.txt"],
    ["append", b],
  ];
  // the stranger of the child renames too, and is not to be hit
  const scriptFor = (calls: string) =>
    acts.filter(([act]) => calls !== "rename" || act !== "saved-whole").map(([act, key]) => ({ act, key }));

  const cases: readonly (readonly [what: string, calls: string, error: string, when: string, paths: readonly string[]])[] = [
    ...[6, 9, 11, 14, 17, 22].flatMap((n) => [
      ["fsync", "fsync,fdatasync", "EIO", `${n}`, []] as const,
      ["fsync", "fsync,fdatasync", "EIO", `${n}+`, []] as const,
    ]),
    ["rename", "rename", "EIO", "1", []],
    ["rename", "rename", "EACCES", "2", []],
    ["opening the logs", "openat", "EIO", "2", ["logs/memory_changelog.json"]],
    ["opening the logs", "openat", "EMFILE", "3+", ["logs/archive_log.json"]],
    ["writing the live file", "write,pwrite64", "EIO", "2", [`Data/${a}`]],
    ["writing the state", "pwrite64", "EIO", "90", [".aftersave/state.db-wal"]],
    ["writing the state", "pwrite64", "ENOSPC", "140+", [".aftersave/state.db-wal"]],
    ["writing the logs", "write,pwrite64", "EIO", "2", ["logs/memory_changelog.json"]],
    ["writing the logs", "write,pwrite64", "ENOSPC", "1+", ["logs/memory_changelog.json", "logs/archive_log.json"]],
  ];

  it.skipIf(none).each(cases)("%s (%s: %s, call %s)", async (_, calls, error, when, paths) => {
    const root = makeRoot();
    undo.push(() => removeRoot(root));
    const script = scriptFor(calls);
    const trace = join(root, "trace");
    const only = paths.flatMap((path) => ["-P", join(root, path)]);
    const ended = await startWriter(bundle.writer, { root, seed, count: 0, script, tolerant: true, dies: when.endsWith("+") }, [
      "strace",
      "-f",
      "-qq",
      "-o",
      trace,
      ...only,
      "-e",
      `trace=${calls}`,
      "-e",
      `inject=${calls}:error=${error}:when=${when}`,
    ]).ended;
    const note = `seed ${seed}\n${ended.stderr}\n${JSON.stringify(ended.failed)}`;
    const injected = readFileSync(trace, "utf8").split("(INJECTED)").length - 1; // strace counts for each thread and call
    expect(injected, note).toBeGreaterThan(0);
    rmSync(trace);
    for (const { code, hint, live } of ended.failed) {
      expect(code, note).toMatch(/^E_(IO|NO_SPACE|PERMISSION|READ_ONLY)$/);
      expect(hint, note).toEqual(expect.any(String));
      expect(live, note).not.toBe("other");
    }
    expect(ended.accepted.length + ended.failed.length, note).toBe(script.length);
    if (!when.endsWith("+")) expect(ended.failed.length, note).toBeLessThanOrEqual(injected); // no save fails for an older fault
    const { accepted, unsure } = ended;
    const next = await withMemory(root, (memory) => memory.append(a, "the fault is gone"));
    const { problems } = await examine(root, { accepted: [...accepted, did(next)], unsure, foreign: (key) => key === b });
    expect(problems, note).toEqual([]);
  });
});

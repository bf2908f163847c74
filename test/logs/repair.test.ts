import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { appendFile, open, type FileHandle } from "node:fs/promises";
import { dirname, join } from "node:path";
import { tmpdir } from "node:os";
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { appendLines } from "../../src/logs/append.ts";
import { reconcile, setAsideTorn } from "../../src/logs/repair.ts";
import { batch, type Confirmed } from "./batches.ts";
import { child, ended, freshFolder } from "./folder.ts";

const folder = freshFolder();
const made = (content: string | Buffer = "") => {
  const path = folder.next();
  mkdirSync(dirname(path));
  writeFileSync(path, content);
  return path;
};
const text = (path: string) => (existsSync(path) ? readFileSync(path, "utf8") : "");
const value = fc.record({
  timestamp: fc.constant("2026-11-20T21:07:00.123Z"),
  file: fc.string({ unit: "grapheme" }),
  size: fc.integer(),
  tags: fc.array(fc.string(), { maxLength: 3 }),
  more: fc.oneof(fc.constant("x".repeat(300_000)), fc.constant(null), fc.constant({ "}": "\n" })),
});
const lines = fc.array(
  value.map((v) => JSON.stringify(v)),
  { minLength: 1, maxLength: 6 },
);
/** Runs a property on real files; fast-check prints the seed when it fails. */
const onFile = async (runs: number, property: (path: string) => fc.IAsyncProperty<unknown>) => {
  const place = mkdtempSync(join(tmpdir(), "aftersave-property-"));
  const path = join(place, "log.json");
  try {
    const clean = () => {
      for (const name of [path, `${path}.torn`]) rmSync(name, { force: true });
    };
    await fc.assert(property(path), { numRuns: runs, plugins: [fc.beforeEach(clean)] });
  } finally {
    rmSync(place, { recursive: true });
  }
};

describe("setAsideTorn", () => {
  it("leaves what stands: no file, an empty one, blank lines, other JSON, a line that no JSON parser likes in the middle", async () => {
    expect(await setAsideTorn(folder.next())).toEqual({ bytes: 0, moved: null });
    for (const content of [
      "",
      "\n\n",
      '{"a":1}\n\n \r\n',
      '{"a":1}\r\n',
      "null\n",
      "[]\n",
      'not json\n{"a":1}\n',
      '\uFEFF{"a":1}\n',
    ]) {
      const path = made(content);
      expect(await setAsideTorn(path)).toEqual({ bytes: 0, moved: null });
      expect(text(path)).toBe(content);
      expect(existsSync(`${path}.torn`)).toBe(false);
    }
  });

  it.each([
    ["half a line", '{"a":1}\n', '{"b":'],
    ["a zero-filled tail", '{"a":1}\n', "\0".repeat(5000)],
    ["half a line, then zeros", '{"a":1}\n', `{"b":${"\0".repeat(5000)}`],
    ["lines with a hole of zeros", '{"a":1}\n', `{"b":"\0\0\0\n\0\0"}\n`],
    ["a number that may have been longer", '{"a":1}\n', "12"],
    ["all there is", "", '{"a'],
    ["a torn line before blank ones", '{"a":1}\n', "{]\n\n"],
  ])("moves %s, and nothing else", async (_name, stays, goes) => {
    const path = made(stays + goes);
    expect(await setAsideTorn(path)).toEqual({ bytes: goes.length, moved: `${path}.torn` });
    expect(text(path)).toBe(stays);
    expect(text(`${path}.torn`)).toBe(goes.endsWith("\n") ? goes : `${goes}\n`);
    await expect(setAsideTorn(path)).resolves.toEqual({ bytes: 0, moved: null });
  });

  it("moves an unended tail that is longer than any line may be", async () => {
    const path = made(Buffer.concat([Buffer.from('{"a":1}\n'), Buffer.alloc(20 * 1024 * 1024, "x")]));
    expect(await setAsideTorn(path)).toMatchObject({ bytes: 20 * 1024 * 1024 });
    expect(text(path)).toBe('{"a":1}\n');
    expect(statSync(`${path}.torn`).size).toBe(20 * 1024 * 1024 + 1);
  });

  it("cuts nothing when the line was only being written: it is looked at again once the copy is safe", async () => {
    const path = made('{"a":1}\n{"b":');
    const handle = await open(path);
    const sync = vi.spyOn(Object.getPrototypeOf(handle) as FileHandle, "sync");
    await handle.close();
    try {
      sync.mockImplementationOnce(() => appendFile(path, "2}\n"));
      expect(await setAsideTorn(path)).toEqual({ bytes: 0, moved: null });
    } finally {
      sync.mockRestore();
    }
    expect(text(path)).toBe('{"a":1}\n{"b":2}\n');
  });

  it("keeps all whole lines of a log that was cut at any byte, and the rest in .torn; a second repair changes nothing", async () => {
    await onFile(300, (path) =>
      fc.asyncProperty(
        lines,
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.constantFrom(0, 0, 1, 5000),
        async (all, part, zeros) => {
          const whole = Buffer.from(all.map((line) => `${line}\n`).join(""));
          const cut = Math.round(part * whole.length);
          const content = Buffer.concat([whole.subarray(0, cut), Buffer.alloc(zeros)]);
          writeFileSync(path, content);
          const torn = await setAsideTorn(path);
          const after = readFileSync(path);
          const kept = whole.lastIndexOf("\n", cut - 1) + 1;
          const stays = zeros === 0 && cut < whole.length && whole[cut] === 0x0a && cut > kept ? cut + 1 : cut === 0 ? 0 : kept;
          expect(after.equals(whole.subarray(0, stays))).toBe(true);
          const goes = content.subarray(Math.min(stays, content.length));
          expect(torn.bytes).toBe(goes.length);
          expect(text(`${path}.torn`)).toBe(goes.length === 0 ? "" : `${goes.toString()}\n`);
          expect(await setAsideTorn(path)).toEqual({ bytes: 0, moved: null });
          expect(readFileSync(path).equals(after)).toBe(true);
        },
      ),
    );
  });
});

describe("reconcile", () => {
  const ours = ['{"o":1}', '{"o":2}', '{"o":3}'];
  const cases: [string, string, { present: boolean[]; foreign?: number; bad?: number; torn?: number }][] = [
    ["nothing was written", "", { present: [false, false, false] }],
    ["all was written", '{"o":1}\n{"o":2}\n{"o":3}\n', { present: [true, true, true] }],
    ["a part was written", '{"o":1}\n{"o":', { present: [true, false, false], torn: 5 }],
    ["the newline alone is missing", '{"o":1}\n{"o":2}', { present: [true, true, false] }],
    ["others wrote between", '{"f":1}\n{"o":1}\n{"f":2}\n{"o":2}\n{"o":3}\n', { present: [true, true, true], foreign: 2 }],
    ["an editor made it CRLF", '{"o":1}\r\n{"o":2}\r\n', { present: [true, true, false] }],
    ["others wrote what is not JSON", 'hello\n{"o":1}\n', { present: [true, false, false], bad: 1 }],
    ["a power cut left a hole", '{"o":1}\n\0\0\0\0\0\0\0\n{"o":3}\n', { present: [true, false, false], torn: 16 }],
    ["a hole swallowed a line end", '{"o":1}\n\0\0\0\0\0\0\0\0{"o":3}\n', { present: [true, false, false], torn: 16 }],
    ["others wrote behind a hole", '{"o":2}\n{"f":1}\n', { present: [false, true, false], foreign: 1 }],
  ];
  it.each(cases)("%s", async (_name, content, { present, foreign = 0, bad = 0, torn = 0 }) => {
    const known = '{"known":1}\n';
    const path = made(known + content);
    const found = await reconcile(path, { fromOffset: known.length, expected: ours });
    expect(found).toMatchObject({ present, missing: present.filter((p) => !p).length, foreign, bad, short: 0, rotated: null });
    expect(found.torn.bytes).toBe(torn);
    expect(found.size).toBe(statSync(path).size);
    expect(text(path).startsWith(known)).toBe(true);
    expect(await reconcile(path, { fromOffset: known.length, expected: ours })).toEqual({
      ...found,
      torn: { bytes: 0, moved: null },
    });
  });

  it("tells how much is gone of what was known, and cuts nothing more", async () => {
    const path = made('{"known":1}\n');
    const found = await reconcile(path, { fromOffset: 20, expected: ours });
    expect(found).toMatchObject({ size: 12, present: [false, false, false], foreign: 0, short: 8, torn: { bytes: 0 } });
  });

  it("finds the lines of a log that was edited to another length, or rotated, or is gone", async () => {
    const edited = made('{"known":"longer now"}\n{"o":1}\n');
    expect(await reconcile(edited, { fromOffset: 12, expected: ours })).toMatchObject({ present: [true, false, false] });
    const shorter = made('{"k":1}\n{"o":1}\n{"o":2}\n');
    expect(await reconcile(shorter, { fromOffset: 12, expected: ours })).toMatchObject({
      present: [true, true, false],
      foreign: 0,
    });
    const rotated = made('{"known":1}\n{"o":1}\n');
    const ino = String(statSync(rotated).ino);
    renameSync(rotated, `${rotated}.2026-11-20T21-07-00Z`);
    writeFileSync(rotated, '{"o":2}\n');
    expect(await reconcile(rotated, { fromOffset: 12, ino, expected: ours })).toMatchObject({
      present: [true, true, false],
      short: 0,
      foreign: 0,
      rotated: `${rotated}.2026-11-20T21-07-00Z`,
    });
    expect(await reconcile(folder.next(), { fromOffset: 12, expected: ours })).toMatchObject({
      size: 0,
      ino: "",
      missing: 3,
      short: 12,
    });
  });

  it("holds equal lines apart", async () => {
    const path = made("{}\n{}\n");
    expect(await reconcile(path, { fromOffset: 0, expected: ["{}", "{}", "{}"] })).toMatchObject({
      present: [true, true, false],
    });
  });

  it("agrees with a model at random crash points: every line once, in order, and others' lines untouched", async () => {
    const step = fc.record({ ours: fc.nat(3), foreign: fc.nat(2) });
    const crash = fc.record({
      part: fc.double({ min: 0, max: 1, noNaN: true }),
      zeros: fc.constantFrom(0, 0, 3, 4096),
      again: fc.boolean(),
    });
    await onFile(300, (path) =>
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 5 }), crash, async (steps, { part, zeros, again }) => {
        const known = '{"known":1}\n';
        let n = 0;
        let f = 0;
        const tail: string[] = [];
        for (const { ours: own, foreign } of steps) {
          for (let i = 0; i < own; i += 1) tail.push(JSON.stringify({ o: (n += 1), pad: "ö".repeat((n * 31) % 90) }));
          for (let i = 0; i < foreign; i += 1) tail.push(JSON.stringify({ f: (f += 1) }));
        }
        const expected = tail.filter((line) => line.startsWith('{"o"'));
        const whole = Buffer.from(tail.map((line) => `${line}\n`).join(""));
        const cut = Math.round(part * whole.length);
        writeFileSync(path, Buffer.concat([Buffer.from(known), whole.subarray(0, cut), Buffer.alloc(zeros)]));
        const survived = whole.toString("utf8", 0, cut).split("\n");
        const last = survived.pop() ?? "";
        if (zeros === 0 && tail.includes(last)) survived.push(last);
        let found = await reconcile(path, { fromOffset: known.length, expected });
        if (again) found = await reconcile(path, { fromOffset: known.length, expected });
        expect(found.present).toEqual(expected.map((line) => survived.includes(line)));
        expect(found.foreign).toBe(survived.filter((line) => line.startsWith('{"f"')).length);
        expect(found).toMatchObject({ bad: 0, short: 0 });
        const missing = expected.filter((_line, index) => !found.present[index]);
        await appendLines(path, missing, { expectedSize: found.size, expectedIno: found.ino });
        expect(text(path)).toBe(known + [...survived, ...missing].map((line) => `${line}\n`).join(""));
      }),
    );
  });
});

describe("an exporter that is killed at random moments", { timeout: 180_000 }, () => {
  it("writes every line once and in order", async () => {
    const path = folder.next();
    const record = join(dirname(path), "record.json");
    mkdirSync(dirname(path));
    writeFileSync(record, JSON.stringify({ batches: 0, size: 0, ino: "" } satisfies Confirmed));
    const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));
    let state = seed;
    const random = () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
    const repairs: string[] = [];
    // it is worth nothing if no kill ever hit an append, and how many that takes is the disk's
    const hit = () => repairs.some((repair) => !repair.endsWith(" 0 0"));
    for (let run = 0; run < 12 || (!hit() && run < 500); run += 1) {
      const exporter = await child("export.child.ts", path, record);
      const end = ended(exporter);
      // The first output comes behind the repair; from then on it appends without a pause.
      exporter.stdout?.once("data", () => setTimeout(() => exporter.kill("SIGKILL"), random() * 60));
      const { signal, out, err } = await end;
      expect(`${signal} ${err}`, `seed ${seed}`).toBe("SIGKILL ");
      expect(out.startsWith("0 "), `seed ${seed}: nothing is foreign, unreadable or lost, but ${out}`).toBe(true);
      repairs.push(out.trim());
    }
    const known = JSON.parse(readFileSync(record, "utf8")) as Confirmed;
    await reconcile(path, { fromOffset: known.size, ino: known.ino, expected: batch(known.batches) });
    const written = text(path).trimEnd().split("\n");
    const all = Array.from({ length: known.batches + 1 }, (_, n) => batch(n)).flat();
    expect(known.batches, repairs.join("; ")).toBeGreaterThan(10);
    for (const [at, line] of written.entries())
      if (line !== all[at]) expect.fail(`seed ${seed}: line ${at + 1} is not the expected one`);
    expect(written.length).toBeGreaterThanOrEqual(known.batches * 40);
    expect(hit(), `seed ${seed}: ${repairs.join("; ")}`).toBe(true);
  });
});

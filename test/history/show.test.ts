/** What any version held comes back byte for byte, however it is asked for. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { expect, it } from "vitest";
import type { Clock } from "../../src/core/clock.ts";
import type { Key } from "../../src/core/key.ts";
import { actorOf } from "../../src/core/version.ts";
import { openMemory, type Memory, type Receipt, type ShowQuery } from "../../src/open.ts";
import { openDatabase } from "../../src/state/sqlite.ts";
import { openState, STATE_FILE } from "../../src/state/state.ts";
import { anySeed } from "../../src/testing/random.ts";
import { makeRoot, removeRoot } from "../../scripts/campaign/root.ts";
import { codeOf, freshRoots, sha256 } from "../memory/root.ts";

const { fresh, open } = freshRoots();
const seed = anySeed();

async function shown(memory: Memory, key: string, query?: ShowQuery): Promise<Buffer> {
  const found = await memory.show(key, query);
  const pieces: Uint8Array[] = [];
  for await (const piece of found.open()) pieces.push(piece);
  const bytes = Buffer.concat(pieces);
  expect([bytes.length, sha256(bytes)]).toEqual([found.size, found.sha256]);
  return bytes;
}
const text = async (memory: Memory, key: string, query?: ShowQuery) => (await shown(memory, key, query)).toString();

/** A second goes by with each look at it. */
function ticking(): Clock & { iso(): string } {
  let now = Date.parse("2026-01-01T00:00:00Z");
  return { now: () => (now += 1000), sleep: async () => undefined, iso: () => new Date(now).toISOString() };
}

const body = fc.oneof(
  fc.string({ maxLength: 8 }),
  fc.constantFrom("", "same\n", "line\r\n", "x".repeat(3000)),
  fc.uint8Array({ maxLength: 6 }),
);
const act = fc.record({
  op: fc.constantFrom(
    "append" as const,
    "append" as const,
    "replace" as const,
    "archive" as const,
    "external" as const,
    "remove" as const,
  ),
  key: fc.constantFrom("a.txt", "Meta/b"),
  body,
  writer: fc.nat({ max: 1 }),
});

it(`every version ever accepted can be shown, by id, by count and by time (seed ${seed})`, { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(act, { minLength: 1, maxLength: 12 }), async (acts) => {
      const root = makeRoot();
      const clock = ticking();
      const memories = [await openMemory({ root, clock }), await openMemory({ root, clock })];
      /** By key, what it held from each version on. */
      const held = new Map<string, { version: string; time: string; bytes: Buffer | null }[]>();
      try {
        for (const { op, key, body: given, writer } of acts) {
          const memory = memories[writer]!;
          const path = join(root, "Data", key);
          const bytes = Buffer.from(given as string);
          let receipt: Receipt | undefined;
          try {
            if (op === "external" || op === "remove") {
              mkdirSync(dirname(path), { recursive: true });
              if (op === "external") writeFileSync(path, bytes);
              else rmSync(path, { force: true });
              receipt = await memory.saved(key);
            } else if (op === "archive") receipt = await memory.archive(key);
            else receipt = await memory[op](key, bytes);
          } catch (error) {
            expect((error as { code?: string }).code).toBe("E_NOT_FOUND");
          }
          if (!receipt || receipt.unchanged) continue;
          const before = held.get(key) ?? [];
          const old = before.at(-1)?.bytes ?? Buffer.alloc(0);
          const after = receipt.sha256 === null ? null : op === "append" ? Buffer.concat([old, bytes]) : bytes;
          held.set(key, [...before, { version: receipt.version, time: clock.iso(), bytes: after }]);
        }
        const [memory] = memories as [Memory, Memory];
        for (const [key, versions] of held)
          for (const [n, { version, time, bytes }] of versions.entries())
            for (const query of [
              { version },
              { version: version.toLowerCase() },
              { version: `-${versions.length - 1 - n}` },
              { at: time },
            ])
              if (bytes) expect(await shown(memory, key, query)).toEqual(bytes);
              else expect(await codeOf(memory.show(key, query))).toBe("E_NOT_FOUND");
      } finally {
        await Promise.all(memories.map((memory) => memory.close()));
        removeRoot(root);
      }
    }),
    { seed, numRuns: 40 },
  );
});

it("shows what was accepted, not what others made of the file since", async () => {
  const { memory, edit, root, data } = await fresh();
  await memory.append("Meta/a.txt", "accepted\n");
  edit("Meta/a.txt", "changed\n");
  expect(await text(memory, "Meta/a.txt")).toBe("accepted\n");
  expect(await text(memory, data("Meta/a.txt"))).toBe("accepted\n");
  await memory.sweep();
  expect(await text(memory, "Meta/a.txt")).toBe("changed\n");
  expect(await text(memory, "Meta/a.txt", { version: "-1" })).toBe("accepted\n");
  expect(readFileSync(join(root, "Data/Meta/a.txt"), "utf8")).toBe("changed\n");
});

it("says since when a key holds nothing, and which version to show", async () => {
  const { memory } = await fresh();
  const { version } = await memory.append("Meta/a.txt", "it\n");
  const gone = await memory.archive("Meta/a.txt");
  const error = await memory.show("Meta/a.txt").catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({
    code: "E_NOT_FOUND",
    message: expect.stringContaining(`it was archived at ${gone.timestamp}`) as string,
    hint: expect.stringContaining(`show Meta/a.txt@${version}`) as string,
    details: { version: gone.version, before: version },
  });
  expect(await memory.show(gone.archived_as!).catch((thrown: unknown) => thrown)).toMatchObject({
    code: "E_NOT_FOUND",
    hint: expect.stringContaining(`Meta/a.txt@${version}`) as string,
  });
});

it("says when the history begins, and what was never saved", async () => {
  const { memory, write } = await fresh();
  const { version, timestamp } = await memory.append("Meta/a.txt", "it\n");
  await memory.append("Meta/a.txt", "more\n");
  const error = await memory.show("Meta/a.txt", { at: "2020-01-01T00:00:00Z" }).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({
    code: "E_NOT_FOUND",
    message: `Meta/a.txt held nothing at 2020-01-01T00:00:00.000Z: its history begins at ${timestamp}`,
    hint: expect.stringContaining(version) as string,
  });
  write("Meta/b.txt", "unseen");
  expect(await memory.show("Meta/b.txt").catch((thrown: unknown) => thrown)).toMatchObject({
    code: "E_NOT_FOUND",
    hint: expect.stringContaining("sweep") as string,
  });
  expect(await codeOf(memory.show("Meta/none.txt"))).toBe("E_NOT_FOUND");
  expect(await codeOf(memory.show("Meta/none.txt", { version: "-0" }))).toBe("E_VERSION");
  expect(await codeOf(memory.show("Meta/a.txt", { version: "ZZZZ" }))).toBe("E_VERSION");
  expect(await codeOf(memory.show("Meta/a.txt", { version: "-2" }))).toBe("E_VERSION");
  expect(await codeOf(memory.show("Meta/a.txt@NOPE1"))).toBe("E_VERSION");
  expect(await codeOf(memory.show("Meta/none.txt@NOPE1"))).toBe("E_NOT_FOUND");
  expect(await codeOf(memory.show("Meta/a.txt", { version: "-0", at: new Date() }))).toBe("E_USAGE");
  expect(await codeOf(memory.show("Meta/a.txt", { at: "soon" }))).toBe("E_USAGE");
  const other = await memory.append("Meta/c.txt", "it\n");
  expect(await memory.show("Meta/a.txt", { version: other.version }).catch((thrown: unknown) => thrown)).toMatchObject({
    code: "E_VERSION",
    message: expect.stringContaining("it is a version of Meta/c.txt") as string,
  });
});

it("a time is judged by the order of the lines: a clock that went backwards changes nothing", async () => {
  let now = Date.parse("2026-01-01T12:00:00Z");
  const { memory } = await fresh({ clock: { now: () => now, sleep: async () => undefined } });
  const at = (hour: number) => (now = Date.parse(`2026-01-01T${String(hour).padStart(2, "0")}:00:00Z`));
  await memory.replace("a.txt", "noon");
  at(9);
  await memory.replace("a.txt", "later, by a clock that says nine");
  at(15);
  await memory.replace("a.txt", "three");
  expect(await text(memory, "a.txt", { at: "2026-01-01T13:00:00Z" })).toBe("later, by a clock that says nine");
  expect(await text(memory, "a.txt", { at: "2026-01-01T16:00:00+01:00" })).toBe("three");
});

it("shows a version that is held; what is only decided holds nothing", async () => {
  const { memory, root } = await fresh();
  const { version, sha256: now } = await memory.replace("Meta/a.txt", "as it is\n");
  const held = "01M7ZZZZZZZZZZZZZZZZZZHE1D";
  const content = "held\n";
  const state = await openState(join(root, ".aftersave"), { now: () => Date.now(), sleep: async () => undefined });
  const line = {
    ...actorOf(),
    file: "Meta/a.txt" as Key,
    prev_sha256: now,
    archived_as: null,
    timestamp: new Date().toISOString(),
  };
  await state.saves.decide({
    ...line,
    version: held,
    op: "hold",
    sha256: sha256(content),
    size: 5,
    details: { applies: "replace" },
  });
  const pin = { ...line, version: "01M7ZZZZZZZZZZZZZZZZZZZP1N", op: "pin" as const, sha256: null, size: null, prev_sha256: null };
  await state.saves.decide({ ...pin, details: { about: [version] } });
  await state.close();
  mkdirSync(join(root, ".aftersave/heads", held.slice(-1)), { recursive: true });
  writeFileSync(join(root, ".aftersave/heads", held.slice(-1), held), content);
  expect(await text(memory, "Meta/a.txt", { version: "HE1D" })).toBe("held\n");
  expect(await text(memory, "Meta/a.txt")).toBe("as it is\n");
  expect(await text(memory, "Meta/a.txt", { version: "-0" })).toBe("as it is\n");
  expect(await memory.show("Meta/a.txt", { version: "ZP1N" }).catch((thrown: unknown) => thrown)).toMatchObject({
    code: "E_VERSION",
    hint: expect.stringContaining(version) as string,
  });
  const diff = await memory.diff("Meta/a.txt", { from: "HE1D" });
  expect([diff.from?.version, diff.to.version]).toEqual([version, held]);
});

it("what an erasure left of a version is shown under its id, and says so", async () => {
  const { root, memory } = await fresh();
  const first = await memory.replace("Meta/a.txt", "the secret and the rest\n");
  const second = await memory.replace("Meta/a.txt", "another secret\n");
  const third = await memory.replace("Meta/a.txt", "now\n");
  await memory.close();
  const left = " and the rest\n";
  const copy = "Archive/Meta/redacted.txt";
  const line = { ...actorOf(), file: "" as Key, sha256: null, size: null, prev_sha256: null, archived_as: null };
  const state = await openState(join(root, ".aftersave"), { now: () => Date.now(), sleep: async () => undefined });
  const redacts = [
    { version: first.version, file: "Meta/a.txt" as Key, sha256: sha256(left), size: left.length },
    { version: second.version, file: "Meta/a.txt" as Key, sha256: null, size: null },
  ];
  const details = { about: [first.version, second.version], redacts };
  await state.saves.decide({ ...line, version: "01M7ZZZZZZZZZZZZZZZZZZZERA", op: "erase", timestamp: third.timestamp, details });
  await state.close();
  const db = openDatabase(join(root, ".aftersave", STATE_FILE), 1000);
  const blank = db.prepare(
    "UPDATE versions SET file = '', sha256 = NULL, size = NULL, base = NULL, salt = '', commitment = 'c' WHERE version = ?",
  );
  blank.run(first.version);
  blank.run(second.version);
  db.prepare("INSERT INTO archives (key, file, version, sha256, size, base, pruned) VALUES (?,?,?,?,?,NULL,0)").run(
    copy,
    "Meta/a.txt",
    second.version,
    sha256(left),
    left.length,
  );
  db.close();
  writeFileSync(join(root, "Data", copy), left);
  const again = await open(root);
  const found = await again.show("Meta/a.txt", { version: first.version });
  expect([found.redacted, found.sha256, found.file]).toEqual([true, sha256(left), "Meta/a.txt"]);
  expect(await text(again, "Meta/a.txt", { version: first.version })).toBe(left);
  expect(await codeOf(again.show("Meta/a.txt", { version: second.version }))).toBe("E_CONTENT_GONE");
  expect(await codeOf(again.show("Meta/b.txt", { version: first.version }))).toBe("E_CONTENT_GONE");
  expect((await again.show("Meta/a.txt")).redacted).toBe(false);
});

it("content that nobody has any more is said to be gone, and never another's bytes", async () => {
  const { memory, root } = await fresh();
  const { version } = await memory.replace("Meta/a.txt", "first\n");
  const second = await memory.replace("Meta/a.txt", "second\n");
  writeFileSync(join(root, "Data", second.archived_as!), "FIRST\n");
  expect(await codeOf(memory.show("Meta/a.txt", { version }))).toBe("E_CONTENT_GONE");
});

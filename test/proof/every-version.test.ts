/** Promise 2: every version that was ever accepted can be shown byte for byte, however it came about and whatever came after. */
import { createHash } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, it } from "vitest";
import { filesBelow, foreignWrite, makeRoot, removeRoot } from "../../scripts/campaign/root.ts";
import { AftersaveError } from "../../src/core/errors.ts";
import { movesHead, type Version } from "../../src/core/version.ts";
import { openMemory, type Memory } from "../../src/open.ts";
import { anySeed } from "../../src/testing/random.ts";

const KEYS = ["a.txt", "Meta/b.md", "Meta/deep/c.json"] as const;
const key = fc.constantFrom(...KEYS);
const writer = fc.nat({ max: 2 });
const body = fc.oneof(
  fc.string({ maxLength: 12 }),
  fc.constantFrom("", "same", "line\r\n", "x".repeat(300), "\u0000\u00ff", "ä\n", '{"a":1}\n'),
);

const event = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ did: fc.constantFrom("append" as const, "append" as const, "replace" as const), key, writer, body }),
  },
  { weight: 1, arbitrary: fc.record({ did: fc.constantFrom("archive" as const, "rebuild" as const), key, writer }) },
  {
    weight: 3,
    arbitrary: fc.record({ did: fc.constantFrom("overwrite" as const, "remove" as const, "sweep" as const), key, writer, body }),
  },
  { weight: 2, arbitrary: fc.record({ did: fc.constant("restore" as const), key, writer, which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ did: fc.constant("undo" as const), key, writer }) },
  { weight: 1, arbitrary: fc.record({ did: fc.constant("prune" as const), key, writer }) },
);
type Event = typeof event extends fc.Arbitrary<infer E> ? E : never;

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** What is expected of an event beside success. */
const mayFail = ["E_NOT_FOUND", "E_VERSION", "E_NOTHING_TO_UNDO"];

async function bytesOf(memory: Memory, file: string, version: string): Promise<Buffer> {
  const shown = await memory.show(file, { version });
  const pieces: Uint8Array[] = [];
  for await (const piece of shown.open()) pieces.push(Uint8Array.from(piece));
  return Buffer.concat(pieces);
}

/** What each version is known to have held, from what was done and not from what was recorded. */
class Model {
  readonly contents = new Map<string, Buffer>();
  readonly live = new Map<string, Buffer | undefined>();

  keep(of: string, content: Buffer | undefined): void {
    this.live.set(of, content);
    if (content) this.contents.set(sha256(content), content);
  }
}

const seed = anySeed();

it(`every version is shown as it was written (seed ${seed})`, { timeout: 240_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(event, { minLength: 6, maxLength: 30 }),
      fc.constantFrom("off" as const, "warn" as const),
      async (events, guard) => {
        const root = makeRoot({ guard, logs: { rotate: "4KiB" }, retention: { "*": { keep_last: 2 } } });
        const memories = [await openMemory({ root }), await openMemory({ root }), await openMemory({ root })];
        const model = new Model();
        const act = async (one: Event): Promise<void> => {
          const memory = memories[one.writer]!;
          const path = join(root, "Data", one.key);
          if (one.did === "append" || one.did === "replace") {
            const added = Buffer.from(one.body, "utf8");
            const before = one.did === "append" ? (model.live.get(one.key) ?? Buffer.alloc(0)) : Buffer.alloc(0);
            await memory[one.did](one.key, added, { session_id: `s${one.writer}` });
            model.keep(one.key, Buffer.concat([before, added]));
          } else if (one.did === "archive") {
            await memory.archive(one.key);
            model.keep(one.key, undefined);
          } else if (one.did === "overwrite") {
            foreignWrite(path, one.body);
            model.keep(one.key, Buffer.from(one.body, "utf8"));
          } else if (one.did === "remove") {
            rmSync(path, { force: true });
            model.keep(one.key, undefined);
          } else if (one.did === "sweep") await memory.sweep();
          else if (one.did === "rebuild") {
            await Promise.all(memories.map((open) => open.close()));
            memories[0] = await openMemory({ root, rebuild: true });
            for (const n of [1, 2]) memories[n] = await openMemory({ root });
          } else if (one.did === "restore") {
            await memory.sweep();
            const lines = (await changes(memory)).filter((line) => line.file === one.key && line.sha256 !== null);
            const chosen = lines[one.which % Math.max(1, lines.length)];
            if (!chosen) return;
            await memory.restore({ file: one.key, version: chosen.version });
            model.keep(one.key, model.contents.get(chosen.sha256!));
          } else if (one.did === "undo") {
            await memory.sweep();
            const before = await treeOf(memory);
            const last = (await changes(memory)).findLast(movesHead);
            await memory.undo();
            const after = await treeOf(memory);
            for (const file of KEYS) if (after.get(file) !== before.get(file)) expect(file).toBe(last?.file);
            for (const file of KEYS) model.keep(file, contentOf(model, after.get(file)));
          } else {
            await memory.flush(); // what is on no target is never pruned
            await memory.prune();
          }
        };
        try {
          for (const one of events)
            await act(one).catch((error: unknown) => {
              if (!(error instanceof AftersaveError) || !mayFail.includes(error.code)) throw error;
            });
          await memories[0]!.sweep();
          await memories[0]!.flush();
          const lines = await changes(memories[1]!);
          for (const { file, version, sha256: hash, op } of lines) {
            if (hash === null) continue;
            const shown = await bytesOf(memories[1]!, file, version);
            expect(sha256(shown), `${op} ${version} of ${file}`).toBe(hash);
            const known = model.contents.get(hash);
            expect(known && shown.equals(known), `${op} ${version} of ${file} holds what nobody wrote`).toBe(true);
          }
          const tree = await treeOf(memories[2]!);
          for (const file of KEYS) {
            const live = model.live.get(file);
            expect(tree.get(file), `${file} now`).toBe(live && sha256(live));
          }
          const { findings } = await memories[2]!.verify();
          expect(findings).toEqual([]);
          expect(filesBelow(join(root, ".aftersave/spool")).filter((name) => !name.startsWith("elsewhere-"))).toEqual([]);
        } finally {
          await Promise.all(memories.map((memory) => memory.close()));
          removeRoot(root);
        }
      },
    ),
    { seed, numRuns: 10, endOnFailure: true },
  );
});

const contentOf = (model: Model, hash: string | undefined) => (hash === undefined ? undefined : model.contents.get(hash));

const changes = async (memory: Memory): Promise<Version[]> => (await memory.log("changes")) as unknown as Version[];

/** What each key holds, by the newest line that says so. */
async function treeOf(memory: Memory): Promise<Map<string, string | undefined>> {
  const tree = new Map<string, string | undefined>();
  for (const line of await changes(memory)) {
    const details = line.details ?? null;
    if (movesHead({ ...line, details })) tree.set(line.file, line.sha256 ?? undefined);
  }
  return tree;
}

/** Random saves by several writers, with strangers in between: whatever was accepted can be shown byte for byte. */
import { appendFileSync, existsSync, mkdirSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { expect, it } from "vitest";
import { examine } from "../../scripts/campaign/check.ts";
import type { Did } from "../../scripts/campaign/orders.ts";
import { makeRoot, removeRoot } from "../../scripts/campaign/root.ts";
import { openMemory, type Memory, type Receipt } from "../../src/open.ts";
import { anySeed } from "../../src/testing/random.ts";

const keys = ["a.txt", "Meta/b.md", "Meta/deep/c"] as const;
const key = fc.constantFrom(...keys);
const writer = fc.nat({ max: 2 });
const body = fc.oneof(fc.string({ maxLength: 12 }), fc.constantFrom("", "same", "line\r\n", "x".repeat(5000)));

const save = fc.record({
  kind: fc.constant("save" as const),
  op: fc.constantFrom(
    "append" as const,
    "append" as const,
    "replace" as const,
    "stream" as const,
    "archive" as const,
    "saved" as const,
    "stale" as const,
  ),
  key,
  writer,
  body,
});
const stranger = fc.record({
  kind: fc.constant("stranger" as const),
  op: fc.constantFrom("overwrite" as const, "grow" as const, "cut" as const, "remove" as const, "rename" as const),
  key,
  body,
});
const sweep = fc.record({ kind: fc.constant("sweep" as const), writer });
const restart = fc.record({ kind: fc.constant("restart" as const), writer });
/** What happens at once. */
const moment = fc.oneof(
  { weight: 3, arbitrary: fc.array(save, { minLength: 1, maxLength: 4 }) },
  { weight: 2, arbitrary: fc.tuple(stranger) },
  { weight: 1, arbitrary: fc.tuple(fc.oneof(sweep, restart)) },
);
type Event =
  | (typeof save extends fc.Arbitrary<infer S> ? S : never)
  | (typeof stranger extends fc.Arbitrary<infer S> ? S : never)
  | (typeof sweep extends fc.Arbitrary<infer S> ? S : never)
  | (typeof restart extends fc.Arbitrary<infer S> ? S : never);

function estrange(path: string, op: string, bytes: string): void {
  mkdirSync(dirname(path), { recursive: true });
  if (op === "overwrite") writeFileSync(path, bytes);
  else if (op === "grow") appendFileSync(path, bytes);
  else if (op === "remove") rmSync(path, { force: true });
  else if (op === "cut" && existsSync(path)) truncateSync(path, Math.floor(bytes.length / 2));
  else if (op === "rename") {
    writeFileSync(`${path}.${process.pid}`, bytes);
    renameSync(`${path}.${process.pid}`, path);
  }
}

async function* pieces(text: string): AsyncGenerator<Uint8Array> {
  for (const part of text.match(/.{1,5}/gs) ?? []) yield Buffer.from(part);
}

const perform = (memory: Memory, op: string, of: string, text: string): Promise<Receipt> => {
  if (op === "append") return memory.append(of, text);
  if (op === "replace") return memory.replace(of, text);
  if (op === "stream") return memory.replace(of, pieces(text));
  if (op === "archive") return memory.archive(of);
  if (op === "stale") return memory.replace(of, text, {}, { if_sha256: "0".repeat(64) });
  return memory.saved(of);
};

const seed = anySeed();

it(`whatever was accepted is kept, in order, once (seed ${seed})`, { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(moment, { minLength: 3, maxLength: 14 }), async (moments) => {
      const root = makeRoot();
      const open = () => openMemory({ root });
      const memories = [await open(), await open(), await open()];
      const accepted = new Map<string, Did>();
      const take = (receipt: Receipt) => {
        if (!receipt.unchanged)
          accepted.set(receipt.version, {
            did: "append",
            version: receipt.version,
            file: receipt.file,
            sha256: receipt.sha256,
            size: receipt.size,
            archived_as: receipt.archived_as,
          });
      };
      const act = async (event: Event): Promise<void> => {
        if (event.kind === "stranger") estrange(join(root, "Data", event.key), event.op, event.body);
        else if (event.kind === "sweep") (await memories[event.writer]!.sweep()).changed.forEach(take);
        else if (event.kind === "restart") {
          await memories[event.writer]!.close();
          memories[event.writer] = await open();
        } else
          await perform(memories[event.writer]!, event.op, event.key, event.body).then(take, (error: unknown) => {
            const codes = {
              archive: ["E_NOT_FOUND"],
              saved: ["E_NOT_FOUND"],
              stale: ["E_STALE"],
              append: [],
              replace: [],
              stream: [],
            };
            if (!(codes[event.op] as unknown[]).includes((error as { code?: unknown }).code)) throw error;
          });
      };
      try {
        for (const events of moments) await Promise.all(events.map(act));
        await Promise.all(memories.map((memory) => memory.close()));
        const { problems } = await examine(root, { accepted: [...accepted.values()], foreign: () => true });
        expect(problems).toEqual([]);
      } finally {
        await Promise.all(memories.map((memory) => memory.close()));
        removeRoot(root);
      }
    }),
    { seed, numRuns: 40 },
  );
});

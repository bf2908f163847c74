/**
 * A process that saves until it is killed. It says on stdout what it is about to do, and what was accepted: whatever
 * the parent has read by then must be there afterwards.
 * @module
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Receipt } from "../../src/index.ts";
import { openMemory } from "../../src/open.ts";
import { seededRandom } from "../../src/testing/random.ts";
import { sha256 } from "./root.ts";
import type { Act, Line, Orders } from "./orders.ts";

const orders = JSON.parse(process.argv[2] ?? "") as Orders;
const { root, seed, kill } = orders;
const random = seededRandom(seed);
const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;

const say = (line: Line) => writeSync(1, `${JSON.stringify(line)}\n`);

let armed = false;
let met = 0;
const memory = await openMemory({
  root,
  retryBaseMs: 1,
  onStep: (step) => {
    if (armed && step === kill?.step && ++met === kill.nth) process.kill(process.pid, "SIGKILL");
  },
});

const live = (key: string) => join(root, "Data", key);
const content = (key: string) => (existsSync(live(key)) ? readFileSync(live(key)) : undefined);

/** Mostly small; now and then so large that a kill lands in the middle of a write. */
function body(given?: number): Buffer {
  const size = given ?? (random() < 0.12 ? 200_000 + random() * 2_000_000 : 1 + random() * 400);
  const line = `${seed} ${Math.floor(random() * 1e9)} äöü\r\n`;
  return Buffer.from(line.repeat(Math.ceil(size / line.length)));
}

/** As a careful stranger writes: whole, by rename. */
function overwrite(path: string, bytes: Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true });
  const beside = join(root, "stranger.tmp");
  writeFileSync(beside, bytes);
  renameSync(beside, path);
}

async function* pieces(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
}

interface Doing {
  readonly op: string;
  readonly next: Buffer | null;
  readonly work: () => Promise<Receipt>;
}

function prepare(act: Act, key: string, size?: number): Doing | undefined {
  const old = content(key);
  const bytes = body(size);
  switch (act) {
    case "first":
    case "append":
      return { op: "append", next: Buffer.concat([old ?? Buffer.alloc(0), bytes]), work: () => memory.append(key, bytes) };
    case "replace":
      return { op: "replace", next: bytes, work: () => memory.replace(key, bytes) };
    case "stream":
      return { op: "replace", next: bytes, work: () => memory.replace(key, pieces(bytes)) };
    case "archive":
      return old && { op: "archive", next: null, work: () => memory.archive(key) };
    case "saved-growth":
      return (
        old && {
          op: "append",
          next: Buffer.concat([old, bytes]),
          work: async () => {
            appendFileSync(live(key), bytes);
            return memory.saved(key, { op: "append" });
          },
        }
      );
    case "saved-whole":
      return {
        op: "replace",
        next: bytes,
        work: async () => {
          overwrite(live(key), bytes);
          return memory.saved(key, { op: "replace" });
        },
      };
    case "saved-removal":
      return (
        old && {
          op: "archive",
          next: null,
          work: async () => {
            rmSync(live(key));
            return memory.saved(key, { op: "archive" });
          },
        }
      );
    case "flush":
    case "work":
      return undefined;
  }
}

async function perform(act: Act, key: string, size?: number): Promise<void> {
  if (act === "flush" || act === "work") {
    say({ doing: act });
    if (act === "flush") await memory.flush();
    else await memory.work();
    say({ did: act });
    return;
  }
  const prepared = prepare(act, key, size) ?? prepare("append", key, size);
  if (!prepared) throw new Error(`nothing to do for ${act}`);
  const { op, next, work } = prepared;
  const old = content(key);
  const doing = {
    doing: act,
    op,
    file: key,
    prev: old ? sha256(old) : null,
    sha256: next && sha256(next),
    size: next && next.length,
  };
  say(doing);
  try {
    const { version, sha256: hash, size, archived_as } = await work();
    say({ did: act, version, file: key, sha256: hash, size, archived_as });
  } catch (error) {
    if (orders.tolerant !== true) throw error;
    const now = content(key);
    const hash = now ? sha256(now) : null;
    const { code, hint } = error as { code?: unknown; hint?: unknown };
    say({ ...doing, code, hint, live: hash === doing.prev ? "old" : hash === doing.sha256 ? "new" : "other" });
  }
}

const own = ["Own/a.txt", "Own/b.md", "c.txt"];
const foreign = ["Foreign/x.txt", "Foreign/deep/y"];
const acts: readonly Act[] = ["append", "append", "append", "replace", "replace", "stream", "archive", "flush", "work"];
const foreignActs: readonly Act[] = ["append", "saved-growth", "saved-growth", "saved-whole", "saved-removal", "replace"];

say({ ready: true });
if (orders.lines) {
  const { id, key, count } = orders.lines;
  for (let n = 0; n < count; n++) await memory.append(key, `${id} ${n} ${"x".repeat((n * 37) % 300)}\n`, { chat_name: id });
} else if (orders.script) {
  for (const [index, { act, key, size }] of orders.script.entries()) {
    armed = orders.kill !== undefined && index === orders.script.length - 1;
    await perform(act, key, size);
  }
} else {
  armed = true;
  for (let n = 0; n < orders.count; n++)
    await (random() < 0.3 ? perform(pick(foreignActs), pick(foreign)) : perform(pick(acts), pick(own)));
}
if (orders.dies === true) process.kill(process.pid, "SIGKILL");
await memory.close();

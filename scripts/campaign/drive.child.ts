/**
 * A process that saves and uploads to Drive, until it is done or killed. What it says on stdout is accepted by then.
 * @module
 */
import { once } from "node:events";
import { readFileSync, writeSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { openMemory } from "../../src/open.ts";
import type { DriveOrders } from "./drive-child.ts";

const { root, saves, wait, lingerMs } = JSON.parse(process.argv[2] ?? "") as DriveOrders;
const say = (line: object) => writeSync(1, `${JSON.stringify(line)}\n`);

const memory = await openMemory({ root, retryBaseMs: 1 });
say({ ready: true });
if (wait) await once(process.stdin, "data");
for (const { op, key, text, file } of saves) {
  const { sha256, archived_as } = await memory[op](key, text ?? readFileSync(file ?? ""));
  say({ key, sha256, archived_as });
}
say({ flush: await memory.flush() });
if (lingerMs !== undefined) await pause(lingerMs);
await memory.close();
process.exit(0);

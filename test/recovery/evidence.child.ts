// Saves, replaces and archives until it kills itself: evidence.child.ts ROOT MS.
import { openMemory } from "../../src/open.ts";

const [root = "", ms = "0"] = process.argv.slice(2);
const memory = await openMemory({ root, env: {}, retryBaseMs: 1 });
setTimeout(() => process.kill(process.pid, "SIGKILL"), 30 + Number(ms));
for (let n = 0; ; n++) {
  await Promise.all([1, 2, 3].map((key) => memory.append(`Meta/${key}.txt`, `${n} ${"x".repeat(n % 50)}\n`)));
  if (n % 5 === 0) await memory.replace("Meta/whole.txt", `${n}`);
  if (n % 7 === 0) void memory.flush().catch(() => undefined);
}

/** Saves that are counted from outside: warms up, marks the place in the trace, saves, and ends without closing anything. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openMemory } from "../src/index.ts";
import { makeRoot } from "./roots.ts";

const [op, count] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "aftersave-fsync-"));
const memory = await openMemory({ root: makeRoot(folder) });
const save = (n: number) =>
  op === "append" ? memory.append("Bench/a.txt", `line ${n}\n`) : memory.replace("Bench/a.txt", `content ${n}\n`);
for (let n = 0; n < 50; n++) await save(n);
process.stdout.write("warm 50\n");
process.stderr.write("MARK\n");
for (let n = 0; n < Number(count); n++) await save(1000 + n);
rmSync(folder, { recursive: true, force: true });
process.exit(0);

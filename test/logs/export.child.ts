// An exporter in small: batches that are known beforehand go to the log, each exactly once, whatever kills it: export.child.ts PATH RECORD.
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { appendLines } from "../../src/logs/append.ts";
import { reconcile } from "../../src/logs/repair.ts";
import { batch, type Confirmed } from "./batches.ts";

const [path = "", record = ""] = process.argv.slice(2);
let known = JSON.parse(readFileSync(record, "utf8")) as Confirmed;
const expected = batch(known.batches);
const found = await reconcile(path, { fromOffset: known.size, ino: known.ino, expected });
const missing = expected.filter((_line, index) => !found.present[index]);
process.stdout.write(`${found.foreign + found.bad + found.short} ${found.torn.bytes} ${expected.length - missing.length}\n`);
let at = await appendLines(path, missing, { expectedSize: found.size });
for (;;) {
  known = { batches: known.batches + 1, ...at };
  writeFileSync(`${record}.new`, JSON.stringify(known));
  renameSync(`${record}.new`, record);
  at = await appendLines(path, batch(known.batches), { expectedSize: at.size, expectedIno: at.ino });
}

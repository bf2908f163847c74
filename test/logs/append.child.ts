// Appends `count` lines, one call each: append.child.ts PATH ID COUNT [CLAIM]. With CLAIM, an exclusive SQLite transaction is held around each.
import { openDatabase } from "../../src/state/sqlite.ts";
import { appendLines } from "../../src/logs/append.ts";

const [path = "", id = "", count = "", claim] = process.argv.slice(2);
const lock = claim === undefined ? undefined : openDatabase(claim, 60_000);
for (let n = 0; n < Number(count); n += 1) {
  lock?.exec("BEGIN EXCLUSIVE");
  await appendLines(path, [JSON.stringify({ id, n, pad: "x".repeat((n * 37) % 900) })]);
  lock?.exec("COMMIT");
}

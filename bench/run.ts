/**
 * `npm run bench [-- PART…]`: what is claimed about speed and memory, measured side by side in one run. Prints the
 * table; a whole run keeps it in bench/RESULTS.md.
 */
import { writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { fileURLToPath } from "node:url";
import { driveRows } from "./drive.ts";
import { table, type Row } from "./measure.ts";
import { memoryRows, skipRows } from "./processes.ts";
import { bigAppendRows, fsyncRows, manyFilesRows, saveRows } from "./saves.ts";

const parts: Readonly<Record<string, () => Promise<Row[]> | Row[]>> = {
  saves: saveRows,
  fsync: fsyncRows,
  big: bigAppendRows,
  many: manyFilesRows,
  skip: skipRows,
  memory: memoryRows,
  drive: driveRows,
};

const asked = process.argv.slice(2);
const unknown = asked.filter((part) => !(part in parts));
if (unknown.length > 0) {
  process.stderr.write(`no such part: ${unknown.join(", ")}; there are ${Object.keys(parts).join(", ")}\n`);
  process.exit(2);
}
const rows: Row[] = [];
for (const [name, measure] of Object.entries(parts)) {
  if (asked.length > 0 && !asked.includes(name)) continue;
  process.stderr.write(`measuring ${name} …\n`);
  rows.push(...(await measure()));
}
const shown = table(rows);
process.stdout.write(`${shown}\n`);
if (asked.length === 0) {
  const machine = `${cpus().length} × ${cpus()[0]?.model.trim() ?? "?"}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, ${process.platform}, Node ${process.versions.node}`;
  const text = `# Results of the last \`npm run bench\`

${new Date().toISOString().slice(0, 10)}, ${machine}. All figures of one run; quote the ratios, not the times: they hold where the disk is slower too.

${shown}
`;
  writeFileSync(fileURLToPath(new URL("RESULTS.md", import.meta.url)), text);
}

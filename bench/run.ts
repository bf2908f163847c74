/**
 * `npm run bench [-- PART…]`: what is claimed about speed and memory, measured side by side in one run. Prints the
 * table; a whole run keeps it in bench/RESULTS.md, one of `drive` alone its section there, and one of all the others theirs.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { fileURLToPath } from "node:url";
import { DRIVE_NOTE, driveRows } from "./drive.ts";
import { historyRows } from "./history.ts";
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
  history: historyRows,
  drive: driveRows,
};

const asked = process.argv.slice(2);
const unknown = asked.filter((part) => !(part in parts));
if (unknown.length > 0) {
  process.stderr.write(`no such part: ${unknown.join(", ")}; there are ${Object.keys(parts).join(", ")}\n`);
  process.exit(2);
}
const drive = "drive";
const measured = new Map<string, Row[]>();
for (const [name, measure] of Object.entries(parts)) {
  if (asked.length > 0 && !asked.includes(name)) continue;
  process.stderr.write(`measuring ${name} …\n`);
  measured.set(name, await measure());
}
const machine = `${cpus().length} × ${cpus()[0]?.model.trim() ?? "?"}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, ${process.platform}, Node ${process.versions.node}`;
const section = (title: string, note: string, names: readonly string[]): string =>
  `${title}\n\n${new Date().toISOString().slice(0, 10)}, ${machine}. ${note}\n\n${table(names.flatMap((name) => measured.get(name) ?? []))}\n`;
const onDrive = "## Google Drive, on the emulator";
const file = fileURLToPath(new URL("RESULTS.md", import.meta.url));
const [before = "", after] = readFileSync(file, "utf8").split(`\n${onDrive}\n`);
const others = Object.keys(parts).filter((name) => name !== drive);
const here = others.every((name) => measured.has(name))
  ? section(
      "# Results of the last `npm run bench`",
      "All figures of one run; quote the ratios, not the times: they hold where the disk is slower too.",
      others,
    )
  : before;
const there = measured.has(drive)
  ? section(onDrive, DRIVE_NOTE, [drive])
  : after === undefined
    ? undefined
    : `${onDrive}\n${after}`;
process.stdout.write(`${table([...measured.values()].flat())}\n`);
if (others.every((name) => measured.has(name)) || (measured.size === 1 && measured.has(drive)))
  writeFileSync(file, there === undefined ? here : `${here}\n${there}`);

/** How many requests the mirror makes of Drive. */
import { join } from "node:path";
import { openMemory, type Memory } from "../src/index.ts";
import { inFolder, type Row } from "./measure.ts";
import { count, driveRoot, keyAt, type Counted, type Served } from "./drive-place.ts";

const FILES = 1000;
const FOLDERS = 20;
const CHANGED = 200;

function row(what: string, { total, kinds, own }: Counted, goal: string, met: boolean): Row {
  const apart = own && own.total > 0 ? `; apart, below .aftersave/: ${own.total} (${own.kinds})` : "";
  return { what, ours: `${total} requests`, beside: `${kinds || "none"}${apart}`, ratio: "", goal, met };
}

/** Requests of one flush each, with a good token, no pace of its own and eight uploads at once. */
export async function countRows(drive: Served): Promise<Row[]> {
  return inFolder(async (folder) => {
    const memory = await openMemory({ root: await driveRoot(join(folder, "root"), drive) });
    const flushed = async (of: Memory, save?: () => Promise<unknown>): Promise<Counted> => {
      await save?.();
      const before = await drive.tree();
      const { result, requests } = await drive.asked(() => of.flush());
      if (result.failed + result.pending > 0) throw new Error(`the flush left work behind: ${JSON.stringify(result)}`);
      return count(requests, before, await drive.tree());
    };
    try {
      const first = await flushed(memory, async () => {
        for (let n = 0; n < FILES; n++) await memory.append(keyAt(n, FOLDERS), `file ${n}\n`);
      });
      const folders = (await drive.tree()).filter((item) => item.folder && !item.path.includes("/.aftersave")).length;
      const { requests } = await drive.asked(() => memory.upload(`Data/${keyAt(1, FOLDERS)}`));
      const unchanged = count(requests, [], []);
      const one = await flushed(memory, () => memory.append(keyAt(2, FOLDERS), "more\n"));
      const many = await flushed(memory, async () => {
        for (let n = 0; n < CHANGED; n++) await memory.append(keyAt(n, FOLDERS), "changed\n");
      });
      const single = await flushed(memory, () => memory.append("Zone1/another.txt", "new\n"));
      const most = { first: FILES + folders + 10, many: Math.floor(CHANGED * 1.02 + 2) };
      const ahead = `${FILES} new files in ${folders} new folders, an empty Drive`;
      return [
        row("an unchanged file, asked for", unchanged, "0", unchanged.total === 0),
        row("one changed file", one, "1 write, ≤ 1 read", one.writes === 1 && one.reads <= 1),
        row("one new file in a known folder", single, "", true),
        row(`${CHANGED} changed files in a batch`, many, `≤ N × 1.02 + 2 = ${most.many}`, many.total <= most.many),
        row(ahead, first, `≤ N + folders + 10 = ${most.first}`, first.total <= most.first),
      ];
    } finally {
      await memory.close();
    }
  });
}

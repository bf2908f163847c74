/** What mirroring to Google Drive costs, on the emulator in a process of its own. */
import { countRows } from "./drive-counts.ts";
import { bigRows, loadingRows, saveRows } from "./drive-latency.ts";
import { serveDrive } from "./drive-place.ts";
import { bigFileRows, smallFilesRows } from "./drive-rclone.ts";
import type { Row } from "./measure.ts";
import { built } from "./processes.ts";

export async function driveRows(): Promise<Row[]> {
  built();
  const rows: Row[] = [];
  for (const measure of [countRows, saveRows, loadingRows, bigRows, bigFileRows, smallFilesRows]) {
    process.stderr.write(`  ${measure.name} …\n`);
    const drive = await serveDrive();
    try {
      rows.push(...(await measure(drive)));
    } finally {
      await drive.close();
    }
  }
  return rows;
}

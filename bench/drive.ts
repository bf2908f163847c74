/** What mirroring to Google Drive costs, on the emulator in a process of its own. */
import { countRows } from "./drive-counts.ts";
import { bigRows, loadingRows, saveRows } from "./drive-latency.ts";
import { serveDrive } from "./drive-place.ts";
import { bigFileRows, smallFilesRows } from "./drive-rclone.ts";
import type { Row } from "./measure.ts";
import { built } from "./processes.ts";

/** How it is measured, for who reads the results. */
export const DRIVE_NOTE =
  "The emulator, each client and rclone run in processes of their own; a latency is waited by the emulator before each answer. " +
  "rclone 1.60 and what is set beside it reach it over TLS through one CONNECT proxy, with the same token, files and concurrency. " +
  "Where ours goes straight, the row says why. What lies below `.aftersave/` (marker, writer, history) is counted apart from files and folders; " +
  "against rclone it counts.";

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

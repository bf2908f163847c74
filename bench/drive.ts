/** What mirroring to Google Drive costs, on the emulator in a process of its own. */
import type { Row } from "./measure.ts";
import { countRows } from "./drive-counts.ts";

export async function driveRows(): Promise<Row[]> {
  return [...(await countRows())];
}

/**
 * Removing a whole folder at once.
 * @module
 */
import { TargetError } from "../../core/errors.ts";
import type { DriverContext } from "../shared/driver.ts";
import { openDrive } from "./open.ts";

/** Two machines may have made the folder at the same moment: each removal shows the next one. */
const MOST = 5;

/** Removes the folder that the context's root names, with all that lies in it: for good, or into the trash where the account may not do that. */
export async function clearFolder(context: DriverContext): Promise<void> {
  const drive = await openDrive(context);
  try {
    const seen = new Set<string>();
    for (let count = 0; count < MOST; count++) {
      const id = await drive.folders.find("");
      if (id === undefined || seen.has(id)) return; // a search may still show what is gone
      seen.add(id);
      try {
        await drive.api.remove(id, undefined);
      } catch (error) {
        if (!(error instanceof TargetError) || error.code !== "E_TARGET_FORBIDDEN") throw error;
        await drive.api.trash(id);
      }
      await drive.folders.recheck(undefined);
    }
  } finally {
    await drive.close();
  }
}

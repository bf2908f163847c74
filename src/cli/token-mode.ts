/**
 * A sign-in that others on this machine can read is used, with a warning (CONTRACT section 1).
 * @module
 */
import { stat } from "node:fs/promises";
import type { Memory } from "../index.ts";
import type { Cli } from "./cli.ts";

/** Warns, once for the whole command, when the file that signs in to an enabled target can be read by others. */
export async function warnOfOpenToken({ config }: Memory, { out }: Cli): Promise<void> {
  const { driveToken: file, targets } = config;
  const used = targets.some(({ type, enabled, options }) => type === "gdrive" && enabled && options["auth"] !== "adc");
  if (!used || process.platform === "win32") return;
  const found = await stat(file).catch(() => undefined); // without one the upload itself says so
  if (!found || (found.mode & 0o077) === 0) return;
  out.warn(
    `${file} can be read by others on this machine (mode ${(found.mode & 0o777).toString(8)}), and whoever reads it can use the account; run \`chmod 600 ${file}\``,
  );
}

/**
 * Rewriting what a log says, for an erasure: the only time that a line which was written is changed.
 * @module
 */
import { open, readdir, realpath, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { asAftersaveError, errnoOf, saidOf } from "../core/errors.ts";
import { fsyncFolder, logFault, openLog } from "./files.ts";
import { linesForward } from "./lines.ts";
import { withCourtesy } from "./lock.ts";
import { inOrder } from "./rotated.ts";

/** A log's own file, its rotated ones, and what was set aside beside it; those that are there. */
export async function filesOfLog(path: string): Promise<{ own: string; others: string[] }> {
  const own = await realpath(path).catch(() => path); // a link stays one
  const names = await readdir(dirname(own)).catch((error: unknown) => {
    if (errnoOf(error) === "ENOENT") return [];
    throw asAftersaveError(error, `looking for the files of ${path}`);
  });
  const beside = names.filter((name) => name.startsWith(`${basename(own)}.`) && !name.endsWith(".lock"));
  const rotated = inOrder(own, beside);
  const rest = beside.map((name) => join(dirname(own), name)).filter((name) => !rotated.includes(name));
  return { own, others: [...rotated, ...rest] };
}

/**
 * Writes each line of a file as `change` makes it, in place of the file and durably; false when nothing changed or there is no
 * file. A line that is too long to be looked at is left out: it is none of ours. The caller holds the claim on the log.
 */
export async function rewriteLines(path: string, change: (line: string) => string): Promise<boolean> {
  const file = await openLog(path, "r");
  if (file === undefined) return false;
  const temporary = `${path}.erase`;
  try {
    return await withCourtesy(path, async () => {
      await rm(temporary, { force: true });
      const made = await open(temporary, "wx", (await stat(path)).mode & 0o777);
      let changed = false;
      try {
        for await (const batch of linesForward(file)) {
          let text = "";
          for (const { bytes, whole } of batch) {
            const line = bytes?.toString("utf8");
            const now = line === undefined ? "" : change(line);
            changed ||= line !== now;
            if (now !== "" || line === "") text += whole ? `${now}\n` : now;
          }
          if (text !== "") await made.writeFile(text);
        }
        if (changed) await made.sync();
      } finally {
        await made.close();
      }
      if (changed) await rename(temporary, path);
      else await rm(temporary);
      await fsyncFolder(dirname(path));
      return changed;
    });
  } catch (error) {
    await rm(temporary, { force: true });
    throw logFault(saidOf(error, temporary, path), `rewriting the log ${path}`, path);
  } finally {
    await file.close();
  }
}

/** Leaves out the lines of a log that say one of these names. */
export async function dropLines(path: string, names: ReadonlySet<string>): Promise<void> {
  if (names.size === 0) return;
  const said = [...names].map((name) => JSON.stringify(name));
  const { own, others } = await filesOfLog(path);
  for (const file of [...others, own]) await rewriteLines(file, (line) => (said.some((name) => line.includes(name)) ? "" : line));
}

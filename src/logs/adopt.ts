/**
 * A log that was there before us. What can be continued is left as it is; what cannot is moved beside, never damaged.
 * @module
 */
import type { FileHandle } from "node:fs/promises";
import { counted, logFault, moveAside, openLog } from "./files.ts";
import { linesForward } from "./lines.ts";

/** `lines`: JSON Lines, ours or the original's. `scaffold`: no entry yet. `document`: one JSON value, e.g. an array of entries. */
export type Found = "nothing" | "lines" | "scaffold" | "document" | "other";

export interface Adopted {
  readonly found: Found;
  /** Where the old file is now; null when it was left as it is and is continued. */
  readonly moved: string | null;
}

/** Above this a file is judged by its beginning and its lines only, not read as one JSON document. */
const DOCUMENT = 16 * 1024 * 1024;

/**
 * Makes `path` a place where JSON Lines can be appended. Anything else that is there is renamed to
 * `<path>.before-aftersave` (`…_2`, when that exists). A folder is refused with `E_LOG_PLACE`. Safe to repeat.
 */
export async function adopt(path: string): Promise<Adopted> {
  const file = await openLog(path, "r");
  if (file === undefined) return { found: "nothing", moved: null };
  let found: Found;
  try {
    found = await judge(file);
  } catch (error) {
    throw logFault(error, `reading the log ${path}`, path);
  } finally {
    await file.close();
  }
  const goesOn = found === "nothing" || found === "lines";
  return { found, moved: goesOn ? null : await moveAside(path, counted(`${path}.before-aftersave`)) };
}

async function judge(file: FileHandle): Promise<Found> {
  const { size } = await file.stat();
  if (size === 0) return "nothing";
  if (size <= DOCUMENT) {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size), 0, size, 0);
    const text = buffer
      .toString("utf8", 0, bytesRead)
      .replace(/^\uFEFF/, "")
      .trim();
    if (text === "" || text === "[]" || text === "{}") return "scaffold";
    const value = json(text);
    if (value !== undefined) return isObject(value) && !text.includes("\n") ? "lines" : "document";
  }
  let first = true;
  for await (const batch of linesForward(file))
    for (const { bytes } of batch) {
      const text =
        bytes
          ?.toString("utf8")
          .replace(/^\uFEFF/, "")
          .trim() ?? "";
      // A torn or foreign line among them does not make it less of a log, but a list cut short has objects on lines, too.
      if (first && /^(\[\s*($|[[{"])|\{$)/.test(text)) return "document";
      if (text !== "") first = false;
      if (isObject(json(text))) return "lines";
    }
  return "other";
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const isObject = (value: unknown) => typeof value === "object" && value !== null && !Array.isArray(value);

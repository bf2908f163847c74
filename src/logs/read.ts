/**
 * Reading logs: as a stream, from the end, and as they grow. Every line is accounted for: it is yielded or reported as
 * bad, and what a bad line says is never told.
 * @module
 */
import { isUtf8 } from "node:buffer";
import { watch, type FSWatcher } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { logFault, openLog, standing } from "./files.ts";
import { linesBackward, linesForward, type RawLine } from "./lines.ts";
import { rotatedFiles } from "./rotated.ts";

/** Why a line was not yielded. */
export type Why = "blank" | "not JSON" | "not an object" | "not UTF-8" | "too long" | "torn";

/** A log line as anyone may have written it. */
export type LogValue = Readonly<Record<string, unknown>>;

export interface LogLine {
  /** The file that it stands in: the log itself, or a rotated one. */
  readonly path: string;
  /** Where it begins, in bytes. */
  readonly offset: number;
  readonly value: LogValue;
}

export interface NumberedLine extends LogLine {
  /** 1, 2, 3 … from the beginning of its file, or from `from`. */
  readonly line: number;
  /** With `withText`: as it stands there, without its end; `value` does not tell of a key that stands in it twice. */
  readonly text?: string;
}

/** A line that was not yielded, by its number in the file (or from `from`). Never what it says. */
export interface BadLine {
  readonly path: string;
  readonly line: number;
  readonly why: Why;
}

export interface ReadOptions {
  /** Offset of the line to begin with, in the log itself. */
  readonly from?: number | undefined;
  /** Read the rotated files first, oldest first. */
  readonly withRotated?: boolean | undefined;
  readonly withText?: boolean | undefined;
  readonly onBad?: ((bad: BadLine) => void) | undefined;
}

const BOM = "\uFEFF";

/** The text of a line, or why it has none. */
function textOf({ bytes, offset }: RawLine): { text: string } | { why: Why } {
  if (bytes === null) return { why: "too long" };
  if (!isUtf8(bytes)) return { why: "not UTF-8" };
  const text = bytes.toString("utf8");
  const bare = offset === 0 && text.startsWith(BOM) ? text.slice(1) : text;
  return /^[ \t\r]*$/.test(bare) ? { why: "blank" } : { text: bare };
}

const isValue = (value: unknown): value is LogValue => typeof value === "object" && value !== null && !Array.isArray(value);

function valueOf(line: RawLine): { value: LogValue } | { why: Why } {
  const read = textOf(line);
  if ("why" in read) return read;
  try {
    const value: unknown = JSON.parse(read.text);
    return isValue(value) ? { value } : { why: "not an object" };
  } catch {
    return { why: line.whole ? "not JSON" : "torn" };
  }
}

/** Every line of a log, oldest first, in constant memory. A log that does not exist has none. */
export async function* readLog(path: string, options: ReadOptions = {}): AsyncGenerator<NumberedLine> {
  const rotated = options.withRotated === true ? await rotatedFiles(path) : [];
  for (const file of rotated) yield* readFile(file, 0, options);
  yield* readFile(path, options.from ?? 0, options);
}

/**
 * ndjson drops what it cannot parse and ends at `null`. So each line travels in an envelope, `[number, offset, why, line]`:
 * a gap in the numbers is a line that is not JSON, and more than four parts is one that only looks like JSON inside it.
 */
async function* readFile(path: string, from: number, { onBad, withText }: ReadOptions): AsyncGenerator<NumberedLine> {
  const file = await openLog(path, "r");
  if (file === undefined) return;
  const { parse } = (await import("ndjson")).default;
  const rows = parse({ strict: false });
  const sent = { lines: 0, unended: false, texts: withText === true ? new Map<number, string>() : undefined };
  const fed = pipeline(Readable.from(envelopes(file, from, sent)), rows).catch((error: unknown) => rows.destroy(error as Error));
  let line = 0;
  const bad = (why: Why) => onBad?.({ path, line, why });
  const missed = (until: number) => {
    for (line += 1; line < until; line += 1) {
      sent.texts?.delete(line);
      bad(sent.unended && line === sent.lines ? "torn" : "not JSON");
    }
  };
  try {
    for await (const row of rows as AsyncIterable<unknown>) {
      const [number, offset, why, value, ...more] = row as [number, number, Why | 0, unknown, ...unknown[]];
      missed(number);
      const text = sent.texts?.get(number);
      sent.texts?.delete(number);
      if (why !== 0) bad(why);
      else if (more.length > 0) bad("not JSON");
      else if (!isValue(value)) bad("not an object");
      else yield { path, line, offset, value, ...(text !== undefined && { text }) };
    }
    missed(sent.lines + 1);
  } catch (error) {
    throw logFault(error, `reading the log ${path}`, path);
  } finally {
    rows.destroy();
    await fed;
    await file.close();
  }
}

interface Sent {
  lines: number;
  unended: boolean;
  /** By number, those that were not yielded yet; undefined: nobody asks. */
  readonly texts: Map<number, string> | undefined;
}

/** The filter in front of ndjson: one chunk of envelopes for each block of the file. `sent` is right when it ends. */
async function* envelopes(file: FileHandle, from: number, sent: Sent): AsyncGenerator<string> {
  for await (const batch of linesForward(file, from)) {
    let chunk = "";
    for (const line of batch) {
      sent.lines += 1;
      sent.unended = !line.whole;
      const read = textOf(line);
      if ("text" in read) sent.texts?.set(sent.lines, read.text.replace(/\r$/, ""));
      const rest = "why" in read ? `${JSON.stringify(read.why)},0` : `0,${read.text}`;
      chunk += `[${sent.lines},${line.offset},${rest}]\n`;
    }
    if (chunk !== "") yield chunk;
  }
}

export interface TailOptions {
  readonly where?: ((value: LogValue) => boolean) | undefined;
  /** Go on in the rotated files when the log itself has fewer. */
  readonly withRotated?: boolean | undefined;
  /** Called for each line that was passed over. */
  readonly onBad?: ((bad: { readonly path: string; readonly why: Why }) => void) | undefined;
}

/** The last `n` lines (that `where` accepts), oldest first. Reads backwards, no further than needed. */
export async function tailLog(path: string, n: number, options: TailOptions = {}): Promise<LogLine[]> {
  const found: LogLine[] = [];
  const rotated = options.withRotated === true ? await rotatedFiles(path) : [];
  for (const at of [...rotated, path].toReversed()) {
    const file = found.length < n ? await openLog(at, "r") : undefined;
    if (file === undefined) continue;
    try {
      for await (const line of linesBackward(file, (await standing(file)).size)) {
        const read = valueOf(line);
        if ("why" in read) options.onBad?.({ path: at, why: read.why });
        else if (options.where?.(read.value) !== false) found.push({ path: at, offset: line.offset, value: read.value });
        if (found.length >= n) break;
      }
    } catch (error) {
      throw logFault(error, `reading the log ${at}`, at);
    } finally {
      await file.close();
    }
  }
  return found.toReversed();
}

export interface FollowOptions {
  /** Offset to begin at; left out, the end of the log as it is when the first line is asked for. */
  readonly from?: number | undefined;
  /** How often to look when the system does not tell of changes. */
  readonly everyMs?: number | undefined;
  readonly onBad?: ((bad: { readonly path: string; readonly why: Why }) => void) | undefined;
}

/**
 * New lines as they are appended, until `signal` aborts. Goes on through rotation and when the log is made anew; a log
 * that was cut shorter is read from its beginning. A last line without its newline waits until it has one.
 */
export async function* followLog(path: string, signal: AbortSignal, options: FollowOptions = {}): AsyncGenerator<LogLine> {
  let file = await openLog(path, "r");
  let position = options.from ?? (await standing(file)).size;
  const changes = changesOf(path, options.everyMs ?? 1000, signal);
  try {
    while (!signal.aborted) {
      file ??= await openLog(path, "r");
      const { size, ino } = await standing(file);
      if (size < position) position = 0;
      if (file !== undefined)
        for await (const batch of linesForward(file, position))
          for (const line of batch) {
            if (!line.whole) continue;
            position = line.next;
            const read = valueOf(line);
            if ("why" in read) options.onBad?.({ path, why: read.why });
            else yield { path, offset: line.offset, value: read.value };
            if (signal.aborted) return;
          }
      const now = await openLog(path, "r");
      const renewed = now !== undefined && (await standing(now)).ino !== ino;
      if (renewed && (await standing(file)).size <= Math.max(size, position)) {
        await file?.close();
        [file, position] = [now, 0];
        continue;
      }
      await now?.close();
      if (!renewed) await changes.next();
    }
  } catch (error) {
    throw logFault(error, `following the log ${path}`, path);
  } finally {
    changes.close();
    await file?.close();
  }
}

/** Tells that something may have changed: the folder is watched, and looked at now and then where that does not work. */
function changesOf(path: string, everyMs: number, signal: AbortSignal) {
  let changed = false;
  let wake = () => {};
  const tell = () => {
    changed = true;
    wake();
  };
  let watcher: FSWatcher | undefined;
  const begin = () => {
    try {
      watcher ??= watch(dirname(path), (_event, name) => {
        if (name === null || name === basename(path)) tell();
      }).on("error", stop);
    } catch {
      // No folder yet, or no watches left: looking now and then is enough.
    }
  };
  const stop = () => {
    watcher?.close();
    watcher = undefined;
  };
  signal.addEventListener("abort", tell, { once: true });
  begin();
  return {
    async next(): Promise<void> {
      if (!changed && !signal.aborted) {
        let timer: NodeJS.Timeout | undefined;
        await new Promise<void>((resolve) => {
          wake = resolve;
          timer = setTimeout(resolve, everyMs);
        });
        clearTimeout(timer);
      }
      changed = false;
      begin();
    },
    close(): void {
      signal.removeEventListener("abort", tell);
      stop();
    },
  };
}

export interface Filter {
  /** Key of the memory file. */
  readonly file?: string | undefined;
  readonly status?: string | undefined;
  readonly chat?: string | undefined;
  /** Lines of that time and later. */
  readonly since?: Date | undefined;
}

/** Whether a line passes all parts of the filter that are given. A line without a readable time never passes `since`. */
export function matchesLine(value: LogValue, { file, status, chat, since }: Filter): boolean {
  return (
    (file === undefined || value["file"] === file) &&
    (status === undefined || value["status"] === status) &&
    (chat === undefined || value["chat_name"] === chat) &&
    (since === undefined || Date.parse(String(value["timestamp"])) >= since.getTime())
  );
}

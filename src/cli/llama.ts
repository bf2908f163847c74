/**
 * `llama_output_path` as a list of events: a JSON array, one JSON object, or JSON Lines. What was taken from it is
 * remembered, so that a file that has grown gives only its new events.
 * @module
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { z } from "zod";
import { AftersaveError, asAftersaveError, type Memory } from "../index.ts";
import { linesOf } from "./lines.ts";

/** One event as text; not yet known to be JSON when it comes from a line. */
export interface Raw {
  /** Its line, or its place in the array; from 1. */
  readonly line: number;
  readonly text: string;
  readonly fault?: AftersaveError;
}

/** The events of the file. A last line that is not finished is left for the next time. */
export async function readEvents(path: string): Promise<Raw[]> {
  const bytes = await readFile(path).catch((error: unknown) => {
    const known = asAftersaveError(error, `reading llama_output_path ${path}`);
    if (known.code !== "E_NOT_FOUND") throw known;
    throw new AftersaveError("E_NOT_FOUND", `there is no ${path}, which paths.json names as llama_output_path`, {
      hint: "Let the LLaMA write its events there first, or correct llama_output_path; events on stdin need no --llama.",
      cause: error,
    });
  });
  const whole = wholeOf(bytes);
  if (whole !== undefined)
    return (Array.isArray(whole) ? whole : [whole]).map((value, at) => ({ line: at + 1, text: JSON.stringify(value) }));
  const lines: Raw[] = [];
  for await (const line of linesOf(pieces(bytes))) lines.push(line);
  const last = lines.at(-1);
  if (last && bytes.at(-1) !== 0x0a && !isJson(last.text)) lines.pop();
  if (bytes.length > 0 && !lines.some(({ text }) => isJson(text)))
    throw new AftersaveError("E_INGEST", `${path} is neither a JSON array, nor a JSON object, nor JSON Lines`, {
      hint: "Was it cut off? Nothing was taken from it.",
    });
  return lines;
}

async function* pieces(bytes: Buffer) {
  yield bytes;
}

function wholeOf(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8").replace(/^\uFEFF/, ""));
  } catch {
    return undefined;
  }
}

const isJson = (text: string) => {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
};

const Taken = z.object({ count: z.number(), failed: z.array(z.number()), sha256: z.string() });
type Taken = z.infer<typeof Taken>;

const NAME = "llama_taken";

/** A sha256 over the first `count` events, without those that failed: they may be corrected in place. */
function prefixOf(events: readonly Raw[], count: number, failed: readonly number[]): string {
  const state = createHash("sha256");
  for (const [at, { text }] of events.slice(0, count).entries()) state.update(failed.includes(at) ? "-\n" : `${text}\n`);
  return state.digest("hex");
}

export interface Left {
  /** Places of the events to take, in order. */
  readonly places: readonly number[];
  /** Events that were taken before. */
  readonly before: number;
  /** Whether the file is not the one that events were taken from before. */
  readonly another: boolean;
  /** Remembers what became of the event at `place`. */
  done(place: number, ok: boolean): void;
  /** Makes it last; called after each event, it is all that a crash can repeat. */
  keep(): Promise<void>;
}

/** What of `events` is still to be taken. */
export async function leftOf(memory: Pick<Memory, "getMeta" | "setMeta">, events: readonly Raw[]): Promise<Left> {
  const kept = await memory.getMeta(NAME);
  const known: Taken | undefined = kept === undefined ? undefined : Taken.parse(JSON.parse(kept));
  const grown = known && known.count <= events.length && prefixOf(events, known.count, known.failed) === known.sha256;
  const before = grown ? known.count - known.failed.length : 0;
  const failed = new Set(grown ? known.failed : []);
  let count = grown ? known.count : 0;
  const places = [...failed].toSorted((a, b) => a - b);
  for (let at = count; at < events.length; at++) places.push(at);
  return {
    places,
    before,
    another: known !== undefined && known.count > 0 && !grown,
    done(place, ok) {
      if (ok) failed.delete(place);
      else failed.add(place);
      count = Math.max(count, place + 1);
    },
    async keep() {
      const all = [...failed];
      await memory.setMeta(NAME, JSON.stringify({ count, failed: all, sha256: prefixOf(events, count, all) } satisfies Taken));
    },
  };
}

/**
 * Save events as programs write them: one JSON object each.
 * @module
 */
import { existsSync } from "node:fs";
import { z } from "zod";
import { AftersaveError, ORIGINS, type Memory, type Meta, type Receipt } from "../index.ts";
import { pathOf } from "./cli.ts";

/** JSON can hold half a character (a lone surrogate), which no UTF-8 file can; it would be saved as another one in silence. */
const unicode = z.string().refine((value) => value.isWellFormed(), { error: "not valid Unicode: half of a surrogate pair" });
const text = unicode.nullish();

const Event = z.looseObject({
  op: z.enum(["append", "replace", "archive"]).nullish(),
  file: unicode,
  content: unicode.optional(),
  content_base64: z.base64().optional(),
  chat_name: text,
  tags: z.array(unicode).nullish(),
  context_tags: z.array(unicode).nullish(),
  model: text,
  session_id: text,
  tool: text,
  reason: text,
  origin: z.enum(ORIGINS).nullish(),
  if_sha256: z
    .union([z.literal("absent"), z.string().regex(/^[0-9a-fA-F]{64}$/)], { error: 'expected 64 hex digits, "absent" or null' })
    .nullish(),
  id: z.union([z.string(), z.number()]).optional(),
});
type Event = z.infer<typeof Event>;

const known = new Set(Object.keys(Event.shape));

const refuse = (message: string, hint: string, cause?: unknown) => new AftersaveError("E_INGEST", message, { hint, cause });

/** The event in `value`, and its fields that nobody knows. Throws `E_INGEST`. */
function eventOf(value: unknown): { event: Event; unknown: string[] } {
  const parsed = Event.safeParse(value);
  if (!parsed.success) {
    const problems = parsed.error.issues.map(
      ({ path, message }) => `${path.join(".") || "the line"}: ${message.replace(/^Invalid \w+: /, "")}`,
    );
    throw refuse(`this is no save event: ${problems.join("; ")}`, "docs/cli-json.md shows what an event looks like.");
  }
  const event = parsed.data;
  const unknown = Object.keys(event).filter((name) => !known.has(name));
  const given = [event.content, event.content_base64].filter((content) => content !== undefined).length;
  if (given === 2) throw refuse("the event has content twice", 'Give "content" or "content_base64", not both.');
  if (given === 1 && event.op === "archive") throw refuse("an archive has no content", 'Leave "content" out, or use "replace".');
  if (given === 1 && !event.op) throw refuse('an event with content needs an "op"', 'Use "append" or "replace".');
  if (given === 0 && unknown.length > 0)
    throw refuse(
      `the event has no "content", and the unknown field ${unknown.map((name) => JSON.stringify(name)).join(", ")}`,
      'Is it meant to be "content"? Without content and unknown fields it is a post-save hook.',
    );
  return { event, unknown };
}

/** The JSON value of a line. Throws `E_INGEST` without saying what the line says. */
export function parseLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw refuse("the line is not JSON", "Write one JSON object a line, with line ends inside text as \\n.");
  }
}

/** What the caller called the event, to find the reply again. */
export function idOf(value: unknown): { id?: string | number } {
  const id = typeof value === "object" && value !== null && "id" in value ? value.id : undefined;
  return typeof id === "string" || typeof id === "number" ? { id } : {};
}

const metaOf = ({ chat_name, context_tags, tags, model, session_id, tool, reason, origin }: Event): Meta => ({
  chat_name: chat_name ?? undefined,
  context_tags: context_tags ?? tags ?? undefined,
  model: model ?? undefined,
  session_id: session_id ?? undefined,
  tool: tool ?? undefined,
  reason: reason ?? undefined,
  origin: origin ?? undefined,
});

/** Takes one event: a save when it has content or archives a file that is there, else the post-save hook. */
export async function take(memory: Memory, value: unknown): Promise<Receipt> {
  const { event, unknown } = eventOf(value);
  const path = pathOf(memory, event.file);
  const meta = metaOf(event);
  const { op, content, content_base64, if_sha256 } = event;
  const options = if_sha256 === undefined ? {} : { if_sha256: if_sha256 === "absent" ? null : if_sha256 };
  const body = content ?? (content_base64 === undefined ? undefined : Buffer.from(content_base64, "base64"));
  const save = async (): Promise<Receipt> => {
    if (op === "archive" && existsSync(path)) return memory.archive(path, meta, options);
    if (op && op !== "archive" && body !== undefined) return memory[op](path, body, meta, options);
    return memory.saved(path, { ...meta, op: op ?? undefined });
  };
  const receipt = await save();
  const ignored = unknown.map((name) => `the unknown field ${JSON.stringify(name)} was ignored`);
  return { ...receipt, warnings: [...receipt.warnings, ...ignored] };
}

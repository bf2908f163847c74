/**
 * Bodies: multipart/related, and the sessions of resumable uploads.
 * @module
 */
import type { Principal } from "./access.ts";
import { type Content, contentOf, createIntake, type Intake } from "./content.ts";
import { ApiError, invalid, type Json, notFound } from "./errors.ts";
import type { Circumstances, Patch } from "./files.ts";

/** Chunks come in multiples of it, and what a broken connection leaves behind is cut down to one. */
export const QUANTUM = 256 * 1024;
const WEEK_MS = 7 * 24 * 3600 * 1000;

export type Body = AsyncIterable<Buffer>;

export async function collect(body: Body): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
}

/** Reads to the end, so that the connection can be used again. */
export async function drain(body: Body): Promise<void> {
  for await (const _ of body);
}

export function parseJson(bytes: Buffer): Json {
  const text = bytes.toString("utf8");
  if (text.trim() === "") return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ApiError(400, "parseError", "Parse Error");
  }
  if (value === null) return {}; // how Go clients say that they have nothing to say
  if (typeof value !== "object" || Array.isArray(value)) throw new ApiError(400, "parseError", "Parse Error");
  return value as Json;
}

export interface Part {
  readonly headers: ReadonlyMap<string, string>;
  readonly bytes: Buffer;
}

/** The parts of a multipart body, whether its lines end in CRLF or in LF, byte for byte. */
export function parseMultipart(bytes: Buffer, contentType: string): Part[] {
  const boundary = /boundary=(?:"([^"]+)"|([^;\s]+))/i.exec(contentType);
  const mark = `--${boundary?.[1] ?? boundary?.[2] ?? ""}`;
  const malformed = () => new ApiError(400, "badContent", "Malformed multipart body.");
  if (boundary === null) throw malformed();
  const first = bytes.indexOf(mark);
  if (first < 0) throw malformed();
  const crlf = bytes.subarray(first + mark.length, first + mark.length + 2).toString("latin1") === "\r\n";
  const eol = crlf ? "\r\n" : "\n";
  const parts: Part[] = [];
  let at = first + mark.length + eol.length;
  for (;;) {
    const end = bytes.indexOf(`${eol}${mark}`, at - eol.length);
    if (end < 0) throw malformed();
    // A part without headers begins with the empty line itself.
    const bare = bytes.subarray(at, at + eol.length).toString("latin1") === eol;
    const gap = bare ? at : bytes.indexOf(eol + eol, at);
    if (gap < 0 || gap > end) throw malformed();
    // Long headers come folded over several lines.
    const head = bare
      ? ""
      : bytes
          .subarray(at, gap)
          .toString("latin1")
          .replace(/\r?\n(?=[ \t])/g, "");
    const headers = new Map(
      head.split(eol).map((line): [string, string] => {
        const colon = line.indexOf(":");
        return [line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()];
      }),
    );
    const start = gap + (bare ? eol.length : 2 * eol.length);
    let part = bytes.subarray(start, Math.max(start, end));
    if (headers.get("content-transfer-encoding")?.toLowerCase() === "base64")
      part = Buffer.from(part.toString("latin1"), "base64");
    parts.push({ headers, bytes: part });
    const after = end + eol.length + mark.length;
    if (bytes.subarray(after, after + 2).toString("latin1") === "--") return parts;
    at = after + eol.length;
  }
}

/** What an upload request brought. */
export interface Upload {
  readonly meta: Json;
  readonly content: Content | undefined;
  readonly contentType: string | undefined;
}

export async function readMedia(body: Body, contentType: string | undefined): Promise<Upload> {
  const intake = createIntake();
  for await (const chunk of body) intake.write(chunk);
  return { meta: {}, content: intake.done(), contentType };
}

export async function readMultipart(body: Body, contentType: string): Promise<Upload> {
  const [meta, media, ...others] = parseMultipart(await collect(body), contentType);
  if (meta === undefined || media === undefined || others.length > 0)
    throw new ApiError(400, "badContent", "Malformed multipart body.");
  return { meta: parseJson(meta.bytes), content: contentOf(media.bytes), contentType: media.headers.get("content-type") };
}

export interface Session {
  readonly id: string;
  readonly principal: Principal;
  readonly version: 2 | 3;
  /** Undefined: a new file. */
  readonly fileId: string | undefined;
  readonly patch: Patch;
  readonly how: Circumstances;
  readonly query: URLSearchParams;
  readonly contentType: string | undefined;
  readonly opened: number;
  /** What the end was answered. */
  result: { readonly status: number; readonly json: unknown; readonly headers: Readonly<Record<string, string>> } | undefined;
}

interface Held {
  readonly session: Session;
  intake: Intake;
  content: Content | undefined;
  /** Counts requests: bytes of one that a later one has overtaken are dropped. */
  writer: number;
}

export type Sessions = ReturnType<typeof createSessions>;

export interface Received {
  readonly session: Session;
  /** All of it, once it is there. */
  readonly content: Content | undefined;
  readonly stored: number;
}

export function createSessions(settings: { readonly now: () => number; readonly token: (length: number) => string }) {
  const sessions = new Map<string, Held>();

  function find(id: string): Held {
    const held = sessions.get(id);
    if (held !== undefined && settings.now() - held.session.opened < WEEK_MS) return held;
    sessions.delete(id);
    throw notFound(id);
  }

  function finish(held: Held): Received {
    held.content ??= held.intake.done();
    return { session: held.session, content: held.content, stored: held.content.size };
  }

  /** Takes what the budget allows and keeps whole quanta, plus the rest if this is the end of the file. */
  async function take(held: Held, body: Body, skip: number, budget: number, whole: (seen: number) => boolean): Promise<boolean> {
    const writer = ++held.writer;
    let rest: Buffer[] = [];
    let waiting = 0;
    let seen = 0;
    for await (const chunk of body) {
      if (held.writer !== writer) throw new ApiError(503, "backendError", "Another request writes to this session.");
      const from = Math.max(0, skip - seen);
      seen += chunk.length;
      const part = chunk.subarray(from, from + Math.max(0, budget));
      budget -= part.length;
      if (part.length === 0) continue;
      const full = Math.floor((waiting + part.length) / QUANTUM) * QUANTUM;
      if (full > 0) {
        for (const one of rest) held.intake.write(one);
        if (full > waiting) held.intake.write(part.subarray(0, full - waiting));
        const left = part.subarray(full - waiting);
        rest = left.length > 0 ? [left] : [];
        waiting = left.length;
      } else {
        rest.push(part);
        waiting += part.length;
      }
    }
    if (held.writer !== writer || budget <= 0 || !whole(seen)) return false;
    for (const one of rest) held.intake.write(one);
    return true;
  }

  return {
    open(session: Omit<Session, "id" | "opened" | "result">): string {
      const id = settings.token(64);
      const opened = { ...session, id, opened: settings.now(), result: undefined };
      sessions.set(id, { session: opened, intake: createIntake(), content: undefined, writer: 0 });
      return id;
    },
    find: (id: string): Session => find(id).session,
    drop: (id: string): void => void sessions.delete(id),
    forget: (): void => sessions.clear(),

    /** One request to a session: a chunk, the whole, or the question how much there is. `keep`: store at most so many bytes of it. */
    async receive(id: string, range: string | undefined, body: Body, keep = Infinity): Promise<Received> {
      const held = find(id);
      if (held.session.result !== undefined || held.content !== undefined) {
        await drain(body);
        return finish(held);
      }
      const incomplete = (): Received => ({ session: held.session, content: undefined, stored: held.intake.size });
      const match = /^bytes (?:(\d+)-(\d+)|\*)\/(\d+|\*)$/.exec(range?.trim() ?? "bytes 0-0/*");
      if (match === null) {
        await drain(body);
        throw invalid("Failed to parse Content-Range header.", "Content-Range");
      }
      const total = match[3] === "*" ? undefined : Number(match[3]);
      if (range !== undefined && match[1] === undefined) {
        held.writer++;
        await drain(body);
        return total === held.intake.size ? finish(held) : incomplete();
      }
      const start = range === undefined ? 0 : Number(match[1]);
      const length = range === undefined ? undefined : Number(match[2]) + 1 - start;
      const last = length === undefined || start + length === total;
      const bad =
        length !== undefined &&
        (length <= 0 || (total !== undefined && start + length > total) || (!last && length % QUANTUM !== 0));
      if (bad || start > held.intake.size) {
        await drain(body);
        throw invalid(
          "Invalid Content-Range: chunks follow each other and are multiples of 256 KiB, except the last.",
          "Content-Range",
        );
      }
      const budget = keep === Infinity ? Infinity : Math.floor(keep / QUANTUM) * QUANTUM;
      const all = await take(held, body, held.intake.size - start, budget, (seen) => {
        if (length !== undefined && seen !== length)
          throw invalid("The body's length is not what Content-Range says.", "Content-Range");
        return last;
      });
      return all ? finish(held) : incomplete();
    },
  };
}

/**
 * Sends a big body in pieces, so that what broke off goes on where Drive has it, also in another process.
 * @module
 */
import { createHash } from "node:crypto";
import { untilAborted } from "../../core/chunks.ts";
import type { Clock } from "../../core/clock.ts";
import { TargetError } from "../../core/errors.ts";
import type { Chunks, DriverMemory, Source } from "../../core/target.ts";
import type { DriveApi, DriveFile, Facts, Progress } from "./api.ts";

/** What the upload becomes: a file of that id, or the revision after `rev` of one, guarded by `etag`. */
export type What =
  { readonly create: string } | { readonly update: string; readonly etag: string | undefined; readonly rev: string | undefined };

export interface ResumableOptions {
  readonly api: DriveApi;
  readonly memory: DriverMemory;
  readonly clock: Pick<Clock, "now">;
  /** The key; its session is remembered under `session/<name>`. */
  readonly name: string;
  readonly what: What;
  /** The same for the same save: a session that was begun with others is not gone on with. */
  readonly facts: Facts;
  /** At least one byte. */
  readonly body: Source;
  /** Called with the number of bytes that Drive has acknowledged; never goes back. */
  readonly onProgress?: ((sent: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** A multiple of 256 KiB. By default the first is of 16 MiB, the others of what goes in ten seconds. Costs no memory. */
  readonly chunkBytes?: number | undefined;
}

/** Drive keeps a broken chunk in steps of this. */
const STEP = 256 * 1024;
/** Before the speed is known. */
const FIRST = 16 * 1024 * 1024;
const LARGEST = 1024 * 1024 * 1024;
/** A chunk of this length makes little of the pause at its end, and still shows progress. */
const CHUNK_MS = 10_000;
/** The end of a body that is not sent before all of it has proven right. */
const HELD = 64 * 1024;
/** Drive forgets a session after a week. */
const OLDEST_MS = 6 * 24 * 3_600_000;
/** Breaks in a row, within one call, that brought less than a step forward. */
const MOST_BREAKS = 2;
/** Answers in a row that brought less than a step forward. */
const MOST_STALLS = 8;
/** Calls in a row, each a failure at Drive, that a session may live through without a step forward. */
const MOST_IDLE = 4;

interface Session {
  /** Whoever knows it can write to the file: it is in no error and no log. */
  readonly uri: string;
  readonly sha256: string;
  readonly size: number;
  readonly create?: string;
  readonly update?: string;
  readonly rev?: string;
  /** A digest of the facts that it was begun with. */
  readonly facts: string;
  readonly started: number;
  /** Calls in a row that failed at Drive without a step forward. */
  readonly idle: number;
}

function sessionFor({ what, facts, body, clock }: ResumableOptions, uri: string): Session {
  const { etag: _, ...aim } = { etag: undefined, ...what };
  const digest = createHash("sha256").update(JSON.stringify(facts)).digest("hex");
  return { uri, sha256: body.sha256, size: body.size, ...aim, facts: digest, started: clock.now(), idle: 0 };
}

function parseSession(text: string): Session | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && "uri" in value && typeof value.uri === "string"
      ? (value as Session)
      : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** A body that is read once, in order. */
interface Reading {
  /** Whether it can go on at `offset`. */
  reaches(offset: number): boolean;
  skipTo(offset: number): Promise<void>;
  /** The next `length` bytes. The body's last ones come only when all of it was what it says, else `corrupt` is thrown. */
  take(length: number): Chunks;
  /** What reading threw, so that it is not taken for a failure of Drive. */
  fault(): { readonly error: unknown } | undefined;
  close(): Promise<void>;
}

function readBody(body: Source, signal: AbortSignal | undefined): Reading {
  const chunks = untilAborted(body.open(), signal)[Symbol.asyncIterator]();
  const hash = createHash("sha256");
  let rest: Uint8Array = new Uint8Array();
  let at = 0;
  /** Bytes taken and not handed out yet. A request that broke off may still ask for them, so this reading then serves no other. */
  let left = 0;
  let fault: { error: unknown } | undefined;

  function fail(error: unknown): never {
    fault = { error };
    throw error;
  }
  const wrong = () => fail(new TargetError("corrupt", "the body's bytes are not what its size and sha256 say"));

  /** Whether more bytes come. */
  async function fill(): Promise<boolean> {
    while (rest.length === 0) {
      const item = await chunks.next().catch(fail);
      if (item.done === true) return false;
      rest = item.value;
    }
    return true;
  }

  async function next(most: number): Promise<Uint8Array> {
    if (!(await fill())) wrong();
    const part = rest.subarray(0, most);
    rest = rest.subarray(part.length);
    at += part.length;
    hash.update(part);
    return part;
  }

  return {
    reaches: (offset) => left === 0 && at <= offset,
    async skipTo(offset) {
      while (at < offset) await next(offset - at);
    },
    async *take(length) {
      const held = at + length < body.size ? 0 : Math.min(HELD, length);
      let mine = (left = length);
      while (mine > held) {
        const part = await next(mine - held);
        left = mine -= part.length;
        yield part;
      }
      const end: Uint8Array[] = [];
      while (mine > 0) {
        const part = (await next(mine)).slice();
        mine -= part.length;
        end.push(part);
      }
      if (at === body.size && ((await fill()) || hash.digest("hex") !== body.sha256)) wrong();
      left = 0;
      yield* end;
    },
    fault: () => fault,
    async close() {
      // Nobody wants the rest any more, so what the body says about it is of no use. One that is being waited for closes after its wait.
      const closed = Promise.resolve(chunks.return?.()).then(undefined, () => undefined);
      if (left === 0) await closed;
    },
  };
}

/**
 * Uploads `body` and answers what Drive then holds; the caller compares its hash. A session that was begun for the same bytes,
 * aim and facts is gone on with, whoever began it and whenever, up to six days ago; any other one is dropped.
 *
 * A break is asked about and gone on from at once while it brought the upload forward; when it does not, `transient` is thrown and the
 * session kept. `throttled`, an abort and a body that throws keep it too. Every other failure drops it. Bytes that are not what `size` and
 * `sha256` say throw `corrupt` before the last of them is sent, so that nothing is committed.
 */
export async function uploadResumable(options: ResumableOptions): Promise<DriveFile> {
  const { api, memory, clock, body, signal, onProgress, chunkBytes = FIRST } = options;
  if (chunkBytes < STEP || chunkBytes % STEP !== 0)
    throw new RangeError(`expected chunkBytes to be a multiple of ${STEP}, got ${chunkBytes}`);
  signal?.throwIfAborted();
  const asked = { signal };
  const entry = `session/${options.name}`;
  let told = 0;
  let chunk = chunkBytes;
  let reading: Reading | undefined;

  function tell(sent: number): void {
    if (sent > told) onProgress?.((told = sent));
  }

  const keep = (session: Session) => memory.set(entry, JSON.stringify(session));

  async function drop({ uri }: Session): Promise<void> {
    await memory.delete(entry);
    // It ends by itself after a week, so a failure to end it now changes nothing.
    await api.dropSession(uri, asked).catch(() => signal?.throwIfAborted());
  }

  /** The remembered session, if it is of use; any other one is dropped. */
  async function remembered(): Promise<Session | undefined> {
    const text = await memory.get(entry);
    if (text === undefined) return undefined;
    const session = parseSession(text);
    if (session === undefined) return void (await memory.delete(entry));
    const wanted: Session = { ...sessionFor(options, session.uri), started: session.started, idle: session.idle };
    const same = JSON.stringify(wanted) === JSON.stringify(session);
    if (same && Math.abs(options.clock.now() - session.started) <= OLDEST_MS && session.idle < MOST_IDLE) return session;
    return void (await drop(session));
  }

  async function begin(): Promise<Session> {
    const session = sessionFor(options, await api.startSession(options.what, options.facts, body.size, asked));
    await keep(session);
    return session;
  }

  async function send(uri: string, offset: number): Promise<Progress> {
    if (reading?.reaches(offset) !== true) {
      await reading?.close();
      reading = readBody(body, signal);
    }
    await reading.skipTo(offset);
    const length = Math.min(chunk, body.size - offset);
    const start = clock.now();
    const progress = await api.sendChunk(uri, { offset, length, total: body.size, bytes: reading.take(length) }, asked);
    if (options.chunkBytes === undefined && "sent" in progress) pace(progress.sent - offset, clock.now() - start);
    return progress;
  }

  function pace(bytes: number, ms: number): void {
    const wanted = (bytes / Math.max(1, ms)) * CHUNK_MS;
    chunk = Math.max(FIRST, Math.min(LARGEST, Math.floor(wanted / STEP) * STEP));
  }

  async function finish(file: DriveFile): Promise<DriveFile> {
    await memory.delete(entry);
    if (file.size !== body.size)
      throw new TargetError(
        "corrupt",
        `Drive holds ${file.size ?? "an unknown number of"} bytes of the ${body.size} that were sent`,
      );
    tell(body.size);
    return file;
  }

  /** A failure of Drive that can pass: the session is kept, until it has brought too many calls nothing. */
  async function giveUp(session: Session, error: TargetError, moved: boolean): Promise<never> {
    const idle = moved ? 0 : session.idle + (error.code === "E_TARGET_UNREACHABLE" ? 0 : 1);
    if (idle !== session.idle) await keep({ ...session, idle });
    throw error;
  }

  async function upload(): Promise<DriveFile> {
    let session = await remembered();
    let renewed = false;
    /** Where the next chunk starts; undefined: Drive has to be asked. */
    let at: number | undefined;
    /** The furthest that Drive has acknowledged, in whole steps forward; undefined: not known yet. */
    let most: number | undefined;
    let moved = false;
    let stalls = 0;
    let breaks = 0;
    for (;;) {
      if (session === undefined) {
        session = await begin();
        at = most = 0;
      }
      let answer: Progress;
      try {
        const known = at !== undefined && at < body.size ? at : undefined;
        answer = await (known === undefined ? api.askSession(session.uri, body.size, asked) : send(session.uri, known));
      } catch (error) {
        signal?.throwIfAborted();
        const fault = reading?.fault();
        const cause = fault === undefined ? error : fault.error;
        const kind = cause instanceof TargetError ? cause.kind : undefined;
        if (kind === "corrupt" || (fault === undefined && kind !== "throttled" && kind !== "transient")) await drop(session);
        if (fault !== undefined || kind !== "transient") throw cause;
        if (++breaks > MOST_BREAKS) return giveUp(session, cause as TargetError, moved);
        at = undefined;
        continue;
      }
      if ("done" in answer) return finish(answer.done);
      if ("gone" in answer) {
        await memory.delete(entry);
        if (renewed) throw new TargetError("transient", "Google Drive forgot the upload twice");
        session = undefined;
        renewed = true;
        continue;
      }
      at = answer.sent;
      tell(at);
      if (most === undefined) most = at;
      else if (at >= most + STEP) {
        most = at;
        stalls = breaks = 0;
        moved = true;
      } else if (++stalls >= MOST_STALLS) {
        await drop(session);
        throw new TargetError(
          "transient",
          "Google Drive stopped taking bytes of this upload half-way; the next try starts it anew",
          {
            hint: "Check the network and its proxy; if it goes on, look at google.com/appsstatus. `aftersave flush` tries now.",
          },
        );
      }
    }
  }

  try {
    return await upload();
  } finally {
    await reading?.close();
  }
}

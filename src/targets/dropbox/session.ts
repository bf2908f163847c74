/**
 * Sends a big body through an upload session, so that what broke off goes on behind the last part that Dropbox has, also in
 * another process. Dropbox keeps a session for seven days and has no way to end one sooner.
 * @module
 */
import { createHash } from "node:crypto";
import { untilAborted } from "../../core/chunks.ts";
import type { Clock } from "../../core/clock.ts";
import { digestOf } from "../../core/digest.ts";
import { TargetError } from "../../core/errors.ts";
import type { Call, DriverMemory, Source } from "../../core/target.ts";
import { hasTag, stranger } from "./faults.ts";
import type { Json } from "./http.ts";

const KEPT_MS = 6 * 24 * 3_600_000;

/** How many bytes of the body Dropbox has, and their sha256. */
type Mark = readonly [bytes: number, sha256: string];

interface Session {
  readonly id: string;
  readonly sha256: string;
  readonly size: number;
  readonly started: number;
  /** What is acknowledged, and what was on its way. */
  readonly marks: readonly Mark[];
  /** The content hash of all of it, once the end was asked for; its answer may have been lost. */
  readonly ending?: string | undefined;
}

export interface Sending {
  readonly memory: DriverMemory;
  readonly clock: Pick<Clock, "now">;
  readonly key: string;
  readonly name: string;
  readonly doing: string;
  readonly body: Source;
  readonly partBytes: number;
  readonly call: Call;
  readonly onProgress?: ((sent: number) => void) | undefined;
  readonly ask: (route: string, arg: Json, bytes: Uint8Array) => Promise<Json>;
}

export const sessionName = (key: string) => `session/${key}`;

/** An upload of these bytes whose end was asked for without an answer: the content hash of the file, had it landed. */
export async function endingOf(memory: DriverMemory, key: string, body: Source): Promise<string | undefined> {
  const text = await memory.get(sessionName(key));
  const session = text === undefined ? undefined : (JSON.parse(text) as Session);
  return session?.sha256 === body.sha256 && session.size === body.size ? session.ending : undefined;
}

/** Bytes in parts of one length, the last one shorter. A part is the caller's until it asks for the next. `onWrong`: there are more or fewer than promised. */
async function* partsOf(
  body: Source,
  length: number,
  signal: AbortSignal | undefined,
  onWrong: () => Promise<void>,
): AsyncGenerator<Buffer> {
  const part = Buffer.allocUnsafe(Math.min(length, body.size));
  let [filled, size] = [0, 0];
  for await (const chunk of untilAborted(body.open(), signal)) {
    size += chunk.length;
    if (size > body.size) {
      await onWrong();
      throw wrong();
    }
    for (let at = 0; at < chunk.length;) {
      const piece = chunk.subarray(at, at + part.length - filled);
      part.set(piece, filled);
      filled += piece.length;
      at += piece.length;
      if (filled < part.length) continue;
      yield part;
      filled = 0;
    }
  }
  if (filled > 0) yield part.subarray(0, filled);
  if (size === body.size) return;
  await onWrong();
  throw wrong();
}

export const wrong = () => new TargetError("corrupt", "the body's bytes are not what its size and sha256 say");

const again = (doing: string) =>
  new TargetError("transient", `could not ${doing}: Dropbox lost what was sent of it before`, {
    hint: "Nothing to do: it is sent again from the start.",
  });

/**
 * Sends all bytes and has `commit` make the file of them, which is told the content hash that was computed here. A
 * `conflict` keeps the session: the bytes are not sent again.
 */
export async function sendInSession<T>(
  { memory, clock, key, name, doing, body, partBytes, call, onProgress, ask }: Sending,
  commit: (cursor: Json, content: string) => Promise<T>,
): Promise<T> {
  const at = sessionName(key);
  const text = await memory.get(at);
  let session = text === undefined ? undefined : (JSON.parse(text) as Session);
  const isOurs = session?.sha256 === body.sha256 && session.size === body.size && clock.now() - session.started < KEPT_MS;
  if (!session || !isOurs) {
    const { session_id: id } = await ask("upload_session/start", { close: false }, new Uint8Array());
    if (typeof id !== "string" || id === "") throw stranger(doing, name);
    session = { id, sha256: body.sha256, size: body.size, started: clock.now(), marks: [] };
    await memory.set(at, JSON.stringify(session));
  }
  const { id, marks } = session;
  const save = (more: Partial<Session>) => memory.set(at, JSON.stringify({ ...session, ...more }));
  const lost = async () => {
    await memory.delete(at);
    return again(doing);
  };

  const sums = new Map(marks);
  let there = marks[0]?.[0] ?? 0;
  let size = 0;
  const sha256 = createHash("sha256");
  const content = digestOf("dropbox");
  onProgress?.(there);
  const parts = partsOf(body, partBytes, call.signal, () => memory.delete(at));
  for await (const part of parts) {
    const before: Mark = [size, size === 0 ? "" : sha256.copy().digest("hex")];
    sha256.update(part);
    content?.update(part);
    size += part.length;
    const after: Mark = [size, sha256.copy().digest("hex")];
    // other bytes than those that were sent from here before
    if (sums.has(size) && sums.get(size) !== after[1]) throw await lost();
    if (size <= there) continue;
    await save({ marks: [before, after] });
    const hash = digestOf("dropbox");
    hash?.update(part);
    const arg = { cursor: { session_id: id, offset: before[0] }, close: false, content_hash: hash?.hex() };
    try {
      await ask("upload_session/append_v2", arg, part);
      there = size;
    } catch (error) {
      if (hasTag(error, "incorrect_offset")) {
        // an answer that was lost: Dropbox has this part, too
        there = Number(error.details["offset"] ?? -1);
        if (there !== size || !sums.has(there)) throw await lost();
      } else if (hasTag(error, "not_found") || hasTag(error, "closed")) throw await lost();
      else throw error;
    }
    onProgress?.(there);
  }
  const sum = sha256.digest("hex");
  if (sum !== body.sha256) {
    await memory.delete(at);
    throw wrong();
  }
  const hex = content?.hex() ?? "";
  await save({ marks: [[size, sum]], ending: hex });
  try {
    const answer = await commit({ session_id: id, offset: size }, hex);
    await memory.delete(at);
    return answer;
  } catch (error) {
    if (hasTag(error, "lookup_failed")) throw await lost();
    // a refusal was answered: nothing landed
    if (error instanceof TargetError && error.kind !== "transient") await save({ marks: [[size, sum]], ending: undefined });
    throw error;
  }
}

/**
 * Keeps writes at the speed that Drive bears: a token bucket whose rate gives way when Drive asks for it.
 * @module
 */
import type { Clock } from "../../core/clock.ts";
import { TargetError } from "../../core/errors.ts";
import type { Asked, DriveApi } from "./api.ts";

export interface PacerOptions {
  /** Writes per second in the long run; 3 by default, the most that Google recommends. `off`: no limit of its own. */
  readonly perSecond?: number | "off" | undefined;
  /** Writes that may start at once after a rest; 20 by default. */
  readonly burst?: number | undefined;
  readonly clock: Clock;
}

export interface Pacer {
  /**
   * Runs `work` when it is its turn, first come first served. A `throttled` that `work` throws slows the pacer down.
   * A wait ends with the signal's reason. While Drive has asked for more than a minute's pause, nothing waits: `write` throws
   * `throttled` with what is left of it, so that no slot is held and the queue knows when to come back.
   */
  write<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T>;
  /** Drive asked to slow down, elsewhere than in a `write`. */
  throttled(retryAfterMs?: number): void;
}

/** The rate does not fall below this, unless it was configured lower. */
const SLOWEST = 0.2;
/** A rate that fell to nothing would be back after so long. */
const RECOVERY_MS = 60_000;
const LONGEST_PAUSE_MS = 60_000;

/**
 * In any `t` seconds at most `burst + perSecond × t` writes start. A throttled answer empties the bucket, pauses for its
 * Retry-After and halves the rate, not below 0.2 per second; answers to writes that were under way together halve it
 * once. From the end of the pause on the rate grows by `perSecond / 60` each second until it is `perSecond` again. With `off`
 * only the pause remains.
 */
export function createPacer({ perSecond = 3, burst = 20, clock }: PacerOptions): Pacer {
  const full = perSecond === "off" ? Infinity : perSecond;
  const growth = full / RECOVERY_MS;
  if (!(full > 0)) throw new RangeError(`expected writes per second to be above 0, got ${perSecond}`);
  if (!(burst >= 1)) throw new RangeError(`expected the burst to be 1 or more, got ${burst}`);
  let rate = full;
  let tokens = burst;
  let pause = 0;
  let last = clock.now();
  let slowdowns = 0;
  let line: Promise<unknown> = Promise.resolve();

  /** Brings everything up to now. Only differences of time are used, so a clock that is set back costs nothing. */
  function pass(): void {
    const now = clock.now();
    let elapsed = Math.max(0, now - last);
    last = now;
    const paused = Math.min(pause, elapsed);
    pause -= paused;
    elapsed -= paused;
    if (full === Infinity) tokens = burst;
    else {
      const growing = Math.min(elapsed, (full - rate) / growth);
      const grown = rate + growth * growing;
      tokens = Math.min(burst, tokens + (((rate + grown) / 2) * growing + full * (elapsed - growing)) / 1000);
      rate = elapsed > growing ? full : grown;
    }
  }

  /** Milliseconds until the bucket holds one, as the rate grows; may be too short near the full rate. */
  function missing(): number {
    const part = 1000 * Math.max(0, 1 - tokens);
    if (full === Infinity || part === 0) return 0;
    return rate === full ? part / rate : (Math.sqrt(rate ** 2 + 2 * growth * part) - rate) / growth;
  }

  function slowDown(retryAfterMs: number, halve: boolean): void {
    pass();
    pause = Math.max(pause, retryAfterMs);
    tokens = 0;
    if (!halve) return;
    slowdowns++;
    if (full !== Infinity) rate = Math.max(Math.min(SLOWEST, full), rate / 2);
  }

  async function token(signal: AbortSignal | undefined): Promise<void> {
    for (;;) {
      signal?.throwIfAborted();
      pass();
      if (pause > LONGEST_PAUSE_MS)
        throw new TargetError("throttled", "Google Drive asked for a pause in writing", {
          hint: "Nothing to do: the upload goes on by itself.",
          retryAfterMs: pause,
        });
      if (pause <= 0 && tokens >= 1) break;
      await clock.sleep(Math.ceil(pause + missing()), signal);
    }
    tokens--;
  }

  /** The turn of one write; a waiter that gives up leaves its place at once. */
  function turn(signal: AbortSignal | undefined): Promise<void> {
    const mine = line.then(() => token(signal));
    line = mine.catch(() => undefined);
    return new Promise<void>((resolve, reject) => {
      const leave = () => reject(signal?.reason);
      signal?.addEventListener("abort", leave, { once: true });
      mine.then(resolve, reject).finally(() => signal?.removeEventListener("abort", leave));
    });
  }

  return {
    async write(work, signal) {
      signal?.throwIfAborted();
      await turn(signal);
      const before = slowdowns;
      try {
        return await work();
      } catch (error) {
        if (error instanceof TargetError && error.kind === "throttled") slowDown(error.retryAfterMs ?? 0, before === slowdowns);
        throw error;
      }
    },
    throttled: (retryAfterMs = 0) => slowDown(retryAfterMs, true),
  };
}

/**
 * `api` with the pacer in front of what writes: one turn for each file, folder, copy, change and removal, and for the start of
 * a resumable upload. Its chunks take none, but a chunk that is throttled slows the pacer down.
 */
export function paced(api: DriveApi, pacer: Pacer): DriveApi {
  const write = <T>(work: () => Promise<T>, asked: Asked | undefined) => pacer.write(work, asked?.signal);
  return {
    guarded: api.guarded,
    sessions: api.sessions,
    generateIds: (count, asked) => api.generateIds(count, asked),
    get: (id, asked) => api.get(id, asked),
    search: (query, asked) => api.search(query, asked),
    createFolder: (id, facts, asked) => write(() => api.createFolder(id, facts, asked), asked),
    create: (id, facts, bytes, asked) => write(() => api.create(id, facts, bytes, asked), asked),
    update: (id, facts, bytes, etag, asked) => write(() => api.update(id, facts, bytes, etag, asked), asked),
    patch: (id, facts, asked) => write(() => api.patch(id, facts, asked), asked),
    startSession: (what, facts, size, asked) => write(() => api.startSession(what, facts, size, asked), asked),
    async sendChunk(session, chunk, asked) {
      try {
        return await api.sendChunk(session, chunk, asked);
      } catch (error) {
        if (error instanceof TargetError && error.kind === "throttled") pacer.throttled(error.retryAfterMs);
        throw error;
      }
    },
    askSession: (session, total, asked) => api.askSession(session, total, asked),
    dropSession: (session, asked) => api.dropSession(session, asked),
    copy: (from, id, facts, asked) => write(() => api.copy(from, id, facts, asked), asked),
    remove: (id, etag, asked) => write(() => api.remove(id, etag, asked), asked),
    trash: (id, asked) => write(() => api.trash(id, asked), asked),
    download: (id, asked) => api.download(id, asked),
    revisions: (id, asked) => api.revisions(id, asked),
    pin: (id, revision, asked) => write(() => api.pin(id, revision, asked), asked),
    about: (asked) => api.about(asked),
    sharedDrive: (id, asked) => api.sharedDrive(id, asked),
  };
}

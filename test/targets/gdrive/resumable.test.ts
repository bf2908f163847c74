import { type ChildProcess, fork } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { inspect } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { TargetError } from "../../../src/core/errors.ts";
import type { Chunks, DriverMemory, Source } from "../../../src/core/target.ts";
import type { DriveApi, DriveFile, Facts, Progress } from "../../../src/targets/gdrive/api.ts";
import { type ResumableOptions, uploadResumable } from "../../../src/targets/gdrive/resumable.ts";
import { anySeed, seededRandom, sourceOf, startDriveEmulator } from "../../../src/testing/index.ts";
import { bundled } from "../../bundled.ts";

const STEP = 256 * 1024;
const MiB = 1024 * 1024;
const DAY = 24 * 3_600_000;
const NOW = Date.UTC(2026, 10, 21);
const SECRET = "secret-session-";

const transient = () => new TargetError("transient", "the connection broke");
const unreachable = () => new TargetError("transient", "no route", { code: "E_TARGET_UNREACHABLE" });

/** What befalls one request. */
type Fault =
  | { readonly is: "break"; readonly after: number; readonly zombie?: boolean }
  | { readonly is: "lost" }
  | { readonly is: "late" }
  | { readonly is: "partial"; readonly keeps: number }
  | { readonly is: "stall" }
  | { readonly is: "gone" }
  | { readonly is: "throws"; readonly error: Error }
  | { readonly is: "kill"; readonly after: number };

/** A Drive that knows resumable uploads only, counts every byte and befalls each request with the next fault of its script. */
function fakeDrive(script: Array<Fault | undefined> = [], commits: Partial<DriveFile> = {}) {
  interface Session {
    readonly what: object;
    readonly facts: Facts;
    readonly total: number;
    readonly bytes: Buffer;
    kept: number;
    done?: DriveFile;
  }
  const sessions = new Map<string, Session>();
  const seen = { starts: [] as Session[], chunks: [] as Array<[offset: number, length: number]>, asks: 0, drops: [] as string[] };
  const count = { received: 0, requests: 0 };
  const acknowledged = new Set<number>();
  const committed: DriveFile[] = [];
  let kill = (): void => undefined;
  let zombie: AsyncIterator<Uint8Array> | undefined;

  const gone = { gone: true } as const;
  const answer = ({ done, kept }: Session): Progress => {
    acknowledged.add(done ? done.size! : kept);
    return done ? { done } : { sent: kept };
  };

  function keep(session: Session, to: number): void {
    session.kept = to;
    if (to < session.total || session.done) return;
    const sha256 = createHash("sha256").update(session.bytes).digest("hex");
    session.done = { id: "id", size: session.total, sha256, rev: `rev${committed.length}`, ...commits } as DriveFile;
    committed.push(session.done);
  }

  async function request(signal: AbortSignal | undefined): Promise<Fault | undefined> {
    count.requests++;
    await zombie?.next().catch(() => undefined);
    await turn();
    signal?.throwIfAborted();
    return script.shift();
  }

  const api: Pick<DriveApi, "startSession" | "sendChunk" | "askSession" | "dropSession"> = {
    async startSession(what, facts, total, asked) {
      const fault = await request(asked?.signal);
      if (fault?.is === "throws") throw fault.error;
      if ("create" in what && committed.some(({ id }) => id === what.create))
        throw new TargetError("conflict", "the id is taken");
      const session = { what, facts, total, bytes: Buffer.alloc(total), kept: 0 };
      seen.starts.push(session);
      const uri = `${SECRET}${seen.starts.length}`;
      sessions.set(uri, session);
      return uri;
    },
    async sendChunk(uri, { offset, length, total, bytes }, asked) {
      const fault = await request(asked?.signal);
      const session = sessions.get(uri);
      if (session === undefined || fault?.is === "gone") return (sessions.delete(uri), gone);
      expect({ offset, total }).toEqual({ offset: session.kept, total: session.total });
      expect(offset + length === total || length % STEP === 0, `${length} bytes from ${offset}`).toBe(true);
      seen.chunks.push([offset, length]);
      if (fault?.is === "throws") throw fault.error;
      if (fault?.is === "stall") return answer(session);
      const from = bytes[Symbol.asyncIterator]();
      const most = fault?.is === "break" || fault?.is === "kill" ? Math.min(length, fault.after) : length;
      let got = 0;
      const steps = () => keep(session, Math.max(session.kept, Math.floor((offset + got) / STEP) * STEP));
      try {
        while (got < most) {
          const item = await from.next();
          if (item.done === true) throw new Error(`the body ended after ${got} of ${length} bytes`);
          session.bytes.set(item.value, offset + got);
          got += item.value.length;
          count.received += item.value.length;
        }
      } catch (error) {
        steps();
        throw error;
      }
      expect(got).toBeLessThanOrEqual(length);
      if (fault?.is === "break" || fault?.is === "kill") {
        if (got < length) steps();
        else keep(session, offset + got);
        if (fault.is === "kill") kill();
        else if (fault.zombie === true) zombie = from;
        else await from.return?.();
        asked?.signal?.throwIfAborted();
        throw transient();
      }
      expect(await from.next()).toEqual({ done: true, value: undefined });
      if (fault?.is === "late") session.kept = offset + length;
      else if (fault?.is === "partial") keep(session, offset + Math.min(length, fault.keeps));
      else keep(session, offset + length);
      if (fault?.is === "lost") throw transient();
      return answer(session);
    },
    async askSession(uri, total, asked) {
      const fault = await request(asked?.signal);
      seen.asks++;
      const session = sessions.get(uri);
      if (session === undefined || fault?.is === "gone") return (sessions.delete(uri), gone);
      expect(total).toBe(session.total);
      if (fault?.is === "throws") throw fault.error;
      if (session.kept === total) keep(session, total);
      return answer(session);
    },
    async dropSession(uri) {
      count.requests++;
      seen.drops.push(uri);
      sessions.delete(uri);
    },
  };
  return {
    api: api as DriveApi,
    sessions,
    seen,
    count,
    acknowledged,
    committed,
    script,
    onKill: (work: () => void) => (kill = work),
  };
}

function fakeMemory(): DriverMemory & { readonly entries: Map<string, string> } {
  const entries = new Map<string, string>();
  return {
    entries,
    get: async (name) => (await turn(), entries.get(name)),
    set: async (name, value) => (await turn(), void entries.set(name, value)),
    delete: async (name) => (await turn(), void entries.delete(name)),
    list: async (prefix) => [...entries].filter(([name]) => name.startsWith(prefix)),
  };
}

function randomBytes(size: number, seed = 1): Uint8Array {
  const random = seededRandom(seed);
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 997) bytes[at] = random() * 256;
  return bytes;
}

/** A body that counts how often it is opened and whether each opening was closed. */
function watched(source: Source): Source & { readonly opened: { now: number; ever: number } } {
  const opened = { now: 0, ever: 0 };
  async function* open(): Chunks {
    opened.now++;
    opened.ever++;
    try {
      yield* source.open();
    } finally {
      opened.now--;
    }
  }
  return { size: source.size, sha256: source.sha256, open, opened };
}

const FACTS: Facts = { name: "Big.bin", parents: ["folder"], appProperties: { sha256: "x" } };

/** One save of `body` and everything that it is done with, over as many calls as the test makes. */
function scene(body: Source, script: Array<Fault | undefined> = [], commits: Partial<DriveFile> = {}) {
  const drive = fakeDrive(script, commits);
  const memory = fakeMemory();
  const source = watched(body);
  const told: number[] = [];
  const upload = (over: Partial<ResumableOptions> = {}) =>
    uploadResumable({
      api: drive.api,
      memory,
      clock: { now: () => NOW },
      name: "Core/Big.bin",
      what: { create: "id" },
      facts: FACTS,
      body: source,
      onProgress: (sent) => told.push(sent),
      chunkBytes: MiB,
      ...over,
    });
  return { ...drive, memory, source, told, upload, kept: () => memory.entries.get("session/Core/Big.bin") };
}

const body = (size = 4 * MiB, chunk?: number) => sourceOf(randomBytes(size), chunk);

async function failure(promise: Promise<unknown>): Promise<unknown> {
  const error: unknown = await promise.then(
    () => expect.fail("the upload was expected to fail"),
    (error: unknown) => error,
  );
  expect(inspect(error, { depth: 9 })).not.toContain(SECRET);
  return error;
}

describe("uploadResumable", () => {
  test.each([
    ["slow", 0.8, [16, 16, 16, 16]],
    ["in between", 3.2, [16, 32, 16]],
    ["fast", 1000, [16, 48]],
  ])(
    "64 MiB, %s, in chunks of ten seconds: constant memory, and what Drive acknowledged as progress",
    async (_, mibPerSecond, plan) => {
      const piece = randomBytes(64 * 1024);
      const hash = createHash("sha256");
      for (let piece64 = 0; piece64 < 1024; piece64++) hash.update(piece);
      let pulled = 0;
      let behind = 0;
      const scenario = scene({
        size: 64 * MiB,
        sha256: hash.digest("hex"),
        async *open() {
          for (let index = 0; index < 1024; index++) {
            behind = Math.max(behind, pulled - scenario.count.received);
            pulled += piece.length;
            yield piece;
          }
        },
      });
      const now = () => NOW + (1000 * scenario.count.received) / (mibPerSecond * MiB);
      const file = await scenario.upload({ chunkBytes: undefined, clock: { now } });
      expect(file.sha256).toBe(scenario.source.sha256);
      expect(scenario.count).toEqual({ received: 64 * MiB, requests: 1 + plan.length });
      const starts = plan.map((_, at) => plan.slice(0, at).reduce((sum, length) => sum + length, 0) * MiB);
      expect(scenario.seen.chunks).toEqual(plan.map((length, at) => [starts[at], length * MiB]));
      expect(scenario.told).toEqual([...starts.slice(1), 64 * MiB]);
      expect(behind).toBeLessThanOrEqual(2 * piece.length);
      expect(scenario.source.opened).toEqual({ now: 0, ever: 1 });
      expect(scenario.kept()).toBeUndefined();
    },
  );

  test.each([
    [4 * MiB + 1, 64 * 1024],
    [5 * MiB - 1, 1000],
    [3 * MiB + 65_536, 4 * MiB],
    [MiB, 7],
    [1, 1],
  ])("%i bytes that come in parts of %i arrive whole", async (size, chunk) => {
    const { upload, committed, source, count } = scene(body(size, chunk));
    expect((await upload()).sha256).toBe(source.sha256);
    expect(committed).toHaveLength(1);
    expect(count.received).toBe(size);
  });

  test("what it becomes and what is said about it reach the session; the etag is its guard", async () => {
    const { upload, seen } = scene(body());
    const what = { update: "id", etag: "e1", rev: "r1" };
    await upload({ what });
    expect(seen.starts).toMatchObject([{ what, facts: FACTS, total: 4 * MiB }]);
  });

  test("the session is remembered before the first byte goes", async () => {
    const { upload, kept, source, count } = scene(body());
    const before: Array<[string | undefined, number]> = [];
    const open = (): Chunks => (before.push([kept(), count.received]), source.open());
    await upload({ body: { ...source, open } });
    expect(JSON.parse(before[0]![0]!)).toMatchObject({ uri: `${SECRET}1`, create: "id", size: source.size, started: NOW });
    expect(before[0]![1]).toBe(0);
  });

  describe("a break", () => {
    test("in a chunk: asks once and goes on from what Drive kept", async () => {
      const { upload, seen, count, told } = scene(body(), [undefined, undefined, { is: "break", after: 700_000 }]);
      await upload();
      expect(seen.asks).toBe(1);
      expect(seen.chunks.slice(1, 3)).toEqual([
        [MiB, MiB],
        [MiB + 2 * STEP, MiB],
      ]);
      expect(count.received - 4 * MiB).toBeLessThan(STEP);
      expect(told).toEqual(told.toSorted((a, b) => a - b));
    });

    test.each([300_000, 2 * STEP])("after %i bytes, whose request still pulls: takes none from the next one", async (after) => {
      const { upload, source, committed } = scene(body(), [undefined, { is: "break", after, zombie: true }]);
      expect((await upload()).sha256).toBe(source.sha256);
      expect(committed).toHaveLength(1);
      expect(source.opened).toEqual({ now: 0, ever: 2 });
    });

    test("after the commit: the file that is there is the answer, and nothing is sent again", async () => {
      const { upload, count, committed, told, kept } = scene(body(MiB), [undefined, { is: "lost" }]);
      expect(await upload()).toBe(committed[0]);
      expect(committed).toHaveLength(1);
      expect(count.received).toBe(MiB);
      expect(told).toEqual([MiB]);
      expect(kept()).toBeUndefined();
    });

    test("without progress, three times: transient, and the next call goes on", async () => {
      const again = { is: "break", after: 10 } as const;
      const { upload, seen, kept, count } = scene(body(), [undefined, undefined, again, undefined, again, undefined, again]);
      expect(await failure(upload())).toMatchObject({ kind: "transient" });
      expect(seen.asks).toBe(2);
      expect(kept()).toBeDefined();
      await upload();
      expect(seen.starts).toHaveLength(1);
      expect(count.received).toBeLessThan(4.3 * MiB);
    });

    test("with progress, any number of times in one call", async () => {
      const faults = Array.from({ length: 12 }, () => [{ is: "break", after: STEP } as const, undefined]).flat();
      const { upload, seen, count } = scene(body(), [undefined, ...faults]);
      await upload();
      expect(seen.asks).toBe(12);
      expect(count.received).toBeLessThan(4.3 * MiB);
    });

    test("that a question meets too counts", async () => {
      const broken = () => ({ is: "throws", error: unreachable() }) as const;
      const { upload, count, kept } = scene(body(), [undefined, broken(), broken(), broken()]);
      expect(await failure(upload())).toMatchObject({ code: "E_TARGET_UNREACHABLE" });
      expect(count.requests).toBe(4);
      expect(kept()).toBeDefined();
    });
  });

  describe("answers that bring nothing", () => {
    test("eight of them: transient, and the next call starts anew", async () => {
      const { upload, seen, kept } = scene(body(), [undefined, ...Array.from({ length: 8 }, () => ({ is: "stall" }) as const)]);
      expect(await failure(upload())).toMatchObject({ kind: "transient" });
      expect(seen.chunks).toHaveLength(8);
      expect(seen.drops).toEqual([`${SECRET}1`]);
      expect(kept()).toBeUndefined();
      await upload();
      expect(seen.starts).toHaveLength(2);
    });

    test("all bytes acknowledged and no file yet: asks, and sends nothing again", async () => {
      const { upload, seen, count, committed } = scene(body(MiB), [undefined, { is: "late" }]);
      expect(await upload()).toBe(committed[0]);
      expect(seen.asks).toBe(1);
      expect(count.received).toBe(MiB);
    });

    test("seven are borne", async () => {
      const { upload, seen } = scene(body(), [undefined, ...Array.from({ length: 7 }, () => ({ is: "stall" }) as const)]);
      await upload();
      expect(seen.starts).toHaveLength(1);
    });

    test("a partial acknowledgement is gone on from", async () => {
      const { upload, seen } = scene(body(), [undefined, { is: "partial", keeps: 3 * STEP }]);
      await upload();
      expect(seen.chunks[1]).toEqual([3 * STEP, MiB]);
      expect(seen.asks).toBe(0);
    });
  });

  test("a session that brought four calls nothing but failures of Drive is not used again; being offline does not count", async () => {
    const call = (error: () => Error) => Array.from({ length: 3 }, () => ({ is: "throws", error: error() }) as const);
    const { upload, script, seen } = scene(body(), [undefined, undefined]);
    script.push(...call(transient));
    expect(await failure(upload())).toMatchObject({ kind: "transient" }); // moved: does not count
    for (let time = 0; time < 10; time++) {
      script.push(...call(unreachable));
      await failure(upload());
    }
    for (let time = 0; time < 4; time++) {
      script.push(...call(transient));
      await failure(upload());
    }
    expect(seen.starts).toHaveLength(1);
    await upload();
    expect(seen.starts).toHaveLength(2);
    expect(seen.drops).toEqual([`${SECRET}1`]);
  });

  test("throttled is thrown as it is, the session is kept, and the next call goes on", async () => {
    const error = new TargetError("throttled", "slow down", { retryAfterMs: 5000 });
    const { upload, seen, count } = scene(body(), [undefined, undefined, { is: "throws", error }]);
    expect(await failure(upload())).toBe(error);
    await upload();
    expect(seen).toMatchObject({ asks: 1, drops: [] });
    expect(seen.starts).toHaveLength(1);
    expect(count.received).toBe(4 * MiB);
  });

  test.each(["not-found", "conflict", "auth", "quota", "unsupported"] as const)("%s drops the session", async (kind) => {
    const error = new TargetError(kind, "refused");
    const { upload, seen, kept } = scene(body(), [undefined, undefined, { is: "throws", error }]);
    expect(await failure(upload())).toBe(error);
    expect(seen.drops).toEqual([`${SECRET}1`]);
    expect(kept()).toBeUndefined();
  });

  test("a start that fails is the caller's affair, and nothing is remembered", async () => {
    const error = transient();
    const { upload, kept, count } = scene(body(), [{ is: "throws", error }]);
    expect(await failure(upload())).toBe(error);
    expect(kept()).toBeUndefined();
    expect(count.requests).toBe(1);
  });

  describe("a session that Drive forgot", () => {
    test("is begun anew once", async () => {
      const { upload, seen, committed, source, told } = scene(body(), [undefined, undefined, undefined, { is: "gone" }]);
      expect((await upload()).sha256).toBe(source.sha256);
      expect(seen.starts).toHaveLength(2);
      expect(committed).toHaveLength(1);
      expect(told).toEqual([MiB, 2 * MiB, 3 * MiB, 4 * MiB]);
    });

    test("twice is transient", async () => {
      const { upload, kept } = scene(body(), [undefined, { is: "gone" }, undefined, { is: "gone" }]);
      expect(await failure(upload())).toMatchObject({ kind: "transient" });
      expect(kept()).toBeUndefined();
    });
  });

  describe("another call", () => {
    const halfWay = [undefined, undefined, undefined, { is: "kill", after: 100 }] as const;

    /** An upload of 4 MiB that was stopped after 2. */
    async function stopped() {
      const scenario = scene(body(), [...halfWay]);
      const stop = new AbortController();
      scenario.onKill(() => stop.abort());
      expect(await failure(scenario.upload({ signal: stop.signal }))).toBe(stop.signal.reason);
      expect(scenario.kept()).toBeDefined();
      return scenario;
    }

    test("goes on where the one that was stopped left off", async () => {
      const { upload, seen, count, told } = await stopped();
      told.length = 0;
      await upload();
      expect(seen.starts).toHaveLength(1);
      expect(count.received).toBeLessThanOrEqual(4 * MiB + 64 * 1024);
      expect(told).toEqual([2 * MiB, 3 * MiB, 4 * MiB]);
    });

    test("finds a file that was finished meanwhile", async () => {
      const scenario = scene(body(MiB), [
        undefined,
        { is: "lost" },
        ...Array.from({ length: 2 }, () => ({ is: "throws", error: transient() }) as const),
      ]);
      await failure(scenario.upload());
      expect(await scenario.upload()).toBe(scenario.committed[0]);
      expect(scenario.count.received).toBe(MiB);
      expect(scenario.kept()).toBeUndefined();
    });

    test.each<[string, (scenario: { source: Source }) => Partial<ResumableOptions>]>([
      ["other bytes", () => ({ body: sourceOf(randomBytes(4 * MiB, 2)) })],
      ["another id", () => ({ what: { create: "other" } })],
      ["an update", () => ({ what: { update: "id", etag: undefined, rev: undefined } })],
      ["another folder", () => ({ facts: { ...FACTS, parents: ["other"] } })],
      ["a session older than six days", () => ({ clock: { now: () => NOW + 6 * DAY + 1 } })],
      ["a clock that was set back as far", () => ({ clock: { now: () => NOW - 6 * DAY - 1 } })],
    ])("for %s drops it and starts anew", async (_, over) => {
      const scenario = await stopped();
      await scenario.upload(over(scenario));
      expect(scenario.seen.drops).toEqual([`${SECRET}1`]);
      expect(scenario.seen.starts).toHaveLength(2);
    });

    test("for an update goes on only while the revision that it is based on is the same, whatever the etag", async () => {
      const what = { update: "id", etag: "e1", rev: "r1" };
      for (const [now, starts] of [
        [{ ...what, etag: "e2" }, 1],
        [{ ...what, rev: "r2" }, 2],
      ] as const) {
        const error = new TargetError("throttled", "slow down");
        const { upload, seen } = scene(body(), [undefined, undefined, { is: "throws", error }]);
        await failure(upload({ what }));
        await upload({ what: now });
        expect(seen.starts).toHaveLength(starts);
      }
    });

    test.each(["", "{", "null", "{}", '{"uri":1}'])("takes %j in the memory for nothing", async (text) => {
      const { upload, memory, seen } = scene(body());
      memory.entries.set("session/Core/Big.bin", text);
      await upload();
      expect(seen.drops).toEqual([]);
      expect(memory.entries.size).toBe(0);
    });

    test("starts anew even when the old session cannot be dropped", async () => {
      const scenario = await stopped();
      const api = { ...scenario.api, dropSession: () => Promise.reject(transient()) };
      await scenario.upload({ api, what: { create: "other" } });
      expect(scenario.seen.starts).toHaveLength(2);
    });
  });

  describe("bytes that are not what size and sha256 say", () => {
    const bytes = randomBytes(3 * MiB + 5);
    const { size, sha256 } = sourceOf(bytes);
    const last = bytes.slice();
    last[last.length - 1]! ^= 1;
    test.each([
      ["another first byte", Uint8Array.from([bytes[0]! ^ 1, ...bytes.subarray(1)])],
      ["another last byte", last],
      ["one byte less", bytes.subarray(1)],
      ["one byte more", Uint8Array.from([...bytes, 0])],
      ["nothing", new Uint8Array()],
    ])("%s: corrupt, nothing is committed, and the session is dropped", async (_, wrong) => {
      const { upload, committed, seen, kept, source } = scene({ size, sha256, open: () => sourceOf(wrong).open() });
      expect(await failure(upload())).toMatchObject({ kind: "corrupt" });
      expect(committed).toEqual([]);
      expect(seen.drops).toEqual([`${SECRET}1`]);
      expect(kept()).toBeUndefined();
      expect(source.opened.now).toBe(0);
    });

    test("also when only the last byte was missing at Drive", async () => {
      const { upload, committed, sessions, memory, seen } = scene({ size, sha256, open: () => sourceOf(last).open() }, [
        undefined,
        { is: "throws", error: new TargetError("throttled", "slow down") },
      ]);
      await failure(upload());
      sessions.get(`${SECRET}1`)!.kept = size - 1;
      expect(await failure(upload())).toMatchObject({ kind: "corrupt" });
      expect(committed).toEqual([]);
      expect(seen.starts).toHaveLength(1);
      expect(memory.entries.size).toBe(0);
    });

    test("a file of another size at Drive is corrupt", async () => {
      const { upload, kept } = scene(body(), [], { size: 7 });
      expect(await failure(upload())).toMatchObject({ kind: "corrupt" });
      expect(kept()).toBeUndefined();
    });
  });

  test("a body that throws ends the call with its own error; the session waits for the next one", async () => {
    const whole = body();
    for (const error of [new Error("disk"), new TargetError("transient", "disk")]) {
      const { upload, seen, kept, count } = scene(whole);
      async function* open(): Chunks {
        let given = 0;
        for await (const chunk of whole.open()) {
          if ((given += chunk.length) > 2.5 * MiB) throw error;
          yield chunk;
        }
      }
      expect(await failure(upload({ body: { ...whole, open } }))).toBe(error);
      expect(kept()).toBeDefined();
      await upload();
      expect(seen.starts).toHaveLength(1);
      expect(count.received).toBeLessThan(4 * MiB + STEP);
    }
  });

  test("an abort stops a body that hangs", async () => {
    const whole = body();
    const stop = new AbortController();
    const { upload, kept } = scene(whole);
    async function* open(): Chunks {
      yield randomBytes(10);
      setImmediate(() => stop.abort());
      await new Promise(() => undefined);
    }
    expect(await failure(upload({ body: { ...whole, open }, signal: stop.signal }))).toBe(stop.signal.reason);
    expect(kept()).toBeDefined();
  });

  test("an abort before the start makes no request", async () => {
    const { upload, count } = scene(body());
    expect(await failure(upload({ signal: AbortSignal.abort() }))).toMatchObject({ name: "AbortError" });
    expect(count.requests).toBe(0);
  });

  test.each([0, 1000, STEP + 1])("refuses a chunk of %i bytes", async (chunkBytes) => {
    await expect(scene(body()).upload({ chunkBytes })).rejects.toThrow(RangeError);
  });

  test("property: whatever breaks, one file with these bytes, each byte sent once but for what Drive threw away", async () => {
    const seed = anySeed();
    console.info(`resumable uploads, seed ${seed}`);
    const after = fc.integer({ min: 0, max: MiB });
    const fault: fc.Arbitrary<Fault | undefined> = fc.oneof(
      { weight: 6, arbitrary: fc.constant(undefined) },
      { weight: 4, arbitrary: fc.record({ is: fc.constant("break" as const), after, zombie: fc.boolean() }) },
      {
        weight: 2,
        arbitrary: fc.record({ is: fc.constant("partial" as const), keeps: fc.integer({ min: 0, max: 4 }).map((n) => n * STEP) }),
      },
      { weight: 2, arbitrary: fc.record({ is: fc.constant("kill" as const), after }) },
      { weight: 1, arbitrary: fc.constantFrom<Fault[]>({ is: "lost" }, { is: "late" }, { is: "stall" }, { is: "gone" }) },
      { weight: 1, arbitrary: fc.constant<Fault>({ is: "throws", error: new TargetError("throttled", "slow down") }) },
      { weight: 1, arbitrary: fc.constant<Fault>({ is: "throws", error: transient() }) },
    );
    const size = fc.integer({ min: 1, max: 3 * MiB });
    const part = fc.constantFrom(1000, 64 * 1024, 300_000, 4 * MiB);
    const chunkBytes = fc.constantFrom(STEP, 3 * STEP, MiB);
    const property = fc.asyncProperty(
      size,
      part,
      chunkBytes,
      fc.array(fault, { maxLength: 30 }),
      async (size, part, chunkBytes, faults) => {
        const scenario = scene(body(size, part), [...faults]);
        let file: DriveFile | undefined;
        for (let call = 0; file === undefined && call <= faults.length; call++) {
          const stop = new AbortController();
          scenario.onKill(() => stop.abort());
          scenario.told.length = 0;
          try {
            file = await scenario.upload({ chunkBytes, signal: stop.signal });
          } catch (error) {
            // Finished, the answer lost, and the session forgotten: the driver then looks at the file of that id.
            if (scenario.committed.length === 1 && (error as TargetError).kind === "conflict") file = scenario.committed[0];
            else if (!stop.signal.aborted) expect(["transient", "throttled"]).toContain((error as TargetError).kind);
            else expect(error).toBe(stop.signal.reason);
          }
          const { told, acknowledged } = scenario;
          expect(told).toEqual([...new Set(told)].toSorted((a, b) => a - b));
          for (const sent of told) expect(acknowledged.has(sent), `${sent} was never acknowledged`).toBe(true);
        }
        expect(file).toMatchObject({ size, sha256: scenario.source.sha256 });
        expect(scenario.committed).toHaveLength(1);
        expect(scenario.memory.entries.size).toBe(0);
        await turn();
        expect(scenario.source.opened.now).toBe(0);
      },
    );
    await fc.assert(property, { numRuns: 300, seed });
  });
});

test("a process that is killed half-way through 64 MiB: the next one sends the rest, at most 1.1 times the bytes in all", async () => {
  const size = 64 * MiB;
  const folder = await mkdtemp(join(tmpdir(), "aftersave-resumable-"));
  const emulator = await startDriveEmulator();
  const children: ChildProcess[] = [];
  try {
    await writeFile(join(folder, "drive_token.json"), JSON.stringify(emulator.authorizedUser()), { mode: 0o600 });
    const program = await bundled(join(import.meta.dirname, "resumable.child.ts"));
    const run = (stopAt: number) => {
      const args = [folder, emulator.rootUrl, emulator.tokenUrl, String(size), String(stopAt)];
      const child = fork(program, args, { execArgv: [] });
      children.push(child);
      return child;
    };
    // In the middle of the second chunk, where Drive keeps whole steps of what arrived.
    const first = run(40 * MiB + 100_000);
    expect((await once(first, "message"))[0]).toBe("hangs");
    first.kill("SIGKILL");
    expect(await once(first, "exit")).toEqual([null, "SIGKILL"]);
    expect(emulator.account.find("MemoryVDB/Core/Big.bin")).toEqual([]);

    const second = run(0);
    const [[result], [code]] = await Promise.all([once(second, "message"), once(second, "exit")]);
    expect(code).toBe(0);
    const { entry, told, left } = result as { entry: { size: number; hash: { hex: string } }; told: number[]; left: unknown[] };
    const files = emulator.account.find("MemoryVDB/Core/Big.bin");
    expect(files).toHaveLength(1);
    expect(files).toMatchObject([{ size, sha256: entry.hash.hex }]);
    expect(files[0]!.revisions).toHaveLength(1);
    expect(told[0]).toBeGreaterThanOrEqual(32 * MiB);
    expect(told.at(-1)).toBe(size);
    expect(left).toEqual([]);
    const sent = emulator.requests.filter(({ api }) => api === "upload.chunk").reduce((sum, { bytesIn }) => sum + bytesIn, 0);
    console.info(`64 MiB killed half-way: ${(sent / size).toFixed(4)} times its bytes sent`);
    expect(sent).toBeGreaterThanOrEqual(size);
    expect(sent).toBeLessThanOrEqual(1.1 * size);
    expect(emulator.counts()).toMatchObject({ "v2.files.insert": 1, "upload.status": 1 });
  } finally {
    for (const child of children) child.kill("SIGKILL");
    await emulator.close();
    await rm(folder, { recursive: true, force: true });
  }
});

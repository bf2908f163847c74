/**
 * Doing the jobs: per target, oldest first, a few at a time, each claimed so that no two processes send one file.
 * @module
 */
import type { Clock } from "../core/clock.ts";
import { AftersaveError, type ErrorCode } from "../core/errors.ts";
import { foldKey, type Key } from "../core/key.ts";
import type { Outcome } from "../core/outcome.ts";
import type { Job, JobRequest } from "../state/jobs.ts";
import type { State } from "../state/state.ts";
import { closes, PARK_MS, type MirrorTarget } from "./place.ts";
import type { Owner } from "./owner.ts";
import type { History } from "./segments.ts";
import type { Uploader } from "./upload.ts";

export interface DrainOptions {
  readonly signal?: AbortSignal | undefined;
  /** Someone asked: parked jobs and targets that could not be reached are tried too. */
  readonly asked?: boolean | undefined;
  readonly onOutcome?: ((outcome: Outcome) => void) | undefined;
  /** Bytes acknowledged of a file under way. */
  readonly onProgress?: ((target: string, key: Key, sent: number) => void) | undefined;
}

export interface Drained {
  readonly uploaded: number;
  readonly skipped: number;
  readonly failed: number;
  /** Unfinished jobs afterwards, parked ones included. */
  readonly pending: number;
}

export interface Queue {
  /** Does what is due now on every target and resolves when there is nothing left to do. */
  drain(options?: DrainOptions): Promise<Drained>;
  /** Uploads one key to one target now, waiting for another process that is at it. Undefined when there is no job and no `request` for one. */
  now(target: string, key: Key, options?: DrainOptions, request?: JobRequest): Promise<Outcome | undefined>;
}

export interface QueueParts {
  readonly state: State;
  readonly clock: Clock;
  readonly uploader: Uploader;
  readonly owner: Owner;
  /** What is sent behind the data. */
  readonly history: History;
  readonly targets: readonly string[];
  /** Opens a target once; throws when its driver cannot be made. */
  readonly open: (name: string) => Promise<MirrorTarget & { readonly concurrency: number }>;
  /** What a target owes is done before anything else is. */
  readonly before?: ((target: string, signal: AbortSignal | undefined) => Promise<unknown>) | undefined;
  /** An outcome was recorded: log lines wait, listeners want to know. */
  readonly onOutcome: (outcome: Outcome) => void;
}

const PAGE = 1000;

/** A job's turn in a pass; `again`: its claim was not free at the first one. */
interface Turn {
  readonly job: Job;
  readonly again: boolean;
}

/** These say nothing of the target. */
const ofTheFile: ReadonlySet<ErrorCode> = new Set(["E_CONFLICT", "E_BLOCKED", "E_ERASED", "E_HELD"]);

function elsewhere(error: unknown): undefined {
  if (!(error instanceof AftersaveError) || error.code !== "E_BUSY") throw error;
}

export function createQueue({ state, clock, uploader, owner, history, targets, open, onOutcome, before }: QueueParts): Queue {
  const claimName = (target: string, key: Key) => `${target}\n${foldKey(key)}`;

  const done = (outcome: Outcome, options: DrainOptions) => {
    onOutcome(outcome);
    options.onOutcome?.(outcome);
  };

  const upload = async (to: MirrorTarget, job: Job, options: DrainOptions): Promise<Outcome> => {
    const onProgress = options.onProgress;
    const outcome = await uploader.upload(to, job, {
      signal: options.signal,
      onProgress: onProgress && ((sent) => onProgress(to.name, job.key, sent)),
    });
    const { code } = outcome;
    if (code && closes.has(code)) await state.ledger.setHealth(to.name, { code, openUntil: clock.now() + PARK_MS });
    else if (code && !ofTheFile.has(code)) await state.ledger.setHealth(to.name, { code, openUntil: 0 });
    done(outcome, options);
    return outcome;
  };

  /** Undefined when another process has it, or it is done; `busy` when it may also be an upload of our own that shares the claim's lock. */
  const claimed = async (
    to: MirrorTarget,
    { job, again }: Turn,
    options: DrainOptions,
  ): Promise<Outcome | "busy" | undefined> => {
    const name = claimName(to.name, job.key);
    const { signal } = options;
    const release = await (again
      ? state.claims.take("upload", name, { waitMs: 0, signal }).catch(elsewhere)
      : state.claims.tryTake("upload", name));
    if (!release) return again ? undefined : "busy";
    try {
      const fresh = await state.jobs.job(to.name, job.key);
      return fresh && (await upload(to, fresh, options));
    } finally {
      release();
    }
  };

  async function* dueJobs(to: MirrorTarget, asked: boolean, signal: AbortSignal | undefined): AsyncGenerator<Job> {
    for (let after = 0; ;) {
      const jobs = await state.jobs.due(to.name, asked ? Number.MAX_SAFE_INTEGER : clock.now(), after, PAGE, asked);
      const [probe, ...rest] = jobs;
      if (probe) yield probe;
      // only a hint: what is wrong will show in the uploads themselves
      if (rest.length > 0)
        await to.target
          .prepare?.(
            rest.map(({ key }) => key),
            { signal },
          )
          .catch(() => undefined);
      yield* rest;
      const last = jobs.at(-1);
      if (!last) return;
      after = last.id;
    }
  }

  const drainTarget = async (name: string, options: DrainOptions, count: (outcome: Outcome) => void): Promise<void> => {
    const { open_until } = await state.ledger.target(name);
    if (open_until > clock.now() && options.asked !== true) return;
    await before?.(name, options.signal);
    const drained = await drainJobs(name, options, count);
    if (drained === "closed") return;
    await history.send(name, options);
    if (drained === "worked") await audit(await open(name), options); // the history's own folders may have been found gone
  };

  /** `closed`: the target cannot be reached, or does not let us in. */
  const drainJobs = async (
    name: string,
    options: DrainOptions,
    count: (outcome: Outcome) => void,
  ): Promise<"closed" | "idle" | "worked"> => {
    const asked = options.asked === true;
    const first = (await state.jobs.due(name, asked ? Number.MAX_SAFE_INTEGER : clock.now(), 0, 1, asked))[0];
    if (!first) return "idle";
    const to = await open(name);
    const busy: Job[] = [];
    const turns = (async function* (): AsyncGenerator<Turn> {
      for await (const job of dueJobs(to, asked, options.signal)) yield { job, again: false };
      for (const job of busy) yield { job, again: true };
    })();
    let closed = false;
    let written = false;
    const work = async (most: number) => {
      for (let n = 0; n < most && !closed; n++) {
        options.signal?.throwIfAborted();
        const next = await turns.next();
        if (next.done) return;
        const outcome = await claimed(to, next.value, options);
        if (outcome === "busy") busy.push(next.value.job);
        if (!outcome || outcome === "busy") continue;
        count(outcome);
        written ||= outcome.status !== "skipped";
        closed ||= outcome.code !== undefined && closes.has(outcome.code);
      }
    };
    await work(1); // one probe: a target that cannot be reached costs no tries of the other jobs
    await Promise.all(Array.from({ length: to.concurrency }, () => work(Number.POSITIVE_INFINITY)));
    if (closed) return "closed";
    if (written) await audit(to, options);
    return "worked";
  };

  /** What another machine made at the same moment as we did counts, if it is older: ours is sent again, to that file. */
  const audit = async (to: MirrorTarget, { signal }: DrainOptions) => {
    const lost = await to.target.audit?.({ signal }).catch((error: unknown) => {
      if (signal?.aborted) throw error;
      return []; // what was not looked at is looked at by the next audit
    });
    if (lost && lost.length > 0) await owner.again(to, lost);
    return lost ?? [];
  };

  const anyPending = async () => (await state.jobs.counts()).some((c) => c.state === "pending" && targets.includes(c.target));

  const now = async (target: string, key: Key, options: DrainOptions, request?: JobRequest): Promise<Outcome | undefined> => {
    const to = await open(target);
    await before?.(target, options.signal);
    const first = await waitAndUpload(to, key, options, request);
    if (first?.status === "skipped" || first?.status === "held") return first; // nothing was written, so there is nothing new to look at
    const outcome = (await audit(to, options)).includes(key) ? await waitAndUpload(to, key, options) : first;
    if (outcome?.status === "success") history.soon(target);
    return outcome;
  };

  const waitAndUpload = async (to: MirrorTarget, key: Key, options: DrainOptions, request?: JobRequest) => {
    const target = to.name;
    const release = await state.claims.take("upload", claimName(target, key), { waitMs: 600_000, signal: options.signal });
    try {
      // whoever had the claim before us may have done the job meanwhile: what was asked for is then found there and skipped
      if (request && !(await state.jobs.job(target, key))) await state.jobs.enqueue([request]);
      const job = await state.jobs.job(target, key);
      return job && (await upload(to, job, options));
    } finally {
      release();
    }
  };

  /** Whoever asked for everything waits for what another process is sending at this moment, and does what that one left. */
  const waitForOthers = async (options: DrainOptions, count: (outcome: Outcome) => void) => {
    for await (const { state: at, target, key } of state.jobs.all()) {
      if (at !== "pending" || !targets.includes(target) || (await state.decisions.isKeptBack(key))) continue;
      if ((await state.ledger.target(target)).open_until > clock.now()) continue;
      const outcome = await now(target, key, options);
      if (outcome) count(outcome);
    }
  };

  return {
    now: (target, key, options = {}, request) => now(target, key, options, request),
    async drain(options = {}) {
      let [uploaded, skipped, failed] = [0, 0, 0];
      const count = ({ status }: Outcome) => {
        if (status === "success" || status === "conflict") uploaded++;
        else if (status === "skipped") skipped++;
        else failed++;
      };
      for (let pass = options; ; pass = { ...options, asked: false }) {
        const before = uploaded + skipped;
        const results = await Promise.allSettled(targets.map((name) => drainTarget(name, pass, count)));
        const fault = results.find((result) => result.status === "rejected");
        if (fault) throw fault.reason;
        // what was saved while its upload ran waits in its old place, behind us
        if (uploaded + skipped === before || !(await anyPending())) break;
      }
      if (options.asked) {
        await waitForOthers(options, count);
        for (const name of targets)
          if ((await state.ledger.target(name)).open_until <= clock.now()) await history.send(name, options);
      }
      const pending = (await state.jobs.counts()).reduce((sum, { n }) => sum + n, 0);
      return { uploaded, skipped, failed, pending };
    },
  };
}

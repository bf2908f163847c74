/**
 * The composition root: paths.json → state → targets with their wraps → memory and mirror. The only file that knows
 * every room, and the whole order of the wraps.
 * @module
 */
import { statSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { dirname, isAbsolute, join } from "node:path";
import { monotonicFactory } from "ulid";
import { setEnabled } from "./config/enable.ts";
import { loadConfig, type Config, type TargetConfig } from "./config/load.ts";
import type { Clock } from "./core/clock.ts";
import { AftersaveError, asAftersaveError, errnoOf } from "./core/errors.ts";
import { ownKey, type Key } from "./core/key.ts";
import type { Outcome } from "./core/outcome.ts";
import { targetsFor } from "./core/route.ts";
import { stack, type DriverMemory, type Target, type Wrap } from "./core/target.ts";
import type { Meta } from "./core/version.ts";
import { createLooking, type Looking } from "./history/looking.ts";
import { createShowing, type Showing } from "./history/showing.ts";
import { createDiagnosticLog } from "./logs/diagnostic.ts";
import { followLog, matchesLine, tailLog, type Filter, type LogValue, type Why } from "./logs/read.ts";
import { createErasing, type Erasing } from "./keeping/erasing.ts";
import type { EraseStepName } from "./keeping/erase.ts";
import { createKeeping, finishPruning, type Keeping } from "./keeping/keeping.ts";
import type { PruneStep } from "./keeping/prune.ts";
import { createGuard } from "./memory/guard.ts";
import { createHeads, type Heads } from "./memory/heads.ts";
import { createHolding, type Holding } from "./memory/held.ts";
import { createJournal, type Step } from "./memory/journal.ts";
import { createLogExport, type LogExport } from "./memory/log-export.ts";
import { createPlaces, type Places } from "./memory/places.ts";
import type { Receipt } from "./memory/receipt.ts";
import { SaveManager, type SavedMeta, type SaveOptions } from "./memory/save-manager.ts";
import { sweep, type SweepReport } from "./memory/sweep.ts";
import { digestOfFile, fileSource, type Body } from "./memory/content.ts";
import { createVersions } from "./memory/versions.ts";
import type { Listener, MemoryEvents } from "./memory/events.ts";
import { createAsked } from "./mirror/asked.ts";
import type { FileResult, UploadResult } from "./mirror/drive-upload.ts";
import { createGate, type ContentOf, type SecretsRoom } from "./mirror/gate.ts";
import { createPeers } from "./mirror/joined.ts";
import { createOwner, type Joined } from "./mirror/owner.ts";
import { createHistory } from "./mirror/segments.ts";
import { prove } from "./mirror/prove.ts";
import { createQueue, type Drained, type DrainOptions, type Queue } from "./mirror/queue.ts";
import { checkExit, statusOf, type Status } from "./mirror/status.ts";
import { createTrial, scratchMemory, type Trial } from "./mirror/trial.ts";
import { createUploader, type MirrorTarget } from "./mirror/upload.ts";
import { createBringing, type Bringing } from "./recovery/bringing.ts";
import { createElsewhere } from "./recovery/elsewhere.ts";
import { createProving, type Proving } from "./recovery/proving.ts";
import type { Finding } from "./recovery/doctor.ts";
import type { RebuildParts } from "./recovery/rebuild.ts";
import { openSound } from "./recovery/sound.ts";
import type { State } from "./state/state.ts";
import { createSecrets } from "./secrets/secrets.ts";
import { describeTarget, handedOver, type TargetInfo } from "./targets/describe.ts";
import { drivers, targetTypes } from "./targets/registry.ts";
import type { Dialogue, SignedIn, SignedOut } from "./targets/shared/sign-in.ts";
import type { DriverContext } from "./targets/shared/driver.ts";

export interface OpenOptions {
  /** The memory root, or a folder below it. Without it: `AFTERSAVE_ROOT`, else the nearest folder upwards with a paths.json. */
  readonly root?: string | undefined;
  /** Where relative paths begin; the process's current folder by default. */
  readonly cwd?: string | undefined;
  readonly env?: NodeJS.ProcessEnv | undefined;
  /** Ready targets in place of the drivers that paths.json names, by target name (tests, targets of your own). */
  readonly targets?: Readonly<Record<string, Target>> | undefined;
  /** A client in place of Google's, for every target of type `gdrive` (tests): the part of `google.drive({ version: "v3" })` that `mockDrive` of aftersave/testing shows. */
  readonly drive?: unknown;
  readonly clock?: Clock | undefined;
  /** The first pause between tries of an upload, in milliseconds (2,000). */
  readonly retryBaseMs?: number | undefined;
  /** Sets the state file aside, damaged or not, and rebuilds it (`doctor --rebuild`). */
  readonly rebuild?: boolean | undefined;
  /** Called at each step of a save or prune; tests stop the process there. */
  readonly onStep?: ((step: Step | PruneStep | EraseStepName) => void | Promise<void>) | undefined;
}

export interface Memory extends Looking, Keeping, Showing, Bringing, SecretsRoom, Proving, Holding, Erasing {
  /** The memory root, absolute. */
  readonly root: string;
  readonly config: Config;
  /** What was repaired or set aside when it was opened, and what is wrong with the logs; one sentence each. */
  readonly notices: readonly string[];
  append(key: string, body: Body, meta?: Meta, options?: SaveOptions): Promise<Receipt>;
  replace(key: string, body: Body, meta?: Meta, options?: SaveOptions): Promise<Receipt>;
  archive(key: string, meta?: Meta, options?: SaveOptions): Promise<Receipt>;
  saved(key: string, meta?: SavedMeta, options?: Pick<SaveOptions, "signal">): Promise<Receipt>;
  on<Name extends keyof MemoryEvents>(name: Name, listener: Listener<MemoryEvents[Name]>): () => void;
  off<Name extends keyof MemoryEvents>(name: Name, listener: Listener<MemoryEvents[Name]>): void;
  /** Looks for changes made by others and versions them as `external`. */
  sweep(): Promise<SweepReport>;
  /** Versions what the file holds now, uploads it to each of its targets, and waits. Throws only for a key that cannot be. */
  upload(path: string, meta?: Meta, options?: UploadCall): Promise<FileResult>;
  /** Uploads one receipt's file and archive copy now; the receipt with what became of them. */
  settle(receipt: Receipt, options?: DrainOptions): Promise<Receipt>;
  /** Uploads all that is pending, parked jobs included. */
  flush(options?: DrainOptions): Promise<Drained>;
  /** Does what is due as the one background worker of this root; false when another one runs. */
  work(options?: DrainOptions): Promise<boolean>;
  /** Whether a background worker runs now. */
  workerRuns(): Promise<boolean>;
  /** When the next part of the history may be sent (milliseconds since 1970); null when none waits. */
  historyDue(): Promise<number | null>;
  /** From now on this memory may write to a target's place that another memory root owns, beside it. */
  join(target: string, options?: Pick<DrainOptions, "signal">): Promise<Joined>;
  /**
   * Signs in to a target where there is something to sign in to, stores that, and proves the target by writing, reading back
   * and removing a probe. When the proof fails the sign-in stays, and the error says so.
   */
  connect(target: string, dialogue?: Dialogue): Promise<Connected>;
  /** Ends a target's sign-in and removes it here; what is mirrored stays. */
  disconnect(target: string): Promise<Disconnected>;
  status(): Promise<Status>;
  /** What paths.json says of each target, and what it promises. Asks none of them. */
  targets(): readonly TargetInfo[];
  /**
   * Room at a target, enabled or not, to try it out: a scratch folder in aftersave's own folder there. Throws what keeps the target
   * from being used, and `E_BUSY` while another process tries it out.
   */
  trial(target: string, options?: Pick<DrainOptions, "signal">): Promise<Trial>;
  /** What `status --check` exits with. */
  check(status: Status): number;
  /** The key that a text means (CONTRACT section 2). Throws `E_KEY_…`. */
  keyOf(text: string): Key;
  /** The same, for a file that is to be saved or uploaded; throws `E_KEY_…` also when it cannot be. Touches nothing. */
  checkedKeyOf(text: string): Key;
  /** The last `limit` lines of a log (all by default) that pass the filter, oldest first, rotated files included. */
  log(name: LogKind, query?: LogQuery): Promise<LogValue[]>;
  /** The last `limit` lines of a log (none by default), then each new one as it is written, until `signal` aborts. */
  followLog(name: LogKind, signal: AbortSignal, query?: LogQuery): AsyncIterable<LogValue>;
  /** Checks configuration, locks, state, logs, clock, credentials and folders. */
  doctor(options?: { fix?: boolean }): Promise<Finding[]>;
  /** Small facts that outlive the process. */
  getMeta(name: string): Promise<string | undefined>;
  setMeta(name: string, value: string): Promise<void>;
  /** Lets running saves end, writes what the logs still owe and lets go of everything. Closing twice is fine; later calls answer `E_CLOSED`. */
  close(): Promise<void>;
}

/** A target that was proven. */
export interface Connected {
  readonly target: string;
  readonly type: string;
  readonly enabled: boolean;
  /** Null where there is nothing to sign in to. */
  readonly sign_in: SignedIn | null;
  /** Where the mirror lies. */
  readonly folder: string;
}

export interface Disconnected extends SignedOut {
  readonly target: string;
}

export type LogKind = "uploads" | "archives" | "changes";

export interface LogQuery extends Filter {
  /** How many of the last lines at most. */
  readonly limit?: number | undefined;
  /** Called for each line that could not be read. */
  readonly onBad?: ((bad: { readonly path: string; readonly why: Why }) => void) | undefined;
}

export interface UploadCall extends DrainOptions {
  /** Where a relative path begins. */
  readonly cwd?: string | undefined;
}

const systemClock: Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) => pause(ms, undefined, { ref: true, ...(signal ? { signal } : {}) }),
};

type Opened = MirrorTarget & { readonly concurrency: number };

/** A mirror in a folder of this device is no protection. Null when the folder is not there to ask. */
function onSameDevice(path: string | undefined, root: string): boolean | null {
  if (path === undefined) return false;
  for (let at = path; ; at = dirname(at)) {
    try {
      return statSync(at).dev === statSync(root).dev;
    } catch (error) {
      if (errnoOf(error) !== "ENOENT" || dirname(at) === at) return null;
    }
  }
}

function driverContext(target: TargetConfig, config: Config, state: State, options: OpenOptions, clock: Clock): DriverContext {
  return {
    name: target.name,
    root: target.root,
    options: target.options,
    tokenFile: config.driveToken,
    clientFile: config.driveClient,
    timeoutMs: target.timeoutMs,
    env: options.env ?? process.env,
    memory: state.ledger.driverMemory(target.name),
    // the token file is one for all targets
    claim: (what) => state.claims.take(what, what === "token" ? "" : target.name, { waitMs: 600_000 }),
    ...(options.drive === undefined ? {} : { client: options.drive }),
    clock,
  };
}

/** The driver with its wraps, from the inside: log, time limit, bytes per second, slots, retry (docs/decisions/wraps.md). */
async function openTarget(
  target: TargetConfig,
  config: Config,
  state: State,
  options: OpenOptions,
  clock: Clock,
): Promise<Opened> {
  const inner =
    options.targets?.[target.name] ?? (await drivers[target.type]?.open(driverContext(target, config, state, options, clock)));
  if (!inner) throw new AftersaveError("E_TARGET_TYPE", `the target ${target.name} has the unknown type ${target.type}`);
  return wrapped(target, inner, config, options, clock);
}

async function wrapped(
  target: TargetConfig,
  inner: Target,
  config: Config,
  options: OpenOptions,
  clock: Clock,
  onCall?: () => void,
): Promise<Opened> {
  const [{ withLog }, { withTimeout }, { withBytesPerSecond, withSlots }, { withRetry }] = await Promise.all([
    import("./wraps/log.ts"),
    import("./wraps/timeout.ts"),
    import("./wraps/limit.ts"),
    import("./wraps/retry.ts"),
  ]);
  const diagnostic = createDiagnosticLog(join(config.stateDir, "diagnostic.log"), clock);
  const concurrency = Math.min(target.concurrency ?? 3, inner.traits.maxConcurrency);
  const wraps: Wrap[] = [
    withLog(target.name, (record) => {
      onCall?.();
      diagnostic({ at: new Date(clock.now()).toISOString(), ...record });
    }),
    withTimeout(target.timeoutMs ?? 60_000),
    ...(target.bytesPerSecond === null ? [] : [withBytesPerSecond(target.bytesPerSecond)]),
    withSlots(concurrency),
    withRetry({ attempts: target.attempts, baseMs: options.retryBaseMs }),
  ];
  return { name: target.name, attempts: target.attempts, concurrency, target: stack(inner, ...wraps) };
}

/** The current folder; where that was removed, the root that was named will do. */
function currentFolder(root: string | undefined): string {
  try {
    return process.cwd();
  } catch (error) {
    if (root !== undefined && isAbsolute(root)) return root;
    throw new AftersaveError("E_NO_ROOT", "the current folder was removed", {
      cause: error,
      hint: "Change to another folder, or name the memory root with an absolute --root.",
    });
  }
}

/** Opens the memory root that `options` name. Throws `E_NO_ROOT`, `E_CONFIG…`, `E_NO_SQLITE`, `E_STATE_…`; nothing is changed then. */
export async function openMemory(options: OpenOptions = {}): Promise<Memory> {
  const clock = options.clock ?? systemClock;
  const cwd = options.cwd ?? currentFolder(options.root);
  const config = await loadConfig({ root: options.root, cwd, env: options.env ?? process.env, targetTypes });
  const places = createPlaces(config.root, config.dataDir, config.archive);
  const heads = createHeads(join(config.stateDir, "heads"));
  const routed = (key: Key) => targetsFor(key, config.routes, config.targets);
  const { state, notices } = await openSound({
    stateDir: config.stateDir,
    clock,
    changelog: config.logs.changes,
    archive: config.archive,
    anew: options.rebuild === true,
    parts: (opened) => rebuildParts(config, opened, heads, places, routed),
  });
  try {
    return await compose({ options, config, clock, cwd, places, heads, routed, state, notices });
  } catch (error) {
    await state.close();
    throw error;
  }
}

const rebuildParts = (
  { archive, logs }: Config,
  state: State,
  heads: Heads,
  places: Places,
  targetsFor: (key: Key) => string[],
): RebuildParts => ({ state, heads, places, archive, changelog: logs.changes, archiveLog: logs.archives, targetsFor });

interface Rooms {
  readonly options: OpenOptions;
  readonly config: Config;
  readonly clock: Clock;
  readonly cwd: string;
  readonly places: Places;
  readonly heads: Heads;
  readonly routed: (key: Key) => string[];
  readonly state: State;
  readonly notices: string[];
}

async function compose({ options, config, clock, cwd, places, heads, routed, state, notices }: Rooms): Promise<Memory> {
  const logs: LogExport = createLogExport({
    outbox: state.outbox,
    saves: state.saves,
    claims: state.claims,
    evidence: state.evidence,
    clock,
    root: config.root,
    paths: config.logs,
    rotate: config.logs.rotate,
    keep: config.logs.keep,
  });
  const opened = new Map<string, Promise<Opened>>();
  const byName = new Map(config.targets.map((target) => [target.name, target]));
  const named = (name: string): TargetConfig => {
    const target = byName.get(name);
    if (target) return target;
    throw new AftersaveError("E_TARGET_UNKNOWN", `no target is named ${JSON.stringify(name)}`, {
      hint: `paths.json has: ${[...byName.keys()].join(", ") || "none"}.`,
    });
  };
  /** None for a target that a caller put in the driver's place. */
  const driverOf = ({ name, type }: TargetConfig) =>
    options.targets?.[name] || options.drive !== undefined ? undefined : drivers[type];
  const open = (name: string): Promise<Opened> => {
    const known = opened.get(name);
    if (known) return known;
    const target = named(name);
    const opening = openTarget(target, config, state, options, clock);
    opened.set(name, opening);
    return opening;
  };
  const pathAt = (target: string, key: Key) => `${byName.get(target)?.root ?? ""}${key}`;

  const enabled = config.targets.filter((target) => target.enabled).map(({ name }) => name);
  const spoolDir = join(config.stateDir, "spool");
  const keyOf = (text: string): Key => places.keyOf(text, cwd);
  const newId = idsOf(clock);
  const forgetting = createErasing({ state, heads, stateDir: config.stateDir, clock });
  const secrets = createSecrets({ ...config.secrets, keyFile: join(config.stateDir, "secrets.key"), archive: config.archive });
  const saves = new SaveManager({
    saves: state.saves,
    claims: state.claims,
    heads,
    places,
    journal: forgetting.barrier.journal(
      createJournal({ saves: state.saves, heads, places, targetsFor: routed, step: options.onStep }),
    ),
    guard: forgetting.barrier.guard(
      createGuard({
        ...state,
        heads,
        clock,
        newId,
        rules: config.guard,
        contentOf: (version) => versions.content(version),
        step: options.onStep,
      }),
    ),
    clock,
    archive: config.archive,
    spoolDir,
    newId,
    secrets,
    uploadsOf: (key) =>
      routed(key).map((target) => ({ target, status: "pending", attempts: 0, drive_path: pathAt(target, key), notes: "" })),
    onAccepted: () => logs.wake(),
  });

  const elsewhere = createElsewhere({ state, targets: enabled, open, spoolDir });
  const versions = createVersions({ saves: state.saves, heads, places, elsewhere });

  const announce = (outcome: Outcome) => {
    const { status } = outcome;
    saves.emit(
      status === "success" ? "upload" : status === "skipped" ? "skip" : status === "conflict" ? "conflict" : "fail",
      outcome,
    );
    logs.wake();
  };
  const kept: ContentOf = async (job) => {
    if (job.archive) {
      const copy = await state.saves.archiveCopy(job.key);
      if (!copy || copy.pruned) return undefined;
      const path = places.pathOf(job.key);
      if ((await digestOfFile(path))?.sha256 !== copy.sha256)
        throw new AftersaveError("E_ARCHIVE_CHANGED", `the archive copy ${job.key} was changed or removed by someone`, {
          hint: "Put the copy back, or remove the job; `aftersave doctor` lists such copies.",
        });
      return { source: fileSource(path, copy.size, copy.sha256), version: copy.version };
    }
    const head = await state.saves.head(job.key);
    return head && { source: heads.source(head), version: head.version };
  };
  const gate = createGate({ secrets, state, clock, contentOf: kept, keyOf });
  await gate.opened();
  const peers = createPeers(state, clock);
  const whereIs = (name: string): string | undefined => {
    const target = options.targets?.[name] ? undefined : byName.get(name);
    if (!target) return undefined;
    const local = drivers[target.type]?.localPath?.(target.options);
    const within = [target.options["root_url"], target.options["shared_drive"]].filter((part) => typeof part === "string");
    return local === undefined ? [target.root, ...within].join(" at ") : join(local, target.root);
  };
  const owner = createOwner({ state, clock, peers, targetsFor: routed, whereIs });
  const history = createHistory({
    state,
    clock,
    owner,
    peers,
    targets: enabled,
    open,
    onFault: (error) => notices.push(asAftersaveError(error, "sending history").message),
  });
  const queue: Queue = createQueue({
    state,
    clock,
    uploader: createUploader({
      state,
      clock,
      archive: config.archive,
      owner,
      peers,
      contentOf: forgetting.barrier.content(gate.contentOf),
      isErased: async (key, chunks) => (await forgetting.barrier.holds(key, chunks)) !== undefined,
    }),
    owner,
    history,
    targets: enabled,
    open,
    onOutcome: announce,
    before: (target, signal) => forgetting.settle(target, signal),
  });

  for (const { name, type, enabled, root, options: own } of config.targets) {
    const place = enabled && !options.targets?.[name] ? drivers[type]?.placeOf?.(root, own) : undefined;
    if (place !== undefined) await owner.placed(name, place);
  }
  const { erasing, finished } = await forgetting.begin({
    places,
    versions,
    versionsFrom: (from) =>
      createVersions({ saves: state.saves, heads, places, elsewhere: createElsewhere({ state, targets: from, open, spoolDir }) }),
    manager: saves,
    sweep: () => sweep(saves, state.saves.heads(), places),
    logs,
    newId,
    keyOf,
    targetsFor: routed,
    targets: enabled,
    open,
    owner,
    history,
    whereIs,
    said: (meta) => secrets.maskMeta(meta),
    root: config.root,
    backupDir: config.backupDir,
    others: [config.llamaInput, config.llamaOutput],
    archiveDir: places.pathOf(config.archive as Key),
    diagnosticLog: join(config.stateDir, "diagnostic.log"),
    step: options.onStep,
  });
  if (finished > 0) notices.push("an erasure that was interrupted was finished");
  const { settled, failed } = await saves.recoverAll();
  if (settled > 0) notices.push(`${settled} unfinished save${settled === 1 ? " was" : "s were"} settled`);
  notices.push(...failed.map(({ message, hint }) => (hint ? `${message}. ${hint}` : message)));
  notices.push(...(await finishPruning({ state, places })));

  const told = (): string[] => {
    const fault = logs.fault();
    return [
      ...notices,
      ...logs.notices.map(({ message }) => message),
      ...(fault ? [`${fault.message}. ${fault.hint ?? ""}`.trim()] : []),
    ];
  };

  const asked = createAsked({ state, clock, secrets, queue, targetsFor: routed, onOutcome: announce });

  const checkedKeyOf = (text: string, from = cwd): Key => {
    const key = places.keyOf(text, from);
    return places.isArchive(key) ? key : places.savable(key).key;
  };

  const upload = async (path: string, meta: Meta = {}, call: UploadCall = {}): Promise<FileResult> => {
    const key = checkedKeyOf(path, call.cwd);
    try {
      const receipt = places.isArchive(key) ? undefined : await saves.saved(key, meta);
      return await asked.upload(key, receipt?.archived_as ?? null, meta, call);
    } catch (error) {
      if (call.signal?.aborted || (error instanceof AftersaveError && error.code.startsWith("E_KEY"))) throw error;
      return asked.failed(key, error, meta);
    }
  };

  const bringing = createBringing({
    saves: state.saves,
    decisions: state.decisions,
    facts: state,
    versions,
    places,
    newId,
    manager: saves,
  });

  let closing: Promise<void> | undefined;
  const close = async () => {
    await saves.idle();
    await history.idle();
    // with the changelog on the disk nobody can later say of a cut that a power cut did it
    await logs
      .drain({ sync: "changes" })
      .catch((error: unknown) => notices.push(asAftersaveError(error, "writing the logs").message));
    for (const opening of opened.values()) await (await opening.catch(() => undefined))?.target.close();
    await state.close();
  };

  const localPathOf = (target: TargetConfig) =>
    options.targets?.[target.name] ? undefined : drivers[target.type]?.localPath?.(target.options);

  return {
    ...erasing,
    ...createKeeping({
      state,
      said: (meta) => secrets.maskMeta(meta),
      places,
      versions,
      clock,
      newId,
      keyOf,
      retention: config.retention,
      targets: config.targets
        .filter((target) => target.enabled)
        .map((target) => ({
          name: target.name,
          get sameDevice() {
            return onSameDevice(localPathOf(target), config.root);
          },
        })),
      open,
      own: (to, call) => owner.own(to, call),
      again: (to, keys) => owner.again(to, keys),
      onLine: () => logs.wake(),
      step: options.onStep,
    }),
    ...gate.room,
    ...bringing,
    ...createProving(
      {
        state,
        heads,
        places,
        root: config.root,
        stateDir: config.stateDir,
        changelog: config.logs.changes,
        clock,
        archive: config.archive,
        targetsFor: routed,
        open,
        whose: (to, key, sha256) => peers.whose(to, key, sha256, {}),
      },
      {
        rebuild: rebuildParts(config, state, heads, places, routed),
        saves,
        spoolDir,
        open,
        newId,
        restoreAt: bringing.restoreAt,
        planRestoreAt: bringing.planRestoreAt,
        wake: () => logs.wake(),
      },
    ),
    ...createLooking({
      saves: state.saves,
      decisions: state.decisions,
      ledger: state.ledger,
      jobs: state.jobs,
      versions,
      heads,
      places,
      targetsFor: routed,
      keyOf,
      root: config.root,
      blamesDir: join(config.stateDir, "blames"),
    }),
    ...createHolding({ ...state, heads, manager: saves, versions }),
    ...createShowing({ saves: state.saves, versions, places, keyOf }),
    root: config.root,
    config,
    get notices() {
      return told();
    },
    append: (key, body, meta, call) => saves.append(key, body, meta, call),
    replace: (key, body, meta, call) => saves.replace(key, body, meta, call),
    archive: (key, meta, call) => saves.archive(key, meta, call),
    saved: (key, meta, call) => saves.saved(key, meta, call),
    on: (name, listener) => saves.on(name, listener),
    off: (name, listener) => saves.off(name, listener),
    async sweep() {
      const report = await sweep(saves, state.saves.heads(), places);
      // a file whose name holds a secret is named without it
      const refused = report.refused.map(async (one) => ({ ...one, path: await secrets.maskText(one.path) }));
      return { ...report, refused: await Promise.all(refused) };
    },
    upload,
    async settle(receipt, call = {}) {
      if (receipt.sha256 === null && receipt.archived_as) {
        const sent = await asked.send(receipt.archived_as, null, call);
        return { ...receipt, uploads: sent.map(({ target, ...outcome }) => ({ target, ...uploadOf(outcome) })) };
      }
      const sent = await asked.send(receipt.file, receipt.archived_as, call);
      const uploads = receipt.uploads.map((known) => {
        const outcome = sent.find(({ target }) => target === known.target);
        return outcome ? { target: known.target, ...uploadOf(outcome) } : known;
      });
      return { ...receipt, uploads };
    },
    flush: (call = {}) => queue.drain({ ...call, asked: true }),
    async work(call = {}) {
      for (;;) {
        const release = await state.claims.tryTake("worker", "worker");
        if (!release) return false;
        let drained: Drained;
        try {
          drained = await queue.drain(call);
          await logs.drain();
        } finally {
          release();
        }
        // a save that saw the worker at work started none: look again now that the claim is free
        const waiting = (await state.jobs.counts()).some((count) => count.state === "pending");
        if (!waiting || drained.uploaded + drained.skipped === 0) return true;
      }
    },
    async workerRuns() {
      const release = await state.claims.tryTake("worker", "worker");
      release?.();
      return release === undefined;
    },
    historyDue: () => history.due(),
    async join(name, { signal } = {}) {
      if (byName.has(name) && !enabled.includes(name))
        throw new AftersaveError("E_TARGET_DISABLED", `the target ${name} is not enabled`, {
          hint: `Set "enabled": true at targets.${name} in paths.json; nothing is sent to it before.`,
        });
      return owner.join(await open(name), { signal });
    },
    async connect(name, dialogue = {}) {
      const target = named(name);
      const driver = driverOf(target);
      const signIn = (await driver?.connect?.(driverContext(target, config, state, options, clock), dialogue)) ?? null;
      try {
        await prove((await open(name)).target, newId(), { signal: dialogue.signal });
      } catch (error) {
        if (dialogue.signal?.aborted) throw error;
        const { code, message, hint } = asAftersaveError(error, "the proof");
        const what = signIn === null ? `${name} failed its proof` : `the sign-in to ${name} is stored, but its proof failed`;
        throw new AftersaveError(code, `${what}: ${message}`, { cause: error, ...(hint === undefined ? {} : { hint }) });
      }
      const local = driver?.localPath?.(target.options);
      const folder = local === undefined ? target.root : join(local, target.root);
      return { target: name, type: target.type, enabled: target.enabled, sign_in: signIn, folder };
    },
    async disconnect(name) {
      const target = named(name);
      const driver = driverOf(target);
      if (!driver?.disconnect)
        throw new AftersaveError("E_USAGE", `${name} has no sign-in: it is of type ${target.type}`, {
          hint: `To send nothing there any more, set "enabled": false at targets.${name} in paths.json.`,
        });
      return { target: name, ...(await driver.disconnect(driverContext(target, config, state, options, clock))) };
    },
    async status() {
      await logs.drain().catch(() => undefined); // a log that cannot be written is something to know: `check` looks at it
      return statusOf(
        state,
        config.targets.map((target) => ({
          name: target.name,
          type: target.type,
          enabled: target.enabled,
          sameDevice: onSameDevice(localPathOf(target), config.root),
          handedOver: options.targets?.[target.name] ? null : handedOver(target.type, target.options, drivers[target.type]),
        })),
      );
    },
    targets: () => config.targets.map((target) => describeTarget(target, drivers[target.type])),
    async trial(name, { signal } = {}) {
      const target = named(name);
      const driver = driverOf(target);
      if (!driver)
        throw new AftersaveError("E_TARGET_TYPE", `${name} cannot be tried out: no driver of type ${target.type} opens it`);
      const { id } = await state.segments.writer();
      const root = `${target.root}${ownKey(`check-${id}`)}/`;
      const contextAt = (at: string, memory: DriverMemory): DriverContext => ({
        ...driverContext(target, config, state, options, clock),
        root: at,
        memory,
        claim: (what) => state.claims.take(what, what === "token" ? "" : `${name} tried out`, { waitMs: 600_000 }),
      });
      const clear = driver.clear;
      const release = await state.claims.tryTake("check", name);
      if (!release)
        throw new AftersaveError("E_BUSY", `${name} is being tried out already`, {
          hint: "Wait until that `aftersave check` has ended.",
        });
      return createTrial({
        name,
        type: target.type,
        enabled: target.enabled,
        root,
        folder: describeTarget({ ...target, root }, driver).where,
        open: async (at, memory, onCall) =>
          (await wrapped(target, await driver.open(contextAt(at, memory)), config, options, clock, onCall)).target,
        clearFolder: clear && ((at) => clear(contextAt(at, scratchMemory()))),
        run: newId().toLowerCase(),
        release,
        signal,
      });
    },
    check: (status) => (logs.fault() ? Math.max(1, checkExit(status, clock.now())) : checkExit(status, clock.now())),
    keyOf,
    checkedKeyOf: (text) => checkedKeyOf(text),
    async log(name, { limit = Number.POSITIVE_INFINITY, onBad, ...filter } = {}) {
      await logs.drain().catch(() => undefined); // closing tells of it; what stands in the file is shown all the same
      const where = (value: LogValue) => matchesLine(value, filter);
      return (await tailLog(config.logs[name], limit, { withRotated: true, where, onBad })).map(({ value }) => value);
    },
    async *followLog(name, signal, { limit = 0, onBad, ...filter } = {}) {
      await logs.drain().catch(() => undefined);
      const path = config.logs[name];
      const [last] = await tailLog(path, 1);
      let known = last?.offset ?? -1; // up to here the tail shows, from here on the file is followed
      const where = (value: LogValue) => matchesLine(value, filter);
      for (const line of await tailLog(path, limit, { withRotated: true, where, onBad }))
        if (line.path !== path || line.offset <= known) yield line.value;
      for await (const line of followLog(path, signal, { from: Math.max(0, known), onBad })) {
        if (line.offset === known) known = -1;
        else if (where(line.value)) yield line.value;
      }
    },
    async doctor(call = {}) {
      const { examine } = await import("./recovery/doctor.ts");
      return examine({
        config,
        state,
        heads,
        places,
        logs,
        clock,
        fix: call.fix === true,
        recover: () => saves.recoverAll(),
        note: createDiagnosticLog(join(config.stateDir, "diagnostic.log"), clock),
        targets: config.targets.map((target) => {
          const { name, type, enabled, options: own } = target;
          const examineIt = options.targets?.[name] ? undefined : drivers[type]?.examine;
          const localPath = options.targets?.[name] ? undefined : drivers[type]?.localPath?.(own);
          return {
            name,
            enabled,
            localPath,
            sameDevice: onSameDevice(localPath, config.root),
            pathOf: (key) => pathAt(name, key),
            open: async () => (await open(name)).target,
            mend: async () => {
              const to = await open(name);
              const gone = (await to.target.audit?.({ all: true })) ?? [];
              const { lostAt } = await import("./recovery/verify-target.ts");
              const whose = (key: Key, sha256: string) => peers.whose(to, key, sha256, {});
              const lost = [...new Set([...gone, ...(await lostAt({ state, to, targetsFor: routed, whose, call: {} }))])];
              if (lost.length > 0) await owner.again(to, lost);
              return lost.length;
            },
            ...(examineIt && {
              examine: (waiting: number) => examineIt(driverContext(target, config, state, options, clock), waiting),
            }),
          };
        }),
      });
    },
    getMeta: (name) => state.getMeta(name),
    setMeta: (name, value) => state.setMeta(name, value),
    close: () => (closing ??= close()),
  };
}

const uploadOf = ({ status, attempts, drive_path, notes, code }: Omit<Outcome, "target">) => ({
  status,
  attempts,
  drive_path,
  notes,
  ...(code === undefined ? {} : { code }),
});

/** Version ids that sort in the order in which they were made, also when the clock goes backwards. */
function idsOf(clock: Clock): () => string {
  const next = monotonicFactory();
  return () => next(clock.now());
}

/** A target that was enabled or disabled in paths.json. */
export interface Switched {
  readonly target: string;
  readonly type: string;
  readonly enabled: boolean;
  /** False when it was so already. */
  readonly changed: boolean;
  /** Whether it is one that `connect` signs in to. */
  readonly signs_in: boolean;
  readonly file: string;
}

/** Sets `enabled` of a target in paths.json, also in one that cannot be used because of it. Writes nothing that could not be used. */
export async function switchTarget(
  name: string,
  enabled: boolean,
  { root, cwd = currentFolder(root), env = process.env }: Pick<OpenOptions, "root" | "cwd" | "env"> = {},
): Promise<Switched> {
  const { config, changed } = await setEnabled({ root, cwd, env, targetTypes }, name, enabled);
  const type = config.targets.find((target) => target.name === name)?.type ?? "";
  return { target: name, type, enabled, changed, signs_in: drivers[type]?.connect !== undefined, file: config.file };
}

export interface DriveUploadOptions extends Omit<OpenOptions, "cwd"> {
  /** An open memory, to be used instead of opening one for this call. */
  readonly memory?: Memory | undefined;
}

/** Metadata as the original function took it. */
export interface UploadMetadata extends Meta {}

/**
 * Uploads one memory file now and waits: resolves target and path from paths.json, skips bytes that are verified
 * there, tries up to three times, logs the outcome. Never throws for what a network, an account or a file can do;
 * throws for a path that cannot be memory and for a configuration that cannot be used.
 */
export async function driveUpload(
  localFilePath: string,
  metadata: UploadMetadata = {},
  options: DriveUploadOptions = {},
): Promise<UploadResult> {
  const memory = options.memory ?? (await openMemory({ ...options, root: options.root }));
  try {
    const { file: _, targets: __, ...result } = await memory.upload(localFilePath, metadata);
    return result;
  } finally {
    if (!options.memory) await memory.close();
  }
}

export { SaveManager } from "./memory/save-manager.ts";
export type { Config } from "./config/load.ts";
export type { AsOf, ChangedFile } from "./history/as-of.ts";
export type { Difference, DiffWay } from "./history/compare.ts";
export type { Diff, DiffQuery, DiffSide } from "./history/diff.ts";
export type { Blame, BlameLine, BlameOptions } from "./history/blame.ts";
export type { History, HistoryEntry, HistoryQuery, HistoryVersion } from "./history/history.ts";
export type { Standing } from "./history/standing.ts";
export type { TraceRecord } from "./history/trace.ts";
export type { Shown, ShowQuery } from "./history/show.ts";
export type { Hunk } from "./text/hunks.ts";
export type { Json, PathChange } from "./text/json.ts";
export type { Part } from "./text/words.ts";
export type { Body } from "./memory/content.ts";
export type { MemoryEvents } from "./memory/events.ts";
export type { HeldSave } from "./memory/guard.ts";
export type { Holding, Settled, SettleOptions } from "./memory/held.ts";
export type { Receipt, ReceiptUpload } from "./memory/receipt.ts";
export type { SavedMeta, SaveOptions } from "./memory/save-manager.ts";
export type { SweepReport } from "./memory/sweep.ts";
export type { Dialogue, SignedIn, SignedOut } from "./targets/shared/sign-in.ts";
export type { LogValue } from "./logs/read.ts";
export type { FileResult, UploadResult } from "./mirror/drive-upload.ts";
export type { Trial, TrialPlace } from "./mirror/trial.ts";
export type { TargetInfo, TellableTraits } from "./targets/describe.ts";
export type { Joined } from "./mirror/owner.ts";
export type { FileSecrets, SecretsRoom } from "./mirror/gate.ts";
export type { SecretFinding, SecretPolicy } from "./secrets/secrets.ts";
export type { Drained, DrainOptions } from "./mirror/queue.ts";
export type { Status, TargetStatus } from "./mirror/status.ts";
export type { ApplyOptions, Restored } from "./recovery/apply.ts";
export type { Bringing } from "./recovery/bringing.ts";
export type { Finding } from "./recovery/doctor.ts";
export type { FromChange, FromTarget, FromTargetOptions, Missing, NotBrought, NotOurs } from "./recovery/from-target.ts";
export type { ToldMemory } from "./recovery/told.ts";
export type { Proving } from "./recovery/proving.ts";
export type { TargetReport, VerifyOptions, VerifyReport } from "./recovery/verify.ts";
export type { VerifyFinding } from "./recovery/verify-local.ts";
export type { Left, RestoreAction, RestorePlan, SavesOf } from "./recovery/plan.ts";
export type { MomentOptions, RestoreWish } from "./recovery/restore.ts";
export type { UndoWish } from "./recovery/undo.ts";
export type { Erasing as Forgetting } from "./keeping/erasing.ts";
export type { ErasedBy, ErasedCopy, EraseOptions, EraseWish, Erasing, Forgotten, Remains } from "./keeping/receipt.ts";
export type { EraseStepName } from "./keeping/erase.ts";
export type { Keeping, PruneQuery } from "./keeping/keeping.ts";
export type { Pinned } from "./keeping/pin.ts";
export type { PlannedVersion, PrunePlan, Removal } from "./keeping/plan.ts";
export type { Pruned, PruneOptions, PruneStep, Stayed } from "./keeping/prune.ts";

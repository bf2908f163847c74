/**
 * One upload: compare with the ledger, write with a guard, check what the target answers, keep what others wrote.
 * @module
 */
import { AftersaveError, asAftersaveError, TargetError, type ErrorCode } from "../core/errors.ts";
import { archiveKey, type ArchiveFolder, type Key } from "../core/key.ts";
import type { Clock } from "../core/clock.ts";
import type { Outcome, UploadStatus } from "../core/outcome.ts";
import { uploadLine } from "../core/outcome.ts";
import type { Call, Chunks, Entry, Guard, Source, Tries } from "../core/target.ts";
import type { Version } from "../core/version.ts";
import type { Job } from "../state/jobs.ts";
import type { Mirrored } from "../state/ledger.ts";
import type { State } from "../state/state.ts";
import type { Content, ContentOf } from "./gate.ts";
import type { Peers } from "./joined.ts";
import type { Owner } from "./owner.ts";
import { hashOf, kindOf, PARK_MS, sha256Of, type MirrorTarget } from "./place.ts";

export type { MirrorTarget } from "./place.ts";

export interface UploadParts {
  readonly state: State;
  readonly clock: Clock;
  readonly archive: ArchiveFolder;
  readonly owner: Owner;
  readonly peers: Peers;
  /** The bytes of a job as they may leave this machine; undefined when the key holds nothing any more. */
  readonly contentOf: ContentOf;
  /** Whether bytes that lie at a target hold what was erased. */
  readonly isErased: (key: Key, chunks: Chunks) => Promise<boolean>;
}

const ROUNDS = 6;

export interface UploadOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((sent: number) => void) | undefined;
}

/** Whose bytes lie at a target. */
interface Theirs {
  /** In words; null when nobody of ours is known to have written them. */
  readonly whose: string | null;
  /** The history that its writer has told there names them. */
  readonly isTold: boolean;
}

interface Written {
  readonly entry: Entry;
  readonly notes: readonly string[];
  readonly conflict: boolean;
}

export interface Uploader {
  /** Runs the job, logs its outcome and records it. The upload must be claimed, and the job fresh from the state. */
  upload(to: MirrorTarget, job: Job, options: UploadOptions): Promise<Outcome>;
}

export function createUploader({ state, clock, archive, owner, peers, contentOf, isErased }: UploadParts): Uploader {
  const { ledger, saves, segments } = state;

  /** What someone else put in our place, kept under an archive name beside ours before ours is written. */
  const keepAside = async (to: MirrorTarget, key: Key, remote: Entry, { whose, isTold }: Theirs, call: Call): Promise<Key> => {
    // an earlier try kept it, and then could not write ours
    for (const kept of await ledger.conflicts()) {
      if (kept.target !== to.name || kept.key !== key || kept.sha256 !== (await sha256Of(to.target, remote, call))) continue;
      const there = await to.target.stat(kept.kept_as, { ...call, hash: true });
      if (there && (await sha256Of(to.target, there, call)) === kept.sha256) return kept.kept_as;
    }
    const timestamp = new Date(clock.now()).toISOString();
    for (let count = 1; ; count++) {
      const aside = archiveKey(key, timestamp, count, archive);
      if (await saves.archiveCopy(aside)) continue; // the name of a copy of our own, which may still be on its way
      try {
        const copy = await to.target.copy(key, aside, { ...call, expect: remote });
        const sha256 = await sha256Of(to.target, copy, call);
        await ledger.addConflict({ target: to.name, key, kept_as: aside, sha256, at: clock.now(), whose }, isTold);
        return aside;
      } catch (error) {
        const there = kindOf(error) === "conflict" && (await to.target.stat(aside, call)) !== undefined;
        if (!there) throw error;
      }
    }
  };

  /** What was erased and lies there again, a disk that was brought back, goes for good; false when that is not what lies there. */
  const purged = async ({ target }: MirrorTarget, key: Key, remote: Entry, call: Call): Promise<boolean> => {
    if (!(await target.read(key, (chunks) => isErased(key, chunks), call))) return false;
    await target.remove(key, { ...call, expect: remote });
    await target.purge?.(key, call);
    return true;
  };

  /** The guard failed: what is there decides whether it is ours, or someone else's to be kept first. */
  const settle = async (to: MirrorTarget, job: Job, body: Source, known: Mirrored | undefined, call: Call) => {
    const remote = await to.target.stat(job.key, { ...call, hash: true });
    if (!remote) return { expect: "absent" as const, notes: ["it was removed at the target and is sent again"] };
    const sha256 = await sha256Of(to.target, remote, call);
    if (sha256 === body.sha256 && remote.size === body.size)
      return { entry: remote, notes: ["the same bytes were already there"] };
    const ours = (await saves.everHeld(job.key, sha256)) || (await ledger.maskedOf(job.key, sha256)) !== undefined;
    if (sha256 === known?.sha256 || ours) return { expect: remote, notes: ["an older version of ours was there"] };
    if (await purged(to, job.key, remote, call))
      return { expect: "absent" as const, notes: ["what was erased lay there again; it was removed for good"] };
    const writer = await peers.whose(to, job.key, sha256, call);
    const isTold = writer !== undefined;
    // a writer whose history is still on its way has stamped the file, where the place can hold a stamp
    const whose = isTold || remote.stamp ? await peers.inWords(to, writer ?? remote.stamp?.writer) : null;
    const at = to.target.pathOf(await keepAside(to, job.key, remote, { whose, isTold }, call));
    const note =
      whose === null
        ? `someone else's content was there; it is kept as ${at}`
        : `${whose} had saved another version${remote.stamp ? ` (${remote.stamp.version})` : ""} meanwhile; it is kept as ${at}: compare it with yours, and save here what should stay`;
    return { expect: remote, conflict: !isTold, notes: [note] };
  };

  const write = async (to: MirrorTarget, job: Job, body: Source, version: string, guard: Guard): Promise<Written> => {
    const known = await ledger.mirrored(to.name, job.key);
    const { id: writer } = await segments.writer();
    let expect: Guard["expect"] = known ?? "absent";
    let conflict = false;
    const notes: string[] = [];
    for (let round = 1; ; round++) {
      const erased = await state.erasure.erasedByOthers(job.key, version, job.sha256);
      if (erased) throw erasedElsewhere(job.key, erased);
      try {
        const entry = await to.target.put(job.key, body, { ...guard, expect, version, writer });
        if (!entry.displaced) return { entry, notes, conflict };
        const kept = `${job.key}#revision=${entry.displaced.rev}` as Key;
        await ledger.addConflict({ target: to.name, key: job.key, kept_as: kept, sha256: null, at: clock.now(), whose: null });
        notes.push(`someone else's content came in while ours was sent; it is kept for ever as ${to.target.pathOf(kept)}`);
        return { entry, notes, conflict: true };
      } catch (error) {
        const kind = kindOf(error);
        if (kind === "not-found" && expect !== "absent") {
          expect = "absent";
          notes.push("it was removed at the target and is sent again");
          await peers.learn(to, guard); // by an erasure of another machine, may be
        } else if (kind === "conflict" && round < ROUNDS) {
          const found = await settle(to, job, body, known, guard);
          notes.push(...found.notes);
          conflict ||= found.conflict === true;
          if (found.entry) return { entry: found.entry, notes, conflict };
          expect = found.expect;
        } else throw error;
      }
    }
  };

  /** "success" is never said without a hash that is ours; a place that has none says so. */
  const prove = async (to: MirrorTarget, body: Source, entry: Entry): Promise<string[]> => {
    if (entry.size !== body.size && entry.hash) throw lied(to, `reports ${entry.size} bytes where ${body.size} were sent`);
    if (!entry.hash) return [handedOver(to)];
    const { algo, hex } = entry.hash;
    const ours = algo === "sha256" ? body.sha256 : await hashOf(body.open(), algo);
    if (ours !== hex) throw lied(to, `reports another ${algo} than the one that was sent`);
    return [];
  };

  const checkTwin = async (to: MirrorTarget, key: Key) => {
    if (to.target.traits.caseSensitive) return;
    const twin = await ledger.twin(to.name, key);
    if (twin)
      throw new AftersaveError("E_KEY_TWIN", `${to.name} ignores case and already holds ${twin}`, {
        hint: `Rename one of ${JSON.stringify(key)} and ${JSON.stringify(twin)}.`,
      });
  };

  const outcome = (to: MirrorTarget, job: Job, rest: Pick<Outcome, "status" | "attempts" | "notes" | "code">): Outcome => ({
    file: job.key,
    target: to.name,
    drive_path: to.target.pathOf(job.key),
    version: job.version,
    sha256: job.sha256,
    size: job.size,
    ...rest,
  });

  const line = (result: Outcome, job: Job) => uploadLine(result, job.actor, new Date(clock.now()).toISOString());

  const skip = async (to: MirrorTarget, job: Job, notes: string): Promise<Outcome> => {
    const result = outcome(to, job, { status: "skipped", attempts: 0, notes, code: undefined });
    await ledger.settle(job, line(result, job));
    return result;
  };

  const succeed = async (to: MirrorTarget, job: Job, tries: Tries, body: Source, written: Written, proof: readonly string[]) => {
    const result = outcome(to, job, {
      status: written.conflict ? "conflict" : "success",
      attempts: tries.used,
      notes: [...written.notes, ...proof].join("; "),
      code: written.conflict ? "E_CONFLICT" : undefined,
    });
    const copy: Mirrored = {
      key: job.key,
      rev: written.entry.rev,
      id: written.entry.id,
      sha256: body.sha256,
      size: body.size,
      version: job.version,
      verified_at: clock.now(),
      drive_path: to.target.pathOf(job.key),
    };
    await ledger.record(job, copy, line(result, job));
    return result;
  };

  const fail = async (to: MirrorTarget, job: Job, tries: Tries, error: unknown): Promise<Outcome> => {
    const known = asAftersaveError(error, `uploading ${job.key} to ${to.name}`);
    const status = statusOfCode[known.code] ?? "fail";
    const result = outcome(to, job, {
      status,
      attempts: status === "token_missing" ? 0 : tries.used,
      notes: known.hint === undefined ? known.message : `${known.message}. ${known.hint}`,
      code: known.code,
    });
    const canPass = !(["E_KEY_TWIN", "E_ARCHIVE_CHANGED", "E_TARGET_UNSUPPORTED", "E_BLOCKED", "E_ERASED"] as string[]).includes(
      known.code,
    );
    await state.jobs.park(job, {
      code: known.code,
      notes: result.notes,
      attempts: result.attempts,
      canPass,
      runAt: clock.now() + Math.max(PARK_MS, (known instanceof TargetError && known.retryAfterMs) || 0),
    });
    await ledger.note(line(result, job));
    return result;
  };

  /** The job waits as it is until a person has settled it. */
  const held = async (to: MirrorTarget, job: Job): Promise<Outcome> => {
    const result = outcome(to, job, { status: "held", attempts: 0, notes: HELD_NOTES, code: "E_HELD" });
    await ledger.note(line(result, job));
    return result;
  };

  const attempt = async (to: MirrorTarget, job: Job, { signal, onProgress }: UploadOptions): Promise<Outcome> => {
    const tries: Tries = { used: 1, most: to.attempts };
    let content: Content | undefined;
    try {
      content = await contentOf(job);
    } catch (error) {
      return fail(to, job, { used: 0, most: 0 }, error);
    }
    if (!content) return skip(to, job, "the key holds nothing any more");
    const { source, version, notes } = content;
    const current: Job = { ...job, version, sha256: source.sha256, size: source.size };
    if (await state.decisions.isKeptBack(job.key)) return held(to, current); // asked only now: what is held came with its content
    try {
      await owner.own(to, { signal, tries });
      if (await state.erasure.owes(to.name, job.key)) throw owing(to, job.key);
      const there = await ledger.mirrored(to.name, job.key);
      if (there?.sha256 === source.sha256)
        return await skip(
          to,
          current,
          `unchanged: these bytes were ${to.target.traits.hashes.length > 0 ? "verified there" : "handed over"} at ${new Date(there.verified_at).toISOString()}`,
        );
      await checkTwin(to, job.key);
      const written = await write(to, current, source, version, { signal, tries, onProgress });
      const proof = await prove(to, source, written.entry);
      return await succeed(to, current, tries, source, written, [...(notes ?? []), ...proof]);
    } catch (error) {
      if (signal?.aborted) throw error;
      let now: Content | undefined;
      try {
        now = await contentOf(job);
      } catch (changed) {
        return fail(to, current, tries, changed);
      }
      if (now && now.source.sha256 !== source.sha256)
        return attempt(to, (await state.jobs.job(to.name, job.key)) ?? job, { signal, onProgress });
      return fail(to, current, tries, error);
    }
  };

  return { upload: attempt };
}

/** Of an upload that waits for a person. */
export const HELD_NOTES =
  "the guard holds what the file holds now. Settle it with `aftersave accept` or `aftersave reject`; `aftersave history --held` lists it.";

/** Said of what nobody can prove to have arrived. */
const handedOver = ({ target: { traits } }: MirrorTarget) =>
  traits.handedTo === undefined
    ? "the target reports no hash, so the copy is handed over, not verified"
    : `handed over to ${traits.handedTo}, not verified: whether it arrives is not seen from here`;

const statusOfCode: Partial<Record<ErrorCode, UploadStatus>> = {
  E_TOKEN_MISSING: "token_missing",
  E_CONFLICT: "conflict",
  E_BLOCKED: "blocked",
  E_ERASED: "blocked",
};

const owing = (to: MirrorTarget, key: Key) =>
  new TargetError("transient", `what was erased of ${key} could not be removed from ${to.name} yet`, {
    hint: "It is sent when that is done; `aftersave flush` tries both now.",
  });

const erasedElsewhere = (key: Key, { version, file }: Version) =>
  new AftersaveError("E_ERASED", `${key} holds what another machine of this memory erased (version ${version})`, {
    hint: `It stays on this machine. Run the same \`aftersave erase\` here; \`aftersave erase ${JSON.stringify(`${file}@${version}`)}\` takes what that version brought.`,
    details: { version },
  });

const lied = (to: MirrorTarget, what: string) =>
  new TargetError("corrupt", `${to.name} ${what}`, {
    hint: "It is tried again later; `aftersave log uploads --status fail` shows how often.",
  });

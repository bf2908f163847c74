/**
 * How safe the memory is, in facts (DESIGN promise 11).
 * @module
 */
import { ERRORS, EXIT, type ErrorCode } from "../core/errors.ts";
import type { ProvenRestore } from "../state/ledger.ts";
import type { TargetWriter } from "../state/segments.ts";
import type { State } from "../state/state.ts";

export interface TargetStatus {
  readonly type: string;
  readonly enabled: boolean;
  /** `signed_out`, `unreachable` and else `failing` name the last failure's kind; `new`: nothing was ever sent. */
  readonly state: "ok" | "new" | "failing" | "unreachable" | "signed_out" | "disabled";
  readonly last_success_at: string | null;
  readonly last_verified_at: string | null;
  readonly last_proven_restore_at: string | null;
  /** What that restore was: files, bytes, and how long it took. */
  readonly proven_restore: ProvenRestore | null;
  /** The mirror lies on the memory root's own device: no protection against that device's end. Null when it cannot be told. */
  readonly same_device: boolean | null;
  /** Who takes what is put there without any proof that it arrived: a desktop client, or the type of a target that reports no hash. */
  readonly handed_over: string | null;
  readonly pending: number;
  readonly failed: number;
  /** Why the last upload failed; null when it did not. */
  readonly code: ErrorCode | null;
  /** Who is known to write there: this memory, and those beside it. Empty until history was sent. */
  readonly writers: readonly TargetWriter[];
}

/** Someone else's content that was found at a target. */
interface StatusConflict {
  readonly target: string;
  readonly file: string;
  /** The key under which theirs is kept at that target. */
  readonly kept_as: string;
  readonly at: string;
  /** In words: the other machine whose save it is; null when it is a stranger's. */
  readonly whose: string | null;
}

/** A file that does not go to a target. */
interface StatusBlocked {
  readonly target: string;
  readonly file: string;
  /** `E_BLOCKED`: it seems to hold a secret. `E_ERASED`: it holds what was erased. */
  readonly code: ErrorCode | null;
  readonly notes: string;
}

export interface Status {
  readonly files: number;
  readonly pending: number;
  readonly failed: number;
  readonly held: number;
  /** Uploads that wait until what is held in their files is settled. */
  readonly held_uploads: number;
  /** Uploads that are kept here because their files seem to hold a secret, or hold what was erased. */
  readonly blocked: number;
  /** These uploads, oldest first. `notes` names what was found by rule and place. */
  readonly blocked_list: readonly StatusBlocked[];
  /** Found at targets and kept there, and not yet looked at (`doctor --fix`). */
  readonly conflicts: number;
  /** These conflicts, oldest first. */
  readonly conflict_list: readonly StatusConflict[];
  /** The oldest of what waits: an unfinished upload, also one of what is held, or a line of history that is on no target. */
  readonly oldest_pending_at: string | null;
  /** How often the changelog file was found altered since someone last looked (`verify`, `doctor --fix`). */
  readonly altered: number;
  /** Copies at targets that an erasure could not reach yet. */
  readonly erasing: number;
  /** Bytes of accepted content that no target on another device holds, verified. */
  readonly unprotected_bytes: number;
  readonly targets: Readonly<Record<string, TargetStatus>>;
}

/** What status must know of a configured target. */
export interface StatusTarget {
  readonly name: string;
  readonly type: string;
  readonly enabled: boolean;
  readonly sameDevice: boolean | null;
  readonly handedOver: string | null;
}

const timeOf = (ms: number) => new Date(ms).toISOString();
const iso = (ms: number | null) => (ms === null ? null : timeOf(ms));

const signedOut = new Set<ErrorCode>(["E_TOKEN_MISSING", "E_AUTH"]);

export async function statusOf(state: State, targets: readonly StatusTarget[]): Promise<Status> {
  const counts = await state.jobs.counts();
  const sum = (of: "pending" | "failed", target?: string) =>
    counts.filter((c) => c.state === of && (target === undefined || c.target === target)).reduce((total, { n }) => total + n, 0);
  const blocked = await state.jobs.blocked();
  const shown: Record<string, TargetStatus> = {};
  for (const { name, type, enabled, sameDevice, handedOver } of targets) {
    const known = await state.ledger.target(name);
    const code = known.code ?? (await state.segments.fault(name));
    const failing = code !== null && code !== "E_CONFLICT";
    const away = code === "E_TARGET_UNREACHABLE" ? "unreachable" : "failing";
    const health = signedOut.has(code as ErrorCode) ? "signed_out" : away;
    shown[name] = {
      type,
      enabled,
      state: !enabled ? "disabled" : failing ? health : known.last_success_at === null ? "new" : "ok",
      last_success_at: iso(known.last_success_at),
      last_verified_at: handedOver === null ? iso(known.last_verified_at) : null,
      last_proven_restore_at: iso(known.last_proven_restore_at),
      proven_restore: known.proven,
      same_device: sameDevice,
      handed_over: handedOver,
      pending: sum("pending", name),
      failed: sum("failed", name) - blocked.filter(({ target }) => target === name).length,
      code: enabled ? code : null,
      writers: await state.segments.writers(name),
    };
  }
  const proven = targets.filter((target) => target.enabled && target.sameDevice !== true && target.handedOver === null);
  const elsewhere = proven.map(({ name }) => name);
  const history = await state.segments.oldestWaiting(targets.filter((target) => target.enabled).map(({ name }) => name));
  const held = await state.jobs.held();
  const oldest = [...counts.map((count) => count.oldest), held.oldest, history].filter((at) => at !== null);
  const conflicts = await state.ledger.conflicts();
  return {
    blocked: blocked.length,
    blocked_list: blocked.map(({ target, key, code, notes }) => ({ target, file: key, code, notes })),
    files: await state.saves.countHeads(),
    pending: sum("pending"),
    failed: sum("failed") - blocked.length,
    held: await state.decisions.countHeld(),
    held_uploads: held.n,
    conflicts: conflicts.length,
    conflict_list: conflicts.map(({ target, key, kept_as, at, whose }) => ({
      target,
      file: key,
      kept_as,
      at: timeOf(at),
      whose,
    })),
    oldest_pending_at: oldest.length === 0 ? null : iso(Math.min(...oldest)),
    altered: (await state.evidence.list()).filter(({ what }) => what !== "regained").length,
    erasing: (await state.erasure.places()).length,
    unprotected_bytes: (await state.ledger.unprotected(elsewhere)).bytes,
    targets: shown,
  };
}

/** After so long an unfinished upload is no longer "on its way". */
export const PENDING_TOO_LONG_MS = 15 * 60_000;

/** Whether a person must decide before this target takes anything; a conflict that was found there is counted by itself. */
const isUndecided = ({ enabled, code }: TargetStatus): boolean =>
  enabled && code !== null && code !== "E_CONFLICT" && ERRORS[code].exit === EXIT.undecided;

/** Whether nothing was ever accepted that could be lost. */
const isEmpty = ({ files, pending, failed, unprotected_bytes }: Status): boolean =>
  files + pending + failed + unprotected_bytes === 0;

/** What `status --check` answers: 0 when all is safe, else 1, 4 or 5, the worst of it. */
export function checkExit(status: Status, now: number): number {
  const targets = Object.values(status.targets);
  if (status.held > 0 || status.blocked > 0 || status.conflicts > 0 || status.altered > 0 || targets.some(isUndecided))
    return EXIT.undecided;
  const enabled = targets.filter((target) => target.enabled);
  if (enabled.some((target) => target.state === "signed_out")) return EXIT.signedOut;
  const nowhere = enabled.length === 0 && !isEmpty(status);
  const late = status.oldest_pending_at !== null && now - Date.parse(status.oldest_pending_at) > PENDING_TOO_LONG_MS;
  return nowhere || status.failed > 0 || status.erasing > 0 || late ? EXIT.failed : EXIT.ok;
}

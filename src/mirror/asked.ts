/**
 * Uploads that someone asked for by name and waits for.
 * @module
 */
import type { Clock } from "../core/clock.ts";
import { AftersaveError, asAftersaveError } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import { uploadLine, type Outcome } from "../core/outcome.ts";
import { actorOf, type Meta } from "../core/version.ts";
import type { JobRequest } from "../state/jobs.ts";
import type { Secrets } from "../secrets/secrets.ts";
import type { State } from "../state/state.ts";
import { sumUp, type FileResult } from "./drive-upload.ts";
import type { DrainOptions, Queue } from "./queue.ts";

export interface AskedParts {
  readonly state: State;
  readonly clock: Clock;
  /** Keeps secrets out of what the upload log says of whoever asks. */
  readonly secrets: Pick<Secrets, "maskActor">;
  readonly queue: Queue;
  readonly targetsFor: (key: Key) => readonly string[];
  readonly onOutcome: (outcome: Outcome) => void;
}

export interface Asked {
  /** Sends what is kept of `key` to each of its targets now, an archive copy that belongs to it first. */
  send(key: Key, archivedAs: Key | null, call: DrainOptions): Promise<Outcome[]>;
  /** Makes jobs for what is kept of `key` and sends them; throws when nothing is kept or no target takes it. */
  upload(key: Key, archivedAs: Key | null, meta: Meta, call: DrainOptions): Promise<FileResult>;
  /** The result, logged and announced, of an upload that failed before a target was reached. */
  failed(key: Key, error: unknown, meta: Meta): Promise<FileResult>;
}

export function createAsked({ state, clock, secrets, queue, targetsFor, onOutcome }: AskedParts): Asked {
  const send = async (key: Key, archivedAs: Key | null, call: DrainOptions, requests: readonly JobRequest[] = []) => {
    const outcomes = await Promise.all(
      targetsFor(key).map(async (target) => {
        if (archivedAs) await queue.now(target, archivedAs, call); // the old content first: it is about to be replaced there
        return queue.now(
          target,
          key,
          call,
          requests.find((request) => request.target === target),
        );
      }),
    );
    return outcomes.filter((outcome) => outcome !== undefined);
  };

  return {
    send,
    async upload(key, archivedAs, meta, call) {
      const targets = targetsFor(key);
      if (targets.length === 0)
        throw new AftersaveError("E_TARGET_DISABLED", `no enabled target is routed for ${key}`, {
          hint: "Enable a target in paths.json, or route this file to one.",
        });
      const copy = await state.saves.archiveCopy(key);
      const content = copy ?? (await state.saves.head(key));
      if (!content)
        throw new AftersaveError("E_NOT_FOUND", `${key} does not exist`, {
          hint: "Check the path; nothing is kept under this key.",
        });
      const { version, sha256, size } = content;
      const { actor } = await secrets.maskActor(key, actorOf(meta));
      const requests = targets.map((target) => ({ target, key, version, sha256, size, archive: copy !== undefined, actor }));
      await state.jobs.enqueue(requests);
      return sumUp(key, await send(key, archivedAs, call, requests));
    },
    async failed(key, error, meta) {
      const known = asAftersaveError(error, `uploading ${key}`);
      const targets = targetsFor(key);
      const { actor } = await secrets.maskActor(key, actorOf(meta));
      const outcomes = (targets.length > 0 ? targets : ["none"]).map((target): Outcome => ({
        file: key,
        target,
        status: "fail",
        attempts: 0,
        drive_path: null,
        notes: known.hint ? `${known.message}. ${known.hint}` : known.message,
        code: known.code,
        version: null,
        sha256: null,
        size: null,
      }));
      for (const outcome of outcomes) {
        await state.ledger.note(uploadLine(outcome, actor, new Date(clock.now()).toISOString()));
        onOutcome(outcome);
      }
      return sumUp(key, outcomes);
    },
  };
}

/**
 * The gate in front of every target: what holds a secret stays here, or leaves with it covered (docs/decisions/secrets.md).
 * @module
 */
import type { Clock } from "../core/clock.ts";
import { AftersaveError } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import { uploadLine } from "../core/outcome.ts";
import type { Source } from "../core/target.ts";
import type { Findings, SecretFinding, SecretPolicy, Secrets } from "../secrets/secrets.ts";
import type { Job } from "../state/jobs.ts";
import type { State } from "../state/state.ts";

/** Bytes on their way to a target. */
export interface Content {
  readonly source: Source;
  readonly version: string;
  /** What the upload log says of them besides. */
  readonly notes?: readonly string[];
}

export type ContentOf = (job: Pick<Job, "key" | "archive">) => Promise<Content | undefined>;

/** What was found in one file. */
export interface FileSecrets {
  readonly file: Key;
  readonly policy: SecretPolicy;
  /** All that was found and is not allowed by its fingerprint. */
  readonly count: number;
  /** The first of them. */
  readonly findings: readonly SecretFinding[];
  /** Targets that do not get it. */
  readonly blocked_at: readonly string[];
}

/** What the memory says of secrets. */
export interface SecretsRoom {
  /** What is found in the content kept of `key`, a file or an archive copy; without one, in all that the gate keeps here. */
  secrets(key?: string): Promise<FileSecrets[]>;
  /** `key` shall stay on this machine as it is: its blocked uploads are over. A later save is asked about anew. Answers the targets. */
  keepHere(key: string): Promise<readonly string[]>;
}

export interface GateParts {
  readonly secrets: Secrets;
  readonly state: State;
  readonly clock: Clock;
  readonly contentOf: ContentOf;
  readonly keyOf: (text: string) => Key;
}

export interface Gate {
  /** What may leave of a job's content; throws `E_BLOCKED` when it may not. */
  readonly contentOf: ContentOf;
  readonly room: SecretsRoom;
  /** Looks again at what was kept here, if the rules or what is allowed are others than the last time. */
  opened(): Promise<void>;
}

const PRINT = "secrets_print";

/** Rule and place of each, never the value. */
function say({ count, told }: Findings): string {
  const some = told.slice(0, 5).map(({ rule, line, column, fingerprint }) => `${rule} at ${line}:${column} (${fingerprint})`);
  return [...some, ...(count > some.length ? [`and ${count - some.length} more`] : [])].join(", ");
}

const blocked = (key: Key, found: Findings, policy: SecretPolicy) =>
  new AftersaveError(
    "E_BLOCKED",
    `${key} holds what looks like a secret: ${say(found)}${policy === "mask" ? "; it is too long to be masked" : ""}`,
    {
      hint: "It stays on this machine. Take it out and save again; or, if it may leave, `aftersave secrets allow` its fingerprint, or `aftersave secrets keep` the file here.",
      details: { findings: found.told, count: found.count },
    },
  );

export function createGate({ secrets, state, clock, contentOf, keyOf }: GateParts): Gate {
  /** By which rules something was kept here: with others it is looked at again. */
  const judged = async () => {
    if ((await state.getMeta(PRINT)) !== secrets.print) await state.setMeta(PRINT, secrets.print);
  };

  const pass = async (key: Key, content: Content): Promise<Content> => {
    const policy = secrets.policyOf(key);
    if (policy === "allow") return content;
    const found = await secrets.find(content.source);
    if (found.count === 0) return content;
    if (policy === "block" || found.tooLong) {
      await judged();
      throw blocked(key, found, policy);
    }
    const source = await secrets.masked(content.source);
    await state.ledger.addMasked(key, source.sha256, content.version);
    return { ...content, source, notes: [`masked: ${say(found)}`] };
  };

  const look = async (key: Key, targets: readonly string[]): Promise<FileSecrets | undefined> => {
    const archive = (await state.saves.archiveCopy(key)) !== undefined;
    const content = await contentOf({ key, archive });
    if (!content) return undefined;
    const { count, told } = await secrets.find(content.source);
    return { file: key, policy: secrets.policyOf(key), count, findings: told, blocked_at: targets };
  };

  return {
    async contentOf(job) {
      for (;;) {
        const content = await contentOf(job);
        try {
          return content && (await pass(job.key, content));
        } catch (error) {
          // another content came while this one was read
          if (error instanceof AftersaveError || (await contentOf(job))?.source.sha256 === content?.source.sha256) throw error;
        }
      }
    },
    async opened() {
      const kept = (await state.jobs.blocked()).filter(({ code }) => code === "E_BLOCKED");
      if (kept.length === 0 || (await state.getMeta(PRINT)) === secrets.print) return;
      await state.jobs.unblock("E_BLOCKED");
      await judged();
    },
    room: {
      async secrets(text) {
        const jobs = (await state.jobs.blocked()).filter(({ code }) => code === "E_BLOCKED");
        const keys = text === undefined ? [...new Set(jobs.map(({ key }) => key))] : [keyOf(text)];
        const files: FileSecrets[] = [];
        for (const key of keys) {
          const found = await look(
            key,
            jobs.filter((job) => job.key === key).map(({ target }) => target),
          );
          if (found) files.push(found);
          else if (text !== undefined)
            throw new AftersaveError("E_NOT_FOUND", `nothing is kept of ${key}`, {
              hint: "Check the path; `aftersave secrets` lists what is kept from the targets.",
            });
        }
        return files;
      },
      async keepHere(text) {
        const key = keyOf(text);
        const jobs = (await state.jobs.blocked()).filter((job) => job.key === key);
        for (const job of jobs) {
          const { target, version, sha256, size, actor } = job;
          const notes = "someone decided that it stays on this machine";
          const outcome = {
            file: key,
            target,
            status: "blocked" as const,
            attempts: 0,
            drive_path: null,
            notes,
            version,
            sha256,
            size,
          };
          await state.ledger.settle(job, uploadLine(outcome, actor, new Date(clock.now()).toISOString()));
        }
        return jobs.map(({ target }) => target);
      },
    },
  };
}

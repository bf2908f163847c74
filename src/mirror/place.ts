/**
 * A target as the mirror uses it, and the small files there that are aftersave's own.
 * @module
 */
import { hexOf } from "../core/digest.ts";
import { TargetError, type ErrorCode } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import type { Call, Chunks, Entry, Guard, Source, Target } from "../core/target.ts";

/** A target as the mirror uses it: wrapped, and with its name. */
export interface MirrorTarget {
  readonly name: string;
  /** Tries of one whole write. */
  readonly attempts: number;
  readonly target: Target;
}

/** Failures after which nothing else of the target is tried: it cannot be reached, or does not let us in. */
export const closes: ReadonlySet<ErrorCode> = new Set([
  "E_TARGET_UNREACHABLE",
  "E_SDK_MISSING",
  "E_AUTH",
  "E_TARGET_IN_USE",
  "E_SIGN_IN_EXPIRED",
  "E_SIGN_IN_SCOPE",
  "E_SIGN_IN_CLIENT",
  "E_SIGN_IN_POLICY",
  "E_API_DISABLED",
  "E_NO_STORAGE",
  "E_DAILY_LIMIT",
]);

/** How long a parked job waits at least. */
export const PARK_MS = 60_000;

export const kindOf = (error: unknown) => (error instanceof TargetError ? error.kind : undefined);

export async function hashOf(chunks: Chunks, algo: string): Promise<string> {
  const hex = await hexOf(() => chunks, algo);
  if (hex === undefined) throw new TargetError("unsupported", `the target reports a hash (${algo}) that is not known here`);
  return hex;
}

/** The sha256 of what is there: as reported, else by reading it. */
export async function sha256Of(target: Target, entry: Entry, call: Call): Promise<string> {
  if (entry.hash?.algo === "sha256") return entry.hash.hex;
  return target.read(entry.key, (chunks) => hashOf(chunks, "sha256"), call);
}

/** A whole file; undefined when it is longer than `most` bytes. */
export async function readBytes(target: Target, key: Key, most: number, call: Call): Promise<Buffer | undefined> {
  return target.read(
    key,
    async (chunks) => {
      const pieces: Uint8Array[] = [];
      let size = 0;
      for await (const chunk of chunks) {
        size += chunk.length;
        if (size > most) return undefined;
        pieces.push(Buffer.from(chunk));
      }
      return Buffer.concat(pieces);
    },
    call,
  );
}

/** A whole text file. What is longer than `most` bytes is none of ours: undefined. */
export const readText = async (target: Target, key: Key, most: number, call: Call): Promise<string | undefined> =>
  (await readBytes(target, key, most, call))?.toString("utf8");

/** The fields of a JSON object; none when it is not one. */
export function fieldsOf(text: string | undefined): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text ?? "");
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** A file that is written once and never changed: whether it was `made`, is there with the `same` bytes, or with `other` ones. */
export async function putOnce(target: Target, key: Key, body: Source, guard: Guard): Promise<"made" | "same" | "other"> {
  try {
    const { hash } = await target.put(key, body, { ...guard, expect: "absent" });
    const ours = hash && (hash.algo === "sha256" ? body.sha256 : await hashOf(body.open(), hash.algo));
    if (ours !== hash?.hex)
      throw new TargetError("corrupt", `${target.pathOf(key)} is reported with another ${hash?.algo} than the one that was sent`);
    return "made";
  } catch (error) {
    if (kindOf(error) !== "conflict") throw error;
    const there = await target.stat(key, { ...guard, hash: true });
    if (!there) throw error;
    return (await sha256Of(target, there, guard)) === body.sha256 ? "same" : "other";
  }
}

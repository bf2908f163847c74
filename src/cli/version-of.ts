/**
 * `KEY[@VERSION]`, as people write it.
 * @module
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import { AftersaveError, type Key, type Memory } from "../index.ts";

/** A key with the version that was named with it. */
export interface VersionOf {
  readonly key: Key;
  readonly version: string | undefined;
}

const WITH_VERSION = /^(?<key>.+)@(?<version>-\d{1,9}|[0-9A-HJKMNP-TV-Z]{4,26})$/is;
/** The beginning of a version, too short to be one. */
const SHORT = /^(?<key>.+)@(?<version>-?|[0-9A-HJKMNP-TV-Z]{1,3})$/is;

/**
 * Takes `KEY[@VERSION]` apart: what stands behind the last `@` is a version when it looks like one, unless a memory file has
 * that whole name; where both could be meant, `note` is told. Throws `E_KEY_…`, and `E_VERSION` for what is too short.
 */
export function versionOf(memory: Memory, text: string, note?: (says: string) => void): VersionOf {
  const short = SHORT.exec(text)?.groups;
  const { key, version } = short ?? WITH_VERSION.exec(text)?.groups ?? {};
  if (key === undefined || version === undefined) return { key: memory.keyOf(text), version: undefined };
  const whole = fileAt(memory, text);
  if (whole !== undefined) {
    if (!short && fileAt(memory, key) !== undefined)
      note?.(
        `note: ${whole} is itself a memory file, and that is meant; for the version ${version} of ${key}, give its id: \`aftersave history ${key}\` shows it`,
      );
    return { key: whole, version: undefined };
  }
  const named = { key: memory.keyOf(key), version };
  if (!short) return named;
  throw new AftersaveError(
    "E_VERSION",
    `${JSON.stringify(`@${version}`)} names no version of ${named.key}: at least four characters are needed`,
    {
      hint: `Give the last four or more characters of its id (\`aftersave history ${named.key}\` lists them), or -1 for the one before now.`,
    },
  );
}

/** The key of a memory file that is there; undefined where there is none, or cannot be one of that name. */
function fileAt(memory: Memory, text: string): Key | undefined {
  try {
    const key = memory.keyOf(text);
    return statSync(join(memory.config.dataDir, key), { throwIfNoEntry: false })?.isFile() === true ? key : undefined;
  } catch (error) {
    if (error instanceof AftersaveError || (error as NodeJS.ErrnoException).code === "ENAMETOOLONG") return undefined;
    throw error;
  }
}

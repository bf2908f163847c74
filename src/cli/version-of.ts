/**
 * `KEY[@VERSION]`, as people write it.
 * @module
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import type { Key, Memory } from "../index.ts";

/** A key with the version that was named with it. */
export interface VersionOf {
  readonly key: Key;
  readonly version: string | undefined;
}

const WITH_VERSION = /^(?<key>.+)@(?<version>-\d{1,9}|[0-9A-HJKMNP-TV-Z]{4,26})$/is;

/**
 * Takes `KEY[@VERSION]` apart: what stands behind the last `@` is a version when it looks like one, unless a memory file has
 * that whole name. Throws `E_KEY_…`.
 */
export function versionOf(memory: Memory, text: string): VersionOf {
  const { key, version } = WITH_VERSION.exec(text)?.groups ?? {};
  if (key === undefined || version === undefined) return { key: memory.keyOf(text), version: undefined };
  const whole = memory.keyOf(text);
  const isFile = statSync(join(memory.config.dataDir, whole), { throwIfNoEntry: false })?.isFile() === true;
  return isFile ? { key: whole, version: undefined } : { key: memory.keyOf(key), version };
}

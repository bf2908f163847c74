/**
 * The proof that a target can be used: by using it.
 * @module
 */
import { createHash } from "node:crypto";
import { ownKey } from "../core/key.ts";
import { TargetError } from "../core/errors.ts";
import type { Call, Source, Target } from "../core/target.ts";

/** Writes a small file of our own, reads it back and removes it. Throws what the target throws, and `corrupt` for other bytes. */
export async function prove(target: Target, id: string, call: Call = {}): Promise<void> {
  const key = ownKey(`probe-${id}.txt`);
  const bytes = Buffer.from(`aftersave proves that it can write here (${id}). This file may be removed.\n`);
  const body: Source = {
    size: bytes.length,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    open: async function* () {
      yield bytes;
    },
  };
  await target.put(key, body, { ...call, expect: "absent" });
  try {
    const read = await target.read(
      key,
      async (chunks) => {
        const parts: Uint8Array[] = [];
        for await (const chunk of chunks) parts.push(chunk);
        return Buffer.concat(parts);
      },
      call,
    );
    if (!read.equals(bytes)) throw new TargetError("corrupt", `${target.pathOf(key)} was read back with other bytes`);
  } catch (error) {
    await target.remove(key).catch(() => undefined); // the first fault is the one to tell
    throw error;
  }
  await target.remove(key, call);
}

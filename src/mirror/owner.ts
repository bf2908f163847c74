/**
 * The marker that says whose a target's root is. A second memory root is refused until it is joined on purpose.
 * @module
 */
import { AftersaveError, TargetError } from "../core/errors.ts";
import { ownKey } from "../core/key.ts";
import type { Call, Source, Target } from "../core/target.ts";
import { createHash } from "node:crypto";

const MARKER = ownKey("root.json");

const sourceOf = (text: string): Source => {
  const bytes = Buffer.from(text, "utf8");
  return {
    size: bytes.length,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    async *open() {
      yield bytes;
    },
  };
};

async function readMarker(target: Target, call: Call): Promise<string> {
  return target.read(
    MARKER,
    async (chunks) => {
      const pieces: Uint8Array[] = [];
      for await (const chunk of chunks) pieces.push(chunk);
      return Buffer.concat(pieces).toString("utf8");
    },
    call,
  );
}

/** The root id that a marker names; undefined when the marker cannot be read as one. */
function idIn(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && "memory_root" in value ? String(value.memory_root) : undefined;
  } catch {
    return undefined;
  }
}

/** Puts our marker into an unowned root (true), or finds it there (false); throws `E_TARGET_IN_USE` when it is another's. */
export async function claimRoot(target: Target, name: string, rootId: string, call: Call): Promise<boolean> {
  const marker = `${JSON.stringify({ memory_root: rootId, note: "aftersave mirrors one memory root here; see docs/targets" }, null, 2)}\n`;
  try {
    if (!(await target.stat(MARKER, call))) {
      await target.put(MARKER, sourceOf(marker), { ...call, expect: "absent" });
      return true;
    }
  } catch (error) {
    if (!(error instanceof TargetError) || error.kind !== "conflict") throw error;
  }
  const owner = idIn(await readMarker(target, call));
  if (owner === rootId) return false;
  throw new AftersaveError(
    "E_TARGET_IN_USE",
    `${target.pathOf(MARKER)} on ${name} says that another memory root is mirrored there`,
    {
      hint: "Give this target another `root` in paths.json. If it is this memory after its state and logs were lost, move the old mirror's folder aside first, or remove that one file by hand.",
      details: { owner: owner ?? null },
    },
  );
}

import { afterEach } from "vitest";
import { stack, type Target } from "../../../src/core/target.ts";
import { withRetry } from "../../../src/wraps/retry.ts";
import { type S3Emulator, type Settings, startS3 } from "./emulator.ts";
import { memoryOf, type Opening, openAt } from "./place.ts";

/** Run after each test, in reverse. */
const undo: Array<() => unknown> = [];
afterEach(async () => {
  for (const back of undo.splice(0).toReversed()) await back();
});

export const PART = 64 * 1024;

export interface OnS3 {
  readonly s3: S3Emulator;
  readonly target: Target;
  /** What the driver remembers. */
  readonly values: Map<string, string>;
  /** Another one, with the same memory unless another is given. */
  readonly open: (opening?: Opening) => Promise<Target>;
  /** Wrapped as the engine does it. */
  readonly retrying: Target;
}

export async function onS3(settings: Partial<Settings> = {}, opening: Opening = {}): Promise<OnS3> {
  const s3 = await startS3({ minPartBytes: PART, ...settings });
  undo.push(() => s3.close());
  const values = new Map<string, string>();
  const open = async (more: Opening = {}) => {
    const target = await openAt(s3, { memory: memoryOf(values), tuning: { partBytes: PART }, ...opening, ...more });
    undo.push(() => target.close());
    return target;
  };
  const target = await open();
  return { s3, target, values, open, retrying: stack(target, withRetry({ baseMs: 1 })) };
}

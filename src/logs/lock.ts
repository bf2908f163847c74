/**
 * A courtesy between programs: while lines are appended, `<log>.lock` says so to others that follow the same convention.
 * Nothing depends on it (docs/decisions/log-locks.md).
 * @module
 */
import { realpath } from "node:fs/promises";
import { resolve } from "node:path";
import { errnoOf } from "../core/errors.ts";

/** As long as a lock may stand untouched before others take it over. */
const STALE = 10_000;
const PATIENCE = 250;

const gaveUp = new Map<string, number>();

/**
 * Runs `work` while holding the courtesy lock of the log at `path`, or without it after about 250 ms: a killed holder
 * leaves it for 10 s, and no save may wait for that. Once given up, the next calls do not wait again until it is stale.
 */
export async function withCourtesy<T>(path: string, work: () => Promise<T>): Promise<T> {
  const release = await acquire(path);
  try {
    return await work();
  } finally {
    await release();
  }
}

async function acquire(path: string): Promise<() => Promise<void>> {
  const { lock } = await import("proper-lockfile");
  // A log that is a symbolic link is locked where others find it; one that does not exist yet, where it will be.
  const place = await realpath(path).catch(() => resolve(path));
  const patient = (gaveUp.get(place) ?? 0) < performance.now();
  try {
    const release = await lock(place, {
      realpath: false,
      stale: STALE,
      retries: patient ? { retries: 12, factor: 1.3, minTimeout: 4, maxTimeout: 40, randomize: true, maxRetryTime: PATIENCE } : 0,
      // Losing it harms nothing; the library's default would end the process.
      onCompromised: () => undefined,
    });
    gaveUp.delete(place);
    return () => release().catch(() => undefined);
  } catch (error) {
    if (patient && errnoOf(error) === "ELOCKED") gaveUp.set(place, performance.now() + STALE);
    return () => Promise.resolve();
  }
}

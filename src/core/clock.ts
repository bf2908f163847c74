/**
 * Time as the rest of the code may know it. `core` holds only the type; the composition root hands in a real one.
 * @module
 */
export interface Clock {
  /** Now, in milliseconds since 1970. */
  now(): number;
  /** Resolves after `ms`; rejects with the signal's reason when it aborts first. Keeps the process alive meanwhile. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/**
 * Events that harm nobody: a listener that throws, rejects or never settles changes neither the save nor the others.
 * @module
 */
import type { Outcome } from "../core/outcome.ts";
import type { HeldSave } from "./guard.ts";
import type { Receipt } from "./receipt.ts";

export interface MemoryEvents {
  append: Receipt;
  replace: Receipt;
  archive: Receipt;
  restore: Receipt;
  external: Receipt;
  accept: Receipt;
  reject: Receipt;
  upload: Outcome;
  skip: Outcome;
  fail: Outcome;
  conflict: Outcome;
  held: HeldSave;
}

export type Listener<T> = (event: T) => unknown;

export interface Events<Shape extends object> {
  on<Name extends keyof Shape>(name: Name, listener: Listener<Shape[Name]>): () => void;
  off<Name extends keyof Shape>(name: Name, listener: Listener<Shape[Name]>): void;
  /** Returns at once; listeners run afterwards, each on its own. */
  emit<Name extends keyof Shape>(name: Name, event: Shape[Name]): void;
}

/** What a listener throws is not ours to handle and not to be lost: it becomes a process warning. */
function warn(name: PropertyKey, error: unknown): void {
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.emitWarning(`a listener of "${String(name)}" failed: ${message}`, { code: "AFTERSAVE_LISTENER" });
}

export function createEvents<Shape extends object>(): Events<Shape> {
  const listeners = new Map<keyof Shape, Set<Listener<never>>>();
  return {
    on(name, listener) {
      const known = listeners.get(name) ?? new Set();
      listeners.set(name, known.add(listener));
      return () => void known.delete(listener);
    },
    off: (name, listener) => void listeners.get(name)?.delete(listener),
    emit(name, event) {
      for (const listener of listeners.get(name) ?? [])
        queueMicrotask(() => {
          try {
            const result = (listener as Listener<unknown>)(event);
            if (result instanceof Promise) result.catch((error: unknown) => warn(name, error));
          } catch (error) {
            warn(name, error);
          }
        });
    },
  };
}

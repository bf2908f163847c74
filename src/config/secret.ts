/**
 * A value that must never be seen by accident.
 * @module
 */
import { inspect } from "node:util";

const shown = "[redacted]";

/** Holds a secret. However it is printed, joined, serialised or inspected it says `[redacted]`; only `reveal` tells. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The secret itself. Hand it straight to whoever needs it; never store the answer. */
  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return shown;
  }

  toJSON(): string {
    return shown;
  }

  [inspect.custom](): string {
    return shown;
  }
}

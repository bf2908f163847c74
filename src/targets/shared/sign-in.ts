/**
 * What a driver that people sign in to says and asks, whoever talks to them.
 * @module
 */

/** The person at the other end. */
export interface Dialogue {
  /** Called with the address to open in a browser, once its answer can be received. */
  readonly onAddress?: ((address: string) => void) | undefined;
  /** The file of the app that signs in, if it was named. It is copied to its place. */
  readonly clientFile?: string | undefined;
  /** Shows `guide` and asks for a path, or for `text` as it is typed; undefined when none is given. Left out where nobody can be asked. */
  readonly ask?: ((guide: string, question: string, as?: "path" | "text") => Promise<string | undefined>) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** How long a person may take. */
  readonly waitMs?: number | undefined;
}

export interface SignedIn {
  /** `user`, `service_account` or `adc`. */
  readonly kind: string;
  readonly account: string | null;
  /** What the sign-in allows. */
  readonly scopes: readonly string[];
  /** Where it is stored. */
  readonly file: string | null;
}

export interface SignedOut {
  readonly file: string;
  /** Whether there was a file. */
  readonly removed: boolean;
  /** What became of the sign-in at the provider. */
  readonly revoked: "revoked" | "already invalid" | "nothing";
}

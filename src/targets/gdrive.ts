/**
 * Google Drive without an account: says what is missing, and keeps every save in the queue until it is there.
 * @module
 */
import { existsSync } from "node:fs";
import { TargetError } from "../core/errors.ts";
import type { Target } from "../core/target.ts";

export interface GdriveOptions {
  readonly name: string;
  readonly root: string;
  readonly tokenFile: string;
}

/** A target that answers every verb with why it cannot: `E_TOKEN_MISSING` while there is no token file. */
export function createGdriveTarget({ name, root, tokenFile }: GdriveOptions): Target {
  const refuse = (): TargetError =>
    existsSync(tokenFile)
      ? new TargetError("unsupported", `this version cannot write to Google Drive yet (target ${name})`, {
          hint: "The save is kept and waits. Use a target of type folder in paths.json until the Drive driver is there.",
        })
      : new TargetError("auth", `there is no Google sign-in for ${name}: ${tokenFile} does not exist`, {
          code: "E_TOKEN_MISSING",
          hint: "The save is kept and waits. To mirror without an account, use a target of type folder in paths.json.",
        });
  const refused = async (): Promise<never> => {
    throw refuse();
  };
  return {
    kind: "gdrive",
    traits: {
      atomicPut: true,
      guardedPut: false,
      identity: "id",
      listing: "eventual",
      caseSensitive: true,
      hashes: ["sha256", "md5"],
      maxConcurrency: 3,
    },
    pathOf: (key) => `${root}${key}`,
    list: () => ({ [Symbol.asyncIterator]: () => ({ next: refused }) }),
    stat: refused,
    read: refused,
    put: refused,
    copy: refused,
    remove: refused,
    close: async () => undefined,
  };
}

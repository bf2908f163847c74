/**
 * Names that are found at a target.
 * @module
 */
import { AftersaveError } from "../../core/errors.ts";
import { type Key, parseKey } from "../../core/key.ts";

/** The key that a path at a target stands for; undefined for one that no memory file can have: it is someone else's. */
export function keyOf(path: string): Key | undefined {
  try {
    return parseKey(path);
  } catch (error) {
    if (error instanceof AftersaveError) return undefined;
    throw error;
  }
}

/**
 * What a target promises, as people read it.
 * @module
 */
import type { TellableTraits } from "../index.ts";

/** One line; what is only found out at the place is left out, and named at its end. */
export function sayTraits(
  { atomic, guarded, hashes, case_sensitive, listing, concurrency }: TellableTraits,
  handedOver: string | null,
): string {
  const known = [
    atomic === null ? undefined : atomic ? "whole files only" : "half a file can be seen",
    guarded === null ? undefined : guarded ? "guarded by the place" : "looked at before each write",
    hashes === null
      ? undefined
      : hashes.length === 0
        ? `no proof of arrival: handed over${handedOver === null ? "" : ` to ${handedOver}`}`
        : `proven by ${hashes.join(" or ")}`,
    case_sensitive === null ? undefined : case_sensitive ? "A.txt is not a.txt" : "A.txt is a.txt",
    listing === null ? undefined : listing === "immediate" ? "lists at once" : "lists with a delay",
    concurrency === null ? undefined : `${concurrency} at a time`,
  ].filter((part) => part !== undefined);
  const open = Object.entries({ atomicity: atomic, guard: guarded, hashes, case: case_sensitive, listing })
    .filter(([, value]) => value === null)
    .map(([name]) => name);
  return [...known, ...(open.length === 0 ? [] : [`found out there: ${open.join(", ")}`])].join("; ");
}

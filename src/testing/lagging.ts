/**
 * A wrap whose listings lag, as those of places with `listing: "eventual"` do.
 * @module
 */
import { type Entry, forward, type Wrap } from "../core/target.ts";

/** Each listing shows the place as it was `listings` listings ago; at first, as it was before anything was written. */
export function withLag(listings = 1): Wrap {
  return (inner) => {
    const past: Entry[][] = Array.from({ length: listings }, () => []);
    return forward(inner, {
      traits: { ...inner.traits, listing: "eventual" },
      async *list(prefix, call) {
        const now: Entry[] = [];
        for await (const entry of inner.list("", call)) now.push(entry);
        past.push(now);
        for (const entry of past.shift() ?? []) if (entry.key.startsWith(prefix)) yield entry;
      },
    });
  };
}

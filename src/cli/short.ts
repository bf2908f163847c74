/**
 * Version ids and other people's texts, fit for a terminal.
 * @module
 */

/** Control characters, and what turns the order of the text around: whoever writes a memory must not write to the terminal. */
export const printable = (text: string): string => text.replaceAll(/[^\P{Cc}\t]|[\u202A-\u202E\u2066-\u2069]/gu, "\uFFFD");

/** What is enough to tell two versions apart nearly always, and may be typed. */
const SHORTEST = 6;

/** Shortens ids to their ends: as long as no two of `ids` have the same one. */
export function shortened(ids: readonly string[]): (id: string) => string {
  const all = [...new Set(ids)];
  const longest = Math.max(SHORTEST, ...new Set(all.map((id) => id.length)));
  for (let length = SHORTEST; length < longest; length++)
    if (new Set(all.map((id) => id.slice(-length))).size === all.length) return (id) => id.slice(-length);
  return (id) => id;
}

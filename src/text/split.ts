/**
 * A text as lines.
 * @module
 */

/** Lines with their ends, so that joining them gives the text again. */
export const linesOf = (text: string): string[] => text.match(/[^\n]*\n|[^\n]+$/g) ?? [];

/**
 * Where a prune notes that it is under way.
 * @module
 */

/** The name of the fact that files of this machine may be owed their removal: the place of the newest line before it began. */
export const PRUNING = "pruning";

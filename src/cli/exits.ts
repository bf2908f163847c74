/**
 * Exit codes of what was uploaded (CONTRACT section 5).
 * @module
 */
import { ERRORS, EXIT, type ErrorCode } from "../index.ts";

/** How one upload ended. */
export interface Ended {
  readonly status: string;
  readonly code?: ErrorCode | undefined;
}

const byStatus: Readonly<Record<string, number>> = {
  token_missing: EXIT.signedOut,
  conflict: EXIT.undecided,
  held: EXIT.undecided,
  blocked: EXIT.undecided,
};

/** What went well has no code. An outcome is never wrong usage: a folder in the file's place at the target has failed. */
const badness = ({ status, code }: Ended): number => {
  if (code === undefined) return status === "success" || status === "skipped" ? EXIT.ok : (byStatus[status] ?? EXIT.failed);
  return ERRORS[code].exit === EXIT.usage ? EXIT.failed : ERRORS[code].exit;
};

/** 0 when all went well, 3 when some did, else the exit code of the worst. */
export function exitOfUploads(uploads: readonly Ended[]): number {
  const bad = uploads.map(badness).filter((exit) => exit > 0);
  return bad.length > 0 && bad.length < uploads.length ? EXIT.partly : Math.max(0, ...new Set(bad));
}

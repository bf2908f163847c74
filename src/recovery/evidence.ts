/**
 * What was noticed of the changelog file, in words for people.
 * @module
 */
import type { Evidence } from "../state/evidence.ts";
import { plural } from "./finding.ts";

interface Said {
  /** `warning`: nobody knows of a wrong line. */
  readonly level: "error" | "warning";
  readonly what: string;
  /** Ends with whether data is at risk. */
  readonly why: string;
  readonly next: string;
}

const WHY_FILE =
  "Another program, a person or a backup that was put back did it; the file was mended. No data is at risk: the state has every line that was accepted.";

const tookOver = ({ lines, path, line }: Evidence) =>
  `${plural(lines ?? 0, "line")} stood in the changelog (${path}${line === null ? "" : `, from line ${line} on`})`;

const what: Readonly<Record<Evidence["what"], (of: Evidence) => string>> = {
  removed: ({ path }) => `the changelog ${path} was removed`,
  cut: ({ path, place }) => `the changelog ${path} was cut: it ended before line ${place} of the history`,
  altered: ({ path, line, place }) => `the changelog ${path} was altered in line ${line}, line ${place} of the history`,
  added: ({ path, line }) =>
    line === null
      ? `the changelog ${path} has bytes besides its lines that nobody of ours wrote: other line ends, or a mark at its beginning`
      : `something that nobody of ours wrote stood in the changelog ${path}, line ${line}`,
  unknown: (of) => `${tookOver(of)} that the state did not know; taken over`,
  regained: (of) => `${tookOver(of)} while the state was gone or damaged; taken over`,
};

const why: Readonly<Record<Evidence["what"], string>> = {
  removed: WHY_FILE,
  cut: WHY_FILE,
  altered: WHY_FILE,
  added: "Another program or a person wrote there. No data is at risk: the lines of the history stand, and the state has them.",
  unknown:
    "It is so after an older state was put back, and looks the same when somebody forged them with right sums. Nothing that was known is at risk; what these lines say may never have been accepted.",
  regained:
    "The file alone vouches for them, as nothing else was left. No data is at risk by it, but lines that were forged would look the same.",
};

/** What a finding says of it, in `verify` and in `doctor`. */
export function sayEvidence(of: Evidence): Said {
  const aside = of.aside.length > 0 ? `Look at what was set aside in ${of.aside.join(" and ")}` : "Look at it";
  const taken = of.what === "unknown" || of.what === "regained";
  return {
    level: of.what === "regained" ? "warning" : "error",
    what: `${what[of.what](of)} (noticed ${of.at})`,
    why: why[of.what],
    next:
      (taken
        ? "Look at them with `aftersave history`; `aftersave verify --target NAME` says whether a target knows others"
        : aside) + ". Then `aftersave doctor --fix` clears this finding.",
  };
}

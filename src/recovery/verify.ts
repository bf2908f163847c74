/**
 * Whether everything is what was accepted, here and at a target. Nothing is changed but the times at which it was found so.
 * @module
 */
import type { Clock } from "../core/clock.ts";
import type { ArchiveFolder, Key } from "../core/key.ts";
import { proveRestore, type ScratchReport } from "./scratch.ts";
import { verifyContent, verifyHistory, type LocalParts, type VerifyFinding } from "./verify-local.ts";
import { verifyFiles, verifyTold, type FilesReport, type ReadBack, type TargetParts, type ToldReport } from "./verify-target.ts";
import { verifyWriters, type OwnWay } from "./verify-writers.ts";

export interface VerifyOptions extends ReadBack {
  /** Also ask this target. */
  readonly target?: string | undefined;
  /** Rebuild the tree from that target alone, and compare it byte for byte. */
  readonly restore?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface VerifyReport {
  /** No damage was found; there may be warnings. */
  readonly ok: boolean;
  readonly history: { readonly lines: number; readonly erased: number };
  readonly files: number;
  readonly copies: number;
  /** Archive copies that were pruned here: they are not looked for. */
  readonly pruned: number;
  readonly target: TargetReport | null;
  readonly findings: readonly VerifyFinding[];
}

export interface TargetReport extends Omit<FilesReport, "findings" | "lost"> {
  readonly name: string;
  readonly history: Pick<ToldReport, "lines" | "segments"> & {
    /** Other machines of this memory whose history goes its own way. */
    readonly own_ways: readonly OwnWay[];
  };
  /** Null: it was not asked for. */
  readonly restore: Omit<ScratchReport, "findings"> | null;
}

export interface VerifyParts extends Omit<LocalParts, "signal"> {
  readonly clock: Clock;
  readonly archive: ArchiveFolder;
  readonly targetsFor: (key: Key) => readonly string[];
  readonly open: (target: string) => Promise<TargetParts["to"]>;
  readonly whose: (to: TargetParts["to"], key: Key, sha256: string) => Promise<string | undefined>;
}

const isError = ({ level }: VerifyFinding) => level === "error";

/** Verifies what is here, and what a target holds. Throws what the target throws when it cannot be asked, and `E_NO_SPACE`. */
export async function verify(parts: VerifyParts, options: VerifyOptions = {}): Promise<VerifyReport> {
  const { target, signal } = options;
  const to = target === undefined ? undefined : await parts.open(target);
  const { history, findings } = await verifyHistory({ ...parts, signal });
  const { files, copies, pruned, findings: content } = await verifyContent({ ...parts, signal });
  const local = [...findings, ...content];
  const asked = to && (await verifyTarget({ ...parts, to, whose: whoseAt(parts, to), call: { signal } }, history, options));
  const all = [...local, ...(asked?.findings ?? [])];
  return {
    ok: !all.some(isError),
    history: { lines: history.lines, erased: history.erasedLines },
    files,
    copies,
    pruned,
    target: asked?.report ?? null,
    findings: all,
  };
}

const whoseAt = (parts: VerifyParts, to: TargetParts["to"]) => (key: Key, sha256: string) => parts.whose(to, key, sha256);

async function verifyTarget(
  parts: Omit<VerifyParts, "whose"> & TargetParts,
  history: Parameters<typeof verifyTold>[1],
  options: VerifyOptions,
): Promise<{ report: TargetReport; findings: VerifyFinding[] }> {
  const { name } = parts.to;
  const { findings: wrong, lost: _, ...files } = await verifyFiles(parts, options);
  const { findings: untold, lines, segments } = await verifyTold(parts, history);
  const { findings: otherwise, ownWays } = await verifyWriters(parts, history);
  const proof = options.restore === true ? await proveRestore(parts) : undefined;
  const findings = [...wrong, ...untold, ...otherwise, ...(proof?.findings ?? [])];
  if (!findings.some(isError)) await parts.state.ledger.setVerified(name, parts.clock.now());
  const { findings: __, ...restore } = proof ?? { findings: [] };
  const told = { lines, segments, own_ways: ownWays };
  return { report: { name, ...files, history: told, restore: proof ? (restore as TargetReport["restore"]) : null }, findings };
}

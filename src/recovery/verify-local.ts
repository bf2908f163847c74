/**
 * Whether what this machine keeps is what was accepted: the changelog file and the state as one history, kept copies, archive
 * copies, and live files. Changes nothing.
 * @module
 */
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { AftersaveError, asAftersaveError, type ErrorCode } from "../core/errors.ts";
import { foldKey, type Key } from "../core/key.ts";
import { isWhole, type Version } from "../core/version.ts";
import { readLog } from "../logs/read.ts";
import { digestOfFile } from "../memory/content.ts";
import { stampOf } from "../memory/durable.ts";
import type { Heads } from "../memory/heads.ts";
import { foulPlay } from "../memory/log-evidence.ts";
import { statLive } from "../memory/live.ts";
import type { Places } from "../memory/places.ts";
import { keysBelow } from "../memory/sweep.ts";
import type { Head } from "../state/saves.ts";
import type { State } from "../state/state.ts";
import { plural } from "./finding.ts";
import { sayEvidence } from "./evidence.ts";
import { chainLine, seenLine, tampering, type KnownLine, type SeenLine, type Tampering } from "./verify-chain.ts";

export interface VerifyFinding {
  /** `warning`: nothing is damaged, but something should be done. */
  readonly level: "error" | "warning";
  readonly code: ErrorCode | null;
  readonly what: string;
  readonly why: string;
  readonly next: string;
  /** Where it applies, else null. */
  readonly target: string | null;
  readonly file: Key | null;
  readonly version: string | null;
  readonly place: number | null;
  /** The log, segment or file, and the line in it. */
  readonly path: string | null;
  readonly line: number | null;
  /** Of what was noticed before and is mended: when (ISO 8601), and the files that hold what was set aside then. */
  readonly noticed_at: string | null;
  readonly set_aside: readonly string[];
}

export type Finding = Pick<VerifyFinding, "what" | "why" | "next"> & Partial<VerifyFinding>;

export const findingOf = (found: Finding): VerifyFinding => ({
  level: "error",
  code: null,
  target: null,
  file: null,
  version: null,
  place: null,
  path: null,
  line: null,
  noticed_at: null,
  set_aside: [],
  ...found,
});

export interface LocalParts {
  readonly state: State;
  readonly heads: Heads;
  readonly places: Places;
  /** The memory root. */
  readonly root: string;
  readonly stateDir: string;
  readonly changelog: string;
  readonly signal?: AbortSignal | undefined;
}

/** What the state says of the history, to be compared with. */
export interface History {
  readonly known: (place: number) => KnownLine | undefined;
  readonly erased: ReadonlySet<string>;
  /** Place of the newest line. */
  readonly last: number;
  readonly lines: number;
  readonly erasedLines: number;
  readonly tampered: readonly Tampering[];
}

export async function historyOf({ state }: Pick<LocalParts, "state">, path: string): Promise<History> {
  const lines: SeenLine[] = [];
  const known = new Map<number, KnownLine>();
  const erased = new Set<string>();
  for await (const version of state.saves.versions()) {
    const of = chainLine(version);
    const whole = isWhole(version);
    lines.push({ path, line: of.place, of, whole });
    if (whole) known.set(of.place, { sum: of.sum, erased: of.erased });
    for (const id of of.erases) erased.add(id);
  }
  return {
    known: (place) => known.get(place),
    erased,
    last: lines.at(-1)?.of?.place ?? 0,
    lines: lines.length,
    erasedLines: lines.filter(({ of }) => of?.erased).length,
    tampered: tampering(lines),
  };
}

/** Up to which place the changelog file must have its lines: those behind wait to be written. */
async function exportedTo({ state, root, changelog }: LocalParts, last: number): Promise<number> {
  const mark = await state.outbox.mark("changes");
  if (mark && resolve(root, mark.path) !== resolve(changelog)) return 0; // another name in paths.json: it is written there anew
  const [waiting] = await state.outbox.after("changes", mark?.seq ?? 0, 1);
  return waiting ? (JSON.parse(waiting.line) as { place: number }).place - 1 : last;
}

interface FileLines {
  readonly lines: readonly SeenLine[];
  /** Lines of others behind our first one, and where the first of them stands. */
  readonly strangers: number;
  readonly stranger: { readonly path: string; readonly line: number } | undefined;
}

async function linesOf(changelog: string): Promise<FileLines> {
  const lines: SeenLine[] = [];
  let strangers = 0;
  let stranger: FileLines["stranger"];
  const onBad = ({ path, line, why }: { path: string; line: number; why: string }) => {
    if (why !== "blank" && why !== "torn" && lines.length > 0) lines.push({ path, line, of: undefined, whole: false });
  };
  for await (const { path, line, value, text } of readLog(changelog, { withRotated: true, withText: true, onBad })) {
    if ("place" in value) lines.push(seenLine(path, line, value, text));
    else if (lines.length > 0) {
      strangers++;
      stranger ??= { path, line };
    }
  }
  return { lines, strangers, stranger };
}

/** What nobody of ours wrote to a changelog whose lines are all right; what a kill or a power cut left is none. */
export async function addedTo({
  state,
  root,
  changelog,
}: Pick<LocalParts, "state" | "root" | "changelog">): Promise<{ path: string; line: number | null } | undefined> {
  const mark = await state.outbox.mark("changes");
  if (!mark || mark.ino === "" || resolve(root, mark.path) !== resolve(changelog)) return undefined; // it is written anew
  const stats = await stat(changelog).catch(() => undefined); // what cannot be looked at is told by whoever reads it
  if (stats?.size === mark.size) return undefined;
  const expected = await state.outbox.after("changes", mark.safe_seq, 1_000_000);
  return foulPlay({ path: changelog, mark, expected, sure: false, saves: state.saves });
}

const placesWord = ({ place, until }: Tampering) =>
  until === undefined || until === place ? `line ${place}` : `lines ${place} to ${until}`;

/** One sentence of what happened to a line; `where` names the copy of the history. */
export function sayTampering(tampered: Tampering, where: string): string {
  const { what, at } = tampered;
  const place = placesWord(tampered);
  const seen = at === null ? "" : ` (${at.path}, line ${at.line})`;
  const verb = tampered.until !== undefined && tampered.until !== tampered.place ? "were" : "was";
  const says: Record<Tampering["what"], string> = {
    altered: `${place} of the history was altered in ${where}${seen}`,
    removed: `${place} of the history ${verb} removed from ${where}${seen}`,
    inserted: `a line that nobody wrote was put into ${where}, as ${place} of the history${seen}`,
    moved: `${place} of the history was moved further behind in ${where}${seen}`,
    unerased: `${place} of the history was erased, and says again in ${where} what it said${seen}`,
    forged: `${place} of the history is blank in ${where}, and no erasure names it${seen}`,
  };
  return says[what];
}

const whyOf: Record<Tampering["what"], string> = {
  altered: "It does not match its own sum, or not the line that was accepted.",
  removed: "The lines around it say that it was there.",
  inserted: "No line of the chain builds upon it.",
  moved: "Each line names the one before it; these do not stand in that order.",
  unerased: "An older copy of the file was put back, or a rewrite did not come to its end.",
  forged: "Who blanks a line by hand hides what it said; an erasure leaves a line that names it.",
};

/** The history of the state and of the changelog file. */
export async function verifyHistory(parts: LocalParts): Promise<{ history: History; findings: VerifyFinding[] }> {
  const { state, changelog, stateDir } = parts;
  const look = async () => {
    const history = await historyOf(parts, stateDir);
    const last = await exportedTo(parts, history.last);
    const file = await linesOf(changelog);
    const newest = (await state.saves.last())?.place ?? 0;
    const tampered = tampering(file.lines, { ...history, last, newest });
    return { history, file, tampered, added: tampered.length > 0 || file.stranger ? undefined : await addedTo(parts) };
  };
  let seen = await look();
  if (seen.tampered.length > 0 || seen.added) {
    // the file may have been written to, or turned over, while it was read
    const release = await state.claims.take("logs", "logs", { waitMs: 600_000, signal: parts.signal });
    try {
      seen = await look();
    } finally {
      release();
    }
  }
  const { history, file, tampered, added } = seen;
  const stateIsWhole = history.tampered.length === 0;
  const findings = [
    ...history.tampered.map((one) =>
      findingOf({
        ...placeOf(one),
        code: "E_STATE_CORRUPT",
        what: sayTampering(one, "the state"),
        why: whyOf[one.what],
        next:
          tampered.length === 0
            ? "The changelog file is whole: run `aftersave doctor --rebuild` to build the state again from it."
            : "`aftersave verify --target NAME` says whether a target still has it.",
      }),
    ),
    ...tampered.map((one) =>
      findingOf({
        ...placeOf(one),
        code: "E_HISTORY",
        what: sayTampering(one, "the changelog"),
        why: whyOf[one.what],
        next: stateIsWhole
          ? "The state has every line: look at the file, then run `aftersave doctor --fix` to write it anew from the state."
          : "`aftersave verify --target NAME` says whether a target still has it.",
      }),
    ),
  ];
  if (file.stranger) {
    const { path, line } = file.stranger;
    const stand = file.strangers === 1 ? "1 line of another program stands" : `${file.strangers} lines of another program stand`;
    findings.push(
      findingOf({
        ...file.stranger,
        code: "E_LOG_FOREIGN",
        what: `${stand} in the changelog among or behind ours (${path}, ${file.strangers === 1 ? "" : "from "}line ${line}${file.strangers === 1 ? "" : " on"})`,
        why: "Another program or a person wrote there. No data is at risk: the lines of the history stand, and the state has them.",
        next:
          "Run `aftersave doctor --fix`: the file is moved beside and written anew. If another program goes on writing this file, " +
          "set memory_changelog in paths.json to another name.",
      }),
    );
  }
  if (added)
    findings.push(
      findingOf({
        code: "E_LOG_FOREIGN",
        path: added.path,
        line: added.line,
        what:
          added.line === null
            ? `the changelog ${added.path} has bytes besides its lines that nobody of ours wrote: other line ends, or a mark at its beginning`
            : `something that nobody of ours wrote stands in the changelog (${added.path}, line ${added.line})`,
        why: "Another program or a person wrote there. No data is at risk: the lines of the history stand, and the state has them.",
        next: "Look at the file, then run `aftersave doctor --fix`: it is moved beside and written anew.",
      }),
    );
  for (const one of await state.evidence.list()) {
    const { path, line, place, at, aside } = one;
    findings.push(findingOf({ ...sayEvidence(one), code: "E_LOG_ALTERED", path, line, place, noticed_at: at, set_aside: aside }));
  }
  return { history, findings };
}

const placeOf = ({ place, version, at }: Tampering) => ({ place, version, path: at?.path ?? null, line: at?.line ?? null });

export interface ContentReport {
  readonly files: number;
  readonly copies: number;
  /** Archive copies that were removed from this machine on purpose. */
  readonly pruned: number;
  readonly findings: readonly VerifyFinding[];
}

/** What brings back content that is nowhere here. */
export const BRING_BACK =
  "Run `aftersave restore --from TARGET` for each target that may hold it, or put it back from a backup and run `aftersave sweep`.";

/** The lines of what keys hold by the history where no kept copy and no live file has it: there is no head to look at. */
export async function* lostHeads({ state, places }: Pick<LocalParts, "state" | "places">): AsyncGenerator<Version> {
  for await (const line of state.saves.headsAt(Number.MAX_SAFE_INTEGER, "")) {
    if (line.sha256 === null || (await state.saves.head(line.file))) continue;
    if ((await state.saves.headAt(line.file, Number.MAX_SAFE_INTEGER))?.version !== line.version) continue; // saved meanwhile
    const digest = await digestOfFile(places.pathOf(line.file)).catch(() => undefined); // unreadable is not it
    if (digest?.sha256 !== line.sha256) yield line;
  }
}

/** Kept copies, live files, archive copies, and what is held aside. One that cannot be read never stops the others. */
export async function verifyContent(parts: LocalParts): Promise<ContentReport> {
  const { state, places, heads, signal } = parts;
  const findings: VerifyFinding[] = [];
  const add = (found: Finding | undefined) => found && findings.push(findingOf(found));
  let [files, copies, pruned] = [0, 0, 0];
  for await (const head of state.saves.heads()) {
    signal?.throwIfAborted();
    files++;
    for (const found of await lookAtHead(parts, head)) add(found);
  }
  for await (const lost of lostHeads(parts)) {
    const { file, version, sha256, timestamp } = lost;
    add({
      file,
      version,
      path: places.pathOf(file),
      code: "E_CONTENT_GONE",
      what: `what ${file} holds by the history (${version}, saved ${timestamp}) is not kept here`,
      why: "It did not come when the memory was brought back or rebuilt, or it was removed together with the state.",
      next: `${BRING_BACK} Its sha256 is ${sha256}.`,
    });
  }
  for await (const copy of state.saves.archiveCopies()) {
    signal?.throwIfAborted();
    const { key, sha256, version } = copy;
    if (copy.pruned) {
      pruned++;
      continue;
    }
    copies++;
    const about = { file: key, version, path: places.pathOf(key) };
    try {
      const digest = await digestOfFile(about.path);
      if (digest?.sha256 === sha256 || (await state.saves.archiveCopy(key))?.pruned !== false) continue;
      add({
        ...about,
        code: "E_ARCHIVE_CHANGED",
        what: `the archive copy ${key} ${digest ? "is no longer what was archived" : "is gone"}`,
        why: "Someone changed or removed it, or the disk is failing.",
        next: digest
          ? `Move it away, then run \`aftersave restore --from TARGET\`; its sha256 must be ${sha256}.`
          : `${BRING_BACK} Its sha256 must be ${sha256}.`,
      });
    } catch (error) {
      add(unreadable(error, `reading the archive copy ${key}`, about));
    }
  }
  for (const { version, key, applied } of await state.decisions.held("open")) {
    const { sha256 = null, size = null } = (await state.saves.version(version)) ?? {};
    if (applied || sha256 === null || size === null) continue;
    if (await heads.holds({ base: version, sha256, size })) continue;
    if ((await state.decisions.heldVersion(version))?.state !== "open") continue; // it was settled meanwhile
    add({
      file: key,
      version,
      path: heads.path(version),
      code: "E_DAMAGED",
      what: `what is held aside for ${key} is missing or damaged`,
      why: "Someone changed or removed it, or the disk is failing.",
      next: `Nobody else has it: it was never sent. Save it again, or run \`aftersave reject ${version}\`.`,
    });
  }
  add(await findUnknown(parts));
  return { files, copies, pruned, findings };
}

/** Files in the data folder that no version knows. */
async function findUnknown(parts: LocalParts): Promise<Finding | undefined> {
  const { state, places, signal } = parts;
  const isNew = (await state.saves.last()) === undefined;
  let count = 0;
  let first: Key | undefined;
  for await (const key of keysBelow(places)) {
    signal?.throwIfAborted();
    if (await state.saves.head(key)) continue;
    const saved = (!isNew || count === 0) && (await isSavedMeanwhile(state, key, signal));
    if (saved && isNew) return findUnknown(parts); // a history has begun by now
    if (saved) continue;
    count++;
    first ??= key;
  }
  if (first === undefined) return undefined;
  return {
    level: "warning",
    file: count === 1 ? first : null,
    path: places.pathOf(first),
    what: `${plural(count, "file")} in the data folder ${count === 1 ? "is" : "are"} known to no version, for example ${first}`,
    why: isNew
      ? "There is no history here: nothing was saved yet, or the logs and the state are gone."
      : "Someone put them there without saving them.",
    next: isNew
      ? "If they were mirrored, `aftersave restore --from TARGET` brings their history back; else `aftersave sweep` begins one."
      : "Run `aftersave sweep` to version them.",
  };
}

/** A save puts its file there before its version counts. */
async function isSavedMeanwhile(state: State, key: Key, signal: AbortSignal | undefined): Promise<boolean> {
  const release = await state.claims.take("save", foldKey(key), { waitMs: 600_000, signal });
  try {
    return (await state.saves.head(key)) !== undefined;
  } finally {
    release();
  }
}

function unreadable(error: unknown, doing: string, about: Partial<VerifyFinding>): Finding {
  const { code, message, hint } = asAftersaveError(error, doing);
  return { ...about, code, what: message, why: "It cannot be read.", next: hint ?? "Run `aftersave doctor`." };
}

/** One key: its kept copy, and the live file. What looks wrong is looked at again with the key claimed. */
async function lookAtHead(parts: LocalParts, head: Head): Promise<Finding[]> {
  const first = await examineHead(parts, head);
  if (first.length === 0) return first;
  const release = await parts.state.claims.take("save", foldKey(head.key), { waitMs: 600_000, signal: parts.signal });
  try {
    const now = await parts.state.saves.head(head.key);
    return now ? await examineHead(parts, now) : [];
  } catch (error) {
    if (error instanceof AftersaveError) return [unreadable(error, `looking at ${head.key}`, { file: head.key })];
    throw error;
  } finally {
    release();
  }
}

async function examineHead({ heads, places }: LocalParts, head: Head): Promise<Finding[]> {
  const { key, version, sha256, stamp } = head;
  const found: Finding[] = [];
  const kept = heads.path(head.base);
  try {
    if (!(await heads.holds(head)))
      found.push({
        file: key,
        version,
        path: kept,
        code: "E_DAMAGED",
        what: `the kept copy of ${key} is missing or damaged`,
        why: "Someone changed or removed it, or the disk is failing.",
        next: "Run `aftersave doctor --fix`: it is made again from the live file, or from an archive copy that holds the same.",
      });
  } catch (error) {
    found.push(unreadable(error, `reading the kept copy of ${key}`, { file: key, version, path: kept }));
  }
  try {
    const { path } = places.place(key);
    const about = { file: key, version, path };
    const stats = statLive(path);
    if (stats && (await digestOfFile(path))?.sha256 === sha256) return found;
    const isUntouched = stats !== undefined && stamp === stampOf(stats) && stampOf(statLive(path) ?? stats) === stamp;
    found.push(
      isUntouched
        ? {
            ...about,
            code: "E_DAMAGED",
            what: `${key} does not hold what was saved, although its times say that nobody wrote to it`,
            why: "The disk is failing, or someone changed the bytes past the file system.",
            next: `Run \`aftersave restore ${key}@${version}\`, and check the disk.`,
          }
        : {
            ...about,
            level: "warning",
            what: `${key} was ${stats ? "changed" : "removed"} by someone since it was saved`,
            why: "What was saved is kept; this change is no version yet.",
            next: "Run `aftersave sweep` to version it.",
          },
    );
  } catch (error) {
    found.push(unreadable(error, `reading ${key}`, { file: key, version }));
  }
  return found;
}

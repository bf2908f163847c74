/**
 * Whether a target holds what it is known to hold: its files, and the history that this machine told it. Reads only.
 * @module
 */
import { foldKey, type Key } from "../core/key.ts";
import type { Call, Entry } from "../core/target.ts";
import { MARKER, ownerOf } from "../mirror/owner.ts";
import { MOST, ownParts, segmentKey } from "../mirror/joined.ts";
import { fieldsOf, hashOf, kindOf, readText, type MirrorTarget } from "../mirror/place.ts";
import type { Mirrored } from "../state/ledger.ts";
import type { State } from "../state/state.ts";
import { inParallel } from "./fetch.ts";
import { findingOf, historyOf, sayTampering, type Finding, type History, type VerifyFinding } from "./verify-local.ts";
import { seenLine, tampering, type SeenLine } from "./verify-chain.ts";

export interface TargetParts {
  readonly state: State;
  readonly to: MirrorTarget & { readonly concurrency: number };
  readonly targetsFor: (key: Key) => readonly string[];
  /** Another writer of the target whose key ever held these bytes. */
  readonly whose: (key: Key, sha256: string) => Promise<string | undefined>;
  readonly call: Call;
}

export interface FilesReport {
  /** Files and archive copies that it is known to hold. */
  readonly files: number;
  /** How many hashes it reported and were compared, and how many bytes of how many files were read back. */
  readonly compared: number;
  readonly read: number;
  readonly bytes: number;
  /** It reports no hash for them, and they were not read. */
  readonly unproven: number;
  /** Files that it does not hold yet in their newest content, and that wait to be sent. */
  readonly pending: number;
  /** Keys that it does not hold any more, or with other bytes. */
  readonly lost: readonly Key[];
  readonly findings: readonly VerifyFinding[];
}

/** Which files are read back: all, or so many that the next run goes on behind them. */
export interface ReadBack {
  readonly download?: boolean | undefined;
  readonly sample?: number | undefined;
}

/** Writers of ours whose history at a target was found damaged, and is told there anew under another name. */
export const writtenOffName = (target: string) => `verify/written-off/${target}`;

const cursorName = (target: string) => `verify/${target}`;

/** The next `n` of `keys` behind those that were read the last time, beginning anew at their end. */
async function sampleOf({ state, to }: TargetParts, keys: readonly Key[], n: number): Promise<Set<Key>> {
  const after = (await state.getMeta(cursorName(to.name))) ?? "";
  const start = Math.max(
    0,
    keys.findIndex((key) => key > after),
  );
  const chosen = [...keys.slice(start), ...keys.slice(0, start)].slice(0, n);
  const last = chosen.at(-1);
  if (last !== undefined) await state.setMeta(cursorName(to.name), last);
  return new Set(chosen);
}

interface Seen {
  readonly sha256: string | undefined;
  readonly size: number;
  readonly read: boolean;
}

/** Compares each file that the target is known to hold with what it says of it, or with its bytes. */
export async function verifyFiles(parts: TargetParts, { download = false, sample }: ReadBack): Promise<FilesReport> {
  const { state, to, call } = parts;
  const { target, name } = to;
  const rows: Mirrored[] = [];
  for await (const row of state.ledger.copies(name)) rows.push(row);
  const listed = new Map<string, Entry>();
  for await (const entry of target.list("", call)) listed.set(entry.key, entry);
  const keys = rows.map(({ key }) => key);
  const chosen = download ? new Set(keys) : await sampleOf(parts, keys, sample ?? 0);
  let [compared, read, bytes, unproven] = [0, 0, 0, 0];
  const findings: VerifyFinding[] = [];
  const lost: Key[] = [];

  const lookAt = async (key: Key, entry: Entry | undefined): Promise<Seen | undefined> => {
    try {
      const reported = entry?.hash?.algo === "sha256" ? entry : await target.stat(key, { ...call, hash: true });
      if (!reported) return undefined;
      const { hash, size } = reported;
      if (chosen.has(key))
        return { sha256: await target.read(key, (chunks) => hashOf(chunks, "sha256"), call), size, read: true };
      return { sha256: hash?.algo === "sha256" ? hash.hex : undefined, size, read: false };
    } catch (error) {
      if (kindOf(error) !== "not-found") throw error;
      return undefined;
    }
  };
  const isRight = (row: Mirrored, seen: Seen | undefined) =>
    seen !== undefined && seen.size === row.size && (seen.sha256 === undefined || seen.sha256 === row.sha256);

  /** Looks again while nobody of ours can send this key. */
  const again = async (key: Key): Promise<{ row: Mirrored; seen: Seen | undefined } | undefined> => {
    const claim = `${name}\n${foldKey(key)}`;
    const release = await state.claims.take("upload", claim, { waitMs: 600_000, signal: call.signal });
    try {
      const row = await state.ledger.mirrored(name, key);
      if (!row) return undefined; // it is not said to be there any more
      const seen = await lookAt(key, undefined);
      return isRight(row, seen) ? undefined : { row, seen };
    } finally {
      release();
    }
  };

  await inParallel(rows, to.concurrency, async (row) => {
    const seen = await lookAt(row.key, listed.get(row.key));
    if (seen?.read) {
      read++;
      bytes += seen.size;
    } else if (seen?.sha256 !== undefined) compared++;
    else if (seen) unproven++;
    const wrong = isRight(row, seen) ? undefined : await again(row.key);
    if (!wrong) return;
    const writer = wrong.seen?.sha256 === undefined ? undefined : await parts.whose(row.key, wrong.seen.sha256);
    if (writer === undefined) lost.push(row.key);
    findings.push(findingOf(writer === undefined ? sayWrong(parts, wrong.row, wrong.seen) : sayOthers(parts, row, writer)));
  });
  return { files: rows.length, compared, read, bytes, unproven, pending: await countPending(parts), lost, findings };
}

function sayWrong({ to }: TargetParts, { key, version, sha256 }: Mirrored, seen: Seen | undefined): Finding {
  const about = { target: to.name, file: key, version, path: to.target.pathOf(key) };
  const next = "Run `aftersave doctor --fix`, then `aftersave flush`: it is sent again.";
  if (!seen)
    return { ...about, code: "E_TARGET_ABSENT", what: `${key} is gone from ${to.name}`, why: "Someone removed it there.", next };
  return {
    ...about,
    code: "E_TARGET_CORRUPT",
    what: `${key} on ${to.name} is not what was sent there`,
    why: `It should have the sha256 ${sha256}; someone changed it there, or the place lost bytes.`,
    next: `${next} What is there now is kept beside it.`,
  };
}

const sayOthers = ({ to }: TargetParts, { key, version }: Mirrored, writer: string): Finding => ({
  level: "warning",
  target: to.name,
  file: key,
  version,
  path: to.target.pathOf(key),
  what: `${key} on ${to.name} holds a version of another writer (${writer})`,
  why: "Both write to this place, and theirs came later.",
  next: `Compare it with \`aftersave restore --from ${to.name} --dry-run\`; the next save here keeps theirs beside ours.`,
});

/** Heads and archive copies that are routed there, and that it is not known to hold. */
async function countPending({ state, to, targetsFor }: TargetParts): Promise<number> {
  let pending = 0;
  for await (const job of state.jobs.all()) if (job.target === to.name && targetsFor(job.key).includes(to.name)) pending++;
  return pending;
}

export interface ToldReport {
  /** Lines of our history that it holds, in how many segments. */
  readonly lines: number;
  readonly segments: number;
  /** It does not hold it as it was told. */
  readonly damaged: boolean;
  readonly findings: readonly VerifyFinding[];
}

/** Compares this writer's segments with the history here, and the marker with the memory root that we are. */
export async function verifyTold({ state, to, call }: TargetParts, history: History): Promise<ToldReport> {
  const { target, name } = to;
  const findings: VerifyFinding[] = [];
  const rootId = await state.saves.rootId();
  const { owned } = await state.ledger.target(name);
  const there = await ownerOf(to, call);
  const owner = owned || there !== undefined ? there : rootId; // nothing was sent there yet
  const isLetIn = owner !== undefined && (owner === rootId || owner === (await state.segments.joined(name)));
  if (!isLetIn)
    findings.push(
      findingOf({
        target: name,
        code: owner === undefined ? "E_TARGET_ABSENT" : "E_TARGET_IN_USE",
        what:
          owner === undefined
            ? `the marker that says whose place ${name} is, is gone`
            : `the marker on ${name} says that another memory root is mirrored there`,
        why: "Someone removed or replaced it, or the place was emptied.",
        next:
          owner === undefined
            ? "Run `aftersave doctor --fix`, then `aftersave flush`."
            : "Give this target another `root` in paths.json, or bring the marker back.",
      }),
    );
  const { id } = await state.segments.writer();
  const { place: told } = await state.segments.reach(name, id);

  const found: { key: Key; first: number; last: number }[] = [];
  for await (const { key, size } of target.list(segmentKey(id, ""), call)) {
    const [first = NaN, last = NaN] = (ownParts.exec(key)?.[3] ?? "").replace(".jsonl", "").split("-").map(Number);
    if (size <= MOST && !Number.isNaN(last)) found.push({ key, first, last });
  }
  found.sort((a, b) => a.first - b.first || b.last - a.last);
  const read = new Map<Key, SeenLine[]>();
  await inParallel(found, to.concurrency, async ({ key }) => {
    const text = (await readText(target, key, MOST, call)) ?? "";
    const lines = text.split("\n").map((line, at) => (line === "" ? undefined : seenLine(key, at + 1, fieldsOf(line), line)));
    read.set(
      key,
      lines.filter((line) => line !== undefined),
    );
  });
  const lines: SeenLine[] = [];
  const sums = new Map<string, Key>();
  for (const { key } of found)
    for (const line of read.get(key) ?? []) {
      const { of, whole } = line;
      if (of && whole && (sums.get(of.sum) ?? key) !== key) continue; // two segments overlap
      if (of && whole) sums.set(of.sum, key);
      lines.push(line);
    }
  // a state that was lost does not know what it told: `verifyWriters` compares it, as with any former writer
  if (told === null) return { lines: sums.size, segments: found.length, damaged: false, findings };
  const newest = (await state.saves.last())?.place ?? 0; // lines that were told while we read
  const tampered = tampering(lines, { known: history.known, erased: history.erased, last: told, newest });
  for (const one of tampered)
    findings.push(
      findingOf({
        target: name,
        place: one.place,
        version: one.version,
        path: one.at?.path ?? null,
        line: one.at?.line ?? null,
        code: "E_HISTORY",
        what: sayTampering(one, `the history on ${name}`),
        why:
          history.tampered.length > 0
            ? "The state here is damaged too, so it cannot be said which of the two is right."
            : "It differs from the history that this machine has, whose own chain is whole.",
        next: "Run `aftersave doctor --fix`, then `aftersave flush`: the history is told there again. If this machine's was rewritten, keep a copy of the segments first.",
      }),
    );
  return { lines: sums.size, segments: found.length, damaged: tampered.length > 0, findings };
}

/** What has to be sent there again: files, and where it is our history or its marker, keys of our own folder. */
export async function lostAt(parts: TargetParts): Promise<Key[]> {
  const { state, to } = parts;
  if (!(await state.ledger.target(to.name)).owned) return [];
  const history = await historyOf(parts, "");
  const { lost } = await verifyFiles(parts, {});
  const { damaged, findings } = await verifyTold(parts, history);
  const { id } = await state.segments.writer();
  if (damaged) {
    const name = writtenOffName(to.name);
    const known = (await state.getMeta(name))?.split("\n") ?? [];
    await state.setMeta(name, [...new Set([...known, id])].join("\n"));
  }
  const markerIsGone = findings.some(({ code }) => code === "E_TARGET_ABSENT");
  return [...lost, ...(damaged ? [segmentKey(id, "")] : []), ...(markerIsGone ? [MARKER] : [])];
}

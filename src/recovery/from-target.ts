/**
 * A memory root from one target alone. Where nothing was saved yet, its history comes too: files and archive copies first,
 * then the changelog, then the state that follows from it. Elsewhere what the target holds becomes new versions.
 * @module
 */
import { createHash } from "node:crypto";
import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { AftersaveError, errnoOf, saidOf, TargetError } from "../core/errors.ts";
import { assertSavable, isArchiveKey, OWN_FOLDER, parseKey, type ArchiveFolder, type Key } from "../core/key.ts";
import type { Call, Entry } from "../core/target.ts";
import { changelogLine, movesHead, NO_KEY, type Details, type Meta, type Version } from "../core/version.ts";
import { adopt } from "../logs/adopt.ts";
import { LOG_MODE } from "../logs/files.ts";
import { digestOfFile, readPieces } from "../memory/content.ts";
import { createDurably, makeFolder, moveDurably } from "../memory/durable.ts";
import { statLive } from "../memory/live.ts";
import type { Receipt } from "../memory/receipt.ts";
import type { SaveManager } from "../memory/save-manager.ts";
import { sha256Of, type MirrorTarget } from "../mirror/place.ts";
import type { ArchiveCopy, Content } from "../state/saves.ts";
import type { Range } from "../state/segments.ts";
import { whereTheyLie } from "./beside.ts";
import type { Bringing } from "./bringing.ts";
import { fetchTo, inParallel, type Wanted } from "./fetch.ts";
import { holdingsOf, isPrunedHere, type Holding, type Holdings } from "./holdings.ts";
import { changes as changing, leftOf, type Left, type RestorePlan } from "./plan.ts";
import { rebuild, type RebuildParts } from "./rebuild.ts";
import { readTold, type BadLine, type Told, type ToldMemory, type ToldWriter } from "./told.ts";

export interface FromTargetOptions {
  /**
   * Whose history, where several memory roots write: the id of one, or a unique ending of at least four characters. Left out: ours
   * where it is there, else that of the place's owner.
   */
  readonly memory?: string | undefined;
  /** What the files held at this ISO time. */
  readonly at?: string | undefined;
  /** Only keys that begin so. */
  readonly prefix?: string | undefined;
  /** Answers the plan and changes nothing. */
  readonly dryRun?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Of the versions that it makes. */
  readonly meta?: Meta | undefined;
  readonly onProgress?: ((done: number, of: number, file: string) => void) | undefined;
}

/** Something that the history names and the target does not give. */
export interface Missing {
  readonly file: Key;
  /** Null: the history does not know what lies there. */
  readonly version: string | null;
  readonly sha256: string | null;
  /**
   * `absent`: it is not there. `other`: what is there is not it. `held`: it was kept from the targets. `elsewhere`: it goes to other
   * targets. `pruned`: it was removed there on purpose. `taken`: another file is here in its place, and stays.
   * `covered`: what lies there is not it, and stays there; what the history says is here.
   */
  readonly why: "absent" | "other" | "held" | "elsewhere" | "pruned" | "taken" | "covered";
}

/** A file there that the restored history does not name. */
export interface NotOurs {
  readonly file: Key;
  /** Whose history names it; null: nobody's. */
  readonly memory_root: string | null;
}

/** A version of a machine that went on by itself, whose content does not come. */
export interface NotBrought {
  readonly file: Key;
  readonly version: string;
  readonly timestamp: string;
  readonly sha256: string;
  readonly size: number;
  /** The name of a file at the target that begins with its bytes; null: they were not found there. */
  readonly at: Key | null;
}

/** A file that becomes what the target holds. */
export interface FromChange {
  readonly file: Key;
  /** Of what is here; null: nothing. */
  readonly from: string | null;
  /** Null: it will hold nothing. */
  readonly to: string | null;
  readonly size: number;
  /** The version whose content it is. */
  readonly version: string | null;
}

export interface FromTarget {
  readonly target: string;
  readonly memory_root: string;
  /** Nothing was saved here yet: the history comes too. */
  readonly bare: boolean;
  readonly dry_run: boolean;
  /** Lines of the history there, and the time of the newest. */
  readonly versions: number;
  readonly until: string | null;
  readonly writers: readonly ToldWriter[];
  readonly gaps: readonly Range[];
  /** All memory roots that write there. */
  readonly memories: readonly ToldMemory[];
  /** Lines of a machine that went on by itself: what its files hold there now comes as new versions, its history does not. */
  readonly beside: number;
  /** Its versions whose content does not come, and is in no version of ours. */
  readonly not_brought: readonly NotBrought[];
  /** What is not taken over of the history there, because this folder has one of its own: lines and archive copies. Null: all of it is. */
  readonly not_taken: { readonly lines: number; readonly copies: number } | null;
  /** Files there that are none of this memory's, and stay there. */
  readonly not_ours: readonly NotOurs[];
  readonly bad: readonly BadLine[];
  /** To be fetched, or fetched: files, archive copies, and their bytes. Where a history is here already, only copies of it that are gone. */
  readonly files: number;
  readonly copies: number;
  readonly bytes: number;
  /** Files and copies that are here already. */
  readonly here: number;
  readonly missing: readonly Missing[];
  readonly changes: readonly FromChange[];
  /** The new versions. */
  readonly receipts: readonly Receipt[];
  /** Keys that stay as they are, and why. */
  readonly left: readonly Left[];
}

export interface FromTargetParts {
  readonly rebuild: RebuildParts;
  readonly saves: Pick<SaveManager, "bring" | "saved">;
  readonly spoolDir: string;
  readonly open: (target: string) => Promise<MirrorTarget & { readonly concurrency: number }>;
  /** The log of changes is to be written on. */
  readonly wake: () => void;
  /** What the files held at a time, as new versions; of a memory that has the history. */
  readonly restoreAt: Bringing["restoreAt"];
  /** The same, as a plan. */
  readonly planRestoreAt: Bringing["planRestoreAt"];
  /** A new id; sortable. */
  readonly newId: () => string;
}

/** A target as it was found: what it tells, what follows, and what lies there. */
export interface Found {
  readonly to: MirrorTarget & { readonly concurrency: number };
  readonly told: Told;
  readonly holdings: Holdings;
  readonly listed: ReadonlyMap<string, Entry>;
  readonly call: Call;
}

/** Reads a target's history and lists its files; with `writer`, the history that this one tells; `memory`: as a person names it. */
export async function lookAtTarget(
  to: Found["to"],
  archive: ArchiveFolder,
  memoryRoot: string | undefined,
  call: Call,
  writer?: string,
  memory?: string,
): Promise<Found> {
  const told = await readTold(to.target, { memoryRoot, memory, writer, archive, concurrency: to.concurrency, call });
  const listed = new Map<string, Entry>();
  for await (const entry of to.target.list("", call)) if (!entry.key.startsWith(`${OWN_FOLDER}/`)) listed.set(entry.key, entry);
  return { to, told, holdings: holdingsOf(told.lines), listed, call };
}

/** Where at the target the wanted bytes may be, the likely place first; what is listed is trusted only to rule places out. */
export function* sourcesOf(found: Found, key: Key, content: Content, archive: ArchiveFolder): Generator<Key> {
  const { listed, holdings, to } = found;
  const tried = new Set<string>();
  for (const at of [key, ...holdings.placesOf(content)]) {
    const entry = listed.get(at);
    tried.add(at);
    if (entry ? mayBegin(entry, content) : to.target.traits.listing === "eventual") yield at;
  }
  // what a writer found in its way was kept under a name that no history has
  for (const entry of listed.values())
    if (!tried.has(entry.key) && entry.size === content.size && isArchiveKey(entry.key, archive) && mayBegin(entry, content))
      yield entry.key;
}

const mayBegin = ({ size, hash }: Entry, content: Wanted) =>
  size > content.size || (size === content.size && (hash?.algo !== "sha256" || hash.hex === content.sha256));

/** Fetches what a key held to `path`, from wherever the target has it: answers from where, or why it is not there. */
export async function fetchContent(
  found: Found,
  key: Key,
  content: Content,
  path: string,
  archive: ArchiveFolder,
): Promise<{ readonly from: Key } | { readonly why: "absent" | "other" }> {
  let why: "absent" | "other" = found.listed.has(key) ? "other" : "absent";
  for (const from of sourcesOf(found, key, content, archive)) {
    const came = await fetchTo(found.to.target, from, content, path, found.call);
    if (came === "fetched") return { from };
    if (came === "other" && from === key) why = "other";
  }
  return { why };
}

export interface Expected {
  readonly holding: Holding;
  readonly copy: boolean;
}

/** What the history says should be at this target: the files, then the archive copies that were not pruned where it was told. */
export function expectedOf({ holdings }: Found): Expected[] {
  return [
    ...[...holdings.files.values()].map((holding) => ({ holding, copy: false })),
    ...[...holdings.copies.values()].filter((copy) => !isPrunedHere(copy)).map((holding) => ({ holding, copy: true })),
  ];
}

/** Why something is no loss of the target's, if it is none. */
function excuse({ to, holdings }: Found, key: Key, routed: RebuildParts["targetsFor"]): Missing["why"] | undefined {
  if (holdings.copies.get(key)?.prunedFrom.includes(to.name)) return "pruned";
  if (holdings.keptBack.has(key)) return "held";
  const targets = routed(key);
  return targets.length > 0 && !targets.includes(to.name) ? "elsewhere" : undefined;
}

/** Our temporary file beside a file that is being fetched: the same one when it is fetched again. */
const besideOf = (path: string, key: Key) =>
  join(dirname(path), `.${createHash("sha256").update(key).digest("hex").slice(0, 12)}.aftersave-tmp`);

/**
 * Restores from a target. Plan first: `dryRun` answers it. It can be repeated after an interruption and goes on; what is here
 * already is not fetched again. Throws `E_HISTORY` when the target tells no history, `E_USAGE` for a prefix where the history
 * must come too, and what the target throws.
 */
export async function restoreFrom(parts: FromTargetParts, target: string, options: FromTargetOptions = {}): Promise<FromTarget> {
  const { state, archive } = parts.rebuild;
  const to = await parts.open(target);
  const call = { signal: options.signal };
  const isBare = async () => (await state.saves.last()) === undefined;
  if (!(await isBare())) {
    const { memory } = options;
    const root = memory === undefined ? await ourRootAt(parts, to, call) : undefined;
    const found = await lookAtTarget(to, archive, root, call, undefined, memory);
    await state.erasure.heard(found.told.lines); // what it replaces here goes to the archive, and shall not leave
    const report = await reportOf(parts, found, options);
    const told = found.told.lines.at(-1);
    const isOurs = told !== undefined && (await state.saves.version(told.version))?.sum === told.sum;
    if (options.at !== undefined && isOurs) return atTime(parts, report, options.at, options);
    judgeTime(found, options);
    const done = await again(parts, found, report, options, new Set());
    const isOurHistory = found.told.memoryRoot === (await state.saves.rootId());
    return options.at === undefined && isOurHistory ? bringCopies(parts, found, done, options) : done;
  }
  if (options.prefix !== undefined && options.at === undefined)
    throw new AftersaveError(
      "E_USAGE",
      "nothing was saved here yet, so a prefix cannot be restored alone: its history is everybody's",
      {
        hint: `Run \`aftersave restore --from ${target}\`; files that you do not want can be archived then.`,
      },
    );
  const found = await lookAtTarget(to, archive, undefined, call, undefined, options.memory);
  judgeTime(found, options);
  const report = await reportOf(parts, found, {});
  const plan = await planBare(parts, found, report);
  if (options.dryRun) return { ...plan.report, dry_run: true };
  const release = await state.claims.take("rebuild", "rebuild", { waitMs: 600_000, signal: options.signal });
  let fetched: Awaited<ReturnType<typeof fetchAll>>;
  try {
    if (!(await isBare())) throw savedMeanwhile();
    fetched = await fetchAll(parts, found, plan.todo, options);
    if (!(await isBare())) throw savedMeanwhile();
    await parts.rebuild.state.restore.begin(null); // killed from here on, whoever opens it knows where the lines come from
    await writeChangelog(parts.rebuild.changelog, found.told);
    await rebuild(parts.rebuild, null);
  } finally {
    release();
  }
  parts.wake();
  for (const key of fetched.inTheWay)
    await orLeave(key, fetched.left, async () => {
      await parts.saves.saved(parts.rebuild.places.pathOf(key)); // what was here is a version, and is kept
    });
  const second = await again(parts, found, report, { ...options, at: undefined, prefix: undefined }, fetched.exact);
  const then = options.at === undefined ? undefined : await atTime(parts, report, options.at, options);
  const lacking = [...plan.report.missing, ...fetched.missing];
  const named = new Set(lacking.map(({ file }) => file));
  const missing = [...lacking, ...second.missing.filter(({ file, version }) => version === null && !named.has(file))];
  const isHere = new Set(second.changes.map(({ file, to }) => `${to} ${file}`));
  return {
    ...plan.report,
    files: fetched.files,
    copies: fetched.copies,
    bytes: fetched.bytes,
    missing: missing.filter(({ file, sha256 }) => !isHere.has(`${sha256} ${file}`)),
    not_brought: second.not_brought,
    not_ours: second.not_ours,
    changes: [...second.changes, ...(then?.changes ?? [])],
    receipts: [...second.receipts, ...(then?.receipts ?? [])],
    left: onePerKey([...plan.report.left, ...fetched.left, ...second.left, ...(then?.left ?? [])]),
  };
}

/** Refuses a time before the history there, and a prefix of which it knows nothing: before anything is written. */
function judgeTime({ told, to, holdings }: Found, { at, prefix = "" }: FromTargetOptions): void {
  if (at === undefined) return;
  const [first] = told.lines.map(({ timestamp }) => timestamp).toSorted();
  if (first === undefined || first > at)
    throw new AftersaveError("E_NOT_FOUND", `nothing of the history on ${to.name} was saved by ${at}`, {
      hint: `It begins at ${first}. Nothing was changed.`,
    });
  const isMeant = below(prefix);
  if (prefix !== "" && !holdings.lines.some(({ file }) => isMeant(file)))
    throw new AftersaveError("E_NOT_FOUND", `the history on ${to.name} knows no version of ${prefix} or of anything below it`, {
      hint: "Give a key, or a folder of the data folder. Nothing was changed.",
    });
}

/** Whether a key is the prefix or lies below it. */
function below(prefix: string): (key: Key) => boolean {
  const folder = prefix.replace(/\/+$/, "");
  return (key) => folder === "" || key === folder || key.startsWith(`${folder}/`);
}

/** What the files held at a time, where the whole history is here by now. */
async function atTime(parts: FromTargetParts, report: FromTarget, at: string, options: FromTargetOptions): Promise<FromTarget> {
  const { prefix = "", dryRun, meta, signal } = options;
  const told = (plan: RestorePlan): FromTarget => ({
    ...report,
    files: plan.files,
    bytes: plan.bytes,
    changes: plan.actions.filter(changing).map(({ file, now, becomes, restores }) => ({
      file,
      from: now?.sha256 ?? null,
      to: becomes?.sha256 ?? null,
      size: becomes?.size ?? 0,
      version: restores,
    })),
    left: plan.left,
  });
  if (dryRun) return { ...told(await parts.planRestoreAt(at, prefix)), dry_run: true };
  const { plan, receipts, left } = await parts.restoreAt(at, prefix, meta, { signal });
  return { ...told(plan), receipts, left };
}

const savedMeanwhile = () =>
  new AftersaveError("E_BUSY", "another process saved something here while the history was being fetched", {
    hint: "End it, then run the same command again: what is here by then becomes a version of its own.",
  });

/** Our own history at a place where several memory roots write, if it is there; else that of the place's owner. */
async function ourRootAt({ rebuild: { state, archive } }: FromTargetParts, to: Found["to"], call: Call) {
  const own = await state.saves.rootId();
  const told = await readTold(to.target, { archive, concurrency: to.concurrency, call }).catch((error: unknown) => {
    if (error instanceof AftersaveError && error.code === "E_HISTORY") return undefined;
    throw error;
  });
  return told === undefined || (own !== undefined && told.memories.some(({ memory_root }) => memory_root === own))
    ? own
    : told.memoryRoot;
}

/** What is told of the target before anything is compared. */
async function reportOf(parts: FromTargetParts, found: Found, { prefix, at }: FromTargetOptions): Promise<FromTarget> {
  const { saves } = parts.rebuild.state;
  const { to, told } = found;
  const own = await saves.rootId();
  const copies = expectedOf(found).filter(({ copy }) => copy).length;
  return {
    target: to.name,
    memory_root: told.memoryRoot,
    bare: false,
    dry_run: false,
    versions: told.lines.length,
    until: told.lines.at(-1)?.timestamp ?? null,
    writers: told.writers,
    memories: told.memories,
    gaps: told.gaps,
    beside: told.beside.length,
    not_brought: await notBrought(parts, found, own, below(prefix ?? ""), at === undefined),
    not_taken: own === undefined || own === told.memoryRoot ? null : { lines: told.lines.length, copies },
    not_ours: notOurs(parts, found, below(prefix ?? "")),
    bad: told.bad,
    files: 0,
    copies: 0,
    bytes: 0,
    here: 0,
    missing: [],
    changes: [],
    receipts: [],
    left: [],
  };
}

/** Files there that the history does not name. */
function notOurs({ rebuild: { archive } }: FromTargetParts, { told, holdings, listed }: Found, isMeant: (key: Key) => boolean) {
  const named = new Set<Key>([...holdings.lines, ...told.beside].map(({ file }) => file));
  const theirs: NotOurs[] = [];
  for (const entry of listed.values()) {
    const key = memoryKey(entry.key, archive);
    if (key === undefined || !isMeant(key)) continue;
    const root = told.foreign.get(key) ?? null;
    if (!named.has(key) || (root !== null && !holdings.files.has(key))) theirs.push({ file: key, memory_root: root });
  }
  return theirs;
}

/**
 * Versions of this memory that another machine made by itself: not those whose content a version of ours has, nor those that are
 * what their file there holds now, if that comes.
 */
async function notBrought(
  { rebuild: { state, archive } }: FromTargetParts,
  found: Found,
  own: string | undefined,
  isMeant: (key: Key) => boolean,
  filesCome: boolean,
): Promise<NotBrought[]> {
  const { told, listed } = found;
  const isHere = async ({ version, sum }: Version) => (await state.saves.version(version))?.sum === sum;
  const ours: Version[] = [];
  const theirs: Version[] = [];
  const last = told.lines.at(-1);
  const allHere = own !== told.memoryRoot || (last !== undefined && (await isHere(last))); // each line names the one before
  for (const line of told.lines) (allHere || (await isHere(line)) ? ours : theirs).push(line);
  for (const line of told.beside) ((await isHere(line)) ? ours : theirs).push(line);
  const known = versionsOf(ours);
  const lost = theirs.flatMap((line) => {
    const { file, sha256, size, version, timestamp } = line;
    if (!movesHead(line) || file === NO_KEY || sha256 === null || size === null || !isMeant(file)) return [];
    return known.get(file)?.has(sha256) ? [] : [{ file, version, timestamp, sha256, size }];
  });
  if (lost.length === 0) return [];
  const lie = await whereTheyLie(found, lost, archive);
  return lost
    .map((one) => ({ ...one, at: lie.get(one.sha256) ?? null }))
    .filter(({ file, size, at }) => !filesCome || at !== file || listed.get(file)?.size !== size);
}

const onePerKey = (left: readonly Left[]): Left[] => [...new Map(left.map((one) => [one.file, one])).values()];

/** What is wrong with the name of one file here: the others go on. */
const ofOneName = new Set(["ENOTDIR", "EISDIR", "EEXIST", "ELOOP", "ENAMETOOLONG", "ENOTEMPTY"]);

/** Does the work for one key; where this disk cannot have it under that name, the key stays as it is. */
async function orLeave(key: Key, left: Left[], work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const isOfKey = error instanceof AftersaveError && error.code.startsWith("E_KEY_");
    if (!isOfKey && !ofOneName.has(errnoOf(error))) throw error;
    left.push(leftOf(key, error));
  }
}

interface Todo extends Expected {
  readonly path: string;
}

async function planBare(parts: FromTargetParts, found: Found, report: FromTarget): Promise<{ report: FromTarget; todo: Todo[] }> {
  const { places, archive, targetsFor } = parts.rebuild;
  const todo: Todo[] = [];
  const missing: Missing[] = [];
  const left: Left[] = [];
  let here = 0;
  const look = async ({ holding, copy }: Expected) => {
    const { key, version, sha256 } = holding;
    const lack = (why: Missing["why"]) => missing.push({ file: key, version, sha256, why });
    const place = copy ? places.place(key) : places.savable(key);
    if (place.stats?.size === holding.size && (await digestOfFile(place.path))?.sha256 === sha256) here++;
    else if (place.key !== key || (copy && place.stats)) lack("taken");
    else if (sourcesOf(found, key, holding, archive).next().done)
      lack(excuse(found, key, targetsFor) ?? (found.listed.has(key) ? "other" : "absent"));
    else todo.push({ holding, copy, path: place.path });
  };
  for (const expected of expectedOf(found)) await orLeave(expected.holding.key, left, () => look(expected));
  for (const { file, version, sha256 } of found.holdings.heldAside) missing.push({ file, version, sha256, why: "held" });
  const copies = todo.filter(({ copy }) => copy).length;
  const bytes = todo.reduce((sum, { holding }) => sum + holding.size, 0);
  const files = todo.length - copies;
  return { report: { ...report, bare: true, files, copies, bytes, here, missing, left }, todo };
}

async function fetchAll(parts: FromTargetParts, found: Found, todo: readonly Todo[], { onProgress }: FromTargetOptions) {
  const { heads, archive, targetsFor } = parts.rebuild;
  const missing: Missing[] = [];
  const left: Left[] = [];
  const inTheWay: Key[] = [];
  /** Keys that hold here just what they hold there. */
  const exact = new Set<Key>();
  let [files, copies, bytes, done] = [0, 0, 0, 0];
  const fetch = async ({ holding, copy, path }: Todo) => {
    const { key, version, sha256, size, base } = holding;
    const temporary = besideOf(path, key);
    const came = await fetchContent(found, key, holding, temporary, archive);
    onProgress?.(++done, todo.length, key);
    if ("why" in came) {
      missing.push({ file: key, version, sha256, why: excuse(found, key, targetsFor) ?? came.why });
      return;
    }
    if (!statLive(path)) await moveDurably(temporary, path);
    else {
      if (copy) missing.push({ file: key, version, sha256, why: "taken" });
      else {
        await heads.create(base, () => readPieces(temporary), 0o666);
        inTheWay.push(key);
      }
      await rm(temporary, { force: true });
    }
    if (came.from === key && found.listed.get(key)?.size === size && !inTheWay.includes(key)) exact.add(key);
    if (copy) copies++;
    else files++;
    bytes += size;
  };
  const said = (one: Todo) =>
    fetch(one).catch((error: unknown) => {
      throw saidOf(error, besideOf(one.path, one.holding.key), one.path);
    });
  await inParallel(todo, found.to.concurrency, (one) => orLeave(one.holding.key, left, () => said(one)));
  return { missing, left, inTheWay, exact, files, copies, bytes };
}

/** The history as the file that it was; lines of the original's that are there already stay in front. */
async function writeChangelog(path: string, { lines }: Told): Promise<void> {
  const { found } = await adopt(path);
  const temporary = `${path}.restore`; // always the same, so that a run that was killed leaves nothing behind the next one
  await rm(temporary, { force: true });
  await makeFolder(dirname(path));
  const all = async function* () {
    if (found === "lines") yield* readPieces(path);
    let text = "";
    for (const line of lines) {
      text += `${changelogLine(line)}\n`;
      if (text.length < 1 << 16) continue;
      yield Buffer.from(text);
      text = "";
    }
    yield Buffer.from(text);
  };
  try {
    await createDurably(temporary, all, LOG_MODE);
    await moveDurably(temporary, path);
  } catch (error) {
    throw saidOf(error, temporary, path);
  }
}

interface Change extends Holding {
  /** Of what is here; null: nothing. */
  readonly from: string | null;
}

/** What the target's files hold, or held at a time, and what of it is not so here. `same`: keys known to be equal. */
async function compare(
  { rebuild: { places, archive, targetsFor } }: FromTargetParts,
  found: Found,
  { at, prefix = "" }: FromTargetOptions,
  same: ReadonlySet<Key>,
): Promise<{ changes: Change[]; missing: Missing[]; left: Left[]; strangers: NotOurs[]; here: number }> {
  const isBelow = below(prefix);
  const isMeant = (key: Key) => !same.has(key) && isBelow(key);
  const missing: Missing[] = [];
  const changes: Change[] = [];
  const left: Left[] = [];
  const strangers: NotOurs[] = [];
  let here = 0;
  const lack = ({ key, version, sha256 }: Holding) =>
    missing.push({ file: key, version, sha256, why: excuse(found, key, targetsFor) ?? "absent" });
  const look = (holding: Holding) =>
    orLeave(holding.key, left, async () => {
      const from = (await digestOfFile(places.savable(holding.key).path))?.sha256 ?? null;
      if (from === holding.sha256) here++;
      else changes.push({ ...holding, from });
    });
  const holdsHere = async ({ key, sha256 }: Holding) =>
    (await digestOfFile(places.pathOf(key)).catch(() => undefined))?.sha256 === sha256;
  if (at !== undefined) {
    for (const holding of found.holdings.at(at).values()) {
      if (!isMeant(holding.key)) continue;
      if (sourcesOf(found, holding.key, holding, archive).next().done) lack(holding);
      else await look(holding);
    }
    return { changes, missing, left, strangers, here };
  }
  const { files } = found.holdings;
  const [told, beside] = [versionsOf(found.holdings.lines), versionsOf(found.told.beside)];
  for (const entry of found.listed.values()) {
    const key = memoryKey(entry.key, archive);
    if (key === undefined || !isMeant(key)) continue;
    const sha256 = await sha256Of(found.to.target, entry, found.call);
    const as = (version: string): Holding => ({ key, version, sha256, size: entry.size, base: version });
    const now = files.get(key);
    const [older, theirs] = [told.get(key)?.get(sha256), beside.get(key)?.get(sha256)];
    if (now?.sha256 === sha256) await look(now);
    else if (older !== undefined) {
      if (now === undefined) continue; // it was archived since; nothing is removed at a target
      if (!sourcesOf(found, key, now, archive).next().done) await look(now);
      else if (statLive(places.pathOf(key))) lack(now);
      else await look(as(older)); // better than nothing
    } else if (theirs !== undefined) await look(as(theirs));
    else if (now !== undefined && found.told.foreign.has(key))
      await look(now); // theirs lies over ours, which was kept aside
    else if (now !== undefined || beside.has(key)) {
      const isHere = now !== undefined && (await holdsHere(now));
      missing.push({ file: key, version: null, sha256, why: isHere ? "covered" : "other" });
    } else strangers.push({ file: key, memory_root: found.told.foreign.get(key) ?? null });
  }
  for (const holding of found.holdings.files.values()) if (isMeant(holding.key) && !found.listed.has(holding.key)) lack(holding);
  return { changes, missing, left, strangers, here };
}

/** Makes new versions of what the target's files hold, or held at a time. */
async function again(
  parts: FromTargetParts,
  found: Found,
  report: FromTarget,
  options: FromTargetOptions,
  same: ReadonlySet<Key>,
): Promise<FromTarget> {
  const { state, places, archive } = parts.rebuild;
  const { dryRun = false, meta = {}, signal, onProgress } = options;
  const { changes, missing, left, strangers, here } = await compare(parts, found, options, same);
  const known = new Set(report.not_ours.map(({ file }) => file));
  const not_ours = [...report.not_ours, ...strangers.filter(({ file }) => !known.has(file))];
  const told = (some: readonly Change[]) => ({
    ...report,
    not_ours,
    not_brought: report.not_brought.filter(({ file, sha256 }) => !some.some((one) => one.key === file && one.sha256 === sha256)),
    files: some.length,
    bytes: some.reduce((sum, { size }) => sum + size, 0),
    here,
    changes: some.map(({ key, from, sha256, size, version }) => ({ file: key, from, to: sha256, size, version })),
  });
  if (dryRun) return { ...told(changes), missing, left, dry_run: true };

  const receipts: Receipt[] = [];
  const id = parts.newId();
  const who: Meta = {
    ...meta,
    tool: meta.tool ?? "aftersave restore",
    session_id: meta.session_id ?? `restore-${id}`,
    reason: meta.reason ?? `restored from ${found.to.name}`,
  };
  const spool = join(parts.spoolDir, `from-${id}`);
  const bring = async ({ key, version, sha256, size, base, from }: Change) => {
    const came = await fetchContent(found, key, { sha256, size, base }, spool, archive);
    if ("why" in came) {
      missing.push({ file: key, version, sha256, why: came.why });
      return;
    }
    const details: Details = (await state.saves.version(version)) ? { restores: version } : {};
    const call = { if_sha256: from, signal };
    receipts.push(await parts.saves.bring("restore", places.pathOf(key), () => readPieces(spool), details, who, call));
  };
  for (const [done, change] of changes.entries()) {
    signal?.throwIfAborted();
    try {
      await bring(change);
    } catch (error) {
      if (signal?.aborted || error instanceof TargetError) throw error;
      left.push(leftOf(change.key, error));
    } finally {
      await rm(spool, { force: true });
    }
    onProgress?.(done + 1, changes.length, change.key);
  }
  const restored = new Set(receipts.map(({ file }) => file));
  return { ...told(changes.filter(({ key }) => restored.has(key))), missing, receipts, left };
}

/** Archive copies that the history here has and that are gone from this machine, put back under their names. */
async function bringCopies(
  parts: FromTargetParts,
  found: Found,
  done: FromTarget,
  options: FromTargetOptions,
): Promise<FromTarget> {
  const { state, places, archive } = parts.rebuild;
  const { prefix = "", dryRun = false, signal } = options;
  const isMeant = below(prefix);
  const missing: Missing[] = [];
  const left: Left[] = [];
  let [copies, bytes] = [0, 0];
  const bring = async ({ key, version, sha256, size, base }: ArchiveCopy) => {
    const place = places.place(key);
    if (place.stats) return; // `verify` tells when it is another file
    const content = { sha256, size, base: base ?? "" };
    const lack = (why: "absent" | "other") =>
      missing.push({ file: key, version, sha256, why: excuse(found, key, parts.rebuild.targetsFor) ?? why });
    if (place.key !== key || sourcesOf(found, key, content, archive).next().done) return lack("absent");
    if (!dryRun) {
      const temporary = besideOf(place.path, key);
      const came = await fetchContent(found, key, content, temporary, archive);
      if ("why" in came) return lack(came.why);
      const release = await state.claims.take("prune", "prune", { waitMs: 600_000, signal }); // an erasure takes it too
      try {
        const now = await state.saves.archiveCopy(key);
        if (now?.sha256 !== sha256 || now.pruned || statLive(place.path)) return; // pruned, erased or back meanwhile
        await moveDurably(temporary, place.path);
      } finally {
        release();
        await rm(temporary, { force: true });
      }
    }
    copies++;
    bytes += size;
  };
  for await (const copy of state.saves.archiveCopies()) {
    signal?.throwIfAborted();
    if (!copy.pruned && (isMeant(copy.file) || isMeant(copy.key)))
      await orLeave(copy.key, left, async () => void (await bring(copy)));
  }
  return {
    ...done,
    copies,
    bytes: done.bytes + bytes,
    missing: [...done.missing, ...missing],
    left: [...done.left, ...left],
  };
}

/** A file's key, if it is one that a save could have had; archive copies are none. */
function memoryKey(text: string, archive: ArchiveFolder): Key | undefined {
  try {
    const key = parseKey(text);
    if (isArchiveKey(key, archive)) return undefined;
    assertSavable(key, archive);
    return key;
  } catch (error) {
    if (error instanceof AftersaveError) return undefined;
    throw error;
  }
}

/** Key → hash → the newest version with it. */
function versionsOf(lines: readonly Version[]): Map<Key, Map<string, string>> {
  const versions = new Map<Key, Map<string, string>>();
  for (const { file, sha256, version } of lines) {
    if (sha256 === null) continue;
    const known = versions.get(file) ?? new Map<string, string>();
    versions.set(file, known.set(sha256, version));
  }
  return versions;
}

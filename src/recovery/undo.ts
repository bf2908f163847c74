/**
 * Taking saves back. Only the change that a save made goes: what newer saves changed elsewhere in the file stays.
 * @module
 */
import { createHash } from "node:crypto";
import { AftersaveError } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import { movesHead, type Version } from "../core/version.ts";
import { mergeLines } from "../text/merge.ts";
import {
  actionOf,
  byActor,
  bytesOf,
  commandFor,
  heldBy,
  heldNow,
  leftOf,
  NOTHING,
  planOf,
  same,
  staying,
  strangerTo,
  textOf,
  type Held,
  type Left,
  type Planned,
  type PlanParts,
  type RestoreAction,
  type RestorePlan,
  type SavesOf,
} from "./plan.ts";
import { checkWish, TEXT, TEXTS, TIME } from "./wish.ts";

/** Which saves: those named, or those of a session or chat. With none of it the last save of the memory root. */
export interface UndoWish {
  /** Ids of versions, or their unique endings: the undo tokens of receipts. */
  readonly versions?: readonly string[] | undefined;
  readonly session_id?: string | undefined;
  readonly chat_name?: string | undefined;
  /** Of a session or chat: only saves from this moment on. */
  readonly since?: Date | string | undefined;
}

/**
 * The plan that takes saves back; changes nothing. Throws `E_VERSION` for a name that no version has, `E_NOT_FOUND` when
 * there is no such save, `E_USAGE` for a line that is no save, and for a wish that is not understood.
 */
export async function planUndo(parts: PlanParts, wish: UndoWish = {}): Promise<RestorePlan> {
  checkWish("an undo", wish, { versions: TEXTS, session_id: TEXT, chat_name: TEXT, since: TIME });
  const asked = await versionsOf(parts, wish);
  const files = new Map<Key, Version[]>();
  for (const version of asked) files.set(version.file, [...(files.get(version.file) ?? []), version]);
  const bare = (wish.versions ?? []).length === 0 && wish.session_id === undefined && wish.chat_name === undefined;
  const actions: RestoreAction[] = [];
  const left: Left[] = [];
  const strangers: SavesOf[] = [];
  for (const [key, versions] of files) {
    try {
      const edit = bare ? await unnoticed(parts, key) : undefined;
      const { action } = edit ?? (await takeBack(parts, key, new Set(versions.map(({ version }) => version))));
      if (edit) strangers.push(strangerTo(parts, key));
      actions.push(action);
      if (action.does === "conflict") left.push(conflict(action, await beforeAll(parts, versions)));
    } catch (error) {
      left.push(leftOf(key, error));
    }
  }
  const gone = new Set(actions.flatMap(({ undoes }) => undoes));
  const takes_back = [...byActor(asked.filter(({ version }) => gone.has(version))), ...strangers];
  return planOf(parts, { does: "undo", takes_back }, actions, left);
}

/** Newest first. */
async function versionsOf({ saves, versions }: PlanParts, wish: UndoWish): Promise<Version[]> {
  const { versions: names = [], session_id, chat_name, since } = wish;
  const chosen = session_id !== undefined || chat_name !== undefined;
  if (names.length > 0 && (chosen || since !== undefined))
    throw usage("takes versions, or a session or chat: not both", "Name the versions alone.");
  if (since !== undefined && !chosen)
    throw usage(
      "was told since when, but not whose saves it takes back",
      "Name a session or a chat; `restore --at TIME` brings everything back.",
    );
  if (names.length > 0) {
    const found = new Map<string, Version>();
    for (const name of names) {
      const version = await versions.named(name);
      if (!movesHead(version))
        throw new AftersaveError("E_USAGE", `${version.version} is no save to undo, but a line of kind ${version.op}`, {
          hint: noSave[version.op] ?? "`aftersave history` shows the saves.",
        });
      found.set(version.version, version);
    }
    return [...found.values()].toSorted((a, b) => b.place - a.place);
  }
  const found: Version[] = [];
  const from = since === undefined ? undefined : new Date(since).toISOString();
  for await (const version of saves.select({ session_id, chat_name, since: from, order: "newest" })) {
    if (!movesHead(version)) continue;
    found.push(version);
    if (!chosen) break;
  }
  if (found.length > 0) return found;
  throw new AftersaveError("E_NOT_FOUND", chosen ? "there is no such save" : "nothing was saved yet", {
    hint: chosen ? "`aftersave history` shows chats, sessions and times as they were stamped." : "There is nothing to undo.",
  });
}

const usage = (what: string, hint: string) => new AftersaveError("E_USAGE", `an undo ${what}`, { hint });

const noSave: Partial<Record<Version["op"], string>> = {
  hold: "`aftersave reject VERSION` settles what is held.",
  pin: "`aftersave pin --remove` takes a pin back.",
  erase: "What was erased cannot be brought back; `aftersave erase --lift ID` only lets it be saved again.",
};

/** The last save may not be the last change: what someone did to its file since, and no version knows, is taken back first. */
async function unnoticed(parts: PlanParts, key: Key): Promise<Planned | undefined> {
  const head = await parts.saves.head(key);
  const now = await heldNow(parts, key);
  if (!head || now.bytes?.sha256 === head.sha256) return undefined;
  const becomes = await heldBy(parts.versions, await parts.saves.version(head.version));
  return actionOf({ key, now, becomes, newer: [] });
}

interface Step {
  readonly version: Version;
  /** To be taken back. */
  readonly mine: boolean;
  /** An earlier undo, or a save that one took back: together they come to nothing. */
  readonly settled: boolean;
}

/** What the key held, newest first, down to what it held before the oldest of `asked` and of what was taken back since. */
async function historyOf({ saves }: PlanParts, key: Key, asked: ReadonlySet<string>): Promise<Step[]> {
  const steps: Step[] = [];
  const back = new Set<string>();
  const wanted = new Set(asked);
  for await (const version of saves.select({ file: key, order: "newest" })) {
    if (!movesHead(version)) continue;
    const { version: id } = version;
    const [isAsked, isBack] = [asked.has(id), back.has(id)];
    // an undo that is itself taken back, before or now, takes nothing back
    const takes = isAsked || isBack ? [] : (version.details?.undoes ?? []);
    const isBelow = wanted.size === 0; // only what it held then is of interest
    steps.push({ version, mine: isAsked && !isBack, settled: !isBelow && (isBack || takes.length > 0) });
    if (isBelow) break;
    wanted.delete(id);
    for (const undone of takes) {
      back.add(undone);
      wanted.add(undone);
    }
  }
  return steps;
}

/**
 * What `key` would hold without the changes that these versions made. Changes nothing. Newer saves stay; where that cannot be,
 * so does the whole file.
 */
export async function takeBack(parts: PlanParts, key: Key, asked: ReadonlySet<string>): Promise<Planned> {
  const steps = await historyOf(parts, key, asked);
  const now = await heldNow(parts, key);
  const mine = steps.filter(({ mine }) => mine);
  const oldest = steps.findLastIndex(({ mine }) => mine);
  const newer = byActor(steps.slice(0, Math.max(0, oldest)).flatMap(({ version, mine }) => (mine ? [] : [version])));
  const facts = { key, now, becomes: now, undoes: mine.map(({ version }) => version.version), newer };
  if (mine.length === 0) return staying("nothing", "it was taken back already", facts);
  // lines that an earlier undo took away stood beside these: without both, as if neither had been, each is whole again
  const also = steps.some(({ settled }) => settled)
    ? await without(parts, now, steps, ({ mine, settled }) => mine || settled).catch(goneIsNone)
    : undefined;
  const becomes = typeof also === "object" ? also : await without(parts, now, steps, ({ mine }) => mine);
  return typeof becomes === "string" ? staying("conflict", becomes, facts) : actionOf({ ...facts, becomes });
}

/** Content that only this one way needs. */
const goneIsNone = (error: unknown): undefined => {
  if (!(error instanceof AftersaveError) || error.code !== "E_CONTENT_GONE") throw error;
};

/**
 * `now` without the steps that go; a text says why that cannot be. Newest first, each stretch of them is taken out of what is
 * there by a merge of three: base what it made, ours what is there, theirs what was there before.
 */
async function without(
  parts: PlanParts,
  now: Held,
  steps: readonly Step[],
  goes: (step: Step) => boolean,
): Promise<Held | string> {
  const stretches: { readonly from: number; readonly to: number }[] = [];
  for (let at = 0; at < steps.length; at++) {
    const from = at;
    for (let step = steps[at]; step && goes(step); step = steps[++at]) checkPast(step, steps[at + 1]);
    if (at > from) stretches.push({ from, to: at });
  }
  const held = stretches.length > 1 ? reader(parts) : (version: Version | undefined) => heldBy(parts.versions, version);
  let left = now;
  for (const { from, to } of stretches) {
    const [base, theirs] = [await held(steps[from]?.version), await held(steps[to]?.version)];
    const merged = await merge(left, base, theirs, steps[from - 1]?.version.op);
    if (typeof merged === "string") return merged;
    left = merged;
  }
  return left;
}

/** Reads what versions of one key held, newest first. What lies in one growing copy is read once: the others are beginnings of it. */
function reader({ saves, versions }: PlanParts): (version: Version | undefined) => Promise<Held> {
  let copy: { readonly base: string; readonly bytes: Buffer } | undefined;
  return async (version) => {
    const content = version && (await saves.whereabouts(version.version))?.content;
    if (version && content && copy?.base === content.base && content.size <= copy.bytes.length)
      return inMemory(copy.bytes.subarray(0, content.size), content.sha256, version.version);
    const held = await heldBy(versions, version);
    const bytes = await bytesOf(held);
    if (content && bytes) copy = { base: content.base, bytes };
    return held;
  };
}

const inMemory = (bytes: Buffer, sha256: string, version?: string): Held => ({
  bytes: { sha256, size: bytes.length },
  version,
  async *open() {
    yield bytes;
  },
});

/** An erased line no longer says what was there: then what was there before a step is not known. */
function checkPast({ version }: Step, before: Step | undefined): void {
  if (version.prev_sha256 === null || version.prev_sha256 === (before?.version.sha256 ?? null)) return;
  throw new AftersaveError("E_CONTENT_GONE", `what ${version.file} held before ${version.version} was erased`, {
    hint: `\`aftersave history\` shows what is left; \`${commandFor(version.file, "VERSION")}\` brings one of it back.`,
  });
}

/** `ours` without the change from `theirs` to `base`; a text says why that cannot be. `above` is what the save on top of it did. */
async function merge(ours: Held, base: Held, theirs: Held, above: Version["op"] | undefined): Promise<Held | string> {
  if (same(ours, base)) return theirs;
  if (same(ours, theirs)) return ours;
  const [mine, made, before] = [await bytesOf(ours), await bytesOf(base), await bytesOf(theirs)];
  if (!mine || !made || !before) return "newer saves lie on top, and the file is too large to merge";
  const merged = appended(mine, made, before, above) ?? (await mergedText(mine, made, before));
  if (merged.length === 0 && (!theirs.bytes || !ours.bytes)) return NOTHING;
  if (!ours.bytes) return "someone removed the file since";
  if (typeof merged === "string") return merged;
  return inMemory(merged, createHash("sha256").update(merged).digest("hex"));
}

const NEWLINE = 10;

/** Appends commute: what was added behind the change is added behind what was there before it. */
function appended(mine: Buffer, made: Buffer, before: Buffer, above: Version["op"] | undefined): Buffer | undefined {
  if (!mine.subarray(0, made.length).equals(made)) return undefined;
  if (made.length === 0 && before.length > 0 && above !== "append") return undefined; // the file began anew
  const startsLine = made.length === 0 || made.at(-1) === NEWLINE;
  const glues = startsLine && before.length > 0 && before.at(-1) !== NEWLINE && textOf(before) !== undefined;
  return Buffer.concat([before, ...(glues ? [Buffer.from([NEWLINE])] : []), mine.subarray(made.length)]);
}

async function mergedText(mine: Buffer, made: Buffer, before: Buffer): Promise<Buffer | string> {
  const [ours, base, theirs] = [textOf(mine), textOf(made), textOf(before)];
  if (ours === undefined || base === undefined || theirs === undefined)
    return "newer saves lie on top, and what is not text cannot be merged";
  if (base === "") return "someone began the file anew since";
  const { text, conflicts } = await mergeLines(base, ours, theirs);
  return conflicts === 0 ? Buffer.from(text, "utf8") : "newer saves changed the same lines";
}

/** What the file held before the oldest of `versions` (newest first). */
async function beforeAll({ versions: all }: PlanParts, versions: readonly Version[]): Promise<Version | undefined> {
  const oldest = versions.at(-1);
  const before = oldest && (await all.before(oldest));
  return before?.sha256 ? before : undefined;
}

function conflict({ file, says }: RestoreAction, before: Version | undefined): Left {
  const kept = before ? `what it held before is kept as version ${before.version}` : "it held nothing before";
  return {
    file,
    code: "E_OVERLAP",
    message: `${file} stays as it is: ${says}; ${kept}`,
    hint: `\`${commandFor(file, before?.version)}\` takes that anyway; what is there now goes to the archive.`,
  };
}

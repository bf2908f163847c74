/**
 * A plan to bring something back: which keys would change, into what, and what stays as it is. A plan is data; `apply.ts`
 * does what it says, and nothing else does.
 * @module
 */
import { createHash } from "node:crypto";
import { AftersaveError, asAftersaveError, type ErrorCode } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import type { Chunks } from "../core/target.ts";
import type { Op, Origin, Version } from "../core/version.ts";
import { readPieces } from "../memory/content.ts";
import { lookAt, statLive } from "../memory/live.ts";
import type { Places } from "../memory/places.ts";
import type { Versions } from "../memory/versions.ts";
import type { Decisions } from "../state/decisions.ts";
import type { Head, Saves } from "../state/saves.ts";
import type { State } from "../state/state.ts";

export interface PlanParts {
  readonly saves: Saves;
  readonly versions: Versions;
  readonly places: Places;
  readonly decisions: Pick<Decisions, "held">;
  /** Remembers which plan is under way. */
  readonly facts: Pick<State, "getMeta" | "setMeta">;
  /** A new id; sortable. */
  readonly newId: () => string;
}

/** Some bytes, by hash and length. */
export interface Bytes {
  readonly sha256: string;
  readonly size: number;
}

/** Saves of one actor; or, with no saves, the change of a file that no version knows yet. */
export interface SavesOf {
  readonly chat_name: string;
  readonly session_id: string | null;
  readonly origin: Origin | null;
  readonly saves: number;
  /** The newest of them, and what it did. */
  readonly version: string | null;
  readonly op: Op;
  /** Of a change that no version knows yet: when the file was last written; null when it was removed. */
  readonly timestamp: string | null;
}

/** What would happen to one key. */
export interface RestoreAction {
  readonly file: Key;
  /** `empty`: it will hold nothing. `conflict` and `nothing`: it stays as it is; `says` tells why. */
  readonly does: "replace" | "create" | "empty" | "nothing" | "conflict";
  /** What it holds now; null: nothing. `version` is null where someone changed the file and no version knows that yet. */
  readonly now: (Bytes & { readonly version: string | null }) | null;
  /** What it will hold; null: nothing. */
  readonly becomes: Bytes | null;
  /** The version whose bytes these are; null when it will hold nothing, or what was merged. */
  readonly restores: string | null;
  /** Newer saves changed other lines: they stay, only the change that is taken back goes. */
  readonly merged: boolean;
  /** Versions that are taken back, newest first. */
  readonly undoes: readonly string[];
  /** Newer saves by others: in the file still where `merged`, else in the archive, like all that is replaced. */
  readonly newer: readonly SavesOf[];
  /** Lines that come and go, where both are text of at most 1 MiB. */
  readonly lines: { readonly added: number; readonly removed: number } | null;
  readonly says: string | null;
}

/** A key that stays as it is although something was to be brought back. */
export interface Left {
  readonly file: Key;
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string | null;
}

export interface RestorePlan {
  /** Names this plan, also when it goes on with one that was cut off, and is the session of the saves that it leads to, unless the caller names one: `undo --session` takes them back together. */
  readonly plan: string;
  readonly does: "undo" | "restore";
  /** Of a restore of many keys: the moment (UTC, ISO 8601), and below which key; `""`: all. Else null. */
  readonly at: string | null;
  readonly prefix: string | null;
  /** Of an undo: whose saves it takes back. */
  readonly takes_back: readonly SavesOf[];
  readonly actions: readonly RestoreAction[];
  readonly left: readonly Left[];
  /** Versions of keys that will change which wait for `accept` or `reject`: the targets get nothing of those keys before. */
  readonly held: readonly string[];
  /** How many keys will change, and the bytes that will be written. */
  readonly files: number;
  readonly bytes: number;
}

/** Content that may become a key's. */
export interface Held {
  /** Null: nothing. */
  readonly bytes: Bytes | null;
  /** The version whose content it is, null for nothing; undefined for what no version holds. */
  readonly version: string | null | undefined;
  readonly open: () => Chunks;
}

/** An action with the content that it would write. */
export interface Planned {
  readonly action: RestoreAction;
  readonly becomes: Held;
}

export const NOTHING: Held = {
  bytes: null,
  version: null,
  async *open() {},
};

export const same = (a: Held, b: Held): boolean => a.bytes?.sha256 === b.bytes?.sha256;

/** What `version` held. Its bytes were checked. Throws `E_CONTENT_GONE`. */
export async function heldBy(versions: Versions, version: Version | undefined): Promise<Held> {
  const source = version && (await versions.content(version));
  if (!source) return NOTHING;
  const { sha256, size } = source;
  return { bytes: { sha256, size }, version: version.version, open: () => source.open() };
}

/** What `key` holds now, changes by others included that no version knows yet. Throws `E_KEY_…`. */
export async function heldNow({ saves, places }: PlanParts, key: Key): Promise<Held> {
  const path = livePath(places, key);
  if (path === undefined) return NOTHING;
  const head = await saves.head(key);
  const look = await lookAt(path, head);
  if (look.kind === "absent") return NOTHING;
  const { sha256, size } = look.kind === "changed" ? look.digest : (head as Head);
  const version = look.kind === "same" ? head?.version : undefined;
  return { bytes: { sha256, size }, version, open: () => calm(path, { sha256, size }) };
}

/** Who changed `key` past aftersave, as an actor of no saves. */
export function strangerTo({ places }: PlanParts, key: Key): SavesOf {
  const path = livePath(places, key);
  const timestamp = (path === undefined ? undefined : statLive(path))?.mtime.toISOString() ?? null;
  return { chat_name: "UNKNOWN", session_id: null, origin: "unattributed", saves: 0, version: null, op: "external", timestamp };
}

/** The bytes of a live file. Throws `E_STALE` at the end when they are not those that were seen. */
async function* calm(path: string, { sha256, size }: Bytes): Chunks {
  const state = createHash("sha256");
  for await (const piece of readPieces(path, 0, size)) {
    state.update(piece);
    yield piece;
  }
  if (state.digest("hex") === sha256) return;
  throw new AftersaveError("E_STALE", "the file is being written at this moment", { hint: "Run the same command again." });
}

/** Undefined when a folder is in the way, which may go before its turn comes. */
function livePath(places: Places, key: Key): string | undefined {
  try {
    const place = places.savable(key);
    if (place.key === key) return place.path;
  } catch (error) {
    if (error instanceof AftersaveError && error.code === "E_KEY_FOLDER") return undefined;
    throw error;
  }
  throw new AftersaveError("E_KEY_NAME", `${JSON.stringify(key)} is a symbolic link to another memory file now`, {
    hint: "Remove the link, then bring it back again.",
  });
}

const MERGEABLE = 64 << 20;

/** All bytes; undefined when they are too many to be held in memory. */
export async function bytesOf({ bytes, open }: Held, most = MERGEABLE): Promise<Buffer | undefined> {
  if (bytes && bytes.size > most) return undefined;
  const pieces: Buffer[] = [];
  for await (const piece of open()) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The bytes as text; undefined when they are none. */
export function textOf(bytes: Buffer): string | undefined {
  if (bytes.includes(0)) return undefined;
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

const COUNTED = 1 << 20;

/** How many lines one has and the other has not, whatever their order. */
async function linesBetween(before: Held, after: Held): Promise<RestoreAction["lines"]> {
  const texts = [await bytesOf(before, COUNTED), await bytesOf(after, COUNTED)].map((bytes) => bytes && textOf(bytes));
  const [from, to] = texts;
  if (from === undefined || to === undefined) return null;
  const lines = (text: string) => (text === "" ? [] : text.replace(/\n$/, "").split("\n"));
  const counts = new Map<string, number>();
  for (const line of lines(from)) counts.set(line, (counts.get(line) ?? 0) + 1);
  let added = 0;
  for (const line of lines(to)) {
    const left = counts.get(line) ?? 0;
    if (left > 0) counts.set(line, left - 1);
    else added++;
  }
  return { added, removed: [...counts.values()].reduce((sum, n) => sum + n, 0) };
}

/** Saves by actor, in the order in which each is met first. */
export function byActor(versions: Iterable<Version>): SavesOf[] {
  const found = new Map<string, SavesOf>();
  for (const { chat_name, session_id, origin, version, op, timestamp } of versions) {
    const who = JSON.stringify([chat_name, session_id, origin]);
    const known = found.get(who);
    if (!known) found.set(who, { chat_name, session_id, origin, saves: 1, version, op, timestamp });
    else if ((known.version ?? "") > version) found.set(who, { ...known, saves: known.saves + 1 });
    else found.set(who, { ...known, saves: known.saves + 1, version, op, timestamp });
  }
  return [...found.values()];
}

interface Facts {
  readonly key: Key;
  readonly now: Held;
  readonly becomes: Held;
  readonly undoes?: readonly string[];
  readonly newer: readonly SavesOf[];
}

const nowIn = ({ bytes, version }: Held): RestoreAction["now"] => bytes && { ...bytes, version: version ?? null };

/** The action that makes `becomes` of `now`. */
export async function actionOf({ key, now, becomes, undoes = [], newer }: Facts): Promise<Planned> {
  const unchanged = same(now, becomes);
  const action: RestoreAction = {
    file: key,
    does: unchanged ? "nothing" : !becomes.bytes ? "empty" : now.bytes ? "replace" : "create",
    now: nowIn(now),
    becomes: becomes.bytes,
    restores: becomes.version ?? null,
    merged: becomes.version === undefined && becomes.bytes !== null && !unchanged,
    undoes,
    newer,
    lines: unchanged ? null : await linesBetween(now, becomes),
    says: unchanged ? (now.bytes ? "it holds that already" : "it holds nothing already") : null,
  };
  return { action, becomes };
}

/** An action that leaves the key as it is. */
export function staying(does: "nothing" | "conflict", says: string, { key, now, undoes = [], newer }: Facts): Planned {
  const { bytes } = now;
  const kept = { file: key, does, now: nowIn(now), becomes: bytes, restores: null, merged: false, undoes, newer };
  return { action: { ...kept, lines: null, says }, becomes: now };
}

/** Why `key` stays as it is. */
export function leftOf(file: Key, error: unknown): Left {
  const { code, message, hint } = asAftersaveError(error, `bringing back ${file}`);
  return { file, code, message, hint: hint ?? null };
}

/** A key as one word of a command line. */
const quoted = (word: string) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);

/** The command that makes `version` what `key` holds, whatever lies on top; undefined: nothing shall be there. */
export const commandFor = (key: Key, version: string | undefined): string =>
  version === undefined ? `aftersave archive ${quoted(key)}` : `aftersave restore ${quoted(`${key}@${version}`)}`;

type Asked = Pick<RestorePlan, "does"> & Partial<Pick<RestorePlan, "at" | "prefix" | "takes_back">>;

const UNDER_WAY = "bringing";

/** As much of a plan that was begun as tells what is left of it. */
interface Begun extends Pick<RestorePlan, "plan" | "does" | "at" | "prefix"> {
  readonly undoes: readonly string[];
}

/** From here on, until `ended`, a plan for the same that is made anew is for what is left of this one. */
export async function begin({ facts }: PlanParts, { plan, does, at, prefix, actions }: RestorePlan): Promise<void> {
  const undoes = does === "undo" ? actions.flatMap((action) => action.undoes) : [];
  const begun: Begun = { plan, does, at, prefix, undoes };
  await facts.setMeta(UNDER_WAY, JSON.stringify(begun));
}

const begun = async ({ facts }: PlanParts): Promise<Begun | null> =>
  JSON.parse((await facts.getMeta(UNDER_WAY)) ?? "null") as Begun | null;

export async function ended(parts: PlanParts, { plan }: RestorePlan): Promise<void> {
  if ((await begun(parts))?.plan === plan) await parts.facts.setMeta(UNDER_WAY, "null");
}

/** The id of a plan that was cut off, where `changing` is what is left of it: it stays one session, which one undo takes back. */
async function cutOff(parts: PlanParts, { does, at, prefix }: Asked, changing: readonly RestoreAction[]) {
  const before = await begun(parts);
  if (before?.does !== does || changing.length === 0) return undefined;
  if (does === "undo") {
    const undoes = new Set(before.undoes);
    return changing.every((action) => action.undoes.length > 0 && action.undoes.every((version) => undoes.has(version)))
      ? before.plan
      : undefined;
  }
  if (at === undefined || at === null || before.at === null || before.prefix !== prefix) return undefined;
  const { saves } = parts;
  return (await saves.lastPlaceAt(before.at)) === (await saves.lastPlaceAt(at)) ? before.plan : undefined;
}

/** The plan of these actions: what holds nothing afterwards goes first, so that a folder can take a file's place. */
export async function planOf(
  parts: PlanParts,
  asked: Asked,
  actions: readonly RestoreAction[],
  left: readonly Left[],
): Promise<RestorePlan> {
  const order = (action: RestoreAction) => (action.does === "empty" ? 0 : 1);
  const ordered = actions.toSorted((a, b) => order(a) - order(b) || (a.file < b.file ? -1 : 1));
  const changing = ordered.filter(changes);
  const keys = new Set(changing.map(({ file }) => file));
  const held = (await parts.decisions.held("open")).filter(({ key, applied }) => applied && keys.has(key));
  return {
    plan: (await cutOff(parts, asked, changing)) ?? `${asked.does}-${parts.newId()}`,
    does: asked.does,
    at: asked.at ?? null,
    prefix: asked.prefix ?? null,
    takes_back: asked.takes_back ?? [],
    actions: ordered,
    left,
    held: held.map(({ version }) => version),
    files: changing.length,
    bytes: changing.reduce((sum, { becomes }) => sum + (becomes?.size ?? 0), 0),
  };
}

export const changes = ({ does }: RestoreAction): boolean => does !== "nothing" && does !== "conflict";

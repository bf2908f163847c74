/**
 * Erasing: what was accepted is made unrecoverable, here and at every target (docs/decisions/erase.md). It is begun durably
 * and can be finished by whoever opens the memory next, without anybody keeping what was erased.
 * @module
 */
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { readdir, readFile, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { AftersaveError, errnoOf, type ErrorCode } from "../core/errors.ts";
import { foldKey, ownKey, type Key } from "../core/key.ts";
import { actorOf, NO_CONTENT, NO_KEY, type Meta, type Details, type Version, type VersionFacts } from "../core/version.ts";
import { fsyncFolder } from "../logs/files.ts";
import { dropLines } from "../logs/redact.ts";
import { digestOfFile, readPieces, sameBytes } from "../memory/content.ts";
import { createDurably, temporariesOf, writeDurably } from "../memory/durable.ts";
import { identityOf, lookAt, statLive } from "../memory/live.ts";
import type { LogExport } from "../memory/log-export.ts";
import type { SaveManager } from "../memory/save-manager.ts";
import type { Versions } from "../memory/versions.ts";
import type { OwedPlace, OwedSwap, Swap, Unread } from "../state/erasure.ts";
import { STATE_FILE } from "../state/state.ts";
import { eraseIn, lookInto, type KeyErasure, type KeyParts, type Reach, type Waiting } from "./erase-key.ts";
import { createChange } from "./erase-logs.ts";
import {
  NAME,
  type ErasedBy,
  type ErasedCopy,
  type EraseOptions,
  type EraseWish,
  type Erasing,
  type Forgotten,
  type Remains,
} from "./receipt.ts";
import { MARK, meetsMark, redact } from "./redact.ts";
import {
  createFingerprints,
  formsOf,
  printsOf,
  unique,
  wideFormsOf,
  type Finder,
  type Fingerprints,
  type Print,
  type Tombstone,
  type Tombstones,
} from "./tombstone.ts";

/** Where an erasure is; tests stop the process there. */
export type EraseStepName = "marked" | "prepared" | "committed" | "swapped" | "keys" | "logs" | "loose" | "places" | "scrubbed";

export interface EraseParts extends Omit<KeyParts, "reach"> {
  readonly versions: Versions;
  /** The same where only these targets are asked for what is kept here no more. */
  readonly versionsFrom: (targets: readonly string[]) => Pick<Versions, "content">;
  /** Why a target cannot be looked at; undefined when our marker was seen there, or nothing was ever sent. */
  readonly see: (target: string) => Promise<ErrorCode | undefined>;
  readonly tombstones: Tombstones;
  readonly manager: Pick<SaveManager, "saved">;
  readonly sweep: () => Promise<unknown>;
  readonly logs: Pick<LogExport, "redact" | "drain">;
  readonly clock: Clock;
  readonly newId: () => string;
  /** What a caller says, without what looks like a secret. */
  readonly said: (meta: Meta) => Promise<Meta>;
  readonly stateDir: string;
  /** Where archive copies lie. */
  readonly archiveDir: string;
  readonly diagnosticLog: string;
  readonly keyOf: (text: string) => Key;
  /** Enabled targets. */
  readonly targets: readonly string[];
  /** Does what a target owes, as far as it can; what came of it. */
  readonly settle: (target: string, signal: AbortSignal | undefined) => Promise<readonly ErasedCopy[]>;
  /** What an erasure cannot reach here: looked for anew each time. */
  readonly remains: (by: ErasedBy, finder: Finder, targets: readonly string[], going: ReadonlySet<Key>) => Promise<Remains[]>;
  readonly step?: ((step: EraseStepName) => void | Promise<void>) | undefined;
}

export interface Eraser {
  erase(wish: EraseWish, options?: EraseOptions): Promise<Forgotten>;
  /** What was erased, and may not come back. */
  erasures(): Promise<Erasing[]>;
  /** What this erasure blocks may come back. Brings nothing back. Throws `E_NOT_FOUND`. */
  lift(id: string): Promise<Erasing>;
  /** Finishes what a process began that died; answers how many erasures. Targets are left to the next flush. */
  resume(): Promise<number>;
  /** Goes on with what waits for a content that a target may have, if that can be looked at now; answers whether there was any. */
  lookAgain(target: string): Promise<boolean>;
  /** The same for the files of one key, whose claim the caller holds. */
  finishKey(key: Key): Promise<void>;
}

/** What is under way, without the text. */
interface Body {
  readonly by: ErasedBy;
  readonly at: string;
  readonly reason: string | null;
  readonly wholes: readonly Key[];
  readonly picked: readonly string[];
  /** Chat or session. */
  readonly chat: string | null;
  /** Where contents may lie that were not looked at yet: with any the erasure waits. */
  readonly unread?: readonly Unread[];
}

interface Tally {
  lines: number;
  redacted: number;
  readonly files: { file: Key; versions: number; removed: boolean }[];
  readonly copies: ErasedCopy[];
  readonly gone: Version[];
  readonly waiting: Waiting[];
}

const MOST_ABOUT = 500;
const TRIES = 20;
export const MOST_MATCH = 1000;
const HISTORY = ownKey("history");
const HERE = "here";

const by = (wish: EraseWish): ErasedBy => {
  // a version may be named with its key
  const kinds =
    wish.version === undefined
      ? (["key", "chat", "session", "match"] as const)
      : (["version", "chat", "session", "match"] as const);
  const given = kinds.filter((name) => wish[name] !== undefined);
  const [only] = given;
  if (only && given.length === 1 && wish[only] !== "") return only;
  throw new AftersaveError("E_USAGE", "an erasure is of one thing: a key, a version, a chat, a session or a text", {
    hint: "Name exactly one of them.",
  });
};

export function createEraser(given: EraseParts): Eraser {
  let reached: Promise<Reach> | undefined;
  const parts = { ...given, reach: async () => (reached ??= reachOf(given)) };
  const { state, heads, places, versions, tombstones, logs, clock, newId, stateDir } = parts;
  const { erasure, saves } = state;
  const folder = join(stateDir, "erase");
  const step = async (name: EraseStepName) => parts.step?.(name);

  const claimed = async <T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> => {
    const erase = await state.claims.take("erase", "erase", { waitMs: 600_000, signal });
    reached = undefined; // what was away may be back
    try {
      const prune = await state.claims.take("prune", "prune", { waitMs: 600_000, signal });
      try {
        return await work();
      } finally {
        prune();
      }
    } finally {
      erase();
    }
  };

  /** Versions what others did, so that nothing is overlooked. */
  const notice = async (key?: Key) => {
    if (key === undefined) return void (await parts.sweep());
    await parts.manager.saved(key).catch((error: unknown) => {
      if (!(error instanceof AftersaveError) || error.code !== "E_NOT_FOUND") throw error;
    });
  };

  const pickedOf = async (kind: ErasedBy, wish: EraseWish): Promise<Version[]> => {
    if (kind === "version")
      return [await versions.named(wish.version ?? "", wish.key === undefined ? undefined : parts.keyOf(wish.key))];
    const query = kind === "chat" ? { chat_name: wish.chat } : { session_id: wish.session };
    const found: Version[] = [];
    for await (const version of saves.select(query)) found.push(version);
    if (found.length === 0)
      throw new AftersaveError("E_NOT_FOUND", `nothing was saved by this ${kind}`, {
        hint:
          (await namelessOf(kind)) > 0
            ? `\`aftersave history\` shows the chats and sessions; versions that were erased in part before do not say theirs any more. Erase what is left of those by version (KEY@VERSION) or --match.`
            : "`aftersave history` shows the chats and sessions.",
      });
    return found;
  };

  /** Fingerprints of all that a key ever held. */
  const allOf = async (prints: Fingerprints, key: Key): Promise<Print[]> => {
    const { bases, bytes, copies } = await lookInto(parts, key, new Set());
    const found: Print[][] = [];
    for (const base of bases.keys()) {
      const whole = await bytes(base);
      if (whole) found.push(printsOf(prints, whole, [{ start: 0, end: whole.length }], key));
    }
    for (const copy of copies) {
      if (copy.base !== null || copy.pruned) continue;
      const whole = await readFile(places.pathOf(copy.key)).catch(unlessAbsent);
      if (whole) found.push(printsOf(prints, whole, [{ start: 0, end: whole.length }], key));
    }
    return found.flat();
  };

  /** Fingerprints of what picked versions brought, and that is not erased yet. */
  const broughtOf = async (prints: Fingerprints, found: readonly Version[]): Promise<Print[]> => {
    const picked = new Set(found.map(({ version }) => version));
    const brought: Print[][] = [];
    for (const key of new Set(found.map(({ file }) => file).filter((file) => file !== NO_KEY))) {
      const looked = await lookInto(parts, key, picked);
      for (const [base, ranges] of looked.brought) {
        const whole = await looked.bytes(base);
        if (whole) brought.push(printsOf(prints, whole, ranges, key));
      }
    }
    return brought.flat();
  };

  /** What was asked for: as keys, as versions, and as fingerprints. */
  const resolve = async (
    kind: ErasedBy,
    wish: EraseWish,
    prints: Fingerprints,
    reason: string | null,
  ): Promise<{ body: Body; prints: Print[] }> => {
    const begin = { by: kind, at: new Date(clock.now()).toISOString(), reason, chat: wish.chat ?? wish.session ?? null };
    if (kind === "match") {
      const text = wish.match ?? "";
      if (text.trim().length < 3 || text.length > MOST_MATCH)
        throw new AftersaveError("E_USAGE", `a text to erase has 3 to ${MOST_MATCH} characters`, {
          hint: "Name a longer piece of it; a shorter one stands in too many places.",
        });
      if (meetsMark(text))
        throw new AftersaveError("E_USAGE", `this text and ${MARK}, which stands in place of what was erased, overlap`, {
          hint: "Name more of the text, or less: without a bracket at its end, and without the mark.",
        });
      const wide = wideFormsOf(text).map((form): Print => ({ ...prints.ofText(form), even: true }));
      const found = [...formsOf(text).map((form) => prints.ofText(form)), ...wide];
      return { body: { ...begin, wholes: [], picked: [] }, prints: unique(found) };
    }
    if (kind === "key") {
      const key = parts.keyOf(wish.key ?? "");
      const known = (await erasure.linesOf(key)).length + (await erasure.copiesOf(key)).length;
      if (known === 0 && !existsSync(places.pathOf(key)))
        throw new AftersaveError("E_NOT_FOUND", `nothing was ever saved as ${key}`, {
          hint: "`aftersave history` lists what was.",
        });
      return { body: { ...begin, wholes: [key], picked: [] }, prints: unique(await allOf(prints, key)) };
    }
    const found = await pickedOf(kind, wish);
    const picked = found.map(({ version }) => version);
    return { body: { ...begin, wholes: [], picked }, prints: unique(await broughtOf(prints, found)) };
  };

  const factsOf = (body: Body, file: Key, details: Details, op: "erase" | "prune" = "erase"): VersionFacts => ({
    ...actorOf({}, "human"),
    reason: body.reason,
    version: newId(),
    op,
    file,
    ...NO_CONTENT,
    timestamp: new Date(clock.now()).toISOString(),
    details,
  });

  const placesOf = async (id: string, keys: readonly Key[]): Promise<Omit<OwedPlace, "code">[]> => {
    const owed: Omit<OwedPlace, "code">[] = [];
    for (const key of keys)
      for (const target of new Set([...(await erasure.targetsOf(key)), ...parts.targetsFor(key)]))
        owed.push({ target, key, how: "remove", erasure: id });
    return owed;
  };

  const historyOf = async (id: string): Promise<Omit<OwedPlace, "code">[]> =>
    // a state that was rebuilt does not know yet what was told
    [...new Set([...parts.targets, ...(await erasure.told())])].map((target) => ({
      target,
      key: HISTORY,
      how: "history",
      erasure: id,
    }));

  const doSwap = async ({ seq, key, path, prepared, size, was }: OwedSwap): Promise<void> => {
    if (prepared === null) {
      await rm(path, { force: true });
      if (existsSync(dirname(path))) await fsyncFolder(dirname(path));
    } else if (existsSync(prepared)) {
      const identity = identityOf(statLive(path));
      // someone else has written it meanwhile: it is versioned, and looked through, as what it is by then
      for (const left of await temporariesOf(path)) {
        // a process that died while it did the same; a memory file may be called so too
        if (await saves.head(`${key}${left.slice(path.length)}` as Key)) continue;
        const begun = statLive(left)?.size ?? BigInt(size) + 1n;
        if (begun <= BigInt(size) && (await sameBytes(left, 0, Number(begun), prepared, 0))) await rm(left, { force: true });
      }
      if (was === null || (await digestOfFile(path))?.sha256 === was)
        await writeDurably(path, () => readPieces(prepared, 0, size), {
          beforeRename: async () => {
            if (was !== null && identityOf(statLive(path)) !== identity) throw new Stepped();
          },
        }).catch((error: unknown) => {
          if (!(error instanceof Stepped)) throw error;
        });
    }
    await erasure.swapped(seq);
  };

  const finishKey = async (key: Key) => {
    for (const swap of await erasure.swaps(key)) await doSwap(swap);
  };

  const underKey = async <T>(key: Key, work: () => Promise<T>): Promise<T> => {
    const release = await state.claims.take("save", foldKey(key), { waitMs: 600_000 });
    try {
      await finishKey(key);
      return await work();
    } finally {
      release();
    }
  };

  const prepare = async (id: string, bytes: Uint8Array): Promise<string> => {
    const path = join(folder, `${id}-${randomBytes(6).toString("hex")}`);
    await createDurably(path, bytes, 0o600);
    return path;
  };

  /** Lines of an erasure: each about at most 500 versions. */
  const linesOf = (body: Body, file: Key, found: Pick<KeyErasure, "about" | "redacts">): VersionFacts[] => {
    const left = new Map(found.redacts.map((redacted) => [redacted.version, redacted]));
    const lines: VersionFacts[] = [];
    for (let at = 0; at < found.about.length; at += MOST_ABOUT) {
      const about = found.about.slice(at, at + MOST_ABOUT).map(({ version }) => version);
      const redacts = about.flatMap((version) => left.get(version) ?? []);
      lines.push(factsOf(body, file, { about, ...(redacts.length > 0 && { redacts }) }));
    }
    return lines;
  };

  const tellKey = (tally: Tally, found: KeyErasure, removed: boolean, outcome: ErasedCopy["outcome"]) => {
    if (found.about.length === 0 && !removed) return;
    tally.lines += found.about.length;
    tally.redacted += removed ? 0 : found.changed;
    if (found.changed > 0 || removed) tally.files.push({ file: found.key, versions: found.changed, removed });
    const tell = (what: ErasedCopy["what"], name: string) => tally.copies.push({ where: HERE, what, name, outcome });
    if (removed) {
      if (found.head) tell("file", found.key);
      for (const copy of found.copies) if (!copy.pruned) tell("archive copy", copy.key);
      return;
    }
    for (const kept of found.kept) {
      if (kept.kind === "head") tell("file", found.key);
      if (kept.kind === "held") tell("held content", found.key);
      for (const copy of kept.copies) tell("archive copy", copy.key);
    }
  };

  /** The key's file is what was accepted, or the change is versioned first. */
  const settled = async (key: Key): Promise<boolean> => {
    if (await saves.intent(key)) return false;
    const head = await saves.head(key);
    const look = await lookAt(places.place(key).path, head);
    return head ? look.kind === "same" : look.kind === "absent";
  };

  const redactKey = async (id: string, body: Body, key: Key, finder: Finder, tally: Tally): Promise<void> => {
    const picked = new Set(body.picked);
    const tell = ({ gone, waiting }: KeyErasure) => {
      for (const version of gone) tally.gone.push(version);
      for (const waits of waiting) tally.waiting.push(waits);
    };
    const isClean = ({ about, kept }: KeyErasure) => about.length === 0 && kept.length === 0;
    const first = await eraseIn(parts, key, finder, picked);
    if (isClean(first)) return tell(first);
    for (let tries = 1; ; tries++) {
      await notice(key);
      const done = await underKey(key, async () => {
        if (!(await settled(key))) return false;
        const found = await eraseIn(parts, key, finder, picked);
        if (!isClean(found)) await commitKey(id, body, found);
        tell(found);
        tellKey(tally, found, false, "rewritten");
        return true;
      });
      if (done) return;
      if (tries >= TRIES)
        throw new AftersaveError("E_BUSY", `${key} is written by another program without pause`, {
          hint: "Stop that program; the erasure goes on with the next `aftersave flush` or erase.",
        });
    }
  };

  const commitKey = async (id: string, body: Body, found: KeyErasure): Promise<void> => {
    const { key, head } = found;
    const swaps: Swap[] = [];
    const made: string[] = [];
    const adopted: { key: Key; sha256: string; size: number }[] = [];
    const revived: Key[] = [];
    const changed: Key[] = found.changed > 0 ? [key] : [];
    for (const { base, kind, redaction, copies, bytes } of found.kept) {
      const prepared = await prepare(id, redaction.content);
      made.push(prepared);
      const put = (path: string, size: number, was: string | null = null) => swaps.push({ key, path, prepared, size, was });
      if (base !== null && existsSync(heads.path(base))) put(heads.path(base), redaction.content.length);
      for (const copy of copies) {
        const size = base === null ? redaction.content.length : redaction.sizeOf(copy.size);
        if (copy.pruned && (await erasure.targetsOf(copy.key)).length > 0) revived.push(copy.key);
        if (copy.pruned && !revived.includes(copy.key)) continue;
        put(places.pathOf(copy.key), size);
        changed.push(copy.key);
        if (base === null) adopted.push({ key: copy.key, ...digestOf(redaction.content) });
      }
      if (kind === "head" && head && bytes.length >= head.size)
        put(places.place(key).path, redaction.sizeOf(head.size), head.sha256);
    }
    for (const path of made) swaps.push({ key, path, prepared: null, size: 0, was: null });
    await step("prepared");
    const jobs = changed.flatMap((of) => parts.targetsFor(of).map((target) => ({ target, key: of })));
    const owed = [...(await placesOf(id, changed)), ...(await historyOf(id))];
    const lines = linesOf(body, key, found);
    await erasure.commit(
      id,
      { lines, swaps, copies: adopted, revived, places: owed, jobs, forget: [], spare: [], body: JSON.stringify(body) },
      clock.now(),
    );
    await step("committed");
    await finishKey(key);
    await step("swapped");
  };

  /** `prune` lines that name copies of a key are erased too; what they say of other copies is said again. */
  const prunesOf = async (body: Body, key: Key, copies: ReadonlySet<Key>) => {
    const about: Version[] = [];
    const again: VersionFacts[] = [];
    for await (const version of saves.select({ op: "prune" })) {
      const { prunes } = version.details ?? {};
      if (!prunes?.copies.some((copy) => copies.has(copy))) continue;
      const rest = prunes.copies.filter((copy) => !copies.has(copy));
      if (version.file !== key) about.push(version);
      if (rest.length > 0) again.push(factsOf(body, NO_KEY, { prunes: { copies: rest, from: prunes.from } }, "prune"));
    }
    return { about, again };
  };

  const dropKey = async (id: string, body: Body, key: Key, tally: Tally): Promise<void> => {
    await notice(key);
    await underKey(key, async () => {
      const all = await lookInto(parts, key, new Set());
      const unread = new Set<string>();
      for (const [base, version] of all.bases) {
        const at = (await all.bytes(base)) ? [] : await all.unread(base);
        if (at.length === 0) continue;
        unread.add(base);
        tally.waiting.push({ version, at });
      }
      const spare = new Set(all.copies.flatMap((copy) => (copy.base !== null && unread.has(copy.base) ? [copy.key] : [])));
      const copies = all.copies.filter((copy) => !spare.has(copy.key));
      const lines = all.lines.filter(
        ({ version, base }) =>
          (base === null || !unread.has(base)) && (version.archived_as === null || !spare.has(version.archived_as)),
      );
      const names = [key, ...copies.map((copy) => copy.key)];
      const head = await saves.head(key);
      const prunes = await prunesOf(body, key, new Set(copies.map((copy) => copy.key)));
      const about = [...lines.map(({ version }) => version), ...prunes.about].toSorted((a, b) => a.place - b.place);
      const remove = (path: string): Swap => ({ key, path, prepared: null, size: 0, was: null });
      const bases = new Set([...lines.map(({ base }) => base), head?.base].filter((base) => typeof base === "string"));
      const swaps = [
        remove(places.pathOf(key)),
        ...copies.filter(({ pruned }) => !pruned).map((copy) => remove(places.pathOf(copy.key))),
        ...[...bases].map((base) => remove(heads.path(base))),
      ];
      const owed = [...(await placesOf(id, names)), ...(await historyOf(id))];
      for (const { target, kept_as } of await erasure.keptAside(key))
        owed.push({ target, key: kept_as, how: "remove", erasure: id });
      await step("prepared");
      const changed = lines.filter(({ version }) => version.sha256 !== null).length;
      tellKey(tally, { key, head, copies, lines, kept: [], about, redacts: [], changed, gone: [], waiting: [] }, true, "removed");
      const facts = [...linesOf(body, NO_KEY, { about, redacts: [] }), ...prunes.again];
      const more = { copies: [], revived: [], jobs: [], spare: [...spare], body: JSON.stringify(body) };
      await erasure.commit(id, { lines: facts, swaps, places: owed, forget: names, ...more }, clock.now());
      await step("committed");
      await finishKey(key);
      await step("swapped");
    });
  };

  /** Names of erased keys, with those of their copies, that the logs may still say. */
  const namesOf = async (wholes: readonly Key[]): Promise<Set<string>> => {
    const names = new Set<string>(wholes);
    for (const { key, how } of await erasure.places()) if (how === "remove" && wholes.length > 0) names.add(key);
    for (const key of await erasure.keys()) names.delete(key);
    for await (const { key } of saves.archiveCopies()) names.delete(key);
    return names;
  };

  const cleanLogs = async (body: Body, finder: Finder, tally: Tally): Promise<void> => {
    const erased = new Map<string, Version>();
    for await (const version of erasure.erased()) erased.set(version.version, version);
    const names = await namesOf(body.wholes);
    const changed = await logs.redact(createChange({ erased, names, chat: body.chat, finder }));
    if (changed > 0)
      tally.copies.push({
        where: HERE,
        what: "log",
        name: `${changed} log file${changed === 1 ? "" : "s"}`,
        outcome: "rewritten",
      });
    await dropLines(parts.diagnosticLog, names);
  };

  /** Kept copies that nobody uses, bodies that nobody waits for, stray archive files, and state files that were set aside. */
  const cleanLoose = async (finder: Finder, tally: Tally): Promise<void> => {
    const tell = (what: ErasedCopy["what"], path: string, outcome: ErasedCopy["outcome"]) =>
      tally.copies.push({ where: HERE, what, name: basename(path), outcome });
    const drop = async (path: string) => {
      await rm(path, { force: true });
      tell("kept copy", path, "removed");
    };
    const used = new Set<string>();
    for await (const { key } of saves.heads())
      // what a save writes behind the end of a kept copy is no leftover: only between saves can that be told
      await underKey(key, async () => {
        const head = await saves.head(key);
        if (head && !(await saves.intent(key)) && heads.has(head)) await heads.shrink(head.base, head.size);
      });
    for await (const { base } of saves.heads()) used.add(base);
    for (const key of await erasure.keys()) for (const { base } of await erasure.linesOf(key)) if (base) used.add(base);
    const known = new Set<string>();
    for await (const copy of saves.archiveCopies()) known.add(places.pathOf(copy.key));
    for (const { base, path } of await heads.files()) if (!used.has(base) && (await has(finder, path))) await drop(path);
    for (const path of await filesBelow(join(stateDir, "spool"))) if (await has(finder, path)) await drop(path);
    for (const path of await filesBelow(parts.archiveDir)) {
      if (known.has(path)) continue;
      const bytes = await readFile(path);
      const ranges = finder.find(bytes, null);
      if (ranges.length === 0) continue;
      await writeDurably(path, redact(bytes, ranges).content);
      tell("archive copy", path, "rewritten");
    }
    for (const path of await filesBelow(stateDir))
      if (basename(path).startsWith(`${STATE_FILE}.damaged-`)) await rm(path, { force: true });
    await rm(join(stateDir, "blames"), { recursive: true, force: true }); // they say how many lines there were
    if ((await erasure.swaps()).length === 0) await rm(folder, { recursive: true, force: true });
  };

  const scrub = async (): Promise<boolean> => {
    for (let tries = 1; tries <= TRIES; tries++) {
      if (await erasure.scrub()) return true;
      await clock.sleep(50);
    }
    return false;
  };

  /** All that can be done on this machine. Can be cut off and done again. */
  const workHere = async (id: string, body: Body, finder: Finder): Promise<Tally> => {
    const tally = nothing();
    for (const key of new Set((await erasure.swaps()).map((swap) => swap.key))) await underKey(key, async () => undefined);
    for (const key of body.wholes) await dropKey(id, body, key, tally);
    const dropped = new Set(body.wholes); // what is left of them waits
    for (const key of await erasure.keys()) if (!dropped.has(key)) await redactKey(id, body, key, finder, tally);
    const aside = await erasure.keptAside();
    await erasure.place(aside.map(({ target, kept_as }) => ({ target, key: kept_as, how: "look", erasure: id })));
    await step("keys");
    await cleanLogs(body, finder, tally);
    await step("logs");
    await cleanLoose(finder, tally);
    await step("loose");
    if (tally.waiting.length === 0) await erasure.end(id);
    else await erasure.note(id, JSON.stringify({ ...body, unread: unreadOf(tally.waiting) }));
    return tally;
  };

  const targetsOwing = async () => [...new Set((await erasure.places()).map(({ target }) => target))];

  const settleTargets = async (signal: AbortSignal | undefined): Promise<ErasedCopy[]> => {
    const copies: (readonly ErasedCopy[])[] = [];
    for (const target of await targetsOwing()) copies.push(await parts.settle(target, signal));
    await step("places");
    return copies.flat();
  };

  const summary = async (
    id: string | null,
    kind: ErasedBy,
    tally: Tally,
    finder: Finder,
    owing: readonly string[],
    dry: boolean,
    nameless: number,
  ) => ({
    resumed: false,
    erasure: id,
    by: kind,
    dry_run: dry,
    lines: tally.lines,
    redacted: tally.redacted,
    files: tally.files,
    copies: tally.copies,
    remains: [
      ...(tally.waiting.length === 0 ? [] : [notLooked(tally.waiting)]),
      ...(await parts.remains(kind, finder, owing, new Set(tally.files.map(({ file }) => file)))),
      ...(tally.gone.length === 0 ? [] : [notKept(tally.gone)]),
      ...(nameless === 0 ? [] : [notNamed(nameless, kind)]),
    ],
    pending: dry ? 0 : (await erasure.places()).length,
  });

  /** It stood nowhere: a tombstone would block what nobody ever had here. */
  const isNothing = async (id: string, { lines, files, copies, remains }: Forgotten) =>
    lines === 0 &&
    files.length === 0 &&
    copies.length === 0 &&
    !remains.some(({ what }) => what.startsWith(NAME)) &&
    !(await erasure.places()).some((place) => place.erasure === id);

  /** Versions that still hold something, and of which an earlier erasure left nobody to know which chat or session they are of. */
  const namelessOf = async (kind: ErasedBy): Promise<number> => {
    let n = 0;
    if (kind === "chat" || kind === "session")
      for await (const { sha256, op } of erasure.erased()) if (sha256 !== null && op !== "erase") n++;
    return n;
  };

  const askedOf = (kind: ErasedBy, wish: EraseWish): string =>
    `${kind}\n${kind === "key" ? parts.keyOf(wish.key ?? "") : (wish[kind] ?? "")}`;

  /** An erasure of just that for which places are still owed. */
  const underWay = async (kind: ErasedBy, wish: EraseWish): Promise<Tombstone | undefined> => {
    if (tombstones.all().length === 0) return undefined;
    const asked = (await tombstones.fingerprints()).ofAsked(askedOf(kind, wish));
    const owed = new Set((await erasure.places()).map((place) => place.erasure));
    return tombstones.all().find((known) => known.asked === asked && owed.has(known.id));
  };

  /** What was asked for; or the erasure of just that which only targets are left of. */
  const resolveOr = async (kind: ErasedBy, wish: EraseWish, prints: Fingerprints, reason: string | null) => {
    try {
      return await resolve(kind, wish, prints, reason);
    } catch (error) {
      const begun = error instanceof AftersaveError && error.code === "E_NOT_FOUND" ? await underWay(kind, wish) : undefined;
      if (!begun) throw error;
      return begun;
    }
  };

  /** Nothing is left of it here: targets are tried again. */
  const resumeThere = async (kind: ErasedBy, { id, prints }: Tombstone, signal: AbortSignal | undefined): Promise<Forgotten> => {
    const owing = await targetsOwing();
    const copies = await settleTargets(signal);
    await logs.drain({ sync: true });
    await scrub();
    const finder = (await tombstones.fingerprints()).finder(prints);
    return { ...(await summary(id, kind, { ...nothing(), copies: [...copies] }, finder, owing, false, 0)), resumed: true };
  };

  const plan = async (kind: ErasedBy, wish: EraseWish, reason: string | null): Promise<Forgotten> => {
    const prints = createFingerprints(randomBytes(32));
    const asked = await resolveOr(kind, wish, prints, reason);
    if ("id" in asked) {
      const finder = (await tombstones.fingerprints()).finder(asked.prints);
      const copies = (await erasure.places()).map(({ target, key }) => ({
        where: target,
        what: "mirror" as const,
        name: key,
        outcome: "planned" as const,
      }));
      return { ...(await summary(null, kind, { ...nothing(), copies }, finder, await targetsOwing(), true, 0)), resumed: true };
    }
    const finder = prints.finder(asked.prints);
    reached = undefined;
    const tally = nothing();
    const owing = new Set<string>();
    for (const key of new Set([...asked.body.wholes, ...(await erasure.keys())])) {
      const removed = asked.body.wholes.includes(key);
      const found = removed ? await wholeOf(key) : await eraseIn(parts, key, finder, new Set(asked.body.picked));
      tellKey(tally, found, removed, "planned");
      for (const version of found.gone) tally.gone.push(version);
      for (const waits of found.waiting) tally.waiting.push(waits);
      if (found.changed === 0) continue;
      const names = removed
        ? [key, ...found.copies.map((copy) => copy.key)]
        : [key, ...found.kept.flatMap(({ copies }) => copies.map((c) => c.key))];
      for (const { target, key: name } of await placesOf("", names)) {
        owing.add(target);
        tally.copies.push({ where: target, what: "mirror", name, outcome: "planned" });
      }
    }
    return summary(null, kind, tally, finder, [...owing], true, await namelessOf(kind));
  };

  const wholeOf = async (key: Key): Promise<KeyErasure> => {
    const lines = await erasure.linesOf(key);
    const copies = await erasure.copiesOf(key);
    const changed = lines.filter(({ version }) => version.sha256 !== null).length;
    const more = { kept: [], redacts: [], gone: [], waiting: [] };
    return { key, head: await saves.head(key), copies, lines, about: lines.map(({ version }) => version), changed, ...more };
  };

  const finderOf = async (id: string): Promise<Finder> => {
    const tombstone = tombstones.all().find((known) => known.id === id);
    return (await tombstones.fingerprints()).finder(tombstone?.prints ?? []);
  };

  const resumeHere = async (): Promise<number> => {
    const open = await erasure.open();
    for (const { id, body } of open) await workHere(id, JSON.parse(body) as Body, await finderOf(id));
    if (await erasure.needsScrub()) await scrub();
    return open.length;
  };

  /** Goes on with an erasure that waits: what can be looked at now may say more of what is to be found. */
  const goOn = async (id: string, { unread: _, ...body }: Body): Promise<void> => {
    const prints = await tombstones.fingerprints();
    const more: Print[][] = [];
    for (const key of body.wholes) more.push(await allOf(prints, key));
    const found = await Promise.all(body.picked.map((version) => saves.version(version)));
    more.push(
      await broughtOf(
        prints,
        found.filter((version) => version !== undefined),
      ),
    );
    const known = tombstones.all().find((tombstone) => tombstone.id === id);
    const all = unique([...(known?.prints ?? []), ...more.flat()]);
    if (all.length > 0) await tombstones.put({ id, at: body.at, by: body.by, ...known, prints: all });
    await workHere(id, body, prints.finder(all));
    await logs.drain({ sync: true });
    await scrub();
  };

  const lookAgain = async (at?: string): Promise<boolean> => {
    let went = false;
    for (const { id, body: text } of await erasure.waiting()) {
      const body = JSON.parse(text) as Body;
      const targets = new Set((body.unread ?? []).map(({ target }) => target));
      if (at !== undefined && !targets.has(at)) continue;
      const { why } = await parts.reach();
      if (![...targets].some((target) => why(target) === undefined)) continue;
      await goOn(id, body);
      went = true;
    }
    return went;
  };

  return {
    finishKey,
    async lookAgain(target) {
      const release = await state.claims.tryTake("erase", "erase");
      if (!release) return false; // whoever has it does the same
      release();
      return claimed(() => lookAgain(target));
    },
    async resume() {
      return claimed(resumeHere);
    },
    async erasures() {
      const owed = await erasure.places();
      return tombstones.all().map(({ id, at, by: kind, prints }) => ({
        erasure: id,
        at,
        by: kind,
        texts: kind === "match" ? 1 : prints.filter((print) => !print.once && !print.json).length,
        pending: owed.filter((place) => place.erasure === id).length,
      }));
    },
    async lift(id) {
      return claimed(async () => {
        const found = (await this.erasures()).filter(({ erasure: known }) => known.endsWith(id.toUpperCase()));
        const [only] = found;
        if (!only || found.length > 1 || id.length < 4)
          throw new AftersaveError("E_NOT_FOUND", "no erasure has this id, or more than one has", {
            hint: "`aftersave erase --list` shows them.",
          });
        await tombstones.drop(only.erasure);
        await state.jobs.unblock("E_ERASED");
        return only;
      });
    },
    async erase(wish, { dry_run = false, reason = null, signal } = {}) {
      const kind = by(wish);
      if (dry_run) return plan(kind, wish, reason);
      return claimed(async () => {
        await resumeHere();
        await lookAgain();
        await notice(kind === "key" ? parts.keyOf(wish.key ?? "") : undefined);
        const prints = await tombstones.fingerprints();
        const kept = reason === null ? null : ((await parts.said({ reason })).reason ?? null);
        const asked = await resolveOr(kind, wish, prints, kept);
        if ("id" in asked) return resumeThere(kind, asked, signal);
        const finder = prints.finder(asked.prints);
        if (reason !== null && finder.find(Buffer.from(reason), null).length > 0)
          throw new AftersaveError("E_USAGE", "the reason says what is to be erased", { hint: "Give another one: it is kept." });
        const nameless = await namelessOf(kind); // before those join them whose chat this one takes
        const before =
          kind === "match" ? tombstones.all().find((known) => known.by === kind && isWithin(known, asked.prints)) : undefined;
        const id = before?.id ?? newId();
        if (asked.prints.length > 0)
          await tombstones.put({
            id,
            at: before?.at ?? asked.body.at,
            by: kind,
            prints: asked.prints,
            asked: prints.ofAsked(askedOf(kind, wish)),
          });
        await erasure.note(id, JSON.stringify(asked.body));
        await step("marked");
        const tally = await workHere(id, asked.body, finder);
        const owing = await targetsOwing();
        for (const copy of await settleTargets(signal)) tally.copies.push(copy);
        await logs.drain({ sync: true });
        const clean = await scrub();
        const receipt = await summary(id, kind, tally, finder, owing, false, nameless);
        if (await isNothing(id, receipt)) {
          if (before) return receipt; // what was erased before stays so
          await tombstones.drop(id);
          return { ...receipt, erasure: null };
        }
        const resumed = before !== undefined && receipt.lines === 0 && receipt.files.length === 0;
        tally.copies.push({ where: HERE, what: "state", name: STATE_FILE, outcome: clean ? "rewritten" : "pending" });
        await step("scrubbed");
        return { ...receipt, resumed };
      }, signal);
    },
  };
}

const nothing = (): Tally => ({ lines: 0, redacted: 0, files: [], copies: [], gone: [], waiting: [] });

/** Whether all that a tombstone keeps out is among these texts. */
const isWithin = (known: Tombstone, prints: readonly Print[]): boolean => {
  const macs = new Set(prints.map(({ mac }) => mac));
  return known.prints.every(({ mac }) => macs.has(mac));
};

/** The live file changed between the look and the write. */
class Stepped extends Error {}

const unlessAbsent = (error: unknown): undefined => {
  if (errnoOf(error) !== "ENOENT") throw error;
};

async function filesBelow(path: string): Promise<string[]> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true }).catch(
    (error: unknown) => unlessAbsent(error) ?? [],
  );
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

async function has(finder: Finder, path: string): Promise<boolean> {
  const bytes = await readFile(path).catch(unlessAbsent);
  return bytes !== undefined && finder.find(bytes, null).length > 0;
}

const digestOf = (bytes: Buffer) => ({ sha256: createHash("sha256").update(bytes).digest("hex"), size: bytes.length });

async function reachOf({ targets, see, versionsFrom }: EraseParts): Promise<Reach> {
  const codes = new Map<string, ErrorCode | undefined>();
  for (const target of targets) codes.set(target, await see(target));
  const seen = targets.filter((target) => codes.get(target) === undefined);
  return {
    versions: versionsFrom(seen),
    seen,
    why: (target) => (codes.has(target) ? codes.get(target) : "E_TARGET_DISABLED"),
  };
}

const unreadOf = (waiting: readonly Waiting[]): Unread[] => {
  const places = waiting.flatMap(({ at }) => at);
  return [...new Map(places.map((place) => [`${place.target}\n${place.key}`, place])).values()];
};

const notLooked = (waiting: readonly Waiting[]): Remains => {
  const versions = waiting.map(({ version }) => version);
  const targets = new Set(waiting.flatMap(({ at }) => at.map(({ target }) => target)));
  return {
    what: contentsOf(versions),
    why: `it was not looked at yet: only ${[...targets].join(", ")} may have it, and could not be looked at`,
    cure: "Connect or enable the target: the next `aftersave flush`, or the same erase, goes on there.",
  };
};

const notNamed = (n: number, kind: ErasedBy): Remains => ({
  what: `${n} version${n === 1 ? "" : "s"} that ${n === 1 ? "was" : "were"} erased in part before`,
  why: `an erased line does not say its ${kind} any more: what else ${n === 1 ? "it" : "they"} brought was not looked at, except where the same lines stand`,
  cure: "Look at them (`aftersave history KEY`, `aftersave show KEY@VERSION`), and erase what is left by its version or its text.",
});

const contentsOf = (of: readonly Version[]): string =>
  `${of.length} content${of.length === 1 ? "" : "s"} of ${[...new Set(of.map(({ file }) => file))].join(", ")}`;

const notKept = (gone: readonly Version[]): Remains => ({
  what: contentsOf(gone),
  why: "it is kept here no more, and no target is known that has it, so it could not be looked through",
  cure: "If a disk or a backup has it, look there.",
});

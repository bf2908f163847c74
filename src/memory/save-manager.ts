/**
 * The save manager: append, replace, archive, and the post-save hook for a file that someone else wrote. A save is
 * accepted when its promise resolves: file, version, archive copy and pending jobs survive `kill -9` and power loss.
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { AftersaveError, asAftersaveError, errnoOf, type ErrorCode } from "../core/errors.ts";
import { foldKey, type ArchiveFolder, type Key } from "../core/key.ts";
import {
  actorOf,
  NO_CONTENT,
  type Actor,
  type Alarm,
  type Details,
  type HeadOp,
  type Meta,
  type SaveOp,
  type Version,
} from "../core/version.ts";
import type { Secrets } from "../secrets/secrets.ts";
import type { Source } from "../core/target.ts";
import type { Claims } from "../state/claims.ts";
import type { Content, Head, Intent, Saves } from "../state/saves.ts";
import { digestOf, digestOfFile, readPieces, sameBytes, type Body } from "./content.ts";
import { createDurably } from "./durable.ts";
import { createEvents, type Events, type Listener, type MemoryEvents } from "./events.ts";
import { heldError, heldSave, type Guard, type NewContent, type Proposal } from "./guard.ts";
import type { Heads, Owner } from "./heads.ts";
import { Interleaved, Moved, type Journal, type NewBytes } from "./journal.ts";
import { lookAt, statLive, type Look } from "./live.ts";
import type { Place, Places } from "./places.ts";
import type { Receipt } from "./receipt.ts";

export interface SaveOptions {
  /** The content that the save was computed from; `null`: the key must hold nothing. Otherwise `E_STALE` with the current hash. */
  readonly if_sha256?: string | null | undefined;
  /**
   * Of a replace, with `if_sha256`: where the key holds another content by now, both changes are brought together by line. What
   * cannot be is kept as a held version, and answers `E_HELD`.
   */
  readonly merge?: boolean | undefined;
  /** Gives up waiting for another writer of this key. */
  readonly signal?: AbortSignal | undefined;
}

/** What `saved` may be told of the change besides the actor. */
export interface SavedMeta extends Meta {
  /** What the writer says it did; checked against the bytes. Without it the change is `external`. */
  readonly op?: "append" | "replace" | "archive" | undefined;
}

export interface SaveManagerParts {
  readonly saves: Saves;
  readonly claims: Claims;
  readonly heads: Heads;
  readonly places: Places;
  readonly journal: Journal;
  readonly guard: Guard;
  readonly clock: Clock;
  readonly archive: ArchiveFolder;
  readonly spoolDir: string;
  /** A new version id; sortable. */
  readonly newId: () => string;
  /** Targets of a key with the path it has there, for receipts. */
  readonly uploadsOf: (key: Key) => Receipt["uploads"];
  /** Keeps secrets out of names and of what a line says of its actor. */
  readonly secrets: Pick<Secrets, "checkKey" | "maskActor">;
  /** Called after each acceptance, when log lines and jobs wait. */
  readonly onAccepted?: (() => void) | undefined;
}

/** A file that was looked at: `seen` is its identity then. */
interface SeenPlace extends Place {
  readonly seen: string;
  readonly stamp: string | null;
}

interface Held {
  readonly place: SeenPlace;
  readonly head: Head | undefined;
  /** Of the head's content, when it was just read. */
  readonly state: Hash | undefined;
}

type Work<T> = (held: Held, actor: Actor) => Promise<T>;

interface Prepared<T> {
  readonly work: Work<T>;
  readonly end?: () => Promise<void>;
}

/** What settles a held version: a line, and where `content` is given, what the key holds from then on (null: nothing). */
export interface Ruling {
  readonly details: Details;
  readonly content?: Pick<Source, "open"> | null | undefined;
}

/** What a save came to be, when it was decided under the key's claim. */
export interface Ruled {
  /** The line that says so. */
  readonly version: string;
  /** Null when the file was not changed. */
  readonly receipt: Receipt | null;
}

/** A body of unknown length, below `state_dir`. */
interface Spool {
  readonly path: string;
  readonly sha256: string;
  readonly size: number;
}

const IN_MEMORY = 8 << 20;
const KEPT_HASHES = 64;
/** A body that has been coming in for so long is not coming any more. */
const SPOOL_MS = 86_400_000;
/** How often a save looks again at a file that others change at the same moment. */
const TRIES = 20;

export class SaveManager {
  readonly #parts: SaveManagerParts;
  readonly #events: Events<MemoryEvents> = createEvents<MemoryEvents>();
  /** Hash states of heads that were appended to, so that the next append hashes only what it adds. */
  readonly #hashes = new Map<Key, { sha256: string; state: Hash }>();
  readonly #running = new Set<Promise<unknown>>();

  constructor(parts: SaveManagerParts) {
    this.#parts = parts;
  }

  /** Listens to what was accepted or uploaded; returns the way to stop. A listener can harm neither saves nor other listeners. */
  on<Name extends keyof MemoryEvents>(name: Name, listener: Listener<MemoryEvents[Name]>): () => void {
    return this.#events.on(name, listener);
  }

  off<Name extends keyof MemoryEvents>(name: Name, listener: Listener<MemoryEvents[Name]>): void {
    this.#events.off(name, listener);
  }

  emit<Name extends keyof MemoryEvents>(name: Name, event: MemoryEvents[Name]): void {
    this.#events.emit(name, event);
  }

  /** Adds `body` at the end; makes the file when there is none. The file is not rewritten. */
  async append(key: string, body: Body, meta: Meta = {}, options: SaveOptions = {}): Promise<Receipt> {
    return this.#save("append", key, options, meta, async () => {
      checkBody(body);
      const bytes = await inMemory(body);
      return { work: (held, actor) => this.#append(held, bytes, actor) };
    });
  }

  /** Makes `body` the whole content. What was there before becomes an archive copy. The same bytes answer `unchanged`. */
  async replace(key: string, body: Body, meta: Meta = {}, options: SaveOptions = {}): Promise<Receipt> {
    return this.#save("replace", key, options, meta, async () => {
      checkBody(body);
      if (typeof body === "string" || body instanceof Uint8Array)
        return { work: (held, actor) => this.#replace(held, toBytes(body), actor, options) };
      const spool = await this.#spool(() => (Symbol.asyncIterator in body ? body : readPieces(body.path)));
      return {
        work: (held, actor) => this.#replace(held, spool, actor, options),
        end: () => rm(spool.path, { force: true }),
      };
    });
  }

  /** Moves the file to the archive; a later save to this key starts afresh. `E_NOT_FOUND` when there is none. */
  async archive(key: string, meta: Meta = {}, options: SaveOptions = {}): Promise<Receipt> {
    const work: Work<Receipt> = async ({ place, head }, actor) => {
      const details = head ? await this.#guarded({ key: place.key, op: "archive", head, content: null, actor }) : null;
      return this.#empty("archive", place, head, actor, details);
    };
    return this.#save("archive", key, options, meta, async () => ({ work }));
  }

  /**
   * Makes `content` what the key holds, because someone decided so: an earlier version again, or one that was held. Null: the
   * key shall hold nothing. What is there now becomes an archive copy. Answers `unchanged` when it holds just that.
   */
  async bring(
    op: "restore",
    key: string,
    content: (() => AsyncIterable<Uint8Array>) | null,
    details: Details,
    meta: Meta = {},
    options: SaveOptions = {},
  ): Promise<Receipt> {
    return this.#save(op, key, options, meta, async () => {
      if (content === null) return { work: ({ place, head }, actor) => this.#empty(op, place, head, actor, details) };
      const spool = await this.#spool(content);
      return {
        work: (held, actor) => this.#replaceSpooled(held, spool, actor, op, details),
        end: () => rm(spool.path, { force: true }),
      };
    });
  }

  async #empty(op: HeadOp, place: SeenPlace, head: Head | undefined, actor: Actor, details: Details | null): Promise<Receipt> {
    if (!head) throw notFound(place.key);
    const intent = await this.#intent(op, place.key, head, null, actor, true, this.#parts.newId(), details);
    return this.#run(place, intent, new Uint8Array());
  }

  /**
   * The post-save hook: someone else has already written, changed or removed the file. What was accepted before is
   * kept; a claimed `op` that the bytes do not bear out is recorded as `external`, and a warning says so.
   */
  async saved(key: string, meta: SavedMeta = {}, options: Pick<SaveOptions, "signal"> = {}): Promise<Receipt> {
    const place = this.#parts.places.savable(this.#parts.places.keyOf(key));
    const looking = this.#claimed(place.key, options.signal, async () => {
      const { actor, told } = await this.#actor(place.key, actorOf(meta, meta.op ? null : "unattributed"));
      for (let tries = 1; ; tries++) {
        const { head, look, known } = await this.#look(place);
        if (look.kind === "absent" && !known) throw notFound(place.key);
        if (look.kind === "same") return this.#unchanged(place, head as Head, look.stamp);
        try {
          return told(await this.#adopt(place, head, look, actor, meta.op));
        } catch (error) {
          if (!(error instanceof Moved) || tries >= TRIES) throw error;
        }
      }
    });
    return this.#tracked(looking);
  }

  /** `prepare` reads the body, once and before the key is claimed: it may be slow, and `work` may have to run again. */
  #save<T extends object>(
    op: HeadOp,
    text: string,
    options: SaveOptions,
    meta: Meta,
    prepare: () => Promise<Prepared<T>>,
  ): Promise<T> {
    return this.#tracked(this.#saving(op, text, options, meta, prepare));
  }

  async #saving<T extends object>(
    op: HeadOp,
    text: string,
    options: SaveOptions,
    meta: Meta,
    prepare: () => Promise<Prepared<T>>,
  ): Promise<T> {
    checkOptions(op, options);
    const place = this.#parts.places.savable(this.#parts.places.keyOf(text));
    const { actor, told } = await this.#actor(place.key, actorOf(meta));
    const { work, end } = await prepare().catch((error: unknown) => {
      throw asAftersaveError(error, `${op} of ${place.key}`);
    });
    try {
      return await this.#claimed(place.key, options.signal, async () => {
        for (let tries = 1; ; tries++) {
          try {
            const held = await this.#settle(place);
            if (options.merge !== true) checkPrecondition(place.key, held.head, options.if_sha256);
            return told(await work(held, actor));
          } catch (error) {
            // the file changed between the look and the write: look again, keep that too, and write then
            if (!(error instanceof Moved)) throw asAftersaveError(error, `${op} of ${place.key}`);
            if (tries >= TRIES) throw busy(place.key);
          }
        }
      });
    } finally {
      await end?.();
    }
  }

  /** Who does it, without the secrets in their words, and what the receipt says of that. Refuses a key that holds one. */
  async #actor(key: Key, said: Actor): Promise<{ actor: Actor; told: <T extends object>(result: T) => T }> {
    await this.#parts.secrets.checkKey(key);
    const { actor, covered } = await this.#parts.secrets.maskActor(key, said);
    const warning = `what looks like a secret in ${covered.join(", ")} was covered with * before it became part of the history`;
    const told = <T extends object>(result: T): T =>
      covered.length === 0 || !("warnings" in result)
        ? result
        : { ...result, warnings: [...(result.warnings as readonly string[]), warning] };
    return { actor, told };
  }

  /** Resolves when no save of this process is under way. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
  }

  #tracked<T>(running: Promise<T>): Promise<T> {
    this.#running.add(running);
    return running.finally(() => this.#running.delete(running));
  }

  /** One writer per key over all processes; what a dead one left is settled first. */
  async #claimed<T>(key: Key, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    const { claims, saves, journal } = this.#parts;
    const release = await claims.take("save", foldKey(key), { signal });
    try {
      const left = await saves.intent(key);
      if (left) await journal.recover(left);
      return await work();
    } catch (error) {
      if (signal?.aborted) throw error;
      throw error instanceof Moved ? busy(key) : asAftersaveError(error, `saving ${key}`);
    } finally {
      release();
    }
  }

  /** Bodies that a killed process had begun to take in: no save knows of them. */
  async #dropSpools(): Promise<void> {
    const { spoolDir, clock } = this.#parts;
    const names = await readdir(spoolDir).catch((error: unknown) => {
      if (errnoOf(error) === "ENOENT") return [];
      throw error;
    });
    for (const path of names.map((name) => join(spoolDir, name)))
      if (Number(statLive(path)?.mtimeMs ?? clock.now()) < clock.now() - SPOOL_MS) await rm(path, { force: true });
  }

  /** Finishes or takes back what dead processes left; called when the memory is opened. What cannot be settled now is left for later. */
  async recoverAll(): Promise<{ settled: number; failed: readonly AftersaveError[] }> {
    const { claims, saves, journal } = this.#parts;
    await this.#dropSpools();
    let settled = 0;
    const failed: AftersaveError[] = [];
    for (const { key } of await saves.intents()) {
      const release = await claims.tryTake("save", foldKey(key));
      if (!release) continue; // its writer lives
      let unclear = false;
      try {
        const left = await saves.intent(key);
        if (!left) continue;
        unclear = (await journal.recover(left)) === "neither";
        settled++;
      } catch (error) {
        failed.push(asAftersaveError(error, `settling an unfinished save of ${key}`));
      } finally {
        release();
      }
      if (unclear) await this.saved(key).catch(passOver("E_NOT_FOUND"));
    }
    return { settled, failed };
  }

  /**
   * Compares the live file with the head. A kept copy that someone removed is made again from the live file while
   * that still has the bytes; else the key is `known` without a head, and what it held is lost, which the receipt says.
   */
  async #look(place: Place): Promise<{ head: Head | undefined; look: Look; known: boolean }> {
    const { saves, heads } = this.#parts;
    const head = await saves.head(place.key);
    const look = await lookAt(place.path, head);
    if (!head || heads.has(head)) return { head, look, known: head !== undefined };
    const there = look.kind === "same" || (look.kind === "changed" && look.prefix !== undefined);
    if (there && (await digestOfFile(place.path, head.size))?.sha256 === head.sha256) {
      await heads.create(head.base, () => readPieces(place.path, 0, head.size), 0o666);
      return { head, look, known: true };
    }
    return { head: undefined, look: await lookAt(place.path, undefined), known: true };
  }

  /** The head after whatever others did to the live file has been versioned. */
  async #settle(place: Place): Promise<Held> {
    const { saves } = this.#parts;
    for (;;) {
      const { head, look, known } = await this.#look(place);
      if (look.kind === "absent" && !known)
        return { place: { ...place, seen: "", stamp: null }, head: undefined, state: undefined };
      if (look.kind === "same") {
        const { stamp, version } = head as Head;
        if (look.stamp && look.stamp !== stamp) await saves.stamp(place.key, version, look.stamp);
        return { place: { ...place, seen: look.seen, stamp: null }, head, state: look.state };
      }
      await this.#adopt(place, head, look, actorOf({}, "unattributed"), undefined);
      const adopted = await saves.head(place.key);
      if (look.kind === "absent") return { place: { ...place, seen: "", stamp: null }, head: undefined, state: undefined };
      if (adopted?.sha256 === look.digest.sha256)
        return { place: { ...place, seen: look.seen, stamp: null }, head: adopted, state: look.digest.state };
    }
  }

  async #append(held: Held, bytes: Uint8Array, actor: Actor): Promise<Receipt> {
    const { place, head } = held;
    if (!head) {
      const details = await this.#guarded({ key: place.key, op: "append", head, content: bytes, actor });
      return this.#writeWhole(place, head, bytes, "append", actor, details);
    }
    if (bytes.length === 0) return this.#unchanged(place, head, null);
    const state = (await this.#stateOf(held, head)).copy().update(bytes);
    const content: Content = { base: head.base, sha256: state.copy().digest("hex"), size: head.size + bytes.length };
    const intent = await this.#intent("append", place.key, head, content, actor, true);
    try {
      const receipt = await this.#run(place, intent, bytes);
      this.#keepState(place.key, content.sha256, state);
      return receipt;
    } catch (error) {
      if (!(error instanceof Interleaved)) throw error;
      return this.#untangle(place, head, content, bytes, actor);
    }
  }

  /** Another program appended while we did: its bytes are versioned as external, ours as the append that they are. */
  async #untangle(place: SeenPlace, head: Head, content: Content, bytes: Uint8Array, actor: Actor): Promise<Receipt> {
    const { path, key } = place;
    const growth = (old: Head, to: Content, op: HeadOp, who: Actor) => this.#intent(op, key, old, to, who, false);
    const add = async (old: Head, end: number, op: HeadOp, who: Actor) => {
      const digest = await digestOf(readPieces(path, 0, end));
      const intent = await growth(old, { base: old.base, sha256: digest.sha256, size: digest.size }, op, who);
      return this.#run(place, intent, () => readPieces(path, old.size, end));
    };
    if ((await digestOfFile(path, content.size))?.sha256 === content.sha256) return add(head, content.size, "append", actor); // theirs is behind ours
    const size = Number(statLive(path)?.size ?? 0n);
    const start = size - bytes.length;
    const spool = await this.#spool(async function* () {
      yield bytes;
    });
    try {
      const ours = start >= head.size && (await sameBytes(path, start, size, spool.path, 0));
      const kept = (await digestOfFile(path, head.size))?.sha256 === head.sha256;
      if (ours && kept) {
        await add(head, start, "external", actorOf({}, "unattributed"));
        return await add((await this.#parts.saves.head(key)) as Head, size, "append", actor);
      }
    } finally {
      await rm(spool.path, { force: true });
    }
    const { head: now } = await this.#settle(place);
    throw new AftersaveError("E_INTERLEAVED", `another program wrote into ${key} while this append was under way`, {
      hint: "Look at the file: the bytes of both are in it. Let that program save through aftersave, or call `saved` after it.",
      details: { version: now?.version ?? null },
    });
  }

  async #replace(held: Held, content: Uint8Array | Spool, actor: Actor, options: SaveOptions): Promise<Receipt> {
    const { place, head } = held;
    const { key } = place;
    if (head && holdsAlready(head, content)) return this.#unchanged(place, head, null);
    if (isStale(head, options.if_sha256)) return this.#merge(held, content, actor, options.if_sha256 ?? null);
    const details = await this.#guarded({ key, op: "replace", head, content, actor });
    if (!(content instanceof Uint8Array)) return this.#replaceSpooled(held, content, actor, "replace", details);
    return this.#writeWhole(place, head, content, "replace", actor, details);
  }

  /** A save that was computed from `base`, which the key holds no more. */
  async #merge({ place, head }: Held, ours: Uint8Array | Spool, actor: Actor, base: string | null): Promise<Receipt> {
    const { guard } = this.#parts;
    const { key } = place;
    const merged = await guard.merge(key, base, ours, head);
    if (merged === "unknown")
      throw staleError(
        key,
        head,
        "Read the file again and compute the save from it: what it was computed from is not in this file's history.",
      );
    const merges = base === null ? {} : { merges: base };
    const theirs = head ? `${head.version}, which the file holds,` : "the archiving of the file";
    if (merged === "clash") {
      const says = `this save and ${theirs} changed the same lines`; // no names: they must go with the lines that they stand in
      return this.#holdBack({ key, op: "replace", content: ours, actor }, head, { ...merges, alarms: [{ rule: "merge", says }] });
    }
    if (head && holdsAlready(head, merged)) return this.#unchanged(place, head, null);
    const says = `it was computed from an older version, and merged with ${theirs} by line`;
    const judged = head && (await this.#guarded({ key, op: "replace", head, content: merged, actor }, merges));
    const stale: Alarm[] = guard.policy(key) === "off" ? [] : [{ rule: "stale", says }];
    const alarms = [...(judged?.alarms ?? []), ...stale];
    const details = { ...merges, ...(alarms.length > 0 && { alarms, ...(head && { about: [head.version] }) }) };
    return this.#writeWhole(place, head, merged, "replace", actor, details);
  }

  /** What the guard says of a save; where the zone's policy is to hold it, the save is kept aside and ends here. */
  async #guarded(proposal: Proposal, details: Details = {}): Promise<Details | null> {
    const { guard } = this.#parts;
    const { alarms, before } = await guard.judge(proposal);
    if (alarms.length === 0) return null;
    if (guard.policy(proposal.key) === "hold") await this.#holdBack(proposal, proposal.head, { ...details, alarms });
    return { alarms, ...(before !== undefined && { about: [before] }) };
  }

  /** The same where the file is written already. */
  async #noticed(proposal: Proposal): Promise<Details | null> {
    const { guard } = this.#parts;
    const { alarms, before } = await guard.judge(proposal);
    if (alarms.length === 0) return null;
    const held = guard.policy(proposal.key) === "hold" ? { held: true as const } : {};
    return { alarms, ...(before !== undefined && { about: [before] }), ...held };
  }

  async #holdBack(save: Omit<Proposal, "head">, prev: Head | undefined, details: Details): Promise<never> {
    const line = await this.#parts.guard.keepAside(save, prev, details);
    this.#parts.onAccepted?.();
    this.emit("held", heldSave(line));
    throw heldError(line);
  }

  /**
   * Settles a held version as `decide` says when it sees what the key holds, under the key's claim: what is there becomes an
   * archive copy where the file is changed.
   */
  async settle(
    op: "accept" | "reject",
    key: Key,
    meta: Meta,
    options: Pick<SaveOptions, "signal">,
    decide: (head: Head | undefined) => Promise<Ruling>,
  ): Promise<Ruled> {
    const work: Work<Ruled> = async (held, actor) => {
      const { place, head } = held;
      const { details, content } = await decide(head);
      const { applies: _, ...only } = details;
      if (content === undefined || (content === null && !head)) return this.#line(op, place.key, actor, only);
      if (content === null) return ruled(await this.#empty(op, place, head, actor, details));
      const spool = await this.#spool(() => content.open());
      try {
        if (head && holdsAlready(head, spool)) return await this.#line(op, place.key, actor, only);
        return ruled(await this.#replaceSpooled(held, spool, actor, op, details));
      } finally {
        await rm(spool.path, { force: true });
      }
    };
    return this.#save(op, this.#parts.places.pathOf(key), options, meta, async () => ({ work }));
  }

  /** A decision that leaves the file as it is. */
  async #line(op: "accept" | "reject", key: Key, actor: Actor, details: Details): Promise<Ruled> {
    const { saves, clock, newId } = this.#parts;
    const timestamp = new Date(clock.now()).toISOString();
    const { version } = await saves.decide({ ...actor, version: newId(), op, file: key, ...NO_CONTENT, timestamp, details });
    this.#parts.onAccepted?.();
    return { version, receipt: null };
  }

  async #replaceSpooled(
    { place, head }: Held,
    spool: Spool,
    actor: Actor,
    op: HeadOp = "replace",
    details: Details | null = null,
  ): Promise<Receipt> {
    if (head && head.sha256 === spool.sha256) return this.#unchanged(place, head, null);
    const content = { base: this.#parts.newId(), sha256: spool.sha256, size: spool.size };
    const intent = await this.#intent(op, place.key, head, content, actor, true, content.base, details);
    return this.#run(place, intent, { spooled: spool.path });
  }

  async #writeWhole(
    place: SeenPlace,
    head: Head | undefined,
    bytes: Uint8Array,
    op: HeadOp,
    actor: Actor,
    details: Details | null = null,
  ): Promise<Receipt> {
    const state = createHash("sha256").update(bytes);
    const content = { base: this.#parts.newId(), sha256: state.copy().digest("hex"), size: bytes.length };
    const intent = await this.#intent(op, place.key, head, content, actor, true, content.base, details);
    const receipt = await this.#run(place, intent, bytes);
    this.#keepState(place.key, content.sha256, state);
    return receipt;
  }

  /** Versions what someone else did to the live file. */
  async #adopt(
    file: Place,
    head: Head | undefined,
    look: Exclude<Look, { kind: "same" }>,
    actor: Actor,
    claimed: "append" | "replace" | "archive" | undefined,
  ): Promise<Receipt> {
    const place: SeenPlace = { ...file, seen: look.seen, stamp: null };
    const { key, path } = place;
    const did = look.kind === "absent" ? "archive" : look.prefix || !head ? "append" : "replace";
    const bornOut = claimed === did || (claimed === "replace" && look.kind === "changed");
    const op: SaveOp = claimed && bornOut ? claimed : "external";
    const warnings: string[] = [];
    if (claimed && !bornOut)
      warnings.push(`the file was said to be changed by ${claimed}, but its bytes say ${did}; recorded as external`);
    if (!head && (await this.#parts.saves.head(key)))
      warnings.push("the kept copy of what the file held before was removed by someone; that content is lost");
    const noticed = (content: NewContent) => this.#noticed({ key, op, head, content, actor });
    if (look.kind === "absent") {
      const details = await noticed(null);
      const intent = await this.#intent(op, key, head, null, actor, false, this.#parts.newId(), details);
      return this.#run(place, intent, new Uint8Array(), warnings);
    }

    const { prefix } = look;
    if (prefix && head && claimed !== "replace") {
      const content = { base: head.base, sha256: look.digest.sha256, size: look.digest.size };
      const intent = await this.#intent(op, key, head, content, actor, false);
      const tail = () => checked(readPieces(path, head.size, content.size), prefix.copy(), content.sha256);
      const receipt = await this.#run({ ...place, stamp: look.stamp }, intent, tail, warnings);
      if (look.stamp) this.#keepState(key, content.sha256, look.digest.state);
      return receipt;
    }
    const before = statLive(path);
    const spool = await this.#spool(() => readPieces(path));
    try {
      const after = statLive(path);
      const calm = before && after && before.mtimeNs === after.mtimeNs && spool.sha256 === look.digest.sha256;
      const content = { base: this.#parts.newId(), sha256: spool.sha256, size: spool.size };
      const details = await noticed(spool);
      const intent = await this.#intent(op, key, head, content, actor, false, content.base, details);
      return await this.#run({ ...place, stamp: calm ? look.stamp : null }, intent, { spooled: spool.path }, warnings);
    } finally {
      await rm(spool.path, { force: true });
    }
  }

  async #intent(
    op: HeadOp,
    key: Key,
    old: Head | undefined,
    content: Content | null,
    actor: Actor,
    writes: boolean,
    id = this.#parts.newId(),
    details: Details | null = null,
  ): Promise<Intent> {
    const { saves, places, archive, clock } = this.#parts;
    const timestamp = new Date(clock.now()).toISOString();
    const outlived = old && old.base !== content?.base;
    const taken = async (name: Key) => statLive(places.pathOf(name)) !== undefined;
    return {
      version: id,
      key,
      op,
      writes,
      old: old ? { base: old.base, sha256: old.sha256, size: old.size } : null,
      new: content,
      archived_as: outlived ? await saves.freeArchiveKey(key, timestamp, archive, taken) : null,
      actor,
      timestamp,
      details,
    };
  }

  async #run(place: SeenPlace, intent: Intent, bytes: NewBytes, warnings: readonly string[] = []): Promise<Receipt> {
    const version = await this.#parts.journal.run(intent, place, bytes, ownerOf(place.path));
    this.#hashes.delete(place.key);
    this.#parts.onAccepted?.();
    const receipt = this.#receipt(version, false, warnings, await this.#parts.guard.waiting(place.key));
    this.emit(receipt.op, receipt);
    if (version.details?.held) this.emit("held", heldSave(version));
    return receipt;
  }

  async #unchanged(place: Place, head: Head, stamp: string | null): Promise<Receipt> {
    const { saves } = this.#parts;
    if (stamp && stamp !== head.stamp) await saves.stamp(place.key, head.version, stamp);
    const version = await saves.version(head.version);
    if (!version)
      throw new AftersaveError("E_STATE_CORRUPT", `the version of ${place.key} is missing`, {
        hint: "Run `aftersave doctor --rebuild`.",
      });
    return this.#receipt(version, true, [], []);
  }

  /** `waiting`: what stands in the file and waits for a decision. */
  #receipt(v: Version, unchanged: boolean, warnings: readonly string[], waiting: readonly string[]): Receipt {
    const details = unchanged ? null : v.details;
    const uploads = unchanged || v.sha256 === null ? [] : this.#parts.uploadsOf(v.file);
    const earlier = waiting.filter((version) => version !== v.version);
    return {
      version: v.version,
      op: v.op as HeadOp, // it moved the head
      file: v.file,
      sha256: v.sha256,
      size: v.size,
      prev_sha256: v.prev_sha256,
      archived_as: unchanged ? null : v.archived_as,
      timestamp: v.timestamp,
      unchanged,
      undo: unchanged ? null : v.version,
      uploads:
        waiting.length > 0
          ? uploads.map((upload) => ({
              ...upload,
              status: "held",
              code: "E_HELD",
              notes: `it waits until a person has settled ${waiting.join(", ")}`,
            }))
          : uploads,
      alarms: details?.alarms ?? [],
      warnings: [
        ...warnings,
        ...(details?.alarms ? [warningOf(v, details.held === true)] : []),
        ...(earlier.length > 0 ? [heldBefore(earlier)] : []),
      ],
    };
  }

  async #stateOf(held: Held, head: Head): Promise<Hash> {
    const kept = this.#hashes.get(head.key);
    if (kept?.sha256 === head.sha256) return kept.state;
    if (held.state) return held.state;
    const digest = await digestOfFile(this.#parts.heads.path(head.base), head.size);
    if (digest?.sha256 === head.sha256) return digest.state;
    throw new AftersaveError("E_IO", `the kept copy of ${head.key} is damaged`, {
      hint: "Run `aftersave doctor`; the live file and the archive are untouched.",
    });
  }

  #keepState(key: Key, sha256: string, state: Hash): void {
    this.#hashes.delete(key);
    this.#hashes.set(key, { sha256, state });
    for (const oldest of this.#hashes.keys()) {
      if (this.#hashes.size <= KEPT_HASHES) return;
      this.#hashes.delete(oldest);
    }
  }

  /** Puts a body of unknown length below `state_dir`, hashing it on the way. */
  async #spool(pieces: () => AsyncIterable<Uint8Array>): Promise<Spool> {
    const path = join(this.#parts.spoolDir, this.#parts.newId());
    const state = createHash("sha256");
    let size = 0;
    await createDurably(
      path,
      async function* () {
        for await (const piece of pieces()) {
          state.update(piece);
          size += piece.length;
          yield piece;
        }
      },
      0o666,
    );
    return { path, sha256: state.digest("hex"), size };
  }
}

function ownerOf(path: string): Owner | undefined {
  const stats = statLive(path);
  return stats && { mode: Number(stats.mode), uid: Number(stats.uid), gid: Number(stats.gid) };
}

const ruled = (receipt: Receipt): Ruled => ({ version: receipt.version, receipt });

const holdsAlready = (head: Head, content: Uint8Array | Spool): boolean =>
  content instanceof Uint8Array
    ? head.size === content.length && head.sha256 === sha256Of(content)
    : head.sha256 === content.sha256;

/** What a caller should know of a save that the guard let through. */
function warningOf({ version, details }: Version, held: boolean): string {
  const [before] = details?.about ?? [];
  const pinned = before === undefined ? "" : `; the version before it (${before}) is pinned`;
  const next = held
    ? `it is kept from the targets until a person settles it with \`aftersave accept ${version}\` or \`aftersave reject ${version}\``
    : `\`aftersave undo ${version}\` takes it back`;
  const what = details?.alarms?.every(({ rule }) => rule === "stale") ? "look at what came of it" : "this looks like damage";
  return `${what}${pinned}, and ${next}`;
}

/** What a caller should know of a save to a file in which something is held already. */
function heldBefore(versions: readonly string[]): string {
  const each = versions.map((version) => `\`aftersave accept ${version}\` or \`aftersave reject ${version}\``);
  return `the file holds what waits for a decision, so nothing of it goes to a target, this save neither, until a person settles it with ${each.join(", and ")}`;
}

const toBytes = (body: string | Uint8Array): Uint8Array => (typeof body === "string" ? Buffer.from(body, "utf8") : body);
const sha256Of = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** The bytes of an append, which are held in memory: they are small against the file. */
async function inMemory(body: Body): Promise<Uint8Array> {
  if (typeof body === "string" || body instanceof Uint8Array) return toBytes(body);
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of Symbol.asyncIterator in body ? body : readPieces(body.path)) {
    size += piece.length;
    if (size > IN_MEMORY * 16)
      throw new AftersaveError("E_USAGE", "an append of more than 128 MiB", {
        hint: "Append it in several pieces, or use replace.",
      });
    pieces.push(Buffer.from(piece));
  }
  return Buffer.concat(pieces, size);
}

/** Passes on what was looked at; fails when it is something else by now. */
async function* checked(pieces: AsyncIterable<Uint8Array>, state: Hash, sha256: string): AsyncIterable<Uint8Array> {
  for await (const piece of pieces) {
    state.update(piece);
    yield piece;
  }
  if (state.digest("hex") !== sha256) throw new Moved();
}

/** For `catch`: an error with this code is no news. */
const passOver = (code: ErrorCode) => (error: unknown) => {
  if (!(error instanceof AftersaveError) || error.code !== code) throw error;
};

/** A misspelt precondition must not pass as none. */
function checkOptions(op: HeadOp, options: SaveOptions): void {
  const { if_sha256: sha256, merge } = options;
  const stranger = Object.keys(options).find((name) => !["if_sha256", "signal", "merge"].includes(name));
  if (stranger !== undefined)
    throw new AftersaveError("E_USAGE", `a save has no option ${JSON.stringify(stranger)}`, {
      hint: "There are if_sha256, merge and signal.",
    });
  if (merge === true && (op !== "replace" || sha256 === undefined))
    throw new AftersaveError("E_USAGE", "only a replace that says what it was computed from can be merged", {
      hint: "Give if_sha256 with merge; an append needs neither, since it adds to whatever is there.",
    });
  if (sha256 !== undefined && sha256 !== null && !/^[0-9a-f]{64}$/i.test(sha256))
    throw new AftersaveError("E_USAGE", "if_sha256 is not a sha256", {
      hint: "Give 64 hexadecimal digits, or null for a key that holds nothing.",
    });
}

/** What a caller in plain JavaScript may hand in. */
function checkBody(body: unknown): asserts body is Body {
  const known =
    typeof body === "string" ||
    body instanceof Uint8Array ||
    (typeof body === "object" &&
      body !== null &&
      (Symbol.asyncIterator in body || ("path" in body && typeof body.path === "string")));
  if (!known)
    throw new AftersaveError("E_USAGE", "the content of a save is neither text nor bytes", {
      hint: "Give a string, a Uint8Array, { path }, or a stream of bytes.",
    });
  if (typeof body === "string" && !body.isWellFormed())
    throw new AftersaveError("E_USAGE", "the text of a save is not valid Unicode: it has half of a surrogate pair", {
      hint: "Give the bytes as a Uint8Array, or correct the text.",
    });
}

const notFound = (key: Key) =>
  new AftersaveError("E_NOT_FOUND", `${key} does not exist`, {
    hint: "Check the key; `aftersave status` names the memory root.",
  });

const busy = (key: Key) =>
  new AftersaveError("E_BUSY", `${key} is written by another program without pause`, {
    hint: "Let that program save through aftersave.",
  });

const isStale = (head: Head | undefined, expected: string | null | undefined): boolean =>
  expected !== undefined && (expected?.toLowerCase() ?? null) !== (head?.sha256 ?? null);

function checkPrecondition(key: Key, head: Head | undefined, expected: string | null | undefined): void {
  if (isStale(head, expected)) throw staleError(key, head, "Read the file again, compute the save from it, and give its sha256.");
}

const staleError = (key: Key, head: Head | undefined, hint: string) =>
  new AftersaveError("E_STALE", `${key} is not what this save was computed from`, {
    hint,
    details: { sha256: head?.sha256 ?? null },
  });

/**
 * The guard: looks at what a save would do to a file, and keeps it aside where a person shall decide. Appends are never
 * looked at: they take nothing away.
 * @module
 */
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import type { Clock } from "../core/clock.ts";
import { AftersaveError } from "../core/errors.ts";
import {
  DEFAULT_GUARD,
  DEFAULT_SPREE,
  judgeErosion,
  judgeReplacement,
  type GuardRules,
  type Measured,
  type Policy,
  type SpreeRules,
} from "../core/guard.ts";
import { zoneOf, type Key } from "../core/key.ts";
import type { Source } from "../core/target.ts";
import { actorIn, type Actor, type Alarm, type Details, type SaveOp, type Version } from "../core/version.ts";
import type { Decisions } from "../state/decisions.ts";
import type { Guarding } from "../state/guarding.ts";
import type { Content, Head, Saves } from "../state/saves.ts";
import { measure, type Measurable } from "../text/measure.ts";
import { fileSource, readPieces } from "./content.ts";
import type { Heads } from "./heads.ts";
import type { Step } from "./journal.ts";
import { createSprees } from "./spree.ts";
import { threeWay } from "./three-way.ts";

/** What a key shall hold: bytes, or a file below `state_dir`. Null: nothing. */
export type NewContent = Uint8Array | { readonly path: string; readonly size: number; readonly sha256: string } | null;

/** A save that the guard looks at. */
export interface Proposal {
  readonly key: Key;
  readonly op: SaveOp;
  /** Undefined: the key holds nothing. */
  readonly head: Head | undefined;
  readonly content: NewContent;
  readonly actor: Actor;
}

/** What the guard says of a save. */
export interface Judged {
  readonly alarms: readonly Alarm[];
  /** The version with what is lost; there wherever there is an alarm. */
  readonly before: string | undefined;
}

/** A save that waits for a person's decision. */
export interface HeldSave {
  /** What `accept` and `reject` take. */
  readonly version: string;
  readonly file: Key;
  /** What the save would do; when `applied`, what it did. */
  readonly op: SaveOp;
  readonly alarms: readonly Alarm[];
  /** It stands in the file, and is kept from the targets; else the file is as it was. */
  readonly applied: boolean;
  /** ISO time. */
  readonly at: string;
  /** Both null when the key shall hold nothing. */
  readonly sha256: string | null;
  readonly size: number | null;
  /** What the key held before. */
  readonly prev_sha256: string | null;
  readonly actor: Actor;
}

export interface GuardParts {
  readonly saves: Saves;
  readonly decisions: Decisions;
  readonly guarding: Guarding;
  readonly heads: Heads;
  readonly clock: Clock;
  readonly newId: () => string;
  /** By zone; `*`, which is there, for every other one. */
  readonly rules: Readonly<Record<string, GuardRules>>;
  /** What a version held. */
  readonly contentOf: (version: Version) => Promise<Source | undefined>;
  readonly step?: ((step: Step) => void | Promise<void>) | undefined;
}

export interface Guard {
  policy(key: Key): Policy;
  /** Versions that stand in the file and wait for a decision, oldest first: as long as there is one, nothing of the key goes out. */
  waiting(key: Key): Promise<readonly string[]>;
  /**
   * What looks like damage in the save; nothing where the zone's policy is off. One that begins a key anew is measured against what
   * the key held when it was removed a moment ago.
   */
  judge(proposal: Proposal): Promise<Judged>;
  /**
   * Keeps the save aside: its content first, then the line that says so. The file stays as it is. A save that waits already is
   * kept once.
   */
  keepAside(proposal: Omit<Proposal, "head">, prev: Content | undefined, details: Details): Promise<Version>;
  /**
   * The content of a save that was computed from `base` (null: from nothing), with what came after that. `clash`: both changed
   * the same lines, or one is no text. `unknown`: `key` never held that base.
   */
  merge(key: Key, base: string | null, ours: NewContent, theirs: Head | undefined): Promise<Uint8Array | "clash" | "unknown">;
}

/** So much is read while everything else waits: an asynchronous read of it takes several times as long. */
const AT_ONCE = 256 << 10;

/** A file's first bytes. */
function bytesAt(path: string, size: number): Uint8Array {
  const file = openSync(path, "r");
  try {
    const bytes = Buffer.allocUnsafe(size);
    return bytes.subarray(0, readSync(file, bytes, 0, size, 0));
  } finally {
    closeSync(file);
  }
}

const EMPTY: Source = { size: 0, sha256: createHash("sha256").digest("hex"), async *open() {} };

const sourceOf = (content: NewContent): Source => {
  if (content === null) return EMPTY;
  if (!(content instanceof Uint8Array)) return fileSource(content.path, content.size, content.sha256);
  return {
    size: content.length,
    sha256: createHash("sha256").update(content).digest("hex"),
    async *open() {
      yield content;
    },
  };
};

const measurable = (content: Exclude<NewContent, null>): Measurable =>
  content instanceof Uint8Array
    ? { size: content.length, bytes: content, open: () => sourceOf(content).open() }
    : { size: content.size, open: () => readPieces(content.path, 0, content.size) };

/** The facts of a version that waits for a decision. */
export function heldSave(v: Version): HeldSave {
  const applied = v.op !== "hold";
  return {
    version: v.version,
    file: v.file,
    op: applied ? (v.op as SaveOp) : (v.details?.applies ?? "replace"),
    alarms: v.details?.alarms ?? [],
    applied,
    at: v.timestamp,
    sha256: v.sha256,
    size: v.size,
    prev_sha256: v.prev_sha256,
    actor: actorIn(v),
  };
}

/** What alarms say, in one sentence. */
export const sayAlarms = (alarms: readonly Alarm[]): string => alarms.map(({ says }) => says).join("; ");

/** What the caller of a save that was kept aside is told. */
export function heldError(v: Version): AftersaveError {
  const alarms = v.details?.alarms ?? [];
  return new AftersaveError("E_HELD", `${v.file} was left as it is, and the new content is held: ${sayAlarms(alarms)}`, {
    hint: `A person settles it with \`aftersave accept ${v.version}\` or \`aftersave reject ${v.version}\`.`,
    details: { version: v.version, file: v.file, alarms },
  });
}

export function createGuard(parts: GuardParts): Guard {
  const { saves, decisions, guarding, heads, clock, newId, contentOf, step } = parts;
  const rules = (key: Key): GuardRules => parts.rules[zoneOf(key)] ?? parts.rules["*"] ?? DEFAULT_GUARD;
  const windows = Object.values(parts.rules).map(({ spree }) => spree?.windowMs ?? 0);
  const sprees = createSprees({ guarding, clock, windowMs: Math.max(...windows) });

  const alike = async (key: Key, op: SaveOp, sha256: string | null, prev: string | null): Promise<Version | undefined> => {
    for (const one of await decisions.held("open")) {
      if (one.key !== key || one.applied) continue;
      const line = await saves.version(one.version);
      if (line && line.details?.applies === op && line.sha256 === sha256 && line.prev_sha256 === prev) return line;
    }
    return undefined;
  };

  /** What the key held when it was removed, if that was a moment ago and no person's decision. */
  const removed = async (key: Key, { spree }: GuardRules): Promise<Version | undefined> => {
    const last = await saves.headAt(key, Number.MAX_SAFE_INTEGER);
    const { windowMs } = spree ?? DEFAULT_SPREE;
    if (!last || last.sha256 !== null || last.prev_sha256 === null || !["archive", "external"].includes(last.op))
      return undefined;
    if (Date.parse(last.timestamp) < clock.now() - windowMs) return undefined;
    return guarding.versionWith(key, last.prev_sha256);
  };

  /** A content measured against that of an older version; where nobody has that any more, its size speaks. */
  const beside = async (version: Version, key: Key, content: Exclude<NewContent, null>): Promise<Measured> => {
    const now = measurable(content);
    const was = await contentOf(version).catch((error: unknown) => {
      if (error instanceof AftersaveError) return undefined;
      throw error;
    });
    if (was) return measure(was, now, key);
    const amounts = (bytes: number) => ({ bytes, lines: 0, headings: 0, items: 0 });
    const had = version.size ?? 0;
    return { before: amounts(had), kept: amounts(Math.min(had, now.size)), empties: now.size === 0, breaks: false };
  };

  const judgeBeginning = async (key: Key, content: NewContent, zone: GuardRules): Promise<Judged> => {
    const before = content === null ? undefined : await removed(key, zone);
    if (content === null || !before) return { alarms: [], before: undefined };
    return { alarms: judgeReplacement(await beside(before, key, content), zone), before: before.version };
  };

  /** Replaces that took away a little each, looked at as one; undefined where they are fine. */
  const judgeWorn = async (
    key: Key,
    actor: Actor,
    content: Exclude<NewContent, null>,
    zone: GuardRules & { readonly spree: SpreeRules },
  ): Promise<Judged | undefined> => {
    const worn = await sprees.worn(key, actor, measurable(content).size, zone);
    const version = worn && (await guarding.versionWith(key, worn.from.prev));
    if (!version) return undefined;
    const { before, kept } = await beside(version, key, content); // their sizes may tell of another layout only
    const alarms = judgeErosion(before.bytes, kept.bytes, worn.sessions, zone);
    return alarms.length === 0 ? undefined : { alarms, before: version.version };
  };

  const keep = async (version: string, content: NewContent) => {
    try {
      if (content instanceof Uint8Array) await heads.create(version, content, 0o600);
      else if (content !== null) await heads.adopt(version, content.path, 0o600);
    } catch (error) {
      await heads.remove(version);
      throw error;
    }
  };

  return {
    policy: (key) => rules(key).policy,
    waiting: (key) => decisions.standing(key),
    async judge({ key, head, content, actor }) {
      const zone = rules(key);
      if (zone.policy === "off") return { alarms: [], before: undefined };
      if (!head) return judgeBeginning(key, content, zone);
      const alarms: Alarm[] = [];
      const size = content === null ? 0 : measurable(content).size;
      if (content !== null) {
        const path = heads.path(head.base);
        const small = head.size <= AT_ONCE ? bytesAt(path, head.size) : undefined;
        const before = { size: head.size, bytes: small, open: () => readPieces(path, 0, head.size) };
        alarms.push(...judgeReplacement(await measure(before, measurable(content), key), zone));
      }
      const { spree } = zone;
      // what grew was worked on
      if (spree && size <= head.size) {
        alarms.push(...(await sprees.judge(key, actor, head.size - size, spree)));
        const worn =
          content !== null &&
          size < head.size &&
          alarms.length === 0 &&
          (await judgeWorn(key, actor, content, { ...zone, spree }));
        if (worn) return worn;
      }
      return { alarms, before: head.version };
    },
    async keepAside({ key, op, content, actor }, prev, details) {
      const source = content === null ? null : sourceOf(content);
      const prevSha256 = prev?.sha256 ?? null;
      const known = await alike(key, op, source?.sha256 ?? null, prevSha256);
      if (known) return known;
      const version = newId();
      await keep(version, content);
      await step?.("kept");
      const facts = {
        ...actor,
        version,
        op: "hold" as const,
        file: key,
        sha256: source?.sha256 ?? null,
        size: source?.size ?? null,
        prev_sha256: prevSha256,
        archived_as: null,
        timestamp: new Date(clock.now()).toISOString(),
        details: { ...details, applies: op },
      };
      const line = await saves.decide(facts).catch(async (error: unknown) => {
        // a full disk took no line; any other may come to light after a power cut, and then needs the content
        if (error instanceof AftersaveError && error.code === "E_NO_SPACE") await heads.remove(version);
        throw error;
      });
      await step?.("held");
      return line;
    },
    async merge(key, base, ours, theirs) {
      const from = base === null ? undefined : await guarding.versionWith(key, base);
      if (base !== null && !from) return "unknown";
      try {
        const was = (from && (await contentOf(from))) ?? EMPTY;
        return (await threeWay(was, sourceOf(ours), theirs ? heads.source(theirs) : EMPTY)) ?? "clash";
      } catch (error) {
        if (error instanceof AftersaveError && error.code === "E_CONTENT_GONE") return "unknown";
        throw error;
      }
    },
  };
}

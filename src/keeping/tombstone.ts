/**
 * Fingerprints of what was erased: with them it is found again, by the erasure that goes on after a kill and in every later
 * save, and nobody keeps the text. They mean nothing without the key, which never leaves this machine.
 * @module
 */
import { createHmac } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Key } from "../core/key.ts";
import { temporariesOf, writeDurably } from "../memory/durable.ts";
import { keyIn } from "../secrets/key-file.ts";
import { stateCorrupt } from "../state/sqlite.ts";
import { linesIn, MARK, merged, trimmed, type Range } from "./redact.ts";

/** One text that was erased. */
export interface Print {
  /** Bytes. */
  readonly n: number;
  /** Keyed rolling hash over the first `windowOf(n)` bytes. */
  readonly roll: number;
  /** HMAC-SHA256 over all of it, hex. */
  readonly mac: string;
  /** It counts only as a whole line of the key that this is the HMAC of. */
  readonly line?: string;
  /** It counts only at an even place: one byte aside a text in UTF-16 looks like one of the other byte order. */
  readonly even?: true;
  /** The same text as the one before it, as JSON has it. */
  readonly json?: true;
  /** It is looked for while the erasure goes on, and does not stand in the way later. */
  readonly once?: true;
}

/** What blocks a text from coming back. */
export interface Tombstone {
  /** The erasure's own id. */
  readonly id: string;
  readonly at: string;
  /** What was asked for, in a word: `key`, `version`, `chat`, `session` or `match`. */
  readonly by: string;
  readonly prints: readonly Print[];
  /** What was asked for, as an HMAC: who asks for the same again is told how far it is. */
  readonly asked?: string;
}

/** Longest text that one fingerprint stands for; longer lines have several. */
export const LONGEST = 1024;
/** A shorter line is looked for as a whole line of its own key only. */
export const ANYWHERE = 16;

const WINDOWS = [1024, 768, 512, 384, 256, 192, 128, 96, 64, 48, 32, 24, 16];
const windowOf = (n: number) => WINDOWS.find((window) => window <= n) ?? n;

export interface Fingerprints {
  ofText(text: Uint8Array): Print;
  ofLine(line: Uint8Array, key: Key, once: boolean): Print;
  ofAsked(asked: string): string;
  finder(prints: readonly Print[]): Finder;
}

export interface Finder {
  /** Where erased text stands. `key`: whose content it is; null: nobody's. */
  find(bytes: Buffer, key: Key | null): Range[];
  /** Bytes of the longest text. */
  readonly reach: number;
  readonly empty: boolean;
}

const longest = (prints: readonly Print[]) => prints.reduce((most, { n }) => Math.max(most, n), 0);

/** Fingerprints under `secret`. */
export function createFingerprints(secret: Buffer): Fingerprints {
  const base = createHmac("sha256", secret).update("roll").digest().readInt32LE(0) | 1;
  const macOf = (kind: string, bytes: Uint8Array) => createHmac("sha256", secret).update(`${kind}\n`).update(bytes).digest("hex");
  const keyMac = (key: Key) => macOf("key", Buffer.from(key));
  const rollOf = (bytes: Uint8Array, from: number, window: number) => {
    let hash = 0;
    for (let at = from; at < from + window; at++) hash = (Math.imul(hash, base) + (bytes[at] ?? 0)) | 0;
    return hash;
  };

  const finder = (prints: readonly Print[]): Finder => {
    const groups = new Map<number, Map<number, Print[]>>();
    const lines = new Map<string, Map<number, Set<string>>>();
    for (const print of prints) {
      if (print.line !== undefined) {
        const sizes = lines.get(print.line) ?? new Map<number, Set<string>>();
        lines.set(print.line, sizes.set(print.n, (sizes.get(print.n) ?? new Set()).add(print.mac)));
        continue;
      }
      const group = groups.get(windowOf(print.n)) ?? new Map<number, Print[]>();
      groups.set(windowOf(print.n), group.set(print.roll, [...(group.get(print.roll) ?? []), print]));
    }
    const filters = new Map(
      [...groups].map(([window, group]) => {
        const filter = new Uint8Array(1 << 16);
        for (const roll of group.keys()) filter[roll >>> 16] = 1;
        return [window, filter] as const;
      }),
    );

    const confirm = (bytes: Buffer, at: number, candidates: readonly Print[], found: Range[]) => {
      const macs = new Map<number, string>();
      for (const { n, mac, even } of candidates) {
        if (at + n > bytes.length || (even && at % 2 === 1)) continue;
        const known = macs.get(n) ?? macOf("text", bytes.subarray(at, at + n));
        macs.set(n, known);
        if (known === mac) found.push({ start: at, end: at + n });
      }
    };

    const inTexts = (bytes: Buffer, found: Range[]) => {
      for (const [window, group] of groups) {
        if (bytes.length < window) continue;
        const filter = filters.get(window) as Uint8Array;
        let drop = 1;
        for (let n = 1; n < window; n++) drop = Math.imul(drop, base);
        let hash = rollOf(bytes, 0, window);
        for (let at = 0; ; at++) {
          const candidates = filter[hash >>> 16] === 1 ? group.get(hash) : undefined;
          if (candidates) confirm(bytes, at, candidates, found);
          if (at + window >= bytes.length) break;
          hash = (Math.imul(hash - Math.imul(bytes[at] ?? 0, drop), base) + (bytes[at + window] ?? 0)) | 0;
        }
      }
    };

    const inLines = (bytes: Buffer, key: Key, found: Range[]) => {
      const sizes = lines.get(keyMac(key));
      if (!sizes) return;
      for (const line of linesIn(bytes)) {
        const macs = sizes.get(line.end - line.start);
        if (macs?.has(macOf("line", bytes.subarray(line.start, line.end)))) found.push(line);
      }
    };

    return {
      reach: longest(prints),
      empty: prints.length === 0,
      find(bytes, key) {
        const found: Range[] = [];
        inTexts(bytes, found);
        if (key !== null && lines.size > 0) inLines(bytes, key, found);
        return merged(found);
      },
    };
  };

  return {
    ofText: (text) => ({ n: text.length, roll: rollOf(text, 0, windowOf(text.length)), mac: macOf("text", text) }),
    ofLine: (line, key, once) => ({
      n: line.length,
      roll: 0,
      mac: macOf("line", line),
      line: keyMac(key),
      ...(once && { once }),
    }),
    ofAsked: (asked) => macOf("asked", Buffer.from(asked)),
    finder,
  };
}

/** Forms in which a text that someone looks for may stand in a file. */
export function formsOf(text: string): Buffer[] {
  const plain = [text, text.normalize("NFC"), text.normalize("NFD")].flatMap((form) => [form, form.replace(/\r?\n/g, "\r\n")]);
  const isLong = Buffer.byteLength(text) >= ENCODED;
  const forms = plain.flatMap((form) => [
    form,
    ...jsonOf(form).flatMap((written) => [written, inJson(written, RAW)]), // a JSON text is often a string in another one
    ...percentOf(form, isLong),
    ...(isLong ? base64Of(form) : []),
  ]);
  return [...new Set(forms)].map((form) => Buffer.from(form, "utf8"));
}

/** How a writer of JSON has a string. */
interface JsonStyle {
  /** What it need not escape and does, as `\u` with hex digits. */
  readonly escapes: string;
  /** All that is not ASCII too. */
  readonly ascii: boolean;
  readonly slash: boolean;
  readonly upper: boolean;
}

const RAW: JsonStyle = { escapes: "", ascii: false, slash: false, upper: false };
const ASCII: JsonStyle = { ...RAW, ascii: true };

/** JavaScript, Python, both with upper-case digits, PHP with and without its flag for Unicode, Go, Gson, .NET. */
const JSON_STYLES: readonly JsonStyle[] = [
  RAW,
  ASCII,
  { ...ASCII, upper: true },
  { ...RAW, slash: true },
  { ...ASCII, slash: true },
  { ...RAW, escapes: "<>&" },
  { ...RAW, escapes: "<>&='" },
  { ...ASCII, escapes: "<>&'\"+`", upper: true },
];

function inJson(text: string, { escapes, ascii, slash, upper }: JsonStyle): string {
  const hex = (unit: string) => unit.charCodeAt(0).toString(16).padStart(4, "0");
  const coded = (char: string) => char.replace(/[^]/g, (unit) => `\\u${upper ? hex(unit).toUpperCase() : hex(unit)}`);
  const write = (char: string): string => {
    if (escapes.includes(char) || (ascii && char > "\u007f")) return coded(char);
    if (slash && char === "/") return "\\/";
    const written = JSON.stringify(char).slice(1, -1);
    return written.startsWith("\\u") ? coded(char) : written;
  };
  return text.replace(/[^]/gu, write);
}

const jsonOf = (text: string): string[] => [...new Set(JSON_STYLES.map((style) => inJson(text, style)))];

/** A shorter text is not looked for as base64, nor with `+` for its spaces: other texts look so too. */
export const ENCODED = 8;

/** What encoders of addresses and forms leave as it is besides letters and digits. */
const UNRESERVED = ["-._~", "-._~/", "-_.!~*'()", "-_.!~*'();/?:@&=+$,#", "*-._"];

/** As addresses and forms have it, with hex digits of either case; `plus`: also with `+` for a space. */
function percentOf(text: string, plus: boolean): string[] {
  const bytes = [...Buffer.from(text, "utf8")];
  const writings = UNRESERVED.flatMap((kept) => {
    const write = (byte: number, space: string) => {
      const char = String.fromCharCode(byte);
      if (char === " ") return space;
      return /[a-z\d]/i.test(char) || kept.includes(char) ? char : `%${byte.toString(16).padStart(2, "0").toUpperCase()}`;
    };
    return ["%20", ...(plus ? ["+"] : [])].map((space) => bytes.map((byte) => write(byte, space)).join(""));
  });
  return writings.flatMap((written) => [written, written.replace(/%[\dA-F]{2}/g, (code) => code.toLowerCase())]);
}

/**
 * What base64, in both of its alphabets, writes for a text wherever it begins in what is encoded: without the digit at either
 * end that the bytes beside it have a part in.
 */
function base64Of(text: string): string[] {
  const bytes = Buffer.from(text, "utf8");
  return [0, 1, 2].flatMap((before) => {
    const all = Buffer.concat([Buffer.alloc(before), bytes]);
    const [start, end] = [Math.ceil((before * 8) / 6), Math.floor((all.length * 8) / 6)];
    return (["base64", "base64url"] as const).map((alphabet) => all.toString(alphabet).slice(start, end));
  });
}

/** The same in UTF-16, of either byte order; to be looked for at even places only. */
export function wideFormsOf(text: string): Buffer[] {
  const plain = [...new Set([text, text.normalize("NFC"), text.normalize("NFD")])];
  const little = plain.map((form) => Buffer.from(form, "utf16le"));
  return [...little, ...little.map((form) => Buffer.from(form).swap16())];
}

const says = (line: Buffer) => /[\p{L}\p{N}].*[\p{L}\p{N}].*[\p{L}\p{N}]/u.test(line.toString("utf8"));

/** The lines of a range; of one that an erasure left its mark in what is long enough to be told beside the mark, which is nobody's text. */
function* partsIn(bytes: Buffer, range: Range): Generator<Range> {
  for (const line of linesIn(bytes, range)) {
    let [from, isWhole] = [line.start, true];
    for (;;) {
      const mark = bytes.subarray(from, line.end).indexOf(MARK);
      if (mark < 0) break;
      const part = trimmed(bytes, { start: from, end: from + mark });
      if (part.end - part.start >= ANYWHERE) yield part;
      [from, isWhole] = [from + mark + MARK.length, false];
    }
    const rest = trimmed(bytes, { start: from, end: line.end });
    if (isWhole || rest.end - rest.start >= ANYWHERE) yield rest;
  }
}

/** What the two commonest writers of JSON make of a line, where that is not what it is. */
function asJson(line: Buffer): Buffer[] {
  const text = line.toString("utf8");
  if (!Buffer.from(text).equals(line)) return []; // cut within a character, or no text
  return [...new Set([inJson(text, RAW), inJson(text, ASCII)])].filter((form) => form !== text).map((form) => Buffer.from(form));
}

/** Fingerprints of what versions brought: of each line, as the decision says (docs/decisions/erase.md). */
export function printsOf(fingerprints: Fingerprints, bytes: Buffer, ranges: readonly Range[], key: Key): Print[] {
  const prints: Print[] = [];
  for (const range of ranges) {
    const whole = trimmed(bytes, range);
    const alone = !bytes.subarray(whole.start, whole.end).includes(0x0a);
    for (const { start, end } of partsIn(bytes, range)) {
      if (end - start < ANYWHERE) {
        const line = bytes.subarray(start, end);
        if (says(line)) prints.push(fingerprints.ofLine(line, key, !alone));
        continue;
      }
      // a long line in pieces of one length, the last of them from the end
      for (let at = start; at < end; at += LONGEST) {
        const from = end - start > LONGEST ? Math.min(at, end - LONGEST) : at;
        const piece = bytes.subarray(from, Math.min(from + LONGEST, end));
        prints.push(fingerprints.ofText(piece));
        for (const written of asJson(piece)) prints.push({ ...fingerprints.ofText(written), json: true });
      }
    }
  }
  return unique(prints);
}

/** The same fingerprint once; one that stays rather than one that does not. */
export function unique(prints: readonly Print[]): Print[] {
  const known = new Map<string, Print>();
  for (const print of prints) {
    const name = `${print.line ?? ""} ${print.mac}`;
    if (known.get(name)?.once !== undefined || !known.has(name)) known.set(name, print);
  }
  return [...known.values()];
}

export interface Tombstones {
  /** The key of this machine; made when there is none. */
  fingerprints(): Promise<Fingerprints>;
  all(): readonly Tombstone[];
  /** Puts one there, or another in its place. Durable when it resolves. One caller at a time. */
  put(tombstone: Tombstone): Promise<void>;
  /** False when there is none of this id. */
  drop(id: string): Promise<boolean>;
  /**
   * The tombstone whose text `bytes` hold, in what lies behind `from`; undefined when there is none. Costs one look at a
   * file that is not there while nothing was ever erased.
   */
  hit(bytes: Buffer, key: Key, from?: number): Promise<Tombstone | undefined>;
  /** Bytes of the longest text: what a check of an append must look at before its beginning. */
  reach(): number;
}

interface Loaded {
  readonly stamp: string;
  readonly tombstones: readonly Tombstone[];
  finders: readonly (readonly [Tombstone, Finder])[] | undefined;
}

const DAMAGED = "Remove it together with tombstones.json beside it, and erase again what must not come back.";

const NONE: Loaded = { stamp: "", tombstones: [], finders: [] };

export function createTombstones(stateDir: string): Tombstones {
  const keyFile = join(stateDir, "erase.key");
  const file = join(stateDir, "tombstones.json");
  let loaded = NONE;
  let made: Fingerprints | undefined;

  const known = (): Loaded => {
    const stats = statSync(file, { bigint: true, throwIfNoEntry: false });
    const stamp = stats ? `${stats.ino}:${stats.size}:${stats.mtimeNs}` : "";
    if (stamp === loaded.stamp) return loaded;
    loaded = stats ? { stamp, tombstones: parsed(readFileSync(file, "utf8")), finders: undefined } : NONE;
    return loaded;
  };

  const parsed = (text: string): Tombstone[] => {
    try {
      return JSON.parse(text) as Tombstone[];
    } catch (error) {
      throw stateCorrupt(`: ${file} cannot be read`, error);
    }
  };

  const write = async (tombstones: readonly Tombstone[]) => {
    for (const left of await temporariesOf(file)) await rm(left, { force: true });
    if (tombstones.length === 0) await rm(file, { force: true });
    else await writeDurably(file, Buffer.from(`${JSON.stringify(tombstones)}\n`), { mode: 0o600 });
  };

  const fingerprints = async (): Promise<Fingerprints> => (made ??= createFingerprints(await keyIn(keyFile, DAMAGED)));

  return {
    fingerprints,
    all: () => known().tombstones,
    async put(tombstone) {
      await write([...known().tombstones.filter(({ id }) => id !== tombstone.id), tombstone]);
    },
    async drop(id) {
      const rest = known().tombstones.filter((tombstone) => tombstone.id !== id);
      if (rest.length === known().tombstones.length) return false;
      await write(rest);
      return true;
    },
    reach() {
      return known().tombstones.reduce((most, { prints }) => Math.max(most, longest(prints)), 0);
    },
    async hit(bytes, key, from = 0) {
      const now = known();
      if (now.tombstones.length === 0) return undefined;
      if (!now.finders && !existsSync(keyFile)) return undefined; // without the key nobody can tell
      const { finder } = await fingerprints();
      now.finders ??= now.tombstones.map(
        (tombstone) => [tombstone, finder(tombstone.prints.filter(({ once }) => !once))] as const,
      );
      return now.finders.find(([, { find }]) => find(bytes, key).some(({ end }) => end > from))?.[0];
    },
  };
}

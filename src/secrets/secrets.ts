/**
 * What may leave this machine: policies, what was allowed, and what was found, named by rule and place and never by value.
 * @module
 */
import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { sourceOf } from "../core/chunks.ts";
import { AftersaveError } from "../core/errors.ts";
import { zoneOf, type ArchiveFolder, type Key } from "../core/key.ts";
import { originOf } from "../core/route.ts";
import type { Chunks, Source } from "../core/target.ts";
import { NO_KEY, type Actor, type Meta } from "../core/version.ts";
import { createFingerprints } from "./fingerprint.ts";
import { maskedChunks } from "./mask.ts";
import { KEY_MOST, mayHold, RULES } from "./rules.ts";
import { scan, type Found } from "./scan.ts";

/** `block`: the file stays here. `mask`: it leaves with what was found covered. `allow`: it leaves as it is, unseen. */
export type SecretPolicy = "allow" | "mask" | "block";

/** One finding, as people and programs are told of it. */
export interface SecretFinding {
  readonly rule: string;
  /** From 1; `column` counts characters. */
  readonly line: number;
  readonly column: number;
  /** What to allow it by. Says nothing of the value. */
  readonly fingerprint: string;
}

/** What of a file was found and is not allowed. */
export interface Findings {
  readonly count: number;
  /** The first of them, at most `TOLD`. */
  readonly told: readonly SecretFinding[];
  /** One of them is longer than what is looked at at once: it cannot be masked with certainty. */
  readonly tooLong: boolean;
}

/** How many findings of a file are told of. */
const TOLD = 20;
/** Contents whose findings are remembered. */
const REMEMBERED = 512;

export interface SecretsParts {
  /** By zone, `*` for every other one; what neither names is blocked. */
  readonly policies: Readonly<Record<string, SecretPolicy>>;
  /** Fingerprints of what may leave. */
  readonly allowed: readonly string[];
  /** Where the key of the fingerprints is, or will be made. */
  readonly keyFile: string;
  readonly archive: ArchiveFolder;
}

export interface Secrets {
  /** The policy of a key; that of an archive copy is its file's. */
  policyOf(key: Key): SecretPolicy;
  /** What is found in these bytes, whatever the policy. */
  find(source: Source): Promise<Findings>;
  /** The same bytes with what is found covered. Reads them once to know the new hash. */
  masked(source: Source): Promise<Source>;
  /** The actor with what is found in its words covered, and which of them; for a line that leaves in the history. */
  maskActor(key: Key, actor: Actor): Promise<{ readonly actor: Actor; readonly covered: readonly string[] }>;
  /** The same for what a caller says of a decision that speaks of no key or of several. */
  maskMeta(meta?: Meta): Promise<Meta>;
  /** A text with what is found in it covered. */
  maskText(text: string): Promise<string>;
  /** Refuses a name that holds a secret, with `E_KEY_SECRET`: names stand in logs, lists and at targets. */
  checkKey(key: Key): Promise<void>;
  /** Changes whenever the same content may be judged otherwise. */
  readonly print: string;
}

/** Line and column of each of `starts`, which are in order. */
async function placesOf(chunks: Chunks, starts: readonly number[]): Promise<{ line: number; column: number }[]> {
  const places: { line: number; column: number }[] = [];
  let [at, line, column] = [0, 1, 1];
  for await (const chunk of chunks)
    for (const byte of chunk) {
      while (starts[places.length] === at) places.push({ line, column });
      if (places.length === starts.length) return places;
      at++;
      if (byte === 0x0a) [line, column] = [line + 1, 1];
      else if (byte !== 0 && (byte & 0xc0) !== 0x80) column++;
    }
  return places;
}

async function textOf(chunks: Chunks): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const chunk of chunks) pieces.push(chunk);
  return Buffer.concat(pieces).toString("utf8");
}

/** What a caller says in words of its own. */
const SPOKEN = ["chat_name", "context_tags", "tags", "model", "session_id", "tool", "reason"] as const;

export function createSecrets({ policies, allowed, keyFile, archive }: SecretsParts): Secrets {
  const byZone = new Map(Object.entries(policies));
  const free = new Set(allowed);
  const fingerprints = createFingerprints(keyFile);
  const remembered = new Map<string, Findings>();

  const policyOf = (key: Key) => byZone.get(zoneOf(originOf(key, archive) as Key)) ?? byZone.get("*") ?? "block";

  const look = async (source: Source): Promise<Findings> => {
    const first: { readonly found: Found; readonly fingerprint: string }[] = [];
    let [count, tooLong] = [0, false];
    for await (const { found } of scan(source.open()))
      for (const one of found) {
        const fingerprint = (await fingerprints())(one.value);
        if (free.has(fingerprint)) continue;
        count++;
        tooLong ||= one.end - one.start >= KEY_MOST;
        if (first.length < TOLD) first.push({ found: one, fingerprint });
      }
    if (count === 0) return { count, told: [], tooLong };
    const starts = first.map(({ found }) => found.start);
    const places = await placesOf(source.open(), starts);
    const told = first.map(({ found: { rule }, fingerprint }, i) => ({ rule, line: 0, column: 0, ...places[i], fingerprint }));
    return { count, told, tooLong };
  };

  const find = async (source: Source): Promise<Findings> => {
    const known = remembered.get(source.sha256);
    if (known) return known;
    const findings = await look(source);
    const [oldest] = remembered.keys();
    if (remembered.size >= REMEMBERED && oldest !== undefined) remembered.delete(oldest);
    remembered.set(source.sha256, findings);
    return findings;
  };

  const masked = async (source: Source): Promise<Source> => {
    const fingerprint = await fingerprints();
    const open = () => maskedChunks(source.open(), ({ value }) => !free.has(fingerprint(value)));
    const hash = createHash("sha256");
    for await (const chunk of open()) hash.update(chunk);
    return { size: source.size, sha256: hash.digest("hex"), open };
  };

  const maskText = async (text: string): Promise<string> => {
    if (!mayHold(text)) return text;
    const source = sourceOf(text);
    return (await find(source)).count === 0 ? text : textOf((await masked(source)).open());
  };

  const maskWords = async <T extends object>(said: T): Promise<T> => {
    const own = { ...said } as Record<string, unknown>;
    for (const name of SPOKEN) {
      const words = own[name];
      if (typeof words === "string") own[name] = await maskText(words);
      else if (Array.isArray(words))
        own[name] = await Promise.all(words.map((word: unknown) => (typeof word === "string" ? maskText(word) : word)));
    }
    return own as T;
  };

  return {
    policyOf,
    find,
    masked,
    maskText,
    async maskActor(key, actor) {
      if (policyOf(key) === "allow") return { actor, covered: [] };
      const own = await maskWords(actor);
      return {
        actor: own,
        covered: SPOKEN.filter((name) => name in own && !isDeepStrictEqual(own[name as keyof Actor], actor[name as keyof Actor])),
      };
    },
    maskMeta: async (meta = {}) => (policyOf(NO_KEY) === "allow" ? meta : maskWords(meta)),
    async checkKey(key) {
      if (!mayHold(key) || policyOf(key) === "allow") return;
      const [found] = (await find(sourceOf(key))).told;
      if (!found) return;
      const { rule, column, fingerprint } = found;
      throw new AftersaveError(
        "E_KEY_SECRET",
        `the name of a file holds what looks like a secret (${rule}, from character ${column})`,
        {
          hint: `Rename the file; or, if it is none, add "${fingerprint}" to secrets_allowed in paths.json.`,
          details: { rule, column, fingerprint },
        },
      );
    },
    print: createHash("sha256")
      .update(JSON.stringify([RULES, [...byZone].map(([zone, policy]) => `${zone} ${policy}`).toSorted(), [...free].toSorted()]))
      .digest("hex"),
  };
}

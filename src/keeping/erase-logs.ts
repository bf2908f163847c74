/**
 * What the logs say of versions that were erased: their lines keep what an outcome needs, and lose what says what was there.
 * @module
 */
import { changelogLine, type Version } from "../core/version.ts";
import type { ChangeLine } from "../memory/log-export.ts";
import { redact } from "./redact.ts";
import type { Finder } from "./tombstone.ts";

export interface LogFacts {
  /** Every line that was erased, by its version. */
  readonly erased: ReadonlyMap<string, Version>;
  /** Keys of which not even the name is kept, archive copies included. */
  readonly names: ReadonlySet<string>;
  /** Lines of this chat or session that belong to no version: another program's. */
  readonly chat: string | null;
  readonly finder: Finder;
}

type Fields = Record<string, unknown>;

const fieldsIn = (line: string): Fields | undefined => {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;
  } catch {
    return undefined;
  }
};

/** Only fields that the line has: those that a format requires are there. */
const blank = (fields: Fields, named: boolean): Fields => {
  const empty: Fields = {
    context_tags: [],
    chat_name: "UNKNOWN",
    notes: "",
    reason: "",
    sha256: null,
    size: null,
    input_hash: null,
    ...(named
      ? {}
      : {
          file: null,
          drive_path: null,
          archived_as: null,
        }),
  };
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, name in empty ? empty[name] : value]));
};

/** Said of what an erasure left, after it, and by nobody: a line that the next erasure has nothing to take from. */
const isOfNow = (fields: Fields, { sha256 }: Version) =>
  sha256 !== null && fields["sha256"] === sha256 && fields["chat_name"] === "UNKNOWN" && String(fields["context_tags"]) === "";

export function createChange({ erased, names, chat, finder }: LogFacts): ChangeLine {
  const cleaned = (text: string): string => {
    const bytes = Buffer.from(text);
    const ranges = finder.find(bytes, null);
    const said = ranges.length > 0 ? redact(bytes, ranges).content.toString("utf8") : text;
    return [...names].reduce((rest, name) => rest.replaceAll(name, "[erased]"), said);
  };
  const deep = (value: unknown): unknown => {
    if (typeof value === "string") return cleaned(value);
    if (Array.isArray(value)) return value.map(deep);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, deep(part)]));
  };
  const isNamed = (value: unknown) => typeof value === "string" && names.has(value);

  return (log, line) => {
    const fields = fieldsIn(line);
    if (!fields) return cleaned(line);
    const version = erased.get(String(fields["version"]));
    if (log === "changes" && typeof fields["place"] === "number") {
      if (!version || (fields["commitment"] ?? null) !== null) return line; // every line of the chain that has the text is erased
      return changelogLine(version);
    }
    const forgotten = isNamed(fields["file"]) || isNamed(fields["archived_as"]);
    const said = chat !== null && (fields["chat_name"] === chat || fields["session_id"] === chat);
    const first =
      (version && !isOfNow(fields, version)) || forgotten || said ? blank(fields, !forgotten && version?.file !== "") : fields;
    const after = JSON.stringify(deep(first));
    return after === JSON.stringify(fields) ? line : after;
  };
}

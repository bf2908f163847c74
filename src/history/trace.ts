/**
 * Agent Trace: who wrote which lines, in the format that coding tools exchange. Written against the specification's version
 * 0.1 of January 2026 (https://agent-trace.dev, https://github.com/cursor/agent-trace, README section 6.1). Its schema asks
 * for a `version` of two numbers, though its examples have three: what is written here keeps to the schema. `vcs` is left
 * out: it knows only git, jj, hg and svn. What the format has no place for stands in `metadata.aftersave`.
 * @module
 */
import { createHash } from "node:crypto";
import { relative, sep } from "node:path";
import type { Places } from "../memory/places.ts";
import type { Blame, BlameLine } from "./blame.ts";

export interface TraceContributor {
  readonly type: "human" | "ai" | "mixed" | "unknown";
  /** As the caller stamped it; `provider/model` where the caller says it so. */
  readonly model_id?: string;
}

export interface TraceRange {
  readonly start_line: number;
  readonly end_line: number;
  /** `sha256:` and the hash of the lines, each ended by one line feed: the same wherever they stand. */
  readonly content_hash: string;
}

export interface TraceConversation {
  /** Of the chat or session, where that is named by a URL. */
  readonly url?: string;
  readonly contributor: TraceContributor;
  readonly ranges: readonly TraceRange[];
}

/** What is known of the conversation at the same place in `files[0].conversations`. */
export interface TraceDetails {
  readonly chat_name: string;
  readonly session_id: string | null;
  readonly tool: string | null;
  readonly origin: string | null;
  /** Of its lines, oldest first. */
  readonly versions: readonly string[];
}

export interface TraceRecord {
  readonly version: "0.1";
  /** A UUID made from the rest of the record: the same content with the same authors has the same. */
  readonly id: string;
  /** When the content that the lines are of was saved. */
  readonly timestamp: string;
  readonly tool: { readonly name: "aftersave" };
  readonly files: readonly { readonly path: string; readonly conversations: readonly TraceConversation[] }[];
  readonly metadata: {
    readonly aftersave: {
      readonly version: string;
      readonly sha256: string;
      readonly conversations: readonly TraceDetails[];
    };
  };
}

/** The format's limit. */
const LONGEST_MODEL = 250;

/** Who an actor is to Agent Trace. A consolidation is the work of a program; of an import nobody knows who wrote it first. */
function contributorOf({ origin, model }: BlameLine): TraceContributor {
  const ai = origin === "agent" || origin === "consolidation" || (origin === null && model !== null);
  const type = ai ? "ai" : origin === "human" ? "human" : "unknown";
  return { type, ...(model !== null && model.length <= LONGEST_MODEL ? { model_id: model } : {}) };
}

const urlIn = ({ chat_name, session_id }: BlameLine): string | undefined =>
  [session_id, chat_name].find((name): name is string => name !== null && /^https?:\/\//.test(name) && URL.canParse(name));

/** Lines of one conversation: the same contributor, in the same chat and session, with the same tool. */
const conversationOf = ({ chat_name, model, session_id, tool, origin }: BlameLine) =>
  JSON.stringify([chat_name, model, session_id, tool, origin]);

function rangesOf(lines: readonly BlameLine[]): TraceRange[] {
  const ranges: TraceRange[] = [];
  for (let first = 0; first < lines.length;) {
    let next = first + 1;
    while (lines[next]?.line === (lines[first]?.line ?? 0) + next - first) next++;
    const text = lines.slice(first, next).map((line) => `${line.text}\n`);
    ranges.push({
      start_line: lines[first]?.line ?? 0,
      end_line: lines[next - 1]?.line ?? 0,
      content_hash: `sha256:${createHash("sha256").update(text.join("")).digest("hex")}`,
    });
    first = next;
  }
  return ranges;
}

/** A UUID of version 8, whose other bits are free for a hash. */
function uuidOf(text: string): string {
  const bytes = createHash("sha256").update(text).digest().subarray(0, 16);
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x80;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** A blame as an Agent Trace record. Paths are relative to `root`, the memory root. */
export function traceOf(blame: Blame, { root, places }: { readonly root: string; readonly places: Places }): TraceRecord {
  const grouped = new Map<string, [BlameLine, ...BlameLine[]]>();
  for (const line of blame.lines) {
    const known = grouped.get(conversationOf(line));
    if (known) known.push(line);
    else grouped.set(conversationOf(line), [line]);
  }
  const groups = [...grouped.values()];
  const record = {
    timestamp: blame.timestamp,
    tool: { name: "aftersave" as const },
    files: [
      {
        path: relative(root, places.pathOf(blame.file)).split(sep).join("/"),
        conversations: groups.map((lines) => {
          const url = urlIn(lines[0]);
          return { ...(url === undefined ? {} : { url }), contributor: contributorOf(lines[0]), ranges: rangesOf(lines) };
        }),
      },
    ],
    metadata: {
      aftersave: {
        version: blame.version,
        sha256: blame.sha256,
        conversations: groups.map((lines) => ({
          chat_name: lines[0].chat_name,
          session_id: lines[0].session_id,
          tool: lines[0].tool,
          origin: lines[0].origin,
          versions: [...new Set(lines.map(({ version }) => version))].toSorted(),
        })),
      },
    },
  };
  return { version: "0.1", id: uuidOf(JSON.stringify(record)), ...record };
}

/**
 * What a WebDAV server answers, and what goes wrong on the way to it, as `TargetError`.
 * @module
 */
import type { IncomingHttpHeaders } from "node:http";
import { AftersaveError, type ErrorCode, errnoOf, type FaultKind, TargetError } from "../../core/errors.ts";
import { UNREACHED } from "../shared/network.ts";

export interface FaultFacts {
  /** The target's name, for hints. */
  readonly name: string;
  readonly signedIn: boolean;
  /** Texts that appear in no message. */
  readonly secrets: readonly string[];
  /** The caller's own: when it has aborted, its reason is what happened. */
  readonly signal?: AbortSignal | undefined;
}

type Condition = readonly [kind: FaultKind, code: ErrorCode, hint: string];

const again = "It is tried again; `aftersave flush` tries now.";
const BROKEN: Condition = ["transient", "E_TARGET_TRANSIENT", `Nothing to do. ${again}`];
const SLOW: Condition = ["throttled", "E_TARGET_THROTTLED", "Nothing to do: it is tried again, more slowly."];
const STRANGER: Condition = [
  "transient",
  "E_TARGET_UNREACHABLE",
  `What answered does not speak WebDAV there: check \`url\` at targets.NAME in paths.json, and the network's proxy or log-in page. ${again}`,
];
const MOVED: Condition = [
  "transient",
  "E_TARGET_UNREACHABLE",
  `Redirects are not followed, so that the password goes nowhere else. If the new address is the right one, set it as \`url\` at targets.NAME in paths.json; a log-in page of the network answers like this too. ${again}`,
];
const UNREACHABLE: Condition = [
  "transient",
  "E_TARGET_UNREACHABLE",
  `Check the network, and \`url\` at targets.NAME in paths.json. ${again}`,
];
const UNTRUSTED: Condition = [
  "transient",
  "E_TARGET_UNREACHABLE",
  `Check this machine's clock and the certificate of \`url\`. An authority of your own is named in NODE_EXTRA_CA_CERTS. ${again}`,
];
const UNSUPPORTED: Condition = [
  "unsupported",
  "E_TARGET_UNSUPPORTED",
  "Check `url` at targets.NAME in paths.json: the server there does not accept this WebDAV request.",
];

const ofStatus: Readonly<Record<number, Condition>> = {
  401: ["auth", "E_AUTH", "Check `user` and the password of targets.NAME; many servers want an app password here."],
  403: [
    "unsupported",
    "E_TARGET_FORBIDDEN",
    "Give the account the right to read, write, move and remove below `url` of targets.NAME; a share that is read-only answers like this.",
  ],
  404: ["not-found", "E_TARGET_ABSENT", "It was removed, or this account cannot see it."],
  405: UNSUPPORTED,
  408: BROKEN,
  409: BROKEN,
  412: ["conflict", "E_CONFLICT", "Look at both versions, then save the one you want."],
  413: [
    "unsupported",
    "E_TARGET_UNSUPPORTED",
    "The server takes no file of this size: raise its limit (client_max_body_size, LimitRequestBody, the quota of one upload).",
  ],
  414: ["unsupported", "E_TARGET_UNSUPPORTED", "Give the file a shorter name: the server cannot hold this one."],
  423: ["transient", "E_TARGET_TRANSIENT", `Somebody holds a lock on it; close the program that has it open. ${again}`],
  424: BROKEN,
  425: BROKEN,
  429: SLOW,
  501: UNSUPPORTED,
  507: [
    "quota",
    "E_TARGET_QUOTA",
    "Free some space at the server, also in its trash bin, or raise the quota; then run `aftersave flush`.",
  ],
};
const NOT_SIGNED_IN: Condition = [
  "auth",
  "E_TOKEN_MISSING",
  "Set `user` and `password_file` at targets.NAME in paths.json (or AFTERSAVE_WEBDAV_PASSWORD), then run `aftersave flush`.",
];

const unreachable = new Set([...UNREACHED, "ETIMEDOUT"]);
const certificate = /^(CERT_|ERR_TLS_|ERR_SSL_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_(GET|VERIFY)|EPROTO)/;

/** What `Retry-After` asks for: seconds, or a date, measured by the server's own clock. */
function retryAfterOf(headers: IncomingHttpHeaders): number | undefined {
  const asked = (headers["retry-after"] ?? "").trim();
  if (/^\d+(\.\d+)?$/.test(asked)) return Math.ceil(Number(asked) * 1000);
  const wait = Date.parse(asked) - Date.parse(headers.date ?? "");
  return Number.isNaN(wait) ? undefined : Math.max(0, wait);
}

function clean(message: string, secrets: readonly string[]): string {
  let line = message.replaceAll(/(https?:\/\/)[^\s/@]*@/g, "$1").replaceAll(/(https?:\/\/[^\s?#"'<>]+)[?#][^\s"'<>]*/g, "$1");
  for (const secret of secrets) if (secret !== "") line = line.replaceAll(secret, "…");
  line = line.replaceAll(/\s+/g, " ").trim();
  return line.length > 300 ? `${line.slice(0, 299)}…` : line;
}

function conditionOf(status: number, facts: FaultFacts): Condition {
  if (status === 401 && !facts.signedIn) return NOT_SIGNED_IN;
  if (status >= 300 && status < 400) return MOVED;
  return ofStatus[status] ?? (status >= 500 || status === 207 ? BROKEN : status < 300 ? STRANGER : UNSUPPORTED);
}

/** An answer that is not the one hoped for. `doing` is an infinitive, "write Core/Rules.txt". */
export function refusal(status: number, headers: IncomingHttpHeaders, doing: string, facts: FaultFacts): TargetError {
  const asked = status === 429 || status === 503 ? retryAfterOf(headers) : undefined;
  const [kind, code, hint] = status === 503 && asked !== undefined ? SLOW : conditionOf(status, facts);
  const to = status >= 300 && status < 400 && headers.location ? ` and names ${clean(headers.location, facts.secrets)}` : "";
  return new TargetError(kind, `could not ${doing}: the server answered ${status}${to}`, {
    code,
    hint: hint.replaceAll("NAME", facts.name),
    details: { status },
    ...(asked === undefined ? {} : { retryAfterMs: asked }),
  });
}

/** The answer is no WebDAV. */
export const stranger = (doing: string, { name }: Pick<FaultFacts, "name">): TargetError =>
  new TargetError(STRANGER[0], `could not ${doing}: what answered does not speak WebDAV`, {
    code: STRANGER[1],
    hint: STRANGER[2].replaceAll("NAME", name),
  });

/** What broke on the way. An abort by the caller, and what is an error of ours already, stays what it is. */
export function faultOf(error: unknown, doing: string, facts: FaultFacts): Error {
  if (facts.signal?.aborted === true && facts.signal.reason instanceof Error) return facts.signal.reason;
  if (error instanceof AftersaveError) return error;
  const parts = [error, ...(error instanceof AggregateError ? (error.errors as unknown[]) : [])];
  const codes = parts.map(errnoOf).filter(Boolean);
  const [kind, code, hint] = codes.some((one) => unreachable.has(one))
    ? UNREACHABLE
    : codes.some((one) => certificate.test(one))
      ? UNTRUSTED
      : BROKEN;
  const said =
    parts.map((part) => (part instanceof Error ? part.message : String(part))).find((text) => text !== "") ?? codes[0] ?? "";
  const what = clean(said, facts.secrets);
  return new TargetError(kind, `could not ${doing}: ${what}`, {
    code,
    hint: hint.replaceAll("NAME", facts.name),
    cause: Object.assign(new Error(what), { code: codes[0] }),
  });
}

/**
 * What GitHub answers, and what goes wrong on the way to it, as `TargetError`.
 * @module
 */
import { AftersaveError, type ErrorCode, type FaultKind, TargetError } from "../../core/errors.ts";
import { CERTIFICATE, chainOf, type Fields, fieldsOf, textOf, UNREACHED } from "../shared/network.ts";

export interface FaultFacts {
  /** The target's name, for hints. */
  readonly name: string;
  readonly repo: string;
  readonly token: string;
  /** The caller's own: when it has aborted, its reason is what happened. */
  readonly signal?: AbortSignal | undefined;
}

interface Condition {
  readonly kind: FaultKind;
  readonly code: ErrorCode;
  readonly hint: string;
}

export const RIGHTS =
  "a fine-grained personal access token for that repository alone, with the permission Contents: read and write (github.com, Settings, Developer settings)";

const condition = (kind: FaultKind, code: ErrorCode, hint: string): Condition => ({ kind, code, hint });

const BROKEN = condition("transient", "E_TARGET_TRANSIENT", "Nothing to do: it is tried again. `aftersave flush` tries now.");
const STRANGER = condition(
  "transient",
  "E_TARGET_TRANSIENT",
  "Something answered that is not GitHub's API: check `api_url` at targets.NAME, and the network's proxy or log-in page. It is tried again.",
);
const UNREACHABLE = condition(
  "transient",
  "E_TARGET_UNREACHABLE",
  "Check the network, and `api_url` and `uploads_url` at targets.NAME in paths.json. It is tried again; `aftersave flush` tries now.",
);
const UNTRUSTED = condition(
  "transient",
  "E_TARGET_UNREACHABLE",
  "Check this machine's clock and the certificate of `api_url`. An authority of your own is named in NODE_EXTRA_CA_CERTS.",
);
const THROTTLED = condition("throttled", "E_TARGET_THROTTLED", "Nothing to do: it is tried again when GitHub allows it.");
const REFUSED = condition(
  "auth",
  "E_AUTH",
  `GitHub does not accept the token: it was revoked, or has expired. Set GH_TOKEN to ${RIGHTS}, then run \`aftersave flush\`.`,
);
const NO_RIGHT = condition(
  "auth",
  "E_SIGN_IN_SCOPE",
  `The token may not do this. Set GH_TOKEN to ${RIGHTS}, then run \`aftersave flush\`.`,
);
const SSO = condition(
  "auth",
  "E_SIGN_IN_POLICY",
  "The organisation wants the token authorised for its single sign-on: github.com, Settings, Developer settings, the token, Configure SSO. Then run `aftersave flush`.",
);
const ABSENT = condition("not-found", "E_TARGET_ABSENT", "It was removed, or this token cannot see it.");
const FULL = condition(
  "quota",
  "E_FOLDER_FULL",
  "A release holds 1,000 files. Remove some, or give targets.NAME another `tag` in paths.json: everything is then sent to a new release, and the old one stays.",
);
const EMPTY = condition(
  "unsupported",
  "E_TARGET_UNSUPPORTED",
  "A release needs a commit to point at: make one, for example by adding a README on the repository's page. Then run `aftersave flush`.",
);
const IMMUTABLE = condition(
  "unsupported",
  "E_TARGET_FORBIDDEN",
  "Releases of this repository cannot be changed once they are published. Turn release immutability off in the repository's settings and choose a new `tag` at targets.NAME, or make a draft release with that tag by hand: drafts stay changeable, and it is used.",
);
const ARCHIVED = condition(
  "unsupported",
  "E_TARGET_FORBIDDEN",
  "The repository is archived or locked. Unarchive it in its settings, or set another `repo` at targets.NAME.",
);
const MOVED = condition(
  "unsupported",
  "E_TARGET_UNSUPPORTED",
  "The repository was renamed or moved: set its new name as `repo` at targets.NAME in paths.json, then run `aftersave flush`.",
);
const UNSUPPORTED = condition(
  "unsupported",
  "E_TARGET_UNSUPPORTED",
  "GitHub does not accept this request. Please report it, with the output of the same command and --debug.",
);

const unreachable = new Set([...UNREACHED, "UND_ERR_CONNECT_TIMEOUT"]);

/** The status of the answer that an error stands for; 0 when there was none (Octokit says 500 then). */
export const statusOf = (error: unknown): number => Number(fieldsOf(fieldsOf(error)["response"])["status"] ?? 0);

const dataOf = (error: unknown): Fields => fieldsOf(fieldsOf(fieldsOf(error)["response"])["data"]);

/** Whether GitHub refused because that name, or that tag, is taken. */
export const isTaken = (error: unknown): boolean => {
  const errors = dataOf(error)["errors"];
  return statusOf(error) === 422 && Array.isArray(errors) && errors.some((one) => fieldsOf(one)["code"] === "already_exists");
};

function headerOf(error: unknown, header: string): string {
  return textOf(fieldsOf(fieldsOf(fieldsOf(error)["response"])["headers"])[header]);
}

const MINUTE = 60_000;

/** Retry-After, or the reset of the hour's budget by the server's own clock; without either a minute, as GitHub asks for. */
function retryAfterOf(error: unknown): number | undefined {
  const asked = headerOf(error, "retry-after").trim();
  if (/^\d+$/.test(asked)) return Number(asked) * 1000;
  if (headerOf(error, "x-ratelimit-remaining") === "0") {
    const wait = Number(headerOf(error, "x-ratelimit-reset")) * 1000 - Date.parse(headerOf(error, "date"));
    if (!Number.isNaN(wait)) return Math.max(1000, wait);
  }
  return MINUTE;
}

/** The text on one line, without tokens and without query strings, which carry signatures. */
export function clean(message: string, token: string): string {
  let line = token.length > 3 ? message.replaceAll(token, "…") : message;
  line = line
    .replaceAll(/(https?:\/\/[^\s?#"'<>]+)[?#][^\s"'<>]*/g, "$1")
    .replaceAll(/\b(gh[pousr]_|github_pat_)\w+/g, "…")
    .replaceAll(/ - https:\/\/docs\.github\.com\S*/g, "")
    .replaceAll(/\s+/g, " ")
    .trim();
  return line.length > 300 ? `${line.slice(0, 299)}…` : line;
}

function ofStatus(status: number, said: string, error: unknown): Condition {
  const limited = headerOf(error, "retry-after") !== "" || headerOf(error, "x-ratelimit-remaining") === "0";
  if (status === 429 || (status === 403 && (limited || /rate limit|abuse detection/i.test(said)))) return THROTTLED;
  if (status === 401) return REFUSED;
  if (status === 403 && (headerOf(error, "x-github-sso") !== "" || /SAML/i.test(said))) return SSO;
  if (status === 403 && /archived|read-only|locked/i.test(said)) return ARCHIVED;
  if (status === 403) return NO_RIGHT;
  if (status === 404) return ABSENT;
  if (status === 301 || status === 302 || status === 307 || status === 308) return MOVED;
  if (status === 422 && /file_count/.test(said)) return FULL;
  if (status === 422 && /immutable/i.test(said)) return IMMUTABLE;
  if ((status === 422 || status === 409) && /repository is empty/i.test(said)) return EMPTY;
  if (status === 408 || status === 409 || status >= 500) return BROKEN;
  return status < 400 ? STRANGER : UNSUPPORTED;
}

function ofThrown(codes: readonly string[]): Condition {
  if (codes.some((code) => unreachable.has(code))) return UNREACHABLE;
  return codes.some((code) => CERTIFICATE.test(code)) ? UNTRUSTED : BROKEN;
}

/** What is said when nothing of the repository can be seen: GitHub hides private ones behind 404. */
export const unseen = ({ name, repo }: Pick<FaultFacts, "name" | "repo">): TargetError =>
  new TargetError("unsupported", `GitHub shows this token no repository ${repo}`, {
    code: "E_TARGET_FORBIDDEN",
    hint: `Check \`repo\` at targets.${name} in paths.json. A private repository that the token has no right to looks as if it were not there: set GH_TOKEN to ${RIGHTS}.`,
  });

/**
 * What went wrong when we tried to `doing` (an infinitive, "write Core/Rules.txt"), as a `TargetError` whose text holds no
 * secret. An abort by the caller, and what is an error of ours already, stays what it is.
 */
export function faultOf(error: unknown, doing: string, facts: FaultFacts): Error {
  if (facts.signal?.aborted === true && facts.signal.reason instanceof Error) return facts.signal.reason;
  const chain = chainOf(error);
  const ours = chain.find((part) => part instanceof AftersaveError);
  if (ours instanceof AftersaveError) return ours;
  if (error instanceof Error && error.name === "AbortError") return error;

  const status = statusOf(error);
  const said = textOf(chain[0]?.["message"]);
  const codes = chain.map((part) => textOf(part["code"])).filter(Boolean);
  // GitHub's own pages of HTML ("Unicorn!") come with 5xx
  const page = status > 0 && status < 500 && /html/i.test(headerOf(error, "content-type"));
  const found = page ? STRANGER : status > 0 ? ofStatus(status, said, error) : ofThrown(codes);
  const what =
    page || said === "" || /^\s*</.test(said) ? (status > 0 ? `HTTP ${status}` : (codes[0] ?? "")) : clean(said, facts.token);
  const cause = Object.assign(new Error(what), { name: textOf(chain[0]?.["name"]) || "Error", code: codes[0] });
  const retryAfterMs = found.kind === "throttled" ? retryAfterOf(error) : undefined;
  return new TargetError(found.kind, `could not ${doing}: ${what}`, {
    code: found.code,
    hint: found.hint.replaceAll("NAME", facts.name),
    cause,
    ...(status > 0 ? { details: { status } } : {}),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

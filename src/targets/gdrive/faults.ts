/**
 * What Google answers, and what goes wrong on the way to it, as `TargetError`. The reason decides, never the status alone.
 * Several copies of gaxios throw here, so fields are tested and never classes.
 * @module
 */
import { type ErrorCode, type FaultKind, TargetError } from "../../core/errors.ts";
import { UNREACHED } from "../shared/network.ts";

export interface FaultFacts {
  /** The target's name, for hints. */
  readonly name?: string | undefined;
  readonly serviceAccount?: boolean | undefined;
  /** Bytes were being sent, or copied at the server. */
  readonly upload?: boolean | undefined;
  /** The caller's own: when it has aborted, its reason is what happened. */
  readonly signal?: AbortSignal | undefined;
}

interface Condition {
  readonly kind: FaultKind;
  readonly code: ErrorCode;
  readonly hint: string;
}

type Json = Readonly<Record<string, unknown>>;

const isJson = (value: unknown): value is Json => typeof value === "object" && value !== null;
const text = (value: unknown): string => (typeof value === "string" ? value : "");
const list = (value: unknown): readonly Json[] => (Array.isArray(value) ? value.filter(isJson) : []);

/** `RATE_LIMIT_EXCEEDED` and `rateLimitExceeded` are one reason. */
const fold = (reason: string) => reason.replaceAll(/[^a-z0-9]/gi, "").toLowerCase();

const rows: ReadonlyArray<readonly [reasons: string, kind: FaultKind, code: ErrorCode, hint: string]> = [
  [
    "domainPolicy admin_policy_enforced org_internal",
    "auth",
    "E_SIGN_IN_POLICY",
    "Ask your Google Workspace administrator to allow this app (Admin console, Security, API controls), or sign in with another account.",
  ],
  [
    "invalid_client deleted_client disabled_client unauthorized_client access_denied",
    "auth",
    "E_SIGN_IN_CLIENT",
    "Check in the Google Cloud console (APIs & Services, Credentials) that the OAuth client of the client file still exists, then run `aftersave connect NAME`.",
  ],
  [
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT insufficientPermissions insufficient_scope invalid_scope",
    "auth",
    "E_SIGN_IN_SCOPE",
    "Run `aftersave connect NAME` and leave every box on Google's consent page ticked.",
  ],
  [
    "invalid_grant invalid_rapt",
    "auth",
    "E_SIGN_IN_EXPIRED",
    "Sign in again with `aftersave connect NAME`. While the OAuth app is in testing mode every sign-in ends after 7 days: publish it (Google Auth Platform, Audience). It also ends when access is revoked at myaccount.google.com/connections, or after six months without use.",
  ],
  [
    "accessNotConfigured SERVICE_DISABLED API_DISABLED CONSUMER_INVALID USER_PROJECT_DENIED BILLING_DISABLED",
    "auth",
    "E_API_DISABLED",
    "Enable the Google Drive API for the project of the OAuth client in the Google Cloud console (APIs & Services, Library), wait some minutes, then run `aftersave flush`.",
  ],
  [
    "dailyLimitExceeded dailyLimitExceededUnreg",
    "quota",
    "E_DAILY_LIMIT",
    "Raise the daily cap of the Drive API in the Google Cloud console (APIs & Services, Quotas), or wait until tomorrow; then run `aftersave flush`.",
  ],
  ["downloadQuotaExceeded", "quota", "E_DAILY_LIMIT", "Try again tomorrow: Google allows no more downloads of this file today."],
  ["sharingRateLimitExceeded", "quota", "E_DAILY_LIMIT", "Try again tomorrow: Google allows no more sharing today."],
  [
    "storageQuotaExceeded quotaExceeded teamDriveStorageQuotaExceeded",
    "quota",
    "E_TARGET_QUOTA",
    "Free some space in Drive, Gmail or Photos (drive.google.com/settings/storage), empty the trash, then run `aftersave flush`.",
  ],
  [
    "numChildrenInNonRootLimitExceeded",
    "quota",
    "E_FOLDER_FULL",
    "This folder in Drive holds 500,000 items. Move some of them elsewhere, or save under another folder.",
  ],
  [
    "teamDriveFileLimitExceeded",
    "quota",
    "E_FOLDER_FULL",
    "The shared drive holds 500,000 items, its trash included. Empty its trash, or give the target another shared drive.",
  ],
  [
    "activeItemCreationLimitExceeded",
    "quota",
    "E_FOLDER_FULL",
    "This account has created as many items as Google allows. Delete some for good, or sign in with another account.",
  ],
  [
    "myDriveHierarchyDepthLimitExceeded teamDriveHierarchyTooDeep",
    "unsupported",
    "E_FOLDER_DEPTH",
    "Drive nests folders 100 levels deep at most. Save under a shorter path, or choose a `drive_root` higher up.",
  ],
  [
    "cannotDownloadAbusiveFile",
    "unsupported",
    "E_TARGET_FORBIDDEN",
    "Google flags this file as harmful. Open it at drive.google.com and ask for a review, or download it there.",
  ],
  [
    "download_restricted_for_revision fileNotDownloadable",
    "unsupported",
    "E_TARGET_FORBIDDEN",
    "Only the current content, and revisions that are kept for ever, can be downloaded. Use the archive copy.",
  ],
  [
    "teamDriveMembershipRequired teamDrivesFolderMoveInNotSupported teamDrivesParentLimit",
    "unsupported",
    "E_TARGET_FORBIDDEN",
    "Ask a manager of the shared drive for the role Content manager, and keep all of the target's folders inside that drive.",
  ],
  [
    // what another OAuth client of this account made: to this one it is not there, and is made anew
    "appNotAuthorizedToFile",
    "not-found",
    "E_TARGET_FORBIDDEN",
    "This sign-in sees only what it made itself. Sign in with the OAuth client that made it, or widen the target's `scope` and run `aftersave connect NAME`.",
  ],
  [
    "insufficientFilePermissions insufficientParentPermissions parentNotAFolder",
    "unsupported",
    "E_TARGET_FORBIDDEN",
    "This sign-in may write only what aftersave made itself. Choose another `drive_root`, ask the owner for the right to edit, or widen the target's `scope` and run `aftersave connect NAME`.",
  ],
  [
    "userRateLimitExceeded rateLimitExceeded tooManyRequests RESOURCE_EXHAUSTED",
    "throttled",
    "E_TARGET_THROTTLED",
    "Nothing to do: it is tried again, more slowly.",
  ],
];

const conditions = rows.map(([reasons, kind, code, hint]) => ({ folded: reasons.split(" ").map(fold), kind, code, hint }));

const NO_STORAGE: Condition = {
  kind: "quota",
  code: "E_NO_STORAGE",
  hint: "Google gives service accounts no storage. Set the target's `shared_drive`, or `impersonate` a person (domain-wide delegation), or sign in as yourself with `aftersave connect NAME`.",
};

const UPLOADS_USED_UP: Condition = {
  kind: "quota",
  code: "E_DAILY_LIMIT",
  hint: "Google takes 750 GB a day from one account. Run `aftersave flush` tomorrow.",
};

const SERVICE_ACCOUNT_HINTS: Partial<Record<ErrorCode, string>> = {
  E_SIGN_IN_EXPIRED:
    "Check that this machine's clock is right and that the service account and its key still exist (Google Cloud console, IAM & Admin, Service Accounts); with `impersonate`, that the person does too.",
  E_SIGN_IN_CLIENT:
    "Let an administrator authorise the service account's client id for the target's scope (Admin console, Security, API controls, Domain-wide delegation), or take `impersonate` out.",
  E_SIGN_IN_SCOPE:
    "Let an administrator authorise the target's scope for the service account (Admin console, Security, API controls, Domain-wide delegation).",
};

const REFUSED: Condition = {
  kind: "auth",
  code: "E_AUTH",
  hint: "Sign in again with `aftersave connect NAME`. Jobs are kept.",
};
const FORBIDDEN: Condition = {
  kind: "unsupported",
  code: "E_TARGET_FORBIDDEN",
  hint: "Open the folder at drive.google.com and check who may edit it; `aftersave doctor` says more.",
};
const BROKEN: Condition = {
  kind: "transient",
  code: "E_TARGET_TRANSIENT",
  hint: "Nothing to do: it is tried again. `aftersave flush` tries now.",
};
const UNREACHABLE: Condition = {
  kind: "transient",
  code: "E_TARGET_UNREACHABLE",
  hint: "Check the network, and HTTPS_PROXY if there is a proxy. It is tried again; `aftersave flush` tries now.",
};
const STRANGER: Condition = {
  ...BROKEN,
  hint: "Something between this machine and Google answered in its place: check the network's proxy. It is tried again.",
};
const REDIRECTED: Condition = {
  ...BROKEN,
  hint: "Something answered that Google is elsewhere, which it never says: check the network's proxy or log-in page, and root_url and token_url in paths.json. `aftersave flush` tries again.",
};
const UNTRUSTED: Condition = {
  ...UNREACHABLE,
  hint: "Check this machine's clock. Behind a proxy that opens TLS, name its certificate in NODE_EXTRA_CA_CERTS.",
};
const NOT_SIGNED_IN: Condition = { ...REFUSED, code: "E_TOKEN_MISSING", hint: "Sign in with `aftersave connect NAME`." };

const unreachable = new Set(UNREACHED);
const certificate = /^(CERT_|ERR_TLS_CERT|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_(GET|VERIFY))/;
const UNSIGNED = /^(No (access, )?refresh token\b|Could not load the default credentials)/;

function ofStatus(status: number): Condition {
  if (status === 401) return REFUSED;
  if (status === 403) return FORBIDDEN;
  if (status === 404 || status === 410)
    return { kind: "not-found", code: "E_TARGET_ABSENT", hint: "It was removed, or this sign-in cannot see it." };
  if (status === 409 || status === 412)
    return { kind: "conflict", code: "E_CONFLICT", hint: "Look at both versions, then save the one you want." };
  if (status === 429)
    return { kind: "throttled", code: "E_TARGET_THROTTLED", hint: "Nothing to do: it is tried again, more slowly." };
  if (status >= 300 && status < 400) return REDIRECTED;
  if (status === 408 || status >= 500 || status < 400) return BROKEN;
  return {
    kind: "unsupported",
    code: "E_TARGET_UNSUPPORTED",
    hint: "Google does not accept this request. Please report it, with the output of the same command and --debug.",
  };
}

/** The error and what caused it, outermost first. */
function chainOf(error: unknown): Json[] {
  const chain: Json[] = [];
  for (let at = error; isJson(at) && chain.length < 8; at = at["cause"] ?? at["error"]) {
    if (chain.includes(at)) break;
    chain.push(at);
  }
  return chain;
}

function parsed(data: unknown): unknown {
  const json = data instanceof Uint8Array ? new TextDecoder().decode(data) : data;
  if (typeof json !== "string" || !json.trimStart().startsWith("{")) return data;
  try {
    return JSON.parse(json) as unknown;
  } catch {
    return data;
  }
}

/** A header of an answer in any of the forms that Google's client has for them; `""` when it is missing. */
export const headerOf = (headers: unknown, name: string): string => {
  if (!isJson(headers)) return "";
  if (headers instanceof Headers || typeof headers["get"] === "function") return (headers as unknown as Headers).get(name) ?? "";
  const found = Object.entries(headers).find(([key]) => key.toLowerCase() === name);
  return found === undefined ? "" : String(found[1]);
};

/** What `Retry-After` asks for: seconds, or a date, which is measured by the server's own clock. */
function retryAfterOf(headers: unknown): number | undefined {
  const asked = headerOf(headers, "retry-after").trim();
  if (/^\d+(\.\d+)?$/.test(asked)) return Math.ceil(Number(asked) * 1000);
  const wait = Date.parse(asked) - Date.parse(headerOf(headers, "date"));
  return Number.isNaN(wait) ? undefined : Math.max(0, wait);
}

/** The text without anything that opens a door: query strings (upload sessions, codes), tokens, client secrets. */
const redact = (message: string) =>
  message
    .replaceAll(/(https?:\/\/[^\s?#"'<>]+)[?#][^\s"'<>]*/g, "$1")
    .replaceAll(
      /\b(upload_id|access_token|refresh_token|id_token|client_secret|assertion|token)(["']?\s*[=:]\s*["']?)[\w.~+/%-]+/gi,
      "$1$2…",
    )
    .replaceAll(/\bBearer\s+[\w.~+/=-]+/gi, "Bearer …")
    .replaceAll(/\b(ya29\.|1\/\/|GOCSPX-|eyJ)[\w./-]+/g, "…");

const oneLine = (message: string) => {
  const line = redact(message).replaceAll(/\s+/g, " ").trim();
  return line.length > 300 ? `${line.slice(0, 299)}…` : line;
};

interface Answer {
  readonly status: number;
  readonly headers: unknown;
  /** As Google spells them. */
  readonly reasons: readonly string[];
  readonly message: string;
  /** Something else answered than Google's API, which always speaks JSON. */
  readonly page: boolean;
}

function answerOf(chain: readonly Json[]): Answer | undefined {
  const response = chain.map((error) => error["response"]).find(isJson);
  const body = parsed(response?.["data"]);
  const said = isJson(body) ? (body["error"] ?? body) : undefined;
  const places = [...(isJson(said) ? [said] : []), ...chain];
  const entries = places.flatMap((place) => [...list(place["errors"]), ...list(place["details"])]);
  const oauth = isJson(body) && typeof body["error"] === "string" ? [body["error"], text(body["error_subtype"])] : [];
  const named = places.flatMap((place) => [text(place["status"]), text(place["reason"])]);
  const challenge = /\berror="?([\w-]+)/.exec(headerOf(response?.["headers"], "www-authenticate"))?.[1] ?? "";
  const reasons = [...entries.map((entry) => text(entry["reason"])), ...oauth, ...named, challenge].filter(Boolean);
  const numbers = [response?.["status"], ...chain.flatMap((error) => [error["status"], error["code"]])];
  const status = numbers.map(Number).find((number) => number >= 100 && number < 600);
  if (status === undefined && reasons.length === 0) return undefined;
  const messages = [isJson(said) ? said : {}, ...entries, isJson(body) ? { message: body["error_description"] } : {}, ...chain];
  const plain = messages.map((part) => text(part["message"])).find((part) => part !== "" && !part.trimStart().startsWith("<"));
  return {
    status: status ?? 0,
    headers: response?.["headers"],
    reasons: [...new Set(reasons)],
    message: plain ?? "",
    page: text(body) !== "",
  };
}

function conditionOf({ status, reasons, message, page }: Answer, facts: FaultFacts): Condition {
  const folded = new Set(reasons.map(fold));
  const found = conditions.find((row) => row.folded.some((reason) => folded.has(reason))) ?? ofStatus(status);
  if (page && (found.kind === "not-found" || found.kind === "conflict")) return STRANGER;
  if (found.code === "E_TARGET_QUOTA" && (facts.serviceAccount === true || /service accounts do not have storage/i.test(message)))
    return NO_STORAGE;
  // Undocumented, but the only sign there is of the cap on a day's uploads: the short-lived limit is spelled without a full stop.
  if (facts.upload === true && folded.has("userratelimitexceeded") && message === "User rate limit exceeded.")
    return UPLOADS_USED_UP;
  const hint = facts.serviceAccount === true ? (SERVICE_ACCOUNT_HINTS[found.code] ?? found.hint) : found.hint;
  return { ...found, hint };
}

function ofNetwork(codes: readonly string[], message: string): Condition {
  if (UNSIGNED.test(message)) return NOT_SIGNED_IN;
  if (codes.some((code) => unreachable.has(code))) return UNREACHABLE;
  return codes.some((code) => certificate.test(code)) ? UNTRUSTED : BROKEN;
}

/** What is kept of the original: a gaxios error carries its request, and with it session addresses. */
function causeOf(error: unknown, reasons: readonly string[]): Error {
  const original = isJson(error) ? error : {};
  const cause = new Error(oneLine(text(original["message"]) || String(error)));
  cause.stack = redact(text(original["stack"])) || cause.message;
  return Object.assign(cause, { name: text(original["name"]) || "Error", code: original["code"], reasons });
}

/**
 * What went wrong when we tried to `doing` (an infinitive, "write Core/Rules.txt"), as a `TargetError` whose text holds no
 * secret. An abort by the caller, and what is a `TargetError` already, stays what it is.
 */
export function faultOf(error: unknown, doing: string, facts: FaultFacts = {}): Error {
  if (facts.signal?.aborted === true && facts.signal.reason instanceof Error) return facts.signal.reason;
  if (error instanceof Error && error.name === "AbortError") return error;
  const chain = chainOf(error);
  const ours = chain.find((part) => part instanceof TargetError);
  if (ours instanceof TargetError) return ours;

  const answer = answerOf(chain);
  const codes = chain.map((part) => text(part["code"])).filter(Boolean);
  const thrown = text(chain[0]?.["message"]) || String(error);
  const { kind, code, hint } = answer === undefined ? ofNetwork(codes, thrown) : conditionOf(answer, facts);
  const reason = answer === undefined ? codes[0] : answer.reasons[0];
  const fallback = answer === undefined ? thrown : `HTTP ${answer.status}`;
  const why = [oneLine(answer?.message ?? thrown) || fallback, reason === undefined ? "" : `(${reason})`]
    .filter(Boolean)
    .join(" ");
  const retryAfterMs = kind === "throttled" || kind === "transient" ? retryAfterOf(answer?.headers) : undefined;
  return new TargetError(kind, `could not ${doing}: ${why}`, {
    code,
    hint: hint.replaceAll("NAME", facts.name ?? "TARGET"),
    cause: causeOf(error, answer?.reasons ?? []),
    ...(answer === undefined ? {} : { details: { status: answer.status, reasons: answer.reasons } }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

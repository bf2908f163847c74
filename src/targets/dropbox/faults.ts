/**
 * What Dropbox answers, and what goes wrong on the way to it, as `TargetError`. The tags of the error decide, then the
 * status. Nothing of the original but a cleaned message is kept.
 * @module
 */
import { AftersaveError, type ErrorCode, errnoOf, type FaultKind, TargetError } from "../../core/errors.ts";
import { CERTIFICATE, UNREACHED } from "../shared/network.ts";

interface Condition {
  readonly kind: FaultKind;
  readonly code: ErrorCode;
  readonly hint: string;
}

/** An answer that is none of success. */
export interface Refusal {
  readonly status: number;
  readonly headers: Headers;
  /** JSON, or a line of text, or somebody's page. */
  readonly body: string;
}

const rows: ReadonlyArray<readonly [tags: string, kind: FaultKind, code: ErrorCode, hint: string]> = [
  [
    "missing_scope invalid_scope",
    "auth",
    "E_SIGN_IN_SCOPE",
    "Tick files.metadata.read, files.content.read, files.content.write and account_info.read at dropbox.com/developers/apps (Permissions), press Submit, then run `aftersave connect NAME`: an older sign-in does not get them by itself.",
  ],
  [
    "expired_access_token invalid_grant",
    "auth",
    "E_SIGN_IN_EXPIRED",
    "Sign in again with `aftersave connect NAME`. A token in DROPBOX_TOKEN ends after four hours and is not renewed: unset it to use what `connect` stores.",
  ],
  [
    "invalid_access_token",
    "auth",
    "E_AUTH",
    "Sign in with `aftersave connect NAME`, or correct DROPBOX_TOKEN. The app may have been disconnected at dropbox.com/account/connected_apps.",
  ],
  [
    "invalid_client unauthorized_client app_key_disabled",
    "auth",
    "E_SIGN_IN_CLIENT",
    "Check `app_key` at targets.NAME in paths.json with the app at dropbox.com/developers/apps, then run `aftersave connect NAME`.",
  ],
  [
    "user_suspended invalid_account_type route_access_denied invalid_select_user invalid_select_admin paper_access_denied",
    "auth",
    "E_SIGN_IN_POLICY",
    "The account may not use this: ask the administrator of the Dropbox team, or sign in with another account.",
  ],
  [
    "insufficient_space insufficient_quota",
    "quota",
    "E_TARGET_QUOTA",
    "Free some space in Dropbox (dropbox.com/account/plan), then run `aftersave flush`.",
  ],
  [
    "too_many_write_operations too_many_requests",
    "throttled",
    "E_TARGET_THROTTLED",
    "Nothing to do: it is tried again, more slowly. Dropbox lets one program write at a time.",
  ],
  [
    "no_write_permission team_folder restricted_content access_restricted no_permission operation_suppressed",
    "unsupported",
    "E_TARGET_FORBIDDEN",
    "Look at the folder on dropbox.com: it may be shared with you for reading only, or be restricted. Choose another `root` for targets.NAME.",
  ],
  [
    "malformed_path disallowed_name",
    "unsupported",
    "E_TARGET_UNSUPPORTED",
    "Dropbox does not take this name: some emoji, \\, and system names such as .DS_Store, desktop.ini, .dropbox or ~$… are refused. Rename the file.",
  ],
  [
    "folder file_ancestor not_file",
    "unsupported",
    "E_TARGET_UNSUPPORTED",
    "A folder and a file cannot have one name in Dropbox, which ignores case. Rename one of them.",
  ],
  ["too_large", "unsupported", "E_TARGET_UNSUPPORTED", "Dropbox takes no file of this size. Keep it elsewhere, or split it."],
  [
    "unsupported_file",
    "unsupported",
    "E_TARGET_UNSUPPORTED",
    "It is a document that lives on the web only (Paper, Google Docs …). Rename or move it on dropbox.com.",
  ],
  ["conflict", "conflict", "E_CONFLICT", "Look at both versions, then save the one you want."],
  [
    "incorrect_offset content_hash_mismatch closed not_closed payload_too_large reset internal_error lookup_failed",
    "transient",
    "E_TARGET_TRANSIENT",
    "Nothing to do: it is tried again. `aftersave flush` tries now.",
  ],
  ["not_found not_folder", "not-found", "E_TARGET_ABSENT", "It was removed, or this sign-in cannot see it."],
];

const conditions = rows.flatMap(([tags, kind, code, hint]) => tags.split(" ").map((tag) => [tag, { kind, code, hint }] as const));
const known = (tag: string) => conditions.find(([name]) => name === tag)?.[1];

const BROKEN: Condition = {
  kind: "transient",
  code: "E_TARGET_TRANSIENT",
  hint: "Nothing to do: it is tried again. `aftersave flush` tries now.",
};
const STRANGER: Condition = {
  ...BROKEN,
  hint: "Something answered that is not Dropbox: check `api_url` and `content_url` at targets.NAME, and the network's proxy or log-in page. It is tried again.",
};
const UNREACHABLE: Condition = {
  kind: "transient",
  code: "E_TARGET_UNREACHABLE",
  hint: "Check the network, and `api_url` and `content_url` at targets.NAME in paths.json. It is tried again; `aftersave flush` tries now.",
};
const UNTRUSTED: Condition = {
  ...UNREACHABLE,
  hint: "Check this machine's clock. Behind a proxy that opens TLS, name its certificate in NODE_EXTRA_CA_CERTS.",
};
const UNSUPPORTED: Condition = {
  kind: "unsupported",
  code: "E_TARGET_UNSUPPORTED",
  hint: "Dropbox does not accept this request. Please report it, with the output of the same command and --debug.",
};

const unreachable = new Set([...UNREACHED, "UND_ERR_CONNECT_TIMEOUT"]);

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> => typeof value === "object" && value !== null;

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

/** The tags of an error from the outside in: `path`, `conflict`, `file`. */
function tagsIn(error: unknown): string[] {
  if (typeof error === "string") return [error];
  if (!isRecord(error)) return [];
  const inner = Object.entries(error).flatMap(([name, value]) => (isRecord(value) && name !== ".tag" ? tagsIn(value) : []));
  return [...(typeof error[".tag"] === "string" ? [error[".tag"]] : []), ...inner];
}

const isWholeNumber = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;

/** `correct_offset`, wherever it stands. */
function offsetIn(error: unknown): number | undefined {
  if (!isRecord(error)) return undefined;
  if (isWholeNumber(error["correct_offset"])) return error["correct_offset"];
  return Object.values(error)
    .map(offsetIn)
    .find((offset) => offset !== undefined);
}

function retryAfterOf({ headers }: Refusal, body: unknown): number | undefined {
  const asked = headers.get("retry-after")?.trim() ?? "";
  if (/^\d+(\.\d+)?$/.test(asked)) return Math.ceil(Number(asked) * 1000);
  const error = isRecord(body) ? body["error"] : undefined;
  return isRecord(error) && isWholeNumber(error["retry_after"]) ? error["retry_after"] * 1000 : undefined;
}

const oneLine = (message: string) => {
  const line = message
    .replaceAll(/\bBearer\s+\S+/gi, "Bearer …")
    .replaceAll(/\bsl\.[\w.-]+/g, "…")
    .replaceAll(
      /\b(access_token|refresh_token|code|code_verifier|client_id|session_id)(["']?\s*[=:]\s*["']?)[\w.~+/%:-]+/gi,
      "$1$2…",
    )
    .replaceAll(/\s+/g, " ")
    .trim();
  return line.length > 300 ? `${line.slice(0, 299)}…` : line;
};

function ofStatus(status: number, said: string): Condition {
  if (status === 401 || (status === 400 && /access token|authorization/i.test(said)))
    return known("invalid_access_token") ?? BROKEN;
  if (status === 403) return known("user_suspended") ?? BROKEN;
  if (status === 429) return known("too_many_requests") ?? BROKEN;
  if (status === 408 || status >= 500) return BROKEN;
  if (status < 400) return STRANGER;
  if (status === 422) return known("no_permission") ?? UNSUPPORTED;
  return status === 404 ? STRANGER : UNSUPPORTED;
}

/** What `refusal` of an attempt to `doing` (an infinitive) is. `details` tells its tags and, of an upload session, the offset. */
export function faultOfAnswer(refusal: Refusal, doing: string, name: string): TargetError {
  const { status, body } = refusal;
  const json = parsed(body);
  const fields = isRecord(json) ? json : {};
  // `error` is a tagged union from the API, and a word from the token endpoint
  const tags = tagsIn(fields["error"]);
  const summary = fields["error_summary"] ?? fields["error_description"];
  const said = oneLine(typeof summary === "string" ? summary.replace(/\/[./]*$/, "") : isRecord(json) ? tags.join("/") : body);
  const isPage = /^\s*</.test(body);
  const condition =
    conditions.find(([tag]) => tags.includes(tag))?.[1] ?? (isPage && status < 500 ? STRANGER : ofStatus(status, said));
  const retryAfterMs = condition.kind === "throttled" || condition.kind === "transient" ? retryAfterOf(refusal, json) : undefined;
  const offset = offsetIn(fields["error"]);
  return new TargetError(condition.kind, `could not ${doing}: ${said === "" || isPage ? `HTTP ${status}` : said}`, {
    code: condition.code,
    hint: condition.hint.replaceAll("NAME", name),
    details: { status, tags, ...(offset !== undefined && { offset }) },
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}

/** What answered is not Dropbox. */
export const stranger = (doing: string, name: string) =>
  new TargetError("transient", `could not ${doing}: what answered does not speak as Dropbox does`, {
    code: STRANGER.code,
    hint: STRANGER.hint.replaceAll("NAME", name),
  });

/** What was thrown on the way. An abort by the caller, and what is an error of ours already, stays what it is. */
export function faultOfThrown(error: unknown, doing: string, name: string, signal?: AbortSignal): Error {
  if (signal?.aborted === true && signal.reason instanceof Error) return signal.reason;
  if (error instanceof AftersaveError) return error;
  const codes: string[] = [];
  let said = "";
  for (let at = error; isRecord(at) && codes.length < 8; at = at["cause"]) {
    codes.push(errnoOf(at));
    const [first] = (at["errors"] ?? []) as unknown[]; // both address families of a name failed
    if (first !== undefined) codes.push(errnoOf(first));
    if (typeof at["message"] === "string" && at["message"] !== "") said = at["message"];
  }
  const code = codes.find(Boolean) ?? "";
  const found = codes.some((one) => unreachable.has(one))
    ? UNREACHABLE
    : codes.some((one) => CERTIFICATE.test(one))
      ? UNTRUSTED
      : BROKEN;
  return new TargetError(
    found.kind,
    `could not ${doing}: ${oneLine(said)}${code === "" || said.includes(code) ? "" : ` (${code})`}`,
    {
      code: found.code,
      hint: found.hint.replaceAll("NAME", name),
      cause: Object.assign(new Error(oneLine(said)), { code }),
    },
  );
}

/** Whether a fault carries this tag of Dropbox's. */
export const hasTag = (error: unknown, tag: string): error is TargetError =>
  error instanceof TargetError && Array.isArray(error.details["tags"]) && error.details["tags"].includes(tag);

/**
 * What an S3 service answers, and what goes wrong on the way to it, as `TargetError`. The error's code decides, then the
 * status. Nothing of the original but its name and a cleaned message is kept: S3 puts signatures into its answers.
 * @module
 */
import { AftersaveError, type ErrorCode, type FaultKind, TargetError } from "../../core/errors.ts";
import { CERTIFICATE, chainOf, fieldsOf, textOf, UNREACHED } from "../shared/network.ts";

export interface FaultFacts {
  /** The target's name, for hints. */
  readonly name: string;
  readonly bucket: string;
  /** Texts that appear in no message: keys, tokens. */
  readonly secrets: readonly string[];
  /** The caller's own: when it has aborted, its reason is what happened. */
  readonly signal?: AbortSignal | undefined;
}

interface Condition {
  readonly kind: FaultKind;
  readonly code: ErrorCode;
  readonly hint: string;
}

const rows: ReadonlyArray<readonly [names: string, kind: FaultKind, code: ErrorCode, hint: string]> = [
  [
    "CredentialsProviderError ProviderError",
    "auth",
    "E_TOKEN_MISSING",
    "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a `profile` of ~/.aws/config at targets.NAME in paths.json; then run `aftersave flush`.",
  ],
  [
    "TokenProviderError ExpiredToken ExpiredTokenException TokenRefreshRequired RequestExpired ExpiredTokenError",
    "auth",
    "E_SIGN_IN_EXPIRED",
    "Get new temporary credentials (`aws sso login`, or a new AWS_SESSION_TOKEN), then run `aftersave flush`.",
  ],
  [
    "RequestTimeTooSkewed",
    "auth",
    "E_AUTH",
    "This machine's clock is wrong by more than 15 minutes: set it right, then run `aftersave flush`.",
  ],
  [
    "InvalidAccessKeyId SignatureDoesNotMatch InvalidToken InvalidSecurity NotSignedUp InvalidClientTokenId UnrecognizedClientException UnauthorizedAccess Unauthorized",
    "auth",
    "E_AUTH",
    "Check the access key, its secret and the session token of targets.NAME; a key of another service or account, or one that was deleted, is refused like this.",
  ],
  [
    "AuthorizationHeaderMalformed PermanentRedirect Redirect TemporaryRedirect IllegalLocationConstraintException IncorrectEndpoint",
    "unsupported",
    "E_TARGET_UNSUPPORTED",
    "The bucket lies in another region: set `region` (and `endpoint`, if there is one) at targets.NAME in paths.json.",
  ],
  [
    "NoSuchBucket",
    "transient",
    "E_TARGET_UNREACHABLE",
    "Create the bucket, or correct `bucket` at targets.NAME in paths.json; it is never created here. Uploads wait.",
  ],
  [
    "InvalidBucketName InvalidBucketState",
    "unsupported",
    "E_TARGET_UNSUPPORTED",
    "Correct `bucket` at targets.NAME in paths.json: the service does not accept this name.",
  ],
  [
    "AccessDenied AllAccessDisabled AccountProblem Forbidden InvalidPayer AccessForbidden",
    "unsupported",
    "E_TARGET_FORBIDDEN",
    "Give the key the rights of docs/targets/s3.md (list the bucket; get, put and delete below the target's root), then run `aftersave flush`.",
  ],
  [
    "QuotaExceeded XMinioStorageFull XMinioAdminBucketQuotaExceeded InsufficientStorage StorageLimitExceeded ServiceQuotaExceeded CapExceeded TooManyObjects",
    "quota",
    "E_TARGET_QUOTA",
    "Free some space in the bucket, or raise its quota or spending cap; then run `aftersave flush`.",
  ],
  [
    "SlowDown SlowDownRead SlowDownWrite RequestLimitExceeded Throttling ThrottlingException TooManyRequests TooManyRequestsException BandwidthLimitExceeded RequestThrottled",
    "throttled",
    "E_TARGET_THROTTLED",
    "Nothing to do: it is tried again, more slowly.",
  ],
  ["NoSuchKey NotFound NoSuchVersion NoSuchUpload", "not-found", "E_TARGET_ABSENT", "It was removed, or this key cannot see it."],
  ["PreconditionFailed", "conflict", "E_CONFLICT", "Look at both versions, then save the one you want."],
  [
    "BadDigest IncompleteBody XAmzContentSHA256Mismatch XAmzContentChecksumMismatch RequestTimeout InternalError ServiceUnavailable OperationAborted ConditionalRequestConflict InvalidPart InvalidPartOrder",
    "transient",
    "E_TARGET_TRANSIENT",
    "Nothing to do: it is tried again. `aftersave flush` tries now.",
  ],
  [
    "EntityTooLarge",
    "unsupported",
    "E_TARGET_UNSUPPORTED",
    "The service takes no object of this size: keep the file elsewhere, or split it.",
  ],
  [
    "KeyTooLongError KeyTooLong InvalidObjectName XMinioInvalidObjectName InvalidURI",
    "unsupported",
    "E_TARGET_UNSUPPORTED",
    "Give the file a shorter or simpler name: the service cannot hold this one.",
  ],
  [
    "InvalidObjectState",
    "unsupported",
    "E_TARGET_FORBIDDEN",
    "The object lies in an archive class (Glacier): restore it in the service's console first, and keep lifecycle rules off the target's root.",
  ],
];

const conditions = new Map(
  rows.flatMap(([names, kind, code, hint]) => names.split(" ").map((name) => [name, { kind, code, hint }] as const)),
);

const BROKEN: Condition = {
  kind: "transient",
  code: "E_TARGET_TRANSIENT",
  hint: "Nothing to do: it is tried again. `aftersave flush` tries now.",
};
const STRANGER: Condition = {
  ...BROKEN,
  hint: "Something answered that does not speak S3: check `endpoint` at targets.NAME, and the network's proxy or log-in page. It is tried again.",
};
const UNREACHABLE: Condition = {
  kind: "transient",
  code: "E_TARGET_UNREACHABLE",
  hint: "Check the network, and `endpoint` and `region` at targets.NAME in paths.json. It is tried again; `aftersave flush` tries now.",
};
const UNTRUSTED: Condition = {
  ...UNREACHABLE,
  hint: "Check this machine's clock and the certificate of `endpoint`. An authority of your own is named in NODE_EXTRA_CA_CERTS.",
};
const NO_REGION: Condition = {
  kind: "unsupported",
  code: "E_TARGET_UNSUPPORTED",
  hint: "Set `region` at targets.NAME in paths.json, or AWS_REGION.",
};
const UNSUPPORTED: Condition = {
  kind: "unsupported",
  code: "E_TARGET_UNSUPPORTED",
  hint: "The service does not accept this request. Please report it, with the output of the same command and --debug.",
};

const unreachable = new Set(UNREACHED);

function ofStatus(status: number): Condition {
  const known = (name: string) => conditions.get(name) ?? UNSUPPORTED;
  if (status === 401) return known("InvalidAccessKeyId");
  if (status === 403) return known("AccessDenied");
  if (status === 404) return known("NoSuchKey");
  if (status === 412) return known("PreconditionFailed");
  if (status === 429) return known("SlowDown");
  if (status === 507) return known("QuotaExceeded");
  if (status === 301 || status === 307) return known("PermanentRedirect");
  if (status === 501 || status === 405) return UNSUPPORTED;
  if (status === 408 || status === 409 || status >= 500) return BROKEN;
  return status < 400 ? STRANGER : UNSUPPORTED;
}

function ofThrown(name: string, codes: readonly string[], message: string): Condition {
  if (/region is missing/i.test(message)) return NO_REGION;
  if (/could not load credentials|could not find credentials|resolved credential object is not valid/i.test(message))
    return conditions.get("CredentialsProviderError") ?? BROKEN;
  if (codes.some((code) => unreachable.has(code)) || name === "TimeoutError") return UNREACHABLE;
  if (codes.some((code) => CERTIFICATE.test(code))) return UNTRUSTED;
  if (/deserialization error|char '.*' is not expected|unclosed tag|not well.?formed|invalid xml|unexpected token/i.test(message))
    return STRANGER;
  return BROKEN;
}

/** The status of the answer that an error stands for; 0 when there was none. */
export const statusOf = (error: unknown): number => {
  const { $metadata, $response } = fieldsOf(error);
  return Number(fieldsOf($metadata)["httpStatusCode"] ?? fieldsOf($response)["statusCode"] ?? 0);
};

/** The code that S3 gave, e.g. `NoSuchKey`; `""` where an answer has no body. */
export const nameOf = (error: unknown): string => {
  const { name, Code, code } = fieldsOf(error);
  const said = textOf(Code) || textOf(name) || textOf(code);
  return /^(\d+|Unknown|UnknownError|Error|S3ServiceException)$/.test(said) ? "" : said;
};

function headerOf(error: unknown, header: string): string {
  const headers = fieldsOf(fieldsOf(fieldsOf(error)["$response"])["headers"]);
  const found = Object.entries(headers).find(([name]) => name.toLowerCase() === header);
  return found === undefined ? "" : String(found[1]);
}

function retryAfterOf(error: unknown): number | undefined {
  const asked = headerOf(error, "retry-after").trim();
  if (/^\d+(\.\d+)?$/.test(asked)) return Math.ceil(Number(asked) * 1000);
  const wait = Date.parse(asked) - Date.parse(headerOf(error, "date"));
  return Number.isNaN(wait) ? undefined : Math.max(0, wait);
}

function clean(message: string, secrets: readonly string[]): string {
  let line = message;
  for (const secret of secrets) if (secret.length > 3) line = line.replaceAll(secret, "…");
  line = line
    .replaceAll(/(https?:\/\/[^\s?#"'<>]+)[?#][^\s"'<>]*/g, "$1")
    .replaceAll(/\b(AKIA|ASIA)[A-Z0-9]{8,}/g, "…")
    .replaceAll(/\b(X-Amz-(Signature|Credential|Security-Token)|Signature|Credential)=[^\s,&"'<>]+/gi, "$1=…")
    .replaceAll(/\s+/g, " ")
    .trim();
  return line.length > 300 ? `${line.slice(0, 299)}…` : line;
}

/**
 * What went wrong when we tried to `doing` (an infinitive, "write Core/Rules.txt"), as a `TargetError` whose text holds no
 * secret. An abort by the caller, and what is an error of ours already, stays what it is.
 */
export function faultOf(error: unknown, doing: string, facts: FaultFacts): Error {
  if (facts.signal?.aborted === true && facts.signal.reason instanceof Error) return facts.signal.reason;
  const chain = chainOf(error);
  const ours = chain.find((part) => part instanceof AftersaveError);
  if (ours instanceof AftersaveError) return ours;

  const status = statusOf(error);
  const name = nameOf(error);
  const codes = chain.map((part) => textOf(part["code"])).filter(Boolean);
  const said = textOf(chain[0]?.["message"]);
  const html = /html/i.test(headerOf(error, "content-type"));
  const known = conditions.get(name);
  const wrong = /deserialization error/i.test(said) || (html && known === undefined);
  const found =
    known ?? (wrong ? (status >= 500 ? BROKEN : STRANGER) : status > 0 ? ofStatus(status) : ofThrown(name, codes, said));

  const shown = name === "" || name === said ? "" : ` (${name})`;
  const what =
    said === "" || /^(unknown|unknownerror)$/i.test(said) ? (status > 0 ? `HTTP ${status}` : (codes[0] ?? name)) : said;
  const place = name === "NoSuchBucket" ? `the bucket ${facts.bucket} does not exist` : clean(what, facts.secrets);
  const cause = Object.assign(new Error(clean(said || what, facts.secrets)), { name: name || "Error", code: codes[0] });
  const retryAfterMs = found.kind === "throttled" || found.kind === "transient" ? retryAfterOf(error) : undefined;
  return new TargetError(found.kind, `could not ${doing}: ${place}${shown}`, {
    code: found.code,
    hint: found.hint.replaceAll("NAME", facts.name),
    cause,
    ...(status > 0 ? { details: { status, ...(name && { reason: name }) } } : {}),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

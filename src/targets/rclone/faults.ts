/**
 * What rclone says when something fails, in the terms of a target. It hands on the words of many providers; what is
 * not known here counts as passing.
 * @module
 */
import { type ErrorCode, errnoOf, type FaultKind, TargetError } from "../../core/errors.ts";
import { Refusal } from "./daemon.ts";

interface Row {
  readonly says: RegExp;
  readonly kind: FaultKind;
  readonly code?: ErrorCode;
  readonly hint?: string;
}

const AGAIN = "It is tried again by itself; `aftersave flush` tries now.";

/** The first row that fits counts. */
const rows: readonly Row[] = [
  {
    says: /didn't find section in config file|didn't find backend called|unknown remote/i,
    kind: "unsupported",
    hint: "Run `rclone listremotes` (with `--config` if the target names a file), then correct `remote`, or make it with `rclone config`.",
  },
  {
    says: /is a file not a directory|is a directory|not a directory|not a regular file|not a file|EISDIR|ENOTDIR/i,
    kind: "unsupported",
    code: "E_KEY_FOLDER",
    hint: "Rename what is in the way at the target.",
  },
  {
    says: /file ?name too long|name is too long|path too long|ENAMETOOLONG/i,
    kind: "unsupported",
    hint: "Choose a shorter name. A crypt remote leaves room for 143 bytes only.",
  },
  {
    says: /invalid_grant|empty token|token (has )?expired|token.*(revoked|not found)|refresh token|cannot fetch token|couldn't fetch token|InvalidAuthenticationToken|expired_access_token|ExpiredToken/i,
    kind: "auth",
    code: "E_SIGN_IN_EXPIRED",
    hint: "Run `rclone config reconnect REMOTE:` with the name of your remote.",
  },
  {
    says: /too many requests|rate.?limit|activityLimitReached|slow ?down|too_many_(requests|write)|\b429\b|\bRetry-After\b/i,
    kind: "throttled",
    hint: AGAIN,
  },
  {
    says: /no space left|quota|insufficient.?(storage|space)|not enough (free )?space|storage.?(limit|full)|disk full|\b507\b/i,
    kind: "quota",
    hint: "Free some space there, or enlarge what you may store. `rclone about REMOTE:` tells how much there is.",
  },
  {
    says: /clock skew|RequestTimeTooSkewed/i,
    kind: "auth",
    hint: "Set this machine's clock right.",
  },
  {
    says: /knownhosts: key (mismatch|is unknown)/i,
    kind: "auth",
    hint: "The server's host key is not the one in known_hosts. Find out why; then correct `known_hosts_file` of the remote.",
  },
  {
    says: /unable to authenticate|couldn't connect to ssh-agent|failed to (parse|read) private key|\b401\b|unauthorized|unauthenticated|InvalidAccessKeyId|SignatureDoesNotMatch|login incorrect|Login authentication failed|NT_STATUS_LOGON|\b530\b|invalid credentials|decrypt password|wrong password/i,
    kind: "auth",
    hint: "Check the remote's user, password or key: `rclone config`, then `rclone lsd REMOTE:`.",
  },
  {
    says: /read-only file system|EROFS/i,
    kind: "unsupported",
    code: "E_READ_ONLY",
    hint: "Make the place writable.",
  },
  {
    says: /permission denied|SSH_FX_PERMISSION_DENIED|EACCES|EPERM/i,
    kind: "unsupported",
    code: "E_PERMISSION",
    hint: "Give the remote's account the right to write there.",
  },
  {
    says: /forbidden|access ?denied|\b403\b|not allowed|insufficient.?(permission|scope)/i,
    kind: "auth",
    code: "E_TARGET_FORBIDDEN",
    hint: "Give the remote's account the right to list, read, write and remove there.",
  },
  {
    says: /x509|tls:|certificate/i,
    kind: "transient",
    code: "E_TARGET_UNREACHABLE",
    hint: "Its certificate was not accepted. Check the address and, for a CA of your own, RCLONE_CA_CERT.",
  },
  {
    says: /no such host|connection (refused|reset)|dial tcp|network is unreachable|no route to host|i\/o timeout|couldn't connect|host is down|EOF$|broken pipe|connection lost|context deadline/i,
    kind: "transient",
    code: "E_TARGET_UNREACHABLE",
    hint: `Check the network and the server's address. ${AGAIN}`,
  },
  { says: /corrupted on transfer/i, kind: "corrupt", hint: "It is sent again with the next try." },
  { says: /not supported|unsupported|can't (copy|move|upload|write|delete)|not implemented/i, kind: "unsupported" },
];

/** `text` without what could be a secret, in one line. */
export function cleaned(text: string, remote: string): string {
  return text
    .replaceAll(remote, shownRemote(remote))
    .replaceAll(/\s+/g, " ")
    .replaceAll(/\/\/[^/@\s"]+@/g, "//…@")
    .replaceAll(/\b(bearer|basic)\s+[\w.~+/=-]+/gi, "$1 …")
    .replaceAll(/((?:pass|token|secret|key|credential|signature|\bsig|\bcode)[\w-]*"?\s*[=:]\s*)("[^"]*"|[^\s,&"}]+)/gi, "$1…")
    .slice(0, 400);
}

/** A remote as people may read it: without the settings that stand in a connection string. */
export function shownRemote(remote: string): string {
  const [, name = remote] = /^(:?[^:,]+)/.exec(remote) ?? [];
  const bare = /^:?[^:,]+:/.test(remote);
  return bare ? remote : `${name}:`;
}

export function faultOf(error: unknown, doing: string, remote: string, signal?: AbortSignal): unknown {
  if (error instanceof TargetError || (signal?.aborted === true && error === signal.reason)) return error;
  if (error instanceof Refusal) {
    const said = cleaned(error.message, remote);
    const message = `could not ${doing}: rclone says ${JSON.stringify(said)}`;
    const options = { details: { status: error.status } };
    if (/(object|directory|file|bucket) not found|NoSuchBucket|no such file/i.test(said))
      return new TargetError("not-found", message, options);
    const plain = error.message.replaceAll(remote, "");
    const row = rows.find(({ says }) => says.test(plain));
    return new TargetError(row?.kind ?? "transient", message, {
      ...options,
      ...(row?.code && { code: row.code }),
      ...(row?.hint && { hint: row.hint }),
    });
  }
  if (!errnoOf(error).startsWith("E") && !(error instanceof SyntaxError)) return error;
  return new TargetError("transient", `could not ${doing}: rclone stopped answering`, { hint: AGAIN });
}

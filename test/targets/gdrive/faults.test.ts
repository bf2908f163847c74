import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { ERRORS, type ErrorCode, type FaultKind, TargetError } from "../../../src/core/errors.ts";
import { type FaultFacts, faultOf } from "../../../src/targets/gdrive/faults.ts";

/** As gaxios throws it, by fields alone. */
function gaxios(status: number, data: unknown, headers: Record<string, string> = {}): Error {
  return Object.assign(new Error(`Request failed with status code ${status}`), {
    code: status,
    status,
    config: { url: "https://www.googleapis.com/upload/drive/v3/files?upload_id=SESSION", headers: {} },
    response: { status, data, headers: new Headers(headers) },
  });
}
const entry = (reason: string, message = "why") => ({ domain: "global", reason, message });
const v3 = (status: number, reason: string, message?: string) =>
  gaxios(status, { error: { code: status, message: message ?? "why", errors: [entry(reason, message)] } });
const info = (reason: string) => ({ "@type": "type.googleapis.com/google.rpc.ErrorInfo", reason, domain: "googleapis.com" });
const rpc = (status: number, reason: string) =>
  gaxios(status, { error: { code: status, message: "why", status: "PERMISSION_DENIED", details: [info(reason)] } });
const screaming = (reason: string) => reason.replaceAll(/([a-z])([A-Z])/g, "$1_$2").toUpperCase();

function fault(error: unknown, facts?: FaultFacts): TargetError {
  const found = faultOf(error, "write Core/Rules.txt", facts);
  if (!(found instanceof TargetError)) throw new Error(`not a TargetError: ${String(found)}`);
  return found;
}

const rows: ReadonlyArray<readonly [status: number, reasons: string, kind: FaultKind, code: ErrorCode]> = [
  [400, "badRequest invalid invalidParameter illegalKeepForeverModification", "unsupported", "E_TARGET_UNSUPPORTED"],
  [401, "authError", "auth", "E_AUTH"],
  [403, "userRateLimitExceeded rateLimitExceeded", "throttled", "E_TARGET_THROTTLED"],
  [403, "sharingRateLimitExceeded downloadQuotaExceeded dailyLimitExceeded", "quota", "E_DAILY_LIMIT"],
  [403, "storageQuotaExceeded quotaExceeded", "quota", "E_TARGET_QUOTA"],
  [403, "activeItemCreationLimitExceeded numChildrenInNonRootLimitExceeded teamDriveFileLimitExceeded", "quota", "E_FOLDER_FULL"],
  [403, "myDriveHierarchyDepthLimitExceeded teamDriveHierarchyTooDeep", "unsupported", "E_FOLDER_DEPTH"],
  [403, "insufficientFilePermissions", "unsupported", "E_TARGET_FORBIDDEN"],
  [403, "appNotAuthorizedToFile", "not-found", "E_TARGET_FORBIDDEN"],
  [403, "cannotDownloadAbusiveFile fileNotDownloadable", "unsupported", "E_TARGET_FORBIDDEN"],
  [403, "download_restricted_for_revision", "unsupported", "E_TARGET_FORBIDDEN"],
  [403, "teamDrivesFolderMoveInNotSupported teamDriveMembershipRequired", "unsupported", "E_TARGET_FORBIDDEN"],
  [403, "teamDrivesParentLimit", "unsupported", "E_TARGET_FORBIDDEN"],
  [403, "accessTokenScopeInsufficient insufficientPermissions", "auth", "E_SIGN_IN_SCOPE"],
  [403, "domainPolicy", "auth", "E_SIGN_IN_POLICY"],
  [403, "accessNotConfigured serviceDisabled", "auth", "E_API_DISABLED"],
  [404, "notFound", "not-found", "E_TARGET_ABSENT"],
  [409, "duplicate fileIdInUse alreadyExists", "conflict", "E_CONFLICT"],
  [412, "conditionNotMet", "conflict", "E_CONFLICT"],
  [416, "requestedRangeNotSatisfiable", "unsupported", "E_TARGET_UNSUPPORTED"],
  [429, "rateLimitExceeded", "throttled", "E_TARGET_THROTTLED"],
  [429, "dailyLimitExceeded", "quota", "E_DAILY_LIMIT"],
  [500, "backendError internalError", "transient", "E_TARGET_TRANSIENT"],
  [502, "badGateway", "transient", "E_TARGET_TRANSIENT"],
  [503, "backendError", "transient", "E_TARGET_TRANSIENT"],
  [504, "gatewayTimeout", "transient", "E_TARGET_TRANSIENT"],
];
const cases = rows.flatMap(([status, reasons, ...rest]) =>
  reasons.split(" ").map((reason) => [status, reason, ...rest] as const),
);

describe("a reason of Google's", () => {
  it.each(cases)("%i %s is %s, %s, in either spelling and at any place of the answer", (status, reason, kind, code) => {
    const told = [
      v3(status, reason),
      rpc(status, screaming(reason)),
      gaxios(status, { error: { code: status, message: "why", errors: [entry("global"), entry(reason)] } }),
      gaxios(status, { error: { code: status, message: "why", errors: [entry("x")], details: [{}, info(screaming(reason))] } }),
      gaxios(status, JSON.stringify({ error: { code: status, message: "why", errors: [entry(reason)] } })),
      Object.assign(new Error("why"), { code: status, errors: [entry(reason)] }),
      Object.assign(new Error("why"), { status, cause: { code: status, details: [info(screaming(reason))] } }),
    ];
    for (const error of told) expect(fault(error)).toMatchObject({ kind, code });
    expect(fault(told[0])).toMatchObject({
      message: `could not write Core/Rules.txt: why (${reason})`,
      hint: expect.stringMatching(/^[A-Z].*\.$/),
      exit: ERRORS[code].exit,
      details: { status, reasons: [reason] },
    });
  });

  it("that cannot pass is never tried again", () => {
    const passing = cases.filter(([status, reason]) => fault(v3(status, reason)).canPass).map(([, reason]) => reason);
    expect(new Set(passing)).toEqual(
      new Set(["userRateLimitExceeded", "rateLimitExceeded", "backendError", "internalError", "badGateway", "gatewayTimeout"]),
    );
  });

  it.each([
    [{ error: "invalid_grant", error_description: "Token has been expired or revoked." }, "E_SIGN_IN_EXPIRED"],
    [{ error: "invalid_grant", error_subtype: "invalid_rapt" }, "E_SIGN_IN_EXPIRED"],
    [{ error: "invalid_client" }, "E_SIGN_IN_CLIENT"],
    [{ error: "deleted_client" }, "E_SIGN_IN_CLIENT"],
    [{ error: "unauthorized_client" }, "E_SIGN_IN_CLIENT"],
    [{ error: "admin_policy_enforced" }, "E_SIGN_IN_POLICY"],
    [{ error: "invalid_scope" }, "E_SIGN_IN_SCOPE"],
  ] as const)("of the token endpoint: %j is %s, which ends with exit code 4", (data, code) => {
    expect(fault(gaxios(400, data))).toMatchObject({ kind: "auth", code, exit: 4 });
  });

  it("in the challenge of a 403 counts too", () => {
    const headers = { "www-authenticate": 'Bearer realm="https://accounts.google.com/", error="insufficient_scope", scope="x"' };
    expect(fault(gaxios(403, "", headers))).toMatchObject({ code: "E_SIGN_IN_SCOPE" });
  });
});

describe("what a person can do about it", () => {
  it("testing mode, revocation and the command are named when a sign-in has ended", () => {
    const { hint } = fault(gaxios(400, { error: "invalid_grant" }), { name: "drive" });
    expect(hint).toContain("`aftersave connect drive`");
    expect(hint).toMatch(/testing mode .* 7 days.*publish.*revoked/);
  });

  it("a service account is told of its clock and key, and of the delegation", () => {
    const facts = { serviceAccount: true };
    expect(fault(gaxios(400, { error: "invalid_grant" }), facts).hint).toMatch(/clock .*key/);
    expect(fault(gaxios(400, { error: "unauthorized_client" }), facts).hint).toMatch(/Domain-wide delegation/);
  });

  it("storage that a service account never had is another thing than storage that is full", () => {
    const none = "Service Accounts do not have storage quota. Leverage shared drives.";
    expect(fault(v3(403, "storageQuotaExceeded", none))).toMatchObject({ kind: "quota", code: "E_NO_STORAGE" });
    expect(fault(v3(403, "storageQuotaExceeded"), { serviceAccount: true })).toMatchObject({ code: "E_NO_STORAGE" });
    expect(fault(v3(403, "storageQuotaExceeded"))).toMatchObject({ code: "E_TARGET_QUOTA" });
  });

  it("the cap on a day's uploads is told from the short-lived limit by its full stop, for uploads only", () => {
    const capped = v3(403, "userRateLimitExceeded", "User rate limit exceeded.");
    expect(fault(capped, { upload: true })).toMatchObject({ kind: "quota", code: "E_DAILY_LIMIT", hint: /750 GB/ });
    expect(fault(capped)).toMatchObject({ kind: "throttled" });
    expect(fault(v3(403, "userRateLimitExceeded", "User Rate Limit Exceeded"), { upload: true })).toMatchObject({
      kind: "throttled",
    });
  });

  it("a 403 without any reason stops, and sends the reader to the folder", () => {
    expect(fault(gaxios(403, "<html>Forbidden</html>"))).toMatchObject({
      kind: "unsupported",
      code: "E_TARGET_FORBIDDEN",
      message: "could not write Core/Rules.txt: Request failed with status code 403",
    });
  });
});

describe("Retry-After", () => {
  const wait = (headers: Record<string, string>) => fault(gaxios(429, {}, headers)).retryAfterMs;

  it("is read as seconds, or as a date by the server's own clock", () => {
    expect(wait({ "retry-after": "7" })).toBe(7000);
    expect(wait({ "retry-after": "Sat, 21 Nov 2026 00:01:30 GMT", date: "Sat, 21 Nov 2026 00:00:00 GMT" })).toBe(90_000);
    expect(wait({ "retry-after": "Sat, 21 Nov 2026 00:00:00 GMT", date: "Sat, 21 Nov 2026 00:01:00 GMT" })).toBe(0);
    expect(wait({ "retry-after": "soon" })).toBeUndefined();
    expect(wait({})).toBeUndefined();
  });

  it("of a plain object of headers counts as well, and of a fault that cannot pass does not", () => {
    const error = (status: number) => Object.assign(new Error("x"), { response: { status, headers: { "Retry-After": 3 } } });
    expect(fault(error(503)).retryAfterMs).toBe(3000);
    expect(fault(error(404)).retryAfterMs).toBeUndefined();
  });
});

describe("a broken way", () => {
  const network = (code: string) =>
    Object.assign(new Error("request failed", { cause: Object.assign(new Error("inner"), { code }) }), { config: {} });

  it.each(["ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ENETUNREACH", "EHOSTUNREACH"])("%s: Google cannot be reached", (code) => {
    expect(fault(network(code))).toMatchObject({ kind: "transient", code: "E_TARGET_UNREACHABLE" });
  });
  it.each(["CERT_HAS_EXPIRED", "SELF_SIGNED_CERT_IN_CHAIN", "UNABLE_TO_VERIFY_LEAF_SIGNATURE"])(
    "%s: look at clock and proxy",
    (code) => {
      expect(fault(network(code))).toMatchObject({
        kind: "transient",
        code: "E_TARGET_UNREACHABLE",
        hint: /clock.*NODE_EXTRA_CA_CERTS/,
      });
    },
  );
  it.each(["ECONNRESET", "EPIPE", "ETIMEDOUT", "ERR_STREAM_PREMATURE_CLOSE", "HPE_INVALID_CONSTANT"])("%s can pass", (code) => {
    expect(fault(network(code))).toMatchObject({ kind: "transient", code: "E_TARGET_TRANSIENT" });
  });

  it("an answer that is not Google's can pass: a page of a proxy, a redirect", () => {
    expect(fault(gaxios(502, "<html>Bad Gateway</html>"))).toMatchObject({ kind: "transient" });
    expect(fault(gaxios(302, ""))).toMatchObject({ kind: "transient", hint: expect.stringContaining("proxy") as string });
    for (const status of [404, 409, 412])
      expect(fault(gaxios(status, "<html>Blocked</html>"))).toMatchObject({ kind: "transient" });
    expect(fault(gaxios(404, undefined))).toMatchObject({ kind: "not-found" });
  });

  it("what is not an error at all is told", () => {
    expect(fault("a text")).toMatchObject({ kind: "transient", message: "could not write Core/Rules.txt: a text" });
  });

  it("a client without any token says that nobody is signed in", () => {
    const error = new Error("No access, refresh token, API key or refresh handler callback is set.");
    expect(fault(error)).toMatchObject({ kind: "auth", code: "E_TOKEN_MISSING" });
  });
});

describe("what stays as it is", () => {
  it("the caller's abort, also when the library tells it in other words", () => {
    const abort = new DOMException("stopped", "AbortError");
    expect(faultOf(abort, "write")).toBe(abort);
    const reason = new Error("the user pressed Ctrl-C");
    expect(faultOf(gaxios(500, {}), "write", { signal: AbortSignal.abort(reason) })).toBe(reason);
  });

  it("an abort that was a time limit of the library is no abort of the caller's", () => {
    const cause = Object.assign(new Error("The operation was aborted."), { name: "AbortError" });
    expect(fault(new Error("The operation was aborted.", { cause }))).toMatchObject({ kind: "transient" });
  });

  it("a TargetError, also one that a library wrapped", () => {
    const ours = new TargetError("auth", "no");
    expect(faultOf(ours, "write")).toBe(ours);
    expect(faultOf(new Error("outer", { cause: ours }), "write")).toBe(ours);
  });

  it("ends with a chain of causes that is a circle", () => {
    const error: Error & { cause?: unknown } = new Error("round");
    error.cause = error;
    expect(fault(error)).toMatchObject({ kind: "transient" });
  });
});

describe("no secret", () => {
  const secrets = ["SESSION-9", "ya29.a0Af-token", "1//0refresh_token", "GOCSPX-secret9", "CODE9"];
  const said =
    "request to https://www.googleapis.com/upload/drive/v3/files?uploadType=resumable&upload_id=SESSION-9 failed, " +
    "Bearer ya29.a0Af-token refresh_token=1//0refresh_token client_secret: GOCSPX-secret9 http://127.0.0.1:1/?code=CODE9&state=x";

  it.each([
    [
      "the network",
      Object.assign(new Error(said), { code: "ECONNRESET", config: { url: said, headers: { authorization: said } } }),
    ],
    ["an answer", Object.assign(v3(403, "forbidden", said), { config: { url: said } })],
    ["a page", gaxios(403, said)],
  ])("of %s stands in the message or in what --debug shows", (_, error) => {
    const shown = inspect(fault(error), { depth: 8, showHidden: true });
    expect(secrets.filter((secret) => shown.includes(secret))).toEqual([]);
    expect(shown).toContain("could not write Core/Rules.txt");
  });

  it("and no endless text", () => {
    expect(fault(v3(400, "invalid", "long ".repeat(1000))).message.length).toBeLessThan(400);
  });
});

/**
 * Refusals in the shapes in which Google sends them.
 * @module
 */
export type Json = Record<string, unknown>;

export interface Refusal {
  readonly domain?: string | undefined;
  /** The parameter or header at fault. */
  readonly location?: string | undefined;
  readonly locationType?: "parameter" | "header" | undefined;
  /** A reason of `google.rpc.ErrorInfo`, in capitals; sent in `error.details`. */
  readonly info?: string | undefined;
  /** A name of `google.rpc.Code`, such as `RESOURCE_EXHAUSTED`. */
  readonly rpc?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** What the API answers instead of a result. `reason` empty: there is no `errors` list, only `details`. */
export class ApiError extends Error {
  readonly status: number;
  readonly reason: string;
  readonly more: Refusal;

  constructor(status: number, reason: string, message: string, more: Refusal = {}) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.reason = reason;
    this.more = more;
  }

  body(): Json {
    const { domain = "global", location, locationType, info, rpc } = this.more;
    const place = location === undefined ? {} : { locationType: locationType ?? "parameter", location };
    return {
      error: {
        code: this.status,
        message: this.message,
        ...(this.reason !== "" && { errors: [{ message: this.message, domain, reason: this.reason, ...place }] }),
        ...(rpc !== undefined && { status: rpc }),
        ...(info !== undefined && {
          details: [
            {
              "@type": "type.googleapis.com/google.rpc.ErrorInfo",
              reason: info,
              domain: "googleapis.com",
              metadata: { service: "drive.googleapis.com" },
            },
          ],
        }),
      },
    };
  }
}

export const notFound = (id: string): ApiError => new ApiError(404, "notFound", `File not found: ${id}.`, { location: "fileId" });

export const invalid = (message: string, location?: string): ApiError => new ApiError(400, "invalid", message, { location });

export const forbidden = (reason: string, message: string): ApiError => new ApiError(403, reason, message);

export const unauthorized = (): ApiError =>
  new ApiError(401, "authError", "Invalid Credentials", {
    location: "Authorization",
    locationType: "header",
    rpc: "UNAUTHENTICATED",
    headers: { "www-authenticate": 'Bearer realm="https://accounts.google.com/", error="invalid_token"' },
  });

export const storageFull = (service = false): ApiError =>
  forbidden(
    "storageQuotaExceeded",
    service
      ? "Service Accounts do not have storage quota. Leverage shared drives (https://developers.google.com/workspace/drive/api/guides/about-shareddrives), or use OAuth delegation (http://support.google.com/a/answer/7281227) instead."
      : "The user's Drive storage quota has been exceeded.",
  );

/** Errors of the token endpoint have a shape of their own. */
export class OAuthError extends Error {
  readonly status: number;
  readonly error: string;

  constructor(error: string, description: string, status = 400) {
    super(description);
    this.name = "OAuthError";
    this.status = status;
    this.error = error;
  }

  body(): Json {
    return { error: this.error, error_description: this.message };
  }
}

/**
 * What can go wrong on purpose.
 * @module
 */
import { seededRandom } from "../random.ts";
import { ApiError } from "./errors.ts";

export type RequestKind = "read" | "write" | "upload" | "token";

/** A request before it is handled. */
export interface RequestInfo {
  /** `files.get`, `v2.files.update`, `upload.chunk`, `oauth.token` and so on. */
  readonly api: string;
  readonly kind: RequestKind;
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly fileId: string | undefined;
}

/** All that is given must hold. */
export interface FaultMatch {
  readonly api?: string | readonly string[] | undefined;
  readonly kind?: RequestKind | undefined;
  readonly method?: string | undefined;
  /** Only the n-th request that the rest matches, counted from 1. */
  readonly nth?: number | undefined;
  readonly everyNth?: number | undefined;
  /** From 0 to 1; what follows comes from the seed. */
  readonly probability?: number | undefined;
  /** How often it strikes; without end by default. */
  readonly times?: number | undefined;
}

export type FaultAction =
  /** Done, then the connection is destroyed instead of an answer. */
  | { readonly kind: "reply-lost" }
  /** The connection is destroyed before anything was done, or after so many bytes of the request's body. */
  | { readonly kind: "cut"; readonly afterBytes?: number | undefined }
  /** `reason`: `errors[].reason`. `info`: the reason of a `google.rpc.ErrorInfo`. Both, or either alone. */
  | {
      readonly kind: "status";
      readonly status: number;
      readonly reason?: string | undefined;
      readonly info?: string | undefined;
      readonly message?: string | undefined;
      readonly domain?: string | undefined;
      readonly retryAfter?: number | string | undefined;
    }
  | { readonly kind: "5xx-before"; readonly status?: number | undefined }
  | { readonly kind: "5xx-after-commit"; readonly status?: number | undefined }
  /** 401, and the access token that was used is dead from now on. */
  | { readonly kind: "token-expired" }
  /** At the token endpoint: the refresh token is worth nothing. */
  | { readonly kind: "invalid-grant" }
  /** A chunk of an upload session is stored only in part (`keep` bytes, cut down to 256 KiB; nothing by default). `range` false: without the header that says so. */
  | { readonly kind: "partial-308"; readonly keep?: number | undefined; readonly range?: boolean | undefined }
  /** 404, and the upload session is gone. */
  | { readonly kind: "lost-session" }
  | { readonly kind: "storage-full" }
  /** Never answers; with `afterBytes`, does it and stops in the middle of the answer. */
  | { readonly kind: "stall"; readonly afterBytes?: number | undefined }
  /** Someone else is quicker: done right before the request is handled. Without `edit`, the file of the request gets other bytes. */
  | {
      readonly kind: "foreign-edit";
      readonly edit?: ((request: RequestInfo) => void) | undefined;
      readonly target?: string | undefined;
      readonly text?: string | undefined;
    }
  /** The answer's body trickles. */
  | { readonly kind: "slow"; readonly bytesPerSecond: number };

export interface Fault {
  readonly when: FaultMatch | ((request: RequestInfo) => boolean);
  readonly do: FaultAction;
}

/** A rate limit as Google sends it: in camelCase, as `ErrorInfo`, or both. */
export function rateLimit(
  options: {
    readonly spelling?: "reason" | "errorInfo" | "both" | undefined;
    readonly status?: 403 | 429 | undefined;
    readonly retryAfter?: number | string | undefined;
  } = {},
): FaultAction {
  const { spelling = "reason", status = 403, retryAfter } = options;
  return {
    kind: "status",
    status,
    domain: "usageLimits",
    message:
      "User Rate Limit Exceeded. Rate of requests for user exceed configured project quota, you may consider re-evaluating expected per-user traffic to the API and adjust project quota limits accordingly.",
    ...(spelling !== "errorInfo" && { reason: status === 403 ? "userRateLimitExceeded" : "rateLimitExceeded" }),
    ...(spelling !== "reason" && { info: "RATE_LIMIT_EXCEEDED" }),
    retryAfter,
  };
}

export const statusError = (fault: Extract<FaultAction, { kind: "status" }>): ApiError =>
  new ApiError(
    fault.status,
    fault.reason ?? (fault.info === undefined ? "backendError" : ""),
    fault.message ?? "A fault on purpose.",
    {
      domain: fault.domain,
      info: fault.info,
      ...(fault.info !== undefined && { rpc: fault.status === 429 ? "RESOURCE_EXHAUSTED" : "PERMISSION_DENIED" }),
      ...(fault.retryAfter !== undefined && { headers: { "retry-after": String(fault.retryAfter) } }),
    },
  );

export interface FaultList {
  /** Answers how to take it away again. */
  add(fault: Fault): () => void;
  clear(): void;
}

/** Rules are asked in the order in which they were added; the first that strikes is it. */
export function createFaults(seed: number): FaultList & { pick(request: RequestInfo): FaultAction | undefined } {
  const random = seededRandom(seed ^ 0x5f4c7);
  let rules: Array<{ readonly fault: Fault; met: number; struck: number }> = [];

  function strikes(rule: (typeof rules)[number], request: RequestInfo): boolean {
    const { when } = rule.fault;
    if (typeof when === "function") return when(request);
    const { api, kind, method, nth, everyNth, probability, times = Infinity } = when;
    if (api !== undefined && !(typeof api === "string" ? [api] : api).includes(request.api)) return false;
    if ((kind ?? request.kind) !== request.kind || (method ?? request.method) !== request.method) return false;
    if (rule.struck >= times) return false;
    rule.met++;
    if (nth !== undefined && rule.met !== nth) return false;
    if (everyNth !== undefined && rule.met % everyNth !== 0) return false;
    return probability === undefined || random() < probability;
  }

  return {
    add(fault) {
      const rule = { fault, met: 0, struck: 0 };
      rules.push(rule);
      return () => {
        rules = rules.filter((one) => one !== rule);
      };
    },
    clear() {
      rules = [];
    },
    pick(request) {
      for (const rule of rules)
        if (strikes(rule, request)) {
          rule.struck++;
          return rule.fault.do;
        }
      return undefined;
    },
  };
}

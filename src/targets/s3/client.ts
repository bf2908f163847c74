/**
 * The way to an S3 service: Amazon's client, loaded on first use, with its own retries off.
 * @module
 */
import type { S3, S3ClientConfig } from "@aws-sdk/client-s3";
import { TargetError } from "../../core/errors.ts";
import type { Call } from "../../core/target.ts";
import type { DriverContext } from "../shared/driver.ts";
import { loadOptional } from "../shared/optional.ts";
import { faultOf, nameOf, statusOf } from "./faults.ts";

export interface HttpOptions {
  readonly abortSignal?: AbortSignal;
}

export interface Service {
  readonly bucket: string;
  /** One request. Failures come out as `TargetError`s that say what could not be done: `doing` is an infinitive. */
  ask<T>(doing: string, call: Call | undefined, request: (s3: S3, options: HttpOptions) => Promise<T>): Promise<T>;
  /** The same for bytes that flow after the answer. */
  faultOf(error: unknown, doing: string, call: Call | undefined): Error;
  /** Whether OpenStack Swift has answered so far. */
  isSwift(): boolean;
  close(): void;
}

const loopback = /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/;
const CONNECT_MS = 10_000;

/** Temporary credentials of the environment count as a whole: a session token never meets another one's keys. */
function credentialsOf(env: NodeJS.ProcessEnv): S3ClientConfig["credentials"] {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN: sessionToken } = env;
  if (!accessKeyId || !secretAccessKey) return undefined;
  return { accessKeyId, secretAccessKey, ...(sessionToken && { sessionToken }) };
}

/** Amazon's client warns about old Nodes on stderr, where a person reads what aftersave says. */
function quietly<T>(make: () => T): T {
  const name = "AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED";
  const before = process.env[name];
  process.env[name] = "true";
  try {
    return make();
  } finally {
    if (before === undefined) delete process.env[name];
    else process.env[name] = before;
  }
}

/** Opens the way; asks for nothing. Throws `E_SDK_MISSING`. */
export async function openService({ name, options, env }: DriverContext): Promise<Service> {
  const sdk = await loadOptional("@aws-sdk/client-s3", "^3.1169.0", "s3", () => import("@aws-sdk/client-s3"));
  const text = (key: string) => (typeof options[key] === "string" ? options[key] : undefined);
  const endpoint = text("endpoint");
  const profile = text("profile");
  const bucket = String(options["bucket"]);
  const region = text("region") ?? (env["AWS_REGION"] || env["AWS_DEFAULT_REGION"] || undefined);
  const credentials = profile === undefined ? credentialsOf(env) : undefined;
  const secrets = new Set<string>();
  const config: S3ClientConfig = {
    maxAttempts: 1,
    forcePathStyle: (options["path_style"] as boolean | undefined) ?? endpoint !== undefined,
    // checksums are sent where the service is known to keep them; trailers break most services but Amazon's
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    requestStreamBufferSize: 64 * 1024,
    requestHandler: { connectionTimeout: CONNECT_MS },
    logger: { trace() {}, debug() {}, info() {}, warn() {}, error() {} },
    ...(endpoint !== undefined && { endpoint }),
    ...(profile !== undefined && { profile }),
    ...(credentials !== undefined && { credentials }),
    // a service of one's own seldom has regions; a profile may name one
    ...(region !== undefined ? { region } : endpoint !== undefined && profile === undefined ? { region: "us-east-1" } : {}),
  };
  const s3 = quietly(() => new sdk.S3(config));

  s3.middlewareStack.add(
    (next) => async (args) => {
      const { protocol, hostname } = args.request as { protocol: string; hostname: string };
      if (protocol !== "https:" && !loopback.test(hostname))
        throw new TargetError("unsupported", `the address of ${name} is plain http: ${hostname}`, {
          hint: "Use https. Plain http is for addresses of this machine only; AWS_ENDPOINT_URL and profiles name addresses too.",
        });
      const { accessKeyId, secretAccessKey, sessionToken } = await s3.config.credentials();
      for (const secret of [accessKeyId, secretAccessKey, sessionToken]) if (secret) secrets.add(secret);
      return next(args);
    },
    { step: "build", name: "aftersaveAddress" },
  );

  let swift = false;
  s3.middlewareStack.add(
    (next) => async (args) => {
      const answer = await next(args);
      const { headers } = answer.response as { headers?: Record<string, string> };
      swift ||= headers?.["x-trans-id"] !== undefined;
      return answer;
    },
    { step: "deserialize", priority: "low", name: "aftersaveSwift" },
  );

  const translated = (error: unknown, doing: string, call: Call | undefined) =>
    faultOf(error, doing, { name, bucket, secrets: [...secrets], signal: call?.signal });

  return {
    bucket,
    async ask(doing, call, request) {
      call?.signal?.throwIfAborted();
      const http = call?.signal === undefined ? {} : { abortSignal: call.signal };
      try {
        return await request(s3, http);
      } catch (error) {
        // the answer to a HEAD has no body to say why
        const mute = statusOf(error) >= 300 && statusOf(error) !== 404 && nameOf(error) === "";
        if (mute) {
          const why: unknown = await s3.listObjectsV2({ Bucket: bucket, MaxKeys: 1 }, http).then(
            () => undefined,
            (reason: unknown) => reason,
          );
          if (why !== undefined) throw translated(why, doing, call);
        }
        throw translated(error, doing, call);
      }
    },
    faultOf: translated,
    isSwift: () => swift,
    close: () => s3.destroy(),
  };
}

/**
 * Google Drive over real HTTP on the loopback interface, close enough that clients written for Google work unchanged,
 * and able to fail in the ways in which Google fails.
 * @module
 */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { createAccess } from "./drive-emulator/access.ts";
import { createAccount } from "./drive-emulator/account.ts";
import { createApi, type Reply } from "./drive-emulator/api.ts";
import { createControl } from "./drive-emulator/control.ts";
import { ApiError, notFound, OAuthError, storageFull, unauthorized } from "./drive-emulator/errors.ts";
import type { DriveEmulator, DriveEmulatorOptions, EmulatorSettings, RequestRecord } from "./drive-emulator/emulator.ts";
import { createFaults, type FaultAction, type RequestInfo, statusError } from "./drive-emulator/faults.ts";
import { createFiles } from "./drive-emulator/files.ts";
import { createOAuth } from "./drive-emulator/oauth.ts";
import { createResources } from "./drive-emulator/resources.ts";
import { createStore } from "./drive-emulator/store.ts";
import {
  type Body,
  collect,
  drain,
  createSessions,
  parseJson,
  parseMultipart,
  readMedia,
  readMultipart,
} from "./drive-emulator/uploads.ts";
import { anySeed } from "./random.ts";

export type { Account, AddOptions, TreeItem } from "./drive-emulator/account.ts";
export type { DriveEmulator, DriveEmulatorOptions, EmulatorSettings, RequestRecord } from "./drive-emulator/emulator.ts";
export {
  type Fault,
  type FaultAction,
  type FaultList,
  type FaultMatch,
  rateLimit,
  type RequestInfo,
} from "./drive-emulator/faults.ts";

/** A request, be it of its own or a part of a batch. */
interface Incoming {
  readonly method: string;
  readonly url: URL;
  readonly headers: IncomingHttpHeaders;
  readonly body: Body;
}

interface Sendable {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: readonly Buffer[];
}

/** The connection ends here, without an answer. */
class Cut extends Error {}

const TOKEN_PATHS: Readonly<Record<string, string>> = {
  "/token": "oauth.token",
  "/oauth2/v4/token": "oauth.token",
  "/revoke": "oauth.revoke",
  "/o/oauth2/v2/auth": "oauth.authorize",
};
const SUMS = { read: "reads", write: "writes", upload: "uploads", token: "tokens" } as const;
const NO_UPLOAD = { meta: {}, content: undefined, contentType: undefined };

const sizeOf = (bytes: readonly Buffer[]): number => bytes.reduce((sum, { length }) => sum + length, 0);

async function* cutAfter(body: Body, limit: number): Body {
  let left = limit;
  for await (const chunk of body) {
    if (chunk.length >= left) {
      if (left > 0) yield chunk.subarray(0, left);
      throw new Cut();
    }
    left -= chunk.length;
    yield chunk;
  }
  throw new Cut();
}

async function* trickle(bytes: Buffer, perSecond: number): Body {
  const step = Math.max(1, Math.ceil(perSecond / 20));
  for (let at = 0; at < bytes.length; at += step) {
    await sleep((1000 * step) / perSecond);
    yield bytes.subarray(at, at + step);
  }
}

async function* single(bytes: Buffer): Body {
  yield await Promise.resolve(bytes);
}

const render = ({ status, headers = {}, json, bytes }: Reply): Sendable => {
  const body = bytes ?? (json === undefined ? [] : [Buffer.from(JSON.stringify(json, undefined, 1))]);
  const type: Record<string, string> = json === undefined ? {} : { "content-type": "application/json; charset=UTF-8" };
  return {
    status,
    headers: { "cache-control": "no-cache, no-store, max-age=0, must-revalidate", ...type, ...headers },
    bytes: body,
  };
};

const refusal = (error: ApiError | OAuthError): Reply => ({
  status: error.status,
  json: error.body(),
  headers: error instanceof ApiError ? error.more.headers : undefined,
});

/** Starts one. Nothing leaves this machine, and nothing is kept after `close`. */
export async function startDriveEmulator(options: DriveEmulatorOptions = {}): Promise<DriveEmulator> {
  const seed = options.seed ?? anySeed();
  const now = () => options.clock?.now() ?? Date.now();
  const settings: EmulatorSettings = {
    latencyMs: options.latencyMs ?? 0,
    lag: { ...options.lag },
    writeRate: options.writeRate ?? undefined,
  };
  let rootUrl = "";
  const store = createStore({ seed, now, lag: settings.lag, settleMs: options.settleMs });
  const storage = options.storageBytes === undefined ? 15 * 2 ** 30 : (options.storageBytes ?? undefined);
  const person = store.addUser("someone@example.com", "Someone", false, storage);
  const access = createAccess(store, { rootHidden: options.rootHidden ?? false });
  const revisionsLocked = options.revisionsLocked ?? true;
  const files = createFiles(store, access, {
    now,
    revisionsLocked,
    idTakenReason: options.idTakenReason ?? "fileIdInUse",
    childrenPerFolder: options.childrenPerFolder ?? 500_000,
  });
  const resources = createResources(store, access, () => rootUrl);
  const sessions = createSessions({ now, token: store.token });
  const api = createApi(store, access, files, resources, sessions, {
    now,
    revisionsLocked,
    changesMs: () => settings.lag.changesMs ?? 0,
  });
  const oauth = createOAuth(store, {
    now,
    person,
    tokenSeconds: options.tokenSeconds ?? 3600,
    tokenUrl: () => `${rootUrl}token`,
  });
  const faults = createFaults(seed);
  const account = createAccount(store, person, (app) => oauth.client(app).id, now, {
    revokeTokens: oauth.revokeTokens,
    expireAccessTokens: oauth.expireAccessTokens,
    setScope: oauth.setScope,
    setConsent: (says, scope) => Object.assign(oauth.consent, { says, scopes: scope }),
    setDelegation: oauth.setDelegation,
    loseSessions: sessions.forget,
  });
  const requests: RequestRecord[] = [];
  let bucket = { tokens: Infinity, at: now() };

  function pace(): void {
    const rate = settings.writeRate;
    if (rate === undefined) return;
    const at = now();
    const tokens = Math.min(rate.burst, bucket.tokens + ((at - bucket.at) / 1000) * rate.perSecond);
    bucket = { tokens, at };
    if (tokens < 1) throw new ApiError(403, "userRateLimitExceeded", "User Rate Limit Exceeded", { domain: "usageLimits" });
    bucket.tokens--;
  }

  function identify({ method, url, headers }: Incoming) {
    const { pathname, searchParams: query } = url;
    const session = pathname.startsWith("/upload/") ? query.get("upload_id") : null;
    if (session !== null) {
      const verb = method === "DELETE" ? "cancel" : headers["content-range"]?.startsWith("bytes *") === true ? "status" : "chunk";
      return { api: `upload.${verb}`, kind: "upload" as const, units: 0, session };
    }
    const token = TOKEN_PATHS[pathname];
    if (token !== undefined) return { api: token, kind: "token" as const, units: 0, token };
    const found = api.match(method, pathname, query);
    if (found === undefined) return { api: "unknown", kind: "read" as const, units: 0 };
    const { route, params } = found;
    return { api: route.api, kind: route.kind, units: route.units, route, params };
  }

  async function signIn(name: string, { url, headers, body }: Incoming): Promise<Reply> {
    if (name === "oauth.authorize") return { status: 302, headers: { location: oauth.authorize(url.searchParams) } };
    const bytes = await collect(body);
    const form = new URLSearchParams(url.searchParams);
    const given = /json/.test(headers["content-type"] ?? "")
      ? Object.entries(parseJson(bytes)).map(([key, value]): [string, string] => [key, String(value)])
      : [...new URLSearchParams(bytes.toString())];
    for (const [key, value] of given) form.set(key, value);
    return { status: 200, json: name === "oauth.token" ? oauth.token(form) : oauth.revoke(form.get("token") ?? "") };
  }

  async function chunk(
    id: string,
    { method, headers, body }: Incoming,
    fault: FaultAction | undefined,
    before: () => void,
  ): Promise<Reply> {
    if (method === "DELETE") {
      sessions.find(id);
      sessions.drop(id);
      return { status: 204 };
    }
    if (method !== "PUT" && method !== "POST") throw new ApiError(405, "httpMethodNotAllowed", "HTTP method not allowed");
    const partly = fault?.kind === "partial-308" ? fault : undefined;
    const received = await sessions.receive(id, headers["content-range"], body, partly && (partly.keep ?? 0));
    if (received.content !== undefined) before();
    return api.uploaded(received, partly?.range ?? true);
  }

  async function readUpload({ url, headers, body }: Incoming) {
    const type = headers["content-type"];
    const how = url.searchParams.get("uploadType");
    if (!url.pathname.startsWith("/upload/") || how === "resumable")
      return { ...NO_UPLOAD, meta: parseJson(await collect(body)) };
    if (how === "multipart" || how === "related" || (how === null && /^multipart\/related/i.test(type ?? "")))
      return readMultipart(body, type ?? "");
    return readMedia(body, type);
  }

  /** A fault that is nothing but an answer. */
  function instead(fault: FaultAction | undefined, { headers }: Incoming, session: string | undefined): Error | undefined {
    if (fault?.kind === "status") return statusError(fault);
    if (fault?.kind === "5xx-before") return new ApiError(fault.status ?? 503, "backendError", "Backend Error");
    if (fault?.kind === "storage-full") return storageFull();
    if (fault?.kind === "invalid-grant") return new OAuthError("invalid_grant", "Token has been expired or revoked.");
    if (fault?.kind === "token-expired") {
      oauth.expire(headers.authorization);
      return unauthorized();
    }
    if (fault?.kind === "lost-session") {
      if (session !== undefined) sessions.drop(session);
      return notFound(session ?? "");
    }
    return undefined;
  }

  function foreignEdit(fault: FaultAction | undefined, info: RequestInfo): void {
    if (fault?.kind !== "foreign-edit") return;
    if (fault.edit !== undefined) return fault.edit(info);
    const session = info.query["upload_id"];
    const target = fault.target ?? info.fileId ?? (session === undefined ? undefined : sessions.find(session).fileId);
    if (target === undefined) throw new Error(`${info.api} names no file: this foreign edit needs a target`);
    account.edit(target, fault.text ?? `someone else wrote this (${now()})`);
  }

  async function work(
    incoming: Incoming,
    what: ReturnType<typeof identify>,
    info: RequestInfo,
    fault: FaultAction | undefined,
  ): Promise<Reply> {
    const refused = instead(fault, incoming, what.session);
    if (refused !== undefined) {
      await drain(incoming.body);
      throw refused;
    }
    const before = () => foreignEdit(fault, info);
    if (what.token !== undefined) return signIn(what.token, incoming);
    if (what.session !== undefined) return chunk(what.session, incoming, fault, before);
    // The body is read first: an answer in its midst would end the connection.
    const { route, params } = what;
    let principal;
    let upload;
    try {
      principal = oauth.principal(incoming.headers.authorization);
      if (route === undefined) throw new ApiError(404, "notFound", "Not Found");
      upload = await readUpload(incoming);
    } catch (error) {
      await drain(incoming.body);
      throw error;
    }
    access.assertScope(principal, route.kind === "write");
    if (route.kind === "write") pace();
    before();
    const { headers, url } = incoming;
    return route.run({ principal, params, query: url.searchParams, headers, origin: originOf(headers), upload });
  }

  function originOf(headers: IncomingHttpHeaders): string {
    const first = (value: string | string[] | undefined) => (typeof value === "string" ? value.split(",")[0]?.trim() : undefined);
    const host = first(headers["x-forwarded-host"]) ?? headers.host;
    return host === undefined ? rootUrl : `${first(headers["x-forwarded-proto"]) ?? "http"}://${host}/`;
  }

  /** One request from its ledger entry to its answer; `socket` sends what can only be done to a connection. */
  async function exchange(
    incoming: Incoming,
    stalled: () => Promise<never>,
  ): Promise<{ readonly answer: Sendable; readonly fault: FaultAction | undefined; readonly record: RequestRecord }> {
    const { method, url, headers } = incoming;
    const what = identify(incoming);
    const query = Object.fromEntries(url.searchParams);
    const { api: name, kind, units } = what;
    const fileId = what.params?.[0];
    const info: RequestInfo = { api: name, kind, method, path: url.pathname, query, headers, fileId };
    const fault = faults.pick(info);
    const record: RequestRecord = {
      at: now(),
      method,
      path: url.pathname,
      api: name,
      kind,
      query,
      fileId,
      status: 0,
      bytesIn: 0,
      bytesOut: 0,
      fault: fault?.kind,
      reason: undefined,
      units,
    };
    requests.push(record);
    if (fault?.kind === "cut" && fault.afterBytes === undefined) throw new Cut();
    if (fault?.kind === "stall" && fault.afterBytes === undefined) {
      await drain(incoming.body);
      await stalled();
    }
    async function* counted(): Body {
      for await (const chunk of incoming.body) {
        record.bytesIn += chunk.length;
        yield chunk;
      }
    }
    const body = fault?.kind === "cut" ? cutAfter(counted(), fault.afterBytes ?? 0) : counted();
    let reply: Reply;
    try {
      reply = await work({ ...incoming, body }, what, info, fault);
    } catch (error) {
      if (!(error instanceof ApiError) && !(error instanceof OAuthError)) throw error;
      record.reason = error instanceof ApiError ? error.reason || error.more.info : error.error;
      reply = refusal(error);
    }
    if (fault?.kind === "5xx-after-commit") reply = refusal(new ApiError(fault.status ?? 500, "internalError", "Internal Error"));
    const answer = render(reply);
    if (settings.latencyMs > 0) await sleep(settings.latencyMs);
    if (fault?.kind === "reply-lost") throw new Cut();
    record.status = answer.status;
    record.bytesOut = sizeOf(answer.bytes);
    return { answer, fault, record };
  }

  async function batch(incoming: Incoming, stalled: () => Promise<never>): Promise<Sendable> {
    const parts = parseMultipart(await collect(incoming.body), incoming.headers["content-type"] ?? "");
    if (parts.length > 100)
      return render(refusal(new ApiError(400, "batchSizeTooLarge", "The batch request has more than 100 calls.")));
    const mark = `batch_${store.token(24)}`;
    const out: Buffer[] = [];
    for (const part of parts) {
      const text = part.bytes.toString("latin1");
      const gap = /\r?\n\r?\n/.exec(text);
      const [line = "", ...lines] = text.slice(0, gap?.index).split(/\r?\n/);
      const [method = "GET", path = "/"] = line.split(" ");
      const inner = Object.fromEntries(
        lines.map((one) => [one.slice(0, one.indexOf(":")).trim().toLowerCase(), one.slice(one.indexOf(":") + 1).trim()]),
      );
      const body = part.bytes.subarray(gap === null ? text.length : gap.index + gap[0].length);
      const { answer } = await exchange(
        {
          method,
          url: new URL(path, rootUrl),
          headers: { authorization: incoming.headers.authorization, ...inner },
          body: single(body),
        },
        stalled,
      );
      const id = part.headers.get("content-id")?.replace(/^<?/, "<response-");
      const headers = Object.entries({ ...answer.headers, "content-length": String(sizeOf(answer.bytes)) }).map(
        ([key, value]) => `${key}: ${value}\r\n`,
      );
      out.push(
        Buffer.from(
          `--${mark}\r\nContent-Type: application/http\r\n${id === undefined ? "" : `Content-ID: ${id}\r\n`}\r\nHTTP/1.1 ${answer.status} Answer\r\n${headers.join("")}\r\n`,
        ),
        ...answer.bytes,
        Buffer.from("\r\n"),
      );
    }
    out.push(Buffer.from(`--${mark}--\r\n`));
    return { status: 200, headers: { "content-type": `multipart/mixed; boundary=${mark}` }, bytes: out };
  }

  /** Long queries come as a POST whose form is the query. */
  async function overridden(incoming: Incoming): Promise<Incoming> {
    const method = incoming.headers["x-http-method-override"];
    if (incoming.method !== "POST" || typeof method !== "string") return incoming;
    const url = new URL(incoming.url);
    if (/x-www-form-urlencoded/.test(incoming.headers["content-type"] ?? ""))
      for (const [key, value] of new URLSearchParams((await collect(incoming.body)).toString())) url.searchParams.set(key, value);
    return { ...incoming, method: method.toUpperCase(), url };
  }

  async function send(res: ServerResponse, { status, headers, bytes }: Sendable, fault?: FaultAction): Promise<void> {
    const bare = status === 204 || status === 304;
    const length = bare ? {} : { "content-length": sizeOf(bytes) };
    res.writeHead(status, { date: new Date(now()).toUTCString(), ...headers, ...length });
    if (fault?.kind === "stall") {
      res.flushHeaders();
      res.write(Buffer.concat(bytes).subarray(0, fault.afterBytes));
    } else if (fault?.kind === "slow") await pipeline(trickle(Buffer.concat(bytes), fault.bytesPerSecond), res);
    else if (bytes.length <= 1) res.end(bytes[0]);
    else await pipeline(Readable.from(bytes), res);
  }

  const emulator: DriveEmulator = {
    get rootUrl() {
      return rootUrl;
    },
    get tokenUrl() {
      return `${rootUrl}token`;
    },
    get authUrl() {
      return `${rootUrl}o/oauth2/v2/auth`;
    },
    seed,
    clientFile(app = "app") {
      const { id, secret } = oauth.client(app);
      return {
        installed: {
          client_id: id,
          project_id: "emulated-project",
          auth_uri: `${rootUrl}o/oauth2/v2/auth`,
          token_uri: `${rootUrl}token`,
          client_secret: secret,
          redirect_uris: ["http://localhost"],
        },
      };
    },
    authorizedUser: oauth.authorizedUser,
    serviceAccount: oauth.serviceAccount,
    accessToken: oauth.accessToken,
    account,
    requests,
    counts() {
      const counts: Record<string, number> = { reads: 0, writes: 0, uploads: 0, tokens: 0, total: requests.length, units: 0 };
      for (const { api: name, kind, units } of requests) {
        counts[name] = (counts[name] ?? 0) + 1;
        counts[SUMS[kind]] = (counts[SUMS[kind]] ?? 0) + 1;
        counts["units"] = (counts["units"] ?? 0) + units;
      }
      return counts;
    },
    resetLedger: () => void requests.splice(0),
    faults: { add: faults.add, clear: faults.clear },
    settings,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  const control = createControl(emulator);

  async function serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const url = new URL(req.url ?? "/", "http://127.0.0.1");
    const first: Incoming = { method: req.method ?? "GET", url, headers: req.headers, body: req };
    const stalled = () => new Promise<never>((_, reject) => res.once("close", () => reject(new Cut())));
    if (url.pathname.startsWith("/__emulator/")) {
      const { status, json } = control(first.method, url.pathname, await collect(req));
      return send(res, render({ status, json }));
    }
    if (url.pathname.startsWith("/batch")) return send(res, await batch(first, stalled));
    const { answer, fault } = await exchange(await overridden(first), stalled);
    return send(res, answer, fault);
  }

  const server = createServer({ keepAliveTimeout: 120_000, requestTimeout: 0 }, (req, res) => {
    serve(req, res).catch((error: unknown) => {
      if (error instanceof Cut || req.destroyed || res.headersSent) res.destroy();
      else
        void send(
          res,
          render({ status: 500, json: { error: { code: 500, message: `The emulator failed: ${String(error)}` } } }),
        ).catch(() => res.destroy());
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port ?? 0, "127.0.0.1", resolve);
  });
  rootUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  oauth.client("app");
  return emulator;
}

/**
 * Sign-in material made into a client of Google's library. Every request of that client, uploads and token calls
 * included, goes through one interceptor: it leads them to `root_url` and `token_url`, and lets them go nowhere else.
 * @module
 */
import { createPrivateKey } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { AuthPlus } from "googleapis/build/src/apis/drive/index.js";
import type { Clock } from "../../core/clock.ts";
import { errnoOf, TargetError } from "../../core/errors.ts";
import { faultOf } from "./faults.ts";
import type { Claim } from "../shared/secret-file.ts";
import { readClientFile, readTokenFile, storeRenewed, type OAuthClient, type TokenFile } from "./token-file.ts";

/** A client of Google's library that signs requests. Its other kinds (service accounts, metadata server) extend this one. */
export type AuthClient = InstanceType<AuthPlus["OAuth2"]>;
export type Transporter = AuthClient["transporter"];

export interface Places {
  readonly rootUrl: string;
  readonly tokenUrl: string;
}

export interface CredentialsOptions extends Places {
  /** The target's name, for hints. */
  readonly name: string;
  readonly tokenFile: string;
  readonly clientFile: string;
  readonly auth: "user" | "service_account" | "adc";
  readonly scope: string;
  /** The account that a service account acts for. */
  readonly impersonate?: string | undefined;
  readonly env: NodeJS.ProcessEnv;
  /** Exclusive use of a name over all processes; asked for `token` only, for as long as a file is written. */
  readonly claim: Claim;
  readonly clock: Clock;
  /** How long the token endpoint may take; 30 s when null. */
  readonly timeoutMs?: number | null;
}

/** What is known of a sign-in without asking anybody. Nothing in it is secret. */
export interface About {
  readonly kind: Credentials["kind"];
  /** The account, where the file names it. */
  readonly account: string | null;
  /** What was granted, or for service accounts is asked for; empty: the file does not say. */
  readonly scopes: readonly string[];
  /** When the access token ends; null: unknown, or none yet. */
  readonly expiresAt: number | null;
  /** Whether a new access token can be had without a person. */
  readonly refreshable: boolean;
  readonly file: string | null;
  /** When a person signed in with `connect`; null for files of others. */
  readonly signedInAt: number | null;
  /** When the file was last written. */
  readonly savedAt: number | null;
  readonly othersCanRead: boolean;
  /** Why a renewed token could not be stored; it works in this process all the same. */
  readonly unsaved: string | null;
}

export interface Credentials {
  readonly kind: "user" | "service_account" | "adc";
  /** Renews an access token that ends within five minutes by itself; never repeats a request. Token faults are `TargetError`s. */
  readonly client: AuthClient;
  /**
   * After a 401: takes the token that another process has stored meanwhile, else asks for a new one, once. Throws
   * `auth` when a person has to sign in again, and what can pass as what it is.
   */
  renew(): Promise<void>;
  about(): Promise<About>;
}

export const TOKEN_URL = "https://oauth2.googleapis.com/token";
export const REVOKE_URL = "https://oauth2.googleapis.com/revoke";
export const ROOT_URL = "https://www.googleapis.com/";
const TIMEOUT_MS = 30_000;
/** Google's library renews a token that ends sooner than this. */
const MARGIN_MS = 5 * 60_000;
const HOUR_MS = 60 * 60_000;

export const isLoopback = ({ hostname }: URL): boolean => /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname);

const isDefault = ({ rootUrl, tokenUrl }: Places) => new URL(rootUrl).href === ROOT_URL && new URL(tokenUrl).href === TOKEN_URL;

/** Where a request to Google goes. Throws `unsupported` for any address that is none of the target's. */
export function addressFor(asked: URL, { rootUrl, tokenUrl }: Places, alsoGoogle = false): URL {
  const [root, token] = [new URL(rootUrl), new URL(tokenUrl)];
  const plain = `${asked.origin}${asked.pathname}`;
  const to = (base: URL): URL => {
    const moved = new URL(base);
    moved.search = asked.search;
    return moved;
  };
  let goal: URL;
  if (plain === TOKEN_URL) goal = to(token);
  else if (plain === REVOKE_URL) goal = to(new URL("revoke", token));
  else if (asked.origin === new URL(ROOT_URL).origin) goal = to(new URL(root.pathname.replace(/\/$/, "") + asked.pathname, root));
  else goal = asked;
  const known = goal.origin === root.origin || goal.origin === token.origin;
  const allowed = known || (alsoGoogle && goal.protocol === "https:" && goal.hostname.endsWith(".googleapis.com"));
  if (!allowed || (goal.protocol !== "https:" && !(goal.protocol === "http:" && isLoopback(goal))))
    throw new TargetError("unsupported", `a request to ${goal.origin} was refused: it is no address of this target`, {
      hint: "Check root_url and token_url in paths.json; plain http is allowed to a loopback address only.",
    });
  return goal;
}

/** Leads every request of a transporter to the target's own addresses; nothing is redirected, nothing repeated. */
function steer(transporter: Transporter, options: CredentialsOptions, is: { robot?: boolean; alsoGoogle?: boolean } = {}): void {
  const { name } = options;
  const tokenUrl = new URL(options.tokenUrl).href;
  transporter.interceptors.request.add({
    resolved: async (config) => {
      const asked = new URL(config.url);
      const goal = addressFor(asked, options, is.alsoGoogle);
      Object.assign(config, { url: goal, redirect: "manual", retry: false, retryConfig: undefined });
      if (isLoopback(goal)) delete config.agent; // a proxy was chosen for the address that it had before
      if ([TOKEN_URL, REVOKE_URL].includes(asked.href)) config.signal ??= AbortSignal.timeout(options.timeoutMs ?? TIMEOUT_MS);
      return config;
    },
  });
  transporter.interceptors.response.add({
    rejected: (error: unknown) => {
      if (!isTokenCall(error, tokenUrl)) throw error;
      throw faultOf(error, `sign in to ${name}`, { name, serviceAccount: is.robot });
    },
  });
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;
const field = (value: unknown, name: string): unknown => (isRecord(value) ? value[name] : undefined);
const word = (value: unknown, name: string): string => {
  const found = field(value, name);
  return typeof found === "string" ? found : "";
};

function isTokenCall(error: unknown, tokenUrl: string): boolean {
  const url = field(field(error, "config"), "url");
  return (typeof url === "string" || url instanceof URL) && String(url) === tokenUrl;
}

/** A new access token, or throws `TargetError`. */
export interface Granted {
  readonly accessToken: string;
  readonly expiresAt: number;
  readonly refreshToken: string | undefined;
  readonly scopes: readonly string[] | undefined;
}

/** One call to the token endpoint. */
export async function askToken(transporter: Transporter, form: Readonly<Record<string, string>>, clock: Clock): Promise<Granted> {
  const { data } = await transporter.request<unknown>({
    url: TOKEN_URL,
    method: "POST",
    data: new URLSearchParams(form),
    responseType: "json",
  });
  const accessToken = word(data, "access_token");
  if (accessToken === "")
    throw new TargetError("transient", "the token endpoint answered without a token", {
      hint: "Check `token_url` in paths.json and the network's proxy: something else than Google seems to answer. It is tried again.",
    });
  const seconds = Number(field(data, "expires_in"));
  const scope = word(data, "scope");
  return {
    accessToken,
    // always with an end: without one Google's library repeats refused requests by itself
    expiresAt: clock.now() + (seconds > 0 ? seconds * 1000 : HOUR_MS),
    refreshToken: word(data, "refresh_token") || undefined,
    scopes: scope === "" ? undefined : scope.split(" "),
  };
}

export const clientForm = ({ id, secret }: OAuthClient): Record<string, string> => ({
  client_id: id,
  ...(secret === undefined ? {} : { client_secret: secret }),
});

async function library(): Promise<AuthPlus> {
  const { auth } = await import("googleapis/build/src/apis/drive/index.js");
  return auth;
}

/** Options for every client: its logging would print tokens. */
const quiet = { useAuthRequestParameters: false } as const;

/** A client without credentials whose transporter reaches the target's addresses only, for signing in and out. */
export async function bareClient(options: CredentialsOptions): Promise<AuthClient> {
  const client = new (await library()).OAuth2(quiet);
  steer(client.transporter, options);
  return client;
}

function missing(name: string, what: string, hint: string): TargetError {
  return new TargetError("auth", `there is no Google sign-in for ${name}: ${what}`, { code: "E_TOKEN_MISSING", hint });
}

/** The client that a user's tokens belong to. */
export async function clientOf(file: TokenFile & { kind: "user" }, options: CredentialsOptions): Promise<OAuthClient> {
  const client = file.client ?? (await readClientFile(options.clientFile));
  if (client) return client;
  throw new TargetError("auth", `${options.tokenFile} does not name its OAuth client, and there is no ${options.clientFile}`, {
    hint: `Put the client's JSON file there, or run \`aftersave connect ${options.name}\`.`,
  });
}

interface Found {
  readonly path: string;
  readonly file: TokenFile;
}

/** gcloud's own place for application default credentials. */
function wellKnown(env: NodeJS.ProcessEnv): string | undefined {
  const name = "application_default_credentials.json";
  if (env["CLOUDSDK_CONFIG"]) return join(env["CLOUDSDK_CONFIG"], name);
  if (process.platform === "win32") return env["APPDATA"] && join(env["APPDATA"], "gcloud", name);
  return env["HOME"] && join(env["HOME"], ".config", "gcloud", name);
}

/** The file that signs in; undefined only for `adc`, where the machine itself may do it. */
async function findFile(options: CredentialsOptions): Promise<Found | undefined> {
  const { name, auth, tokenFile, env } = options;
  const named = auth === "user" ? undefined : env["GOOGLE_APPLICATION_CREDENTIALS"] || undefined;
  const known = wellKnown(env);
  const path = auth !== "adc" ? (named ?? tokenFile) : (named ?? (known !== undefined && existsSync(known) ? known : undefined));
  if (path === undefined) return undefined;
  const file = await readTokenFile(path);
  if (file) return { path, file };
  const hints = {
    user: `Run \`aftersave connect ${name}\`. The save is kept and waits.`,
    service_account:
      "Put the service account's JSON key there, or set GOOGLE_APPLICATION_CREDENTIALS. The save is kept and waits.",
    adc: "GOOGLE_APPLICATION_CREDENTIALS names it: correct the path, or run `gcloud auth application-default login`.",
  } as const;
  throw missing(name, `${path} does not exist`, hints[auth]);
}

/**
 * Reads the sign-in of a target and makes a client of it; asks nobody. Throws `auth`: `E_TOKEN_MISSING` when there is
 * none, and what is wrong with one that cannot be used. Loads Google's library only when there is one.
 */
export async function openCredentials(options: CredentialsOptions): Promise<Credentials> {
  const found = await findFile(options);
  if (!found) return machine(options);
  const { path, file } = found;
  if (file.kind === "user" && options.auth !== "service_account") return user(options, path, file);
  if (file.kind === "service_account") return serviceAccount(options, path, file);
  if (file.kind === "other" && options.auth === "adc") return other(options, path, file);
  const what = file.kind === "user" ? "a user's sign-in" : `credentials of the type ${file.type}`;
  throw new TargetError("auth", `${path} holds ${what}, which "auth": "${options.auth}" does not go with`, {
    hint: `Correct "auth" of the target ${options.name} in paths.json, or put the right file there.`,
  });
}

const kindOf = (options: CredentialsOptions, kind: "user" | "service_account") => (options.auth === "adc" ? "adc" : kind);

const quotaProject = (client: AuthClient, { raw }: TokenFile) => {
  const project = raw["quota_project_id"];
  if (typeof project === "string") client.quotaProjectId = project;
};

async function user(options: CredentialsOptions, path: string, first: TokenFile & { kind: "user" }): Promise<Credentials> {
  const { clock, claim, name } = options;
  const ownFile = options.auth === "user"; // gcloud's file is not ours to write
  const start = await clientOf(first, options);
  const client = new (await library()).OAuth2({ clientId: start.id, ...quiet });
  steer(client.transporter, options);
  if (!ownFile) quotaProject(client, first);
  let scopes = first.tokens.scopes;
  let unsaved: string | null = null;

  /** Without the refresh token: renewing is our own work, so that the file is read again first. */
  const use = (token: string, expiresAt: number) =>
    client.setCredentials({ access_token: token, expiry_date: expiresAt, token_type: "Bearer" });

  const fresh = async (): Promise<void> => {
    const file = await readTokenFile(path);
    if (file?.kind !== "user") throw missing(name, `${path} does not exist any more`, `Run \`aftersave connect ${name}\`.`);
    const { accessToken, expiresAt, refreshToken } = file.tokens;
    const usable = expiresAt !== undefined && expiresAt > clock.now() + MARGIN_MS;
    if (accessToken !== undefined && usable && accessToken !== client.credentials.access_token) {
      scopes = file.tokens.scopes;
      return use(accessToken, expiresAt);
    }
    if (refreshToken === undefined)
      throw new TargetError("auth", `the sign-in of ${name} has ended, and ${path} has no refresh token`, {
        code: "E_SIGN_IN_EXPIRED",
        hint: `Run \`aftersave connect ${name}\`.`,
      });
    const form = { ...clientForm(await clientOf(file, options)), grant_type: "refresh_token", refresh_token: refreshToken };
    const granted = await askToken(client.transporter, form, clock);
    scopes = granted.scopes ?? scopes;
    use(granted.accessToken, granted.expiresAt);
    if (!ownFile) return;
    unsaved = null;
    await storeRenewed(path, refreshToken, granted, claim).catch((error: unknown) => {
      unsaved = `${path} could not be written (${errnoOf(error) || word(error, "message")})`;
    });
  };
  let renewing: Promise<void> | undefined;
  const renew = () => (renewing ??= fresh().finally(() => (renewing = undefined)));

  client.refreshHandler = async () => {
    await renew();
    const { access_token, expiry_date } = client.credentials;
    return { access_token: access_token ?? "", expiry_date: expiry_date ?? 0 };
  };
  const { accessToken, expiresAt, refreshToken } = first.tokens;
  if (accessToken !== undefined && (expiresAt !== undefined || refreshToken === undefined))
    use(accessToken, expiresAt ?? Number.MAX_SAFE_INTEGER);

  return {
    kind: kindOf(options, "user"),
    client,
    renew,
    async about() {
      const file = await readTokenFile(path);
      const tokens = file?.kind === "user" ? file.tokens : first.tokens;
      return {
        kind: kindOf(options, "user"),
        account: null,
        scopes: tokens.scopes ?? scopes ?? [],
        expiresAt: tokens.expiresAt ?? null,
        refreshable: tokens.refreshToken !== undefined,
        file: path,
        signedInAt: (file?.kind === "user" ? file.signedInAt : undefined) ?? null,
        savedAt: file?.savedAt ?? null,
        othersCanRead: file?.othersCanRead ?? false,
        unsaved,
      };
    },
  };
}

/** A client of the library that renews itself; its tokens stay in memory. */
function own(options: CredentialsOptions, kind: Credentials["kind"], client: AuthClient, found: Found | undefined): Credentials {
  client.on("tokens", (tokens) => {
    tokens.expiry_date ??= options.clock.now() + HOUR_MS;
  });
  return {
    kind,
    client,
    async renew() {
      client.credentials.expiry_date = 1;
      await client.getRequestHeaders();
    },
    async about() {
      const expiry = client.credentials.expiry_date ?? 1;
      return {
        kind,
        account: found?.file.kind === "service_account" ? found.file.email : null,
        scopes: [options.scope],
        expiresAt: expiry > 1 ? expiry : null,
        refreshable: true,
        file: found?.path ?? null,
        signedInAt: null,
        savedAt: found?.file.savedAt ?? null,
        othersCanRead: found?.file.othersCanRead ?? false,
        unsaved: null,
      };
    },
  };
}

async function serviceAccount(
  options: CredentialsOptions,
  path: string,
  file: TokenFile & { kind: "service_account" },
): Promise<Credentials> {
  try {
    createPrivateKey(file.key);
  } catch {
    throw new TargetError("auth", `${path} cannot be used: its private_key is no key`, {
      code: "E_SIGN_IN_CLIENT",
      hint: "Download a new key as JSON (Google Cloud console, IAM & Admin, Service Accounts, Keys).",
    });
  }
  const client = new (await library()).JWT({
    email: file.email,
    key: file.key,
    ...(file.keyId === undefined ? {} : { keyId: file.keyId }),
    scopes: [options.scope],
    ...(options.impersonate === undefined ? {} : { subject: options.impersonate }),
    ...quiet,
  });
  steer(client.transporter, options, { robot: true });
  if (options.auth === "adc") quotaProject(client, file);
  return own(options, kindOf(options, "service_account"), client, { path, file });
}

const addressesOfGoogleOnly = (options: CredentialsOptions, what: string) => {
  if (isDefault(options)) return;
  throw missing(
    options.name,
    `${what} work with Google's own addresses only`,
    "Leave root_url and token_url out, or use a file.",
  );
};

/** Kinds of file that only the library understands; they reach other hosts of Google's. */
async function other(options: CredentialsOptions, path: string, file: TokenFile & { kind: "other" }): Promise<Credentials> {
  addressesOfGoogleOnly(options, `credentials of the type ${file.type}`);
  return fromLibrary(options, { path, file });
}

/** The metadata server of a machine at Google. */
async function machine(options: CredentialsOptions): Promise<Credentials> {
  addressesOfGoogleOnly(options, "credentials of the machine itself");
  return fromLibrary(options, undefined);
}

async function fromLibrary(options: CredentialsOptions, found: Found | undefined): Promise<Credentials> {
  const google = new (await library()).GoogleAuth({
    scopes: [options.scope],
    projectId: "none", // or the library starts gcloud and asks the metadata server for it
    clientOptions: quiet,
    // oxlint-disable-next-line typescript/no-deprecated -- it warns of files from strangers; this one the user has named
    ...(found ? { credentials: found.file.raw } : {}),
  });
  let client: AuthClient;
  try {
    client = (await google.getClient()) as AuthClient;
  } catch (error) {
    throw missing(
      options.name,
      found ? `${found.path} cannot be used (${word(error, "name")})` : "no application default credentials were found",
      "Run `gcloud auth application-default login` with the scope of the target, or set GOOGLE_APPLICATION_CREDENTIALS.",
    );
  }
  steer(client.transporter, options, { robot: true, alsoGoogle: true });
  return own(options, "adc", client, found);
}

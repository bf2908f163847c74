/**
 * The two files of a sign-in: the token file (`drive_token`) and the OAuth client (`drive_client`). Reads what `connect`
 * writes, Google's own files and the shapes that older programs left; writes whole files of mode 0600 and keeps what it
 * does not know. No message ever says what a file holds.
 * @module
 */
import { type Claim, exclusively, isRecord, type Kept, readJson, unusable, writeSecret } from "../shared/secret-file.ts";

/** An access token and what renews it. What is undefined the file does not say. */
export interface Tokens {
  readonly accessToken: string | undefined;
  readonly refreshToken: string | undefined;
  /** Milliseconds since 1970. */
  readonly expiresAt: number | undefined;
  readonly scopes: readonly string[] | undefined;
}

export interface OAuthClient {
  readonly id: string;
  readonly secret: string | undefined;
  /** Of the type Web application, which cannot come back to a loopback address. */
  readonly web: boolean;
  /** Where people sign in, if the file says it. */
  readonly authUrl: string | undefined;
}

export type TokenFile = Kept &
  (
    | {
        readonly kind: "user";
        readonly client: OAuthClient | undefined;
        readonly tokens: Tokens;
        /** When `connect` wrote it; undefined for files of others. */
        readonly signedInAt: number | undefined;
      }
    | { readonly kind: "service_account"; readonly email: string; readonly key: string; readonly keyId: string | undefined }
    /** What only Google's library understands (workload identity and the like). */
    | { readonly kind: "other"; readonly type: string }
  );

const text = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined);
const time = (value: unknown): number | undefined => {
  if (typeof value === "number") return Number.isFinite(value) ? value : undefined;
  const said = text(value);
  // Python writes UTC without saying so
  const at = said === undefined ? Number.NaN : Date.parse(/(Z|[+-]\d\d:?\d\d)$/i.test(said) ? said : `${said}Z`);
  return Number.isNaN(at) ? undefined : at;
};
const words = (value: unknown): string[] | undefined =>
  Array.isArray(value)
    ? value.filter((word) => typeof word === "string")
    : text(value)
        ?.split(/[\s,]+/)
        .filter(Boolean);

const tokenHint = "Sign in with `aftersave connect`; docs/targets/gdrive.md lists the files that are understood.";

/** The token file, undefined when there is none. Throws `auth` for one that cannot be used. */
export async function readTokenFile(path: string): Promise<TokenFile | undefined> {
  const file = await readJson(path, tokenHint);
  if (!file) return undefined;
  const { raw } = file;
  const type = text(raw["type"]);
  if (type === "service_account") {
    const [email, key] = [text(raw["client_email"]), text(raw["private_key"])];
    if (email === undefined || key === undefined)
      throw unusable(path, "a service account's file needs client_email and private_key", "Download a new key as JSON.");
    return { ...file, kind: "service_account", email, key, keyId: text(raw["private_key_id"]) };
  }
  if (isRecord(raw["installed"]) || isRecord(raw["web"]))
    throw unusable(
      path,
      "it is an OAuth client, not a sign-in",
      "Move it to the place that `drive_client` names (drive_client.json), then run `aftersave connect`.",
    );
  const tokens: Tokens = {
    accessToken: text(raw["access_token"]) ?? text(raw["token"]),
    refreshToken: text(raw["refresh_token"]),
    expiresAt: time(raw["expiry_date"]) ?? time(raw["expiry"]) ?? time(raw["token_expiry"]),
    scopes: words(raw["scope"]) ?? words(raw["scopes"]),
  };
  if (tokens.accessToken === undefined && tokens.refreshToken === undefined) {
    if (type !== undefined && type !== "authorized_user") return { ...file, kind: "other", type };
    throw unusable(path, "it has neither a refresh_token nor an access token", tokenHint);
  }
  return { ...file, kind: "user", client: clientIn(raw), tokens, signedInAt: time(raw["signed_in_at"]) };
}

function clientIn(raw: Readonly<Record<string, unknown>>): OAuthClient | undefined {
  const id = text(raw["client_id"]);
  return id === undefined ? undefined : { id, secret: text(raw["client_secret"]), web: false, authUrl: text(raw["auth_uri"]) };
}

/** The OAuth client's file as the Google console gives it, undefined when there is none. Throws `auth` for any other file. */
export async function readClientFile(path: string): Promise<OAuthClient | undefined> {
  const hint = "Download the OAuth client (type Desktop app) as JSON again; docs/targets/gdrive.md says where.";
  const file = await readJson(path, hint);
  if (!file) return undefined;
  const { raw } = file;
  if (raw["type"] === "service_account")
    throw unusable(
      path,
      "it is a service account's key, not an OAuth client",
      'Put it where `drive_token` says (drive_token.json) and set "auth": "service_account" for the target.',
    );
  const inner = [raw["installed"], raw["web"]].find(isRecord) ?? raw;
  const client = clientIn(inner);
  if (client === undefined) throw unusable(path, "it has no client_id", hint);
  return { ...client, web: inner === raw["web"] };
}

/** What a token endpoint or a sign-in brought. What is undefined stays as it is in the file. */
export interface Renewed {
  readonly accessToken: string;
  readonly expiresAt: number;
  readonly refreshToken?: string | undefined;
  readonly scopes?: readonly string[] | undefined;
}

/**
 * Merges a renewed access token into the file, in the file's own dialect. A refresh token that someone else stored
 * meanwhile, and every field that is not ours, stay. A file that was removed meanwhile (`disconnect`) stays away, and one
 * of another account is left alone. `used` is the refresh token that the renewal was asked with.
 */
export async function storeRenewed(path: string, used: string, renewed: Renewed, claim: Claim): Promise<void> {
  await exclusively(claim, async () => {
    const file = await readTokenFile(path);
    if (file?.kind !== "user" || file.tokens.refreshToken !== used) return;
    const python = "token" in file.raw && !("access_token" in file.raw);
    await writeSecret(path, {
      ...file.raw,
      ...(python
        ? { token: renewed.accessToken, expiry: new Date(renewed.expiresAt).toISOString() }
        : { access_token: renewed.accessToken, expiry_date: renewed.expiresAt }),
      ...(renewed.refreshToken === undefined ? {} : { refresh_token: renewed.refreshToken }),
      ...(renewed.scopes === undefined || python ? {} : { scope: renewed.scopes.join(" ") }),
    });
  });
}

/** Writes what a sign-in brought: an `authorized_user` file with the access token, so that nothing else is needed. */
export async function storeSignIn(
  path: string,
  client: OAuthClient,
  tokens: Renewed & { readonly refreshToken: string },
  at: number,
  claim: Claim,
): Promise<void> {
  await exclusively(claim, async () =>
    writeSecret(path, {
      type: "authorized_user",
      client_id: client.id,
      ...(client.secret === undefined ? {} : { client_secret: client.secret }),
      refresh_token: tokens.refreshToken,
      access_token: tokens.accessToken,
      expiry_date: tokens.expiresAt,
      ...(tokens.scopes === undefined ? {} : { scope: tokens.scopes.join(" ") }),
      signed_in_at: new Date(at).toISOString(),
    }),
  );
}

/**
 * Puts a copy of a downloaded OAuth client where `drive_client` says, 0600. Throws `auth` when it is none, and what `check`
 * throws of it; what was there is touched by nothing but a client that passed.
 */
export async function adoptClientFile(
  from: string,
  to: string,
  claim: Claim,
  check: (client: OAuthClient) => void = () => undefined,
): Promise<OAuthClient> {
  const client = await readClientFile(from);
  if (!client)
    throw unusable(from, "there is no such file", "Give the path of the JSON file that the Google console let you download.");
  check(client);
  const file = await readJson(from, tokenHint);
  if (file && from !== to) await exclusively(claim, () => writeSecret(to, file.raw));
  return client;
}

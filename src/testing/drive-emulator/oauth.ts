/**
 * Signing in: the authorization endpoint of an installed app, the token endpoint, revocation.
 * @module
 */
import { createHash, createVerify, generateKeyPairSync } from "node:crypto";
import type { Principal } from "./access.ts";
import { type Json, OAuthError, unauthorized } from "./errors.ts";
import type { Store, User } from "./store.ts";

export const DRIVE_SCOPE = "https://www.googleapis.com/auth/drive";
export const DRIVE_FILE_SCOPE = "https://www.googleapis.com/auth/drive.file";
const CODE_MS = 10 * 60 * 1000;
const JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer";

interface Grant {
  readonly client: string;
  readonly user: User;
  scope: string;
  revoked: boolean;
}

interface AccessToken {
  readonly grant: Grant;
  expires: number;
}

interface Code {
  readonly client: string;
  readonly redirect: string;
  readonly scope: string;
  readonly challenge: string | undefined;
  readonly plain: boolean;
  readonly made: number;
}

export interface OAuthSettings {
  readonly now: () => number;
  readonly tokenSeconds: number;
  /** Whoever sits in front of the consent screen. */
  readonly person: User;
  readonly tokenUrl: () => string;
}

const loopback = (redirect: string): boolean => {
  if (!URL.canParse(redirect)) return false;
  const { protocol, hostname } = new URL(redirect);
  return protocol === "http:" && ["127.0.0.1", "[::1]", "localhost"].includes(hostname);
};

const decoded = (part: string | undefined): Json => {
  try {
    return JSON.parse(Buffer.from(part ?? "", "base64url").toString()) as Json;
  } catch (cause) {
    throw new OAuthError("invalid_grant", `Invalid JWT: it is not JSON (${String(cause)}).`);
  }
};

export function createOAuth(store: Store, settings: OAuthSettings) {
  const { now, person } = settings;
  const clients = new Map<string, string>();
  const grants = new Map<string, Grant>();
  const tokens = new Map<string, AccessToken>();
  const codes = new Map<string, Code>();
  const services = new Map<string, { readonly publicKey: string; readonly grant: Grant }>();
  const consent = { says: "allow" as "allow" | "deny", scopes: undefined as string | undefined };
  let delegation = true;

  /** The OAuth client of an app; made when it is asked for. */
  function client(app: string): { readonly id: string; readonly secret: string } {
    const hash = createHash("sha256").update(app).digest("hex");
    const id = `${BigInt(`0x${hash.slice(0, 10)}`) % 1_000_000_000_000n}-${hash.slice(0, 32)}.apps.googleusercontent.com`;
    const secret = `GOCSPX-${hash.slice(32, 60)}`;
    clients.set(id, secret);
    return { id, secret };
  }

  function issue(grant: Grant): Json & { access_token: string } {
    const token = `ya29.${store.token(80)}`;
    tokens.set(token, { grant, expires: now() + settings.tokenSeconds * 1000 });
    return { access_token: token, expires_in: settings.tokenSeconds, scope: grant.scope, token_type: "Bearer" };
  }

  function refreshToken(app: string, scope: string): { readonly token: string; readonly grant: Grant } {
    const grant = { client: client(app).id, user: person, scope, revoked: false };
    const token = `1//0${store.token(60)}`;
    grants.set(token, grant);
    return { token, grant };
  }

  function assertClient(form: URLSearchParams, secretNeeded: boolean): string {
    const id = form.get("client_id") ?? "";
    const secret = clients.get(id);
    if (secret === undefined) throw new OAuthError("invalid_client", "The OAuth client was not found.", 401);
    const given = form.get("client_secret");
    if ((secretNeeded || given !== null) && given !== secret)
      throw new OAuthError("invalid_client", "The provided client secret is invalid.", 401);
    return id;
  }

  function redeem(form: URLSearchParams): Json {
    const code = codes.get(form.get("code") ?? "");
    codes.delete(form.get("code") ?? "");
    const id = assertClient(form, code !== undefined && code.challenge === undefined);
    if (code === undefined || code.client !== id || now() - code.made > CODE_MS)
      throw new OAuthError("invalid_grant", "Malformed auth code.");
    if (code.redirect !== form.get("redirect_uri")) throw new OAuthError("redirect_uri_mismatch", "Bad Request");
    if (code.challenge !== undefined) {
      const verifier = form.get("code_verifier");
      if (verifier === null) throw new OAuthError("invalid_grant", "Missing code verifier.");
      const derived = code.plain ? verifier : createHash("sha256").update(verifier).digest("base64url");
      if (derived !== code.challenge || !/^[\w.~-]{43,128}$/.test(verifier))
        throw new OAuthError("invalid_grant", "Invalid code verifier.");
    }
    const grant = { client: id, user: person, scope: code.scope, revoked: false };
    const refresh = `1//0${store.token(60)}`;
    grants.set(refresh, grant);
    return { ...issue(grant), refresh_token: refresh };
  }

  function refresh(form: URLSearchParams): Json {
    const id = assertClient(form, true);
    const grant = grants.get(form.get("refresh_token") ?? "");
    if (grant === undefined || grant.revoked || grant.client !== id)
      throw new OAuthError("invalid_grant", "Token has been expired or revoked.");
    return issue(grant);
  }

  function assertion(form: URLSearchParams): Json {
    const jwt = form.get("assertion") ?? "";
    const [head, body, signature] = jwt.split(".");
    const claims = decoded(body);
    const service = services.get(String(claims["iss"]));
    if (service === undefined || service.grant.revoked) throw new OAuthError("invalid_grant", "Invalid grant: account not found");
    const verify = createVerify("RSA-SHA256").update(`${head}.${body}`);
    if (decoded(head)["alg"] !== "RS256" || !verify.verify(service.publicKey, signature ?? "", "base64url"))
      throw new OAuthError("invalid_grant", "Invalid JWT Signature.");
    const { aud, iat, exp, sub, scope } = claims;
    if (
      aud !== settings.tokenUrl() &&
      aud !== "https://oauth2.googleapis.com/token" &&
      aud !== "https://www.googleapis.com/oauth2/v4/token"
    )
      throw new OAuthError("invalid_grant", "Invalid JWT: Failed audience check.");
    const seconds = now() / 1000;
    if (typeof iat !== "number" || typeof exp !== "number" || exp < seconds - 300 || iat > seconds + 300 || exp - iat > 3600)
      throw new OAuthError(
        "invalid_grant",
        "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.",
      );
    if (typeof scope !== "string" || scope === "")
      throw new OAuthError("invalid_scope", "Invalid OAuth scope or ID token audience provided.");
    let { user } = service.grant;
    if (sub !== undefined && sub !== user.email) {
      const other = typeof sub === "string" ? store.users.get(sub) : undefined;
      if (other === undefined) throw new OAuthError("invalid_grant", "Invalid email or User ID");
      if (!delegation)
        throw new OAuthError(
          "unauthorized_client",
          "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested.",
          401,
        );
      user = other;
    }
    return issue({ ...service.grant, user, scope });
  }

  const authorizedUser = (
    options: { scope?: string | undefined; expired?: boolean | undefined; app?: string | undefined } = {},
  ): Json => {
    const { scope = DRIVE_FILE_SCOPE, expired, app = "app" } = options;
    const { token, grant } = refreshToken(app, scope);
    const { id, secret } = client(app);
    const file: Json = { type: "authorized_user", client_id: id, client_secret: secret, refresh_token: token };
    if (expired === undefined) return file;
    const { access_token } = issue(grant);
    const held = tokens.get(access_token);
    if (expired && held !== undefined) held.expires = now() - 1;
    return { ...file, access_token, token_type: "Bearer", scope, expiry_date: held?.expires };
  };

  return {
    client,
    authorizedUser,
    consent,
    setDelegation: (allowed: boolean) => {
      delegation = allowed;
    },

    /** A bearer token at once, without a refresh token's detour. */
    accessToken(options: { scope?: string | undefined; app?: string | undefined; service?: string | undefined } = {}): string {
      const { scope = DRIVE_SCOPE, app = "app", service } = options;
      const user = service === undefined ? person : store.users.get(service);
      if (user === undefined) throw new Error(`there is no service account ${service ?? ""}`);
      return issue({ client: client(app).id, user, scope, revoked: false }).access_token;
    },

    serviceAccount(options: { storage?: boolean | undefined } = {}): Json {
      const name = `robot-${services.size + 1}`;
      const email = `${name}@emulated-project.iam.gserviceaccount.com`;
      const { publicKey, privateKey } = generateKeyPairSync("rsa", {
        modulusLength: 2048,
        publicKeyEncoding: { type: "spki", format: "pem" },
        privateKeyEncoding: { type: "pkcs8", format: "pem" },
      });
      const user = store.addUser(email, name, true, options.storage === true ? 15 * 2 ** 30 : 0);
      services.set(email, { publicKey, grant: { client: client("app").id, user, scope: "", revoked: false } });
      return {
        type: "service_account",
        project_id: "emulated-project",
        private_key_id: createHash("sha1").update(publicKey).digest("hex"),
        private_key: privateKey,
        client_email: email,
        client_id: user.permissionId,
        auth_uri: "https://accounts.google.com/o/oauth2/auth",
        token_uri: settings.tokenUrl(),
        universe_domain: "googleapis.com",
      };
    },

    /** Answers the address that the browser is sent to. */
    authorize(query: URLSearchParams): string {
      const redirect = query.get("redirect_uri") ?? "";
      const id = query.get("client_id") ?? "";
      if (!clients.has(id)) throw new OAuthError("invalid_client", "The OAuth client was not found.", 401);
      if (!loopback(redirect)) throw new OAuthError("redirect_uri_mismatch", "The redirect URI is not a loopback address.");
      const target = new URL(redirect);
      const state = query.get("state");
      if (state !== null) target.searchParams.set("state", state);
      const method = query.get("code_challenge_method") ?? "plain";
      const scope = query.get("scope") ?? "";
      const refusal =
        query.get("response_type") !== "code"
          ? "unsupported_response_type"
          : scope === ""
            ? "invalid_scope"
            : !["S256", "plain"].includes(method)
              ? "invalid_request"
              : consent.says === "deny"
                ? "access_denied"
                : undefined;
      if (refusal !== undefined) {
        target.searchParams.set("error", refusal);
        return target.href;
      }
      const code = `4/0A${store.token(60)}`;
      const granted = consent.scopes ?? scope;
      codes.set(code, {
        client: id,
        redirect,
        scope: granted,
        challenge: query.get("code_challenge") ?? undefined,
        plain: method === "plain",
        made: now(),
      });
      target.searchParams.set("code", code);
      target.searchParams.set("scope", granted);
      return target.href;
    },

    token(form: URLSearchParams): Json {
      const type = form.get("grant_type");
      if (type === "refresh_token") return refresh(form);
      if (type === "authorization_code") return redeem(form);
      if (type === JWT_BEARER) return assertion(form);
      throw new OAuthError("unsupported_grant_type", `Invalid grant_type: ${type ?? ""}`);
    },

    revoke(token: string): Json {
      const grant = grants.get(token) ?? tokens.get(token)?.grant;
      if (grant === undefined || grant.revoked) throw new OAuthError("invalid_token", "Token expired or revoked");
      grant.revoked = true;
      return {};
    },

    principal(authorization: string | undefined): Principal {
      const held = tokens.get(/^Bearer (.+)$/i.exec(authorization ?? "")?.[1] ?? "");
      if (held === undefined || held.grant.revoked || held.expires <= now()) throw unauthorized();
      return { user: held.grant.user, app: held.grant.client, scopes: held.grant.scope.split(/\s+/) };
    },

    /** The token of this header is worth nothing from now on. */
    expire(authorization: string | undefined): void {
      const held = tokens.get(/^Bearer (.+)$/i.exec(authorization ?? "")?.[1] ?? "");
      if (held !== undefined) held.expires = now() - 1;
    },
    expireAccessTokens(): void {
      for (const held of tokens.values()) held.expires = Math.min(held.expires, now() - 1);
    },
    revokeTokens(): void {
      for (const grant of grants.values()) grant.revoked = true;
      for (const { grant } of tokens.values()) grant.revoked = true;
    },
    setScope(scope: string): void {
      for (const grant of grants.values()) grant.scope = scope;
      for (const { grant } of tokens.values()) grant.scope = scope;
    },
  };
}

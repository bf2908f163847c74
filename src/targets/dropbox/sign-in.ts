/**
 * Signing in to Dropbox: PKCE with the key of an app of one's own and a code that people copy, so that neither an app
 * secret nor a redirect address is needed. The refresh token it brings has no end of its own; access tokens live four hours.
 * @module
 */
import { createHash, randomBytes } from "node:crypto";
import type { Clock } from "../../core/clock.ts";
import { AftersaveError, TargetError } from "../../core/errors.ts";
import type { DriverContext } from "../shared/driver.ts";
import { type Claim, exclusively, readJson, removeTokenFile, unusable, writeSecret } from "../shared/secret-file.ts";
import type { Dialogue, SignedIn, SignedOut } from "../shared/sign-in.ts";
import { type Http, openHttp, type Tokens } from "./http.ts";
import { hasTag, stranger } from "./faults.ts";

const AUTHORIZE = "https://www.dropbox.com/oauth2/authorize";
export const SCOPES = ["account_info.read", "files.content.read", "files.content.write", "files.metadata.read"] as const;
/** A token that ends sooner than this is renewed before it is used. */
const MARGIN_MS = 5 * 60_000;

interface Stored {
  readonly appKey: string;
  readonly refreshToken: string;
  readonly accessToken: string | undefined;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
  readonly scopes: readonly string[];
  readonly othersCanRead: boolean;
}

const textOf = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined);

/** Where `connect` stores the sign-in. */
export const tokenFileOf = ({ options }: DriverContext) => String(options["token_file"]);

const envToken = ({ env }: DriverContext) => textOf(env["DROPBOX_TOKEN"]?.trim());

const refuse = (name: string, message: string, code: "E_TOKEN_MISSING" | "E_SIGN_IN_SCOPE" = "E_TOKEN_MISSING", hint?: string) =>
  new TargetError("auth", message, { code, hint: hint ?? `Sign in with \`aftersave connect ${name}\`.` });

/** What `connect` stored; undefined when there is nothing. Throws `auth` for a file that cannot be used. */
export async function readSignIn(context: DriverContext): Promise<Stored | undefined> {
  const path = tokenFileOf(context);
  const hint = `Sign in again with \`aftersave connect ${context.name}\`.`;
  const file = await readJson(path, hint);
  if (!file) return undefined;
  const { raw, othersCanRead } = file;
  const [appKey, refreshToken] = [textOf(raw["app_key"]), textOf(raw["refresh_token"])];
  if (appKey === undefined || refreshToken === undefined) throw unusable(path, "it has no app_key and refresh_token", hint);
  return {
    appKey,
    refreshToken,
    accessToken: textOf(raw["access_token"]),
    expiresAt: Number(raw["expiry_date"] ?? 0),
    scopes: (textOf(raw["scope"]) ?? "").split(" ").filter(Boolean),
    othersCanRead,
  };
}

async function store(path: string, { othersCanRead: _, ...signIn }: Stored, account: string | undefined, now: number) {
  await writeSecret(path, {
    app_key: signIn.appKey,
    refresh_token: signIn.refreshToken,
    access_token: signIn.accessToken,
    expiry_date: signIn.expiresAt,
    scope: signIn.scopes.join(" "),
    ...(account !== undefined && { account_id: account }),
    signed_in_at: new Date(now).toISOString(),
  });
}

interface Granted {
  readonly accessToken: string;
  readonly expiresAt: number;
  readonly refreshToken: string | undefined;
  readonly scopes: readonly string[] | undefined;
  readonly account: string | undefined;
}

async function grant(
  http: Http,
  name: string,
  clock: Pick<Clock, "now">,
  form: Record<string, string>,
  signal?: AbortSignal,
): Promise<Granted> {
  const doing = `sign in to ${name}`;
  const asked = clock.now();
  const answer = await http.form("oauth2/token", doing, form, signal);
  const accessToken = textOf(answer["access_token"]);
  if (accessToken === undefined) throw stranger(doing, name);
  return {
    accessToken,
    expiresAt: asked + Number(answer["expires_in"] ?? 0) * 1000,
    refreshToken: textOf(answer["refresh_token"]),
    scopes: textOf(answer["scope"])?.split(" "),
    account: textOf(answer["account_id"]),
  };
}

/** Writes a renewed access token, unless someone signed in anew or out meanwhile. */
async function storeRenewed(path: string, claim: Claim, used: Stored, granted: Granted): Promise<void> {
  await exclusively(claim, async () => {
    const file = await readJson(path, "");
    if (file?.raw["refresh_token"] !== used.refreshToken) return;
    await writeSecret(path, { ...file.raw, access_token: granted.accessToken, expiry_date: granted.expiresAt });
  });
}

/** The access tokens of a target: `DROPBOX_TOKEN`, else what `connect` stored, renewed when it ends. */
export function openTokens(context: DriverContext, http: Http): Tokens {
  const { name, clock, claim } = context;
  let renewing: Promise<string | undefined> | undefined;
  let fresh: { token: string; expiresAt: number } | undefined;

  const signedIn = async (): Promise<Stored> => {
    const file = await readSignIn(context);
    if (file) return file;
    throw refuse(name, `there is no Dropbox sign-in for ${name}: ${tokenFileOf(context)} does not exist`);
  };
  const renew = async (refused: string): Promise<string | undefined> => {
    const file = await signedIn();
    // another process may have renewed it
    if (file.accessToken !== undefined && file.accessToken !== refused && file.expiresAt - MARGIN_MS > clock.now()) {
      fresh = { token: file.accessToken, expiresAt: file.expiresAt };
      return file.accessToken;
    }
    const form = { grant_type: "refresh_token", refresh_token: file.refreshToken, client_id: file.appKey };
    const granted = await grant(http, name, clock, form);
    fresh = { token: granted.accessToken, expiresAt: granted.expiresAt };
    // it works in this process all the same; the next one asks for its own
    await storeRenewed(tokenFileOf(context), claim, file, granted).catch(() => undefined);
    return granted.accessToken;
  };
  const renewed = (refused: string): Promise<string | undefined> => {
    if (envToken(context) !== undefined) return Promise.resolve(undefined);
    return (renewing ??= renew(refused).finally(() => (renewing = undefined)));
  };

  return {
    async current() {
      const given = envToken(context);
      if (given !== undefined) return given;
      if (fresh && fresh.expiresAt - MARGIN_MS > clock.now()) return fresh.token;
      const { accessToken, expiresAt } = await signedIn();
      if (accessToken !== undefined && expiresAt - MARGIN_MS > clock.now()) {
        fresh = { token: accessToken, expiresAt };
        return accessToken;
      }
      return (await renewed(accessToken ?? "")) ?? "";
    },
    renewed,
  };
}

const guide = (name: string) =>
  [
    "Dropbox lets an app in only with an app of your own; it is free and takes three minutes (docs/targets/dropbox.md):",
    "1. https://www.dropbox.com/developers/apps/create: Scoped access; App folder (it then sees nothing else), or Full Dropbox; any name.",
    `2. Permissions: tick ${SCOPES.join(", ")}; press Submit.`,
    `3. Settings: copy the App key (never the secret) into paths.json as "app_key" of targets.${name}.`,
  ].join("\n  ");

async function userSignIn(context: DriverContext, http: Http, dialogue: Dialogue): Promise<void> {
  const { name, clock, options, claim } = context;
  const appKey = textOf(options["app_key"]);
  if (appKey === undefined)
    throw refuse(name, `there is no app_key at targets.${name} to sign in with`, "E_TOKEN_MISSING", guide(name));
  if (!dialogue.ask)
    throw refuse(
      name,
      `signing in to ${name} needs a terminal, where Dropbox's code can be typed`,
      "E_TOKEN_MISSING",
      `Run \`aftersave connect ${name}\` in a terminal, without --json; or set DROPBOX_TOKEN for one run.`,
    );
  const verifier = randomBytes(48).toString("base64url");
  const page = new URL(AUTHORIZE);
  for (const [key, value] of Object.entries({
    client_id: appKey,
    response_type: "code",
    token_access_type: "offline",
    scope: SCOPES.join(" "),
    code_challenge: createHash("sha256").update(verifier).digest("base64url"),
    code_challenge_method: "S256",
  }))
    page.searchParams.set(key, value);
  dialogue.onAddress?.(page.href);
  const code = await dialogue.ask("Allow the access there; Dropbox then shows a code.", "Code", "text");
  dialogue.signal?.throwIfAborted();
  if (code === undefined) throw refuse(name, `no code was given, so nobody is signed in to ${name}`);
  const form = { grant_type: "authorization_code", code, code_verifier: verifier, client_id: appKey };
  const granted = await grant(http, name, clock, form, dialogue.signal).catch((error: unknown) => {
    if (!hasTag(error, "invalid_grant")) throw error;
    throw refuse(name, "Dropbox does not accept this code: it was mistyped, is used, or is too old");
  });
  const scopes = granted.scopes ?? SCOPES;
  const lacking = SCOPES.filter((scope) => !scopes.includes(scope));
  if (lacking.length > 0)
    throw refuse(
      name,
      `the sign-in leaves out what ${name} needs (${lacking.join(", ")})`,
      "E_SIGN_IN_SCOPE",
      `Tick them at dropbox.com/developers/apps (Permissions), press Submit, then run \`aftersave connect ${name}\` again.`,
    );
  const { refreshToken, accessToken, expiresAt, account } = granted;
  if (refreshToken === undefined) throw stranger(`sign in to ${name}`, name);
  const signIn: Stored = { appKey, refreshToken, accessToken, expiresAt, scopes, othersCanRead: false };
  await exclusively(claim, () => store(tokenFileOf(context), signIn, account, clock.now()));
}

/**
 * Signs in with a code that a person copies; with `DROPBOX_TOKEN` there is nothing to sign in to, and that is checked. Resolves
 * when the sign-in is stored and Dropbox knows it; throws `auth` with what to do.
 */
export async function connect(context: DriverContext, dialogue: Dialogue): Promise<SignedIn> {
  const http = openHttp(context);
  try {
    const given = envToken(context);
    if (given === undefined) await userSignIn(context, http, dialogue);
    const tokens = openTokens(context, http);
    const account = await http.rpc(tokens, "users/get_current_account", null, `sign in to ${context.name}`, dialogue);
    const file = given === undefined ? await readSignIn(context) : undefined;
    return {
      kind: given === undefined ? "user" : "token",
      account: textOf(account["email"]) ?? null,
      scopes: file?.scopes ?? [],
      file: file ? tokenFileOf(context) : null,
    };
  } finally {
    http.close();
  }
}

/**
 * Revokes the sign-in at Dropbox and removes the token file; one that was invalid already is removed all the same. Throws, and
 * removes nothing, when Dropbox cannot be asked.
 */
export async function disconnect(context: DriverContext): Promise<SignedOut> {
  const path = tokenFileOf(context);
  const without: DriverContext = { ...context, env: {} };
  if (!(await readSignIn(context))) {
    if (envToken(context) === undefined) return { file: path, removed: false, revoked: "nothing" };
    throw new AftersaveError("E_USAGE", `${context.name} uses DROPBOX_TOKEN, so there is nothing stored to revoke`, {
      hint: "Unset it; the token ends by itself after four hours.",
    });
  }
  const http = openHttp(context);
  try {
    const revoked = await http
      .rpc(openTokens(without, http), "auth/token/revoke", null, `revoke the sign-in of ${context.name}`, {})
      .then(
        () => "revoked" as const,
        (error: unknown) => {
          if (error instanceof TargetError && error.kind === "auth") return "already invalid" as const;
          throw error;
        },
      );
    return { file: path, removed: await removeTokenFile(path, context.claim), revoked };
  } finally {
    http.close();
  }
}

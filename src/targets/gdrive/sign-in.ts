/**
 * Signing in and out of Google Drive: a loopback redirect with PKCE and `state`, one consent, one token file.
 * @module
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { AftersaveError, type ErrorCode, TargetError } from "../../core/errors.ts";
import type { DriverContext } from "../shared/driver.ts";
import { removeTokenFile } from "../shared/secret-file.ts";
import type { Dialogue, SignedIn, SignedOut } from "../shared/sign-in.ts";
import {
  askToken,
  bareClient,
  clientForm,
  type CredentialsOptions,
  type Granted,
  isLoopback,
  openCredentials,
  REVOKE_URL,
} from "./credentials.ts";
import { faultOf } from "./faults.ts";
import { credentialsOf, openApi } from "./open.ts";
import { adoptClientFile, type OAuthClient, readClientFile, readTokenFile, storeSignIn } from "./token-file.ts";

const AUTH_URL = "https://accounts.google.com/o/oauth2/v2/auth";
/** How long a person may take. */
const PATIENCE_MS = 5 * 60_000;
const SCOPES = "https://www.googleapis.com/auth/";

const refuse = (message: string, hint: string, code: ErrorCode = "E_TOKEN_MISSING") =>
  new TargetError("auth", message, { code, hint });

const guide = (name: string, clientFile: string) =>
  [
    "Google lets an app in only with an OAuth client of your own; it is free and takes five minutes (docs/targets/gdrive.md, click by click):",
    "1. https://console.cloud.google.com/projectcreate: make a project, any name.",
    "2. https://console.cloud.google.com/apis/library/drive.googleapis.com: enable the Google Drive API.",
    "3. https://console.cloud.google.com/auth/overview: name the app, audience External, then under Audience publish it (in testing, every sign-in ends after 7 days).",
    "4. https://console.cloud.google.com/auth/clients: create a client of the type Desktop app, and download its JSON.",
    `5. Save that file as ${clientFile}, or run \`aftersave connect ${name} --client FILE\`.`,
  ].join("\n  ");

/** Whether people can sign in here with a client, and where: Google's own page or, for tests, a loopback one. */
function authAddress({ authUrl, web }: OAuthClient, file: string): URL {
  if (web)
    throw refuse(
      `${file} is an OAuth client of the type Web application, which cannot be used on a machine of your own`,
      "Create one of the type Desktop app (https://console.cloud.google.com/auth/clients) and give it with --client FILE.",
      "E_SIGN_IN_CLIENT",
    );
  const address = new URL(URL.canParse(authUrl ?? AUTH_URL) ? (authUrl ?? AUTH_URL) : "invalid:");
  const google = address.protocol === "https:" && address.hostname === "accounts.google.com";
  if (google || (isLoopback(address) && /^https?:$/.test(address.protocol))) return address;
  throw refuse(
    `auth_uri in ${file} is not an address of Google's: ${address.host || "no address"}`,
    "Do not sign in there; download the client's file again from the Google console.",
    "E_SIGN_IN_CLIENT",
  );
}

/** A client's file that a person names; one that cannot be used is a mistake of the command, and replaces nothing. */
async function adopt(from: string, { clientFile, claim }: CredentialsOptions): Promise<OAuthClient> {
  try {
    return await adoptClientFile(from, clientFile, claim, (client) => void authAddress(client, from));
  } catch (error) {
    if (!(error instanceof TargetError)) throw error;
    throw new AftersaveError("E_USAGE", error.message, error.hint === undefined ? {} : { hint: error.hint });
  }
}

/** The OAuth client to sign in with: one that is given, the one that is there, or one that a person names when asked. */
async function clientFor(options: CredentialsOptions, dialogue: Dialogue): Promise<OAuthClient> {
  const { name, tokenFile, clientFile } = options;
  const steps = guide(name, clientFile);
  const given = dialogue.clientFile;
  const client = given === undefined ? await readClientFile(clientFile) : await adopt(given, options);
  if (client) return client;
  const before = await readTokenFile(tokenFile);
  if (before?.kind === "user" && before.client) return before.client;
  const named = await dialogue.ask?.(`There is no ${clientFile} yet.\n  ${steps}`, "Path of the downloaded JSON file");
  if (named !== undefined) return adopt(named, options);
  throw refuse(
    `there is no OAuth client to sign in to ${name} with: ${clientFile} does not exist`,
    dialogue.ask ? `Run \`aftersave connect ${name}\` again when you have its file.` : steps,
  );
}

/** `drive` includes what every narrower scope of Drive allows. */
const covers = (granted: readonly string[], asked: string) =>
  granted.includes(asked) ||
  (asked.startsWith(`${SCOPES}drive`) && asked !== `${SCOPES}drive.appdata` && granted.includes(`${SCOPES}drive`));

const escaped = (text: string) => text.replaceAll(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

function answer(response: ServerResponse, status: number, title: string, text: string): void {
  response.writeHead(status, {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'",
    "referrer-policy": "no-referrer", // the address of this page holds the code
    "cache-control": "no-store",
    connection: "close",
  });
  response.end(
    `<!doctype html><meta charset="utf-8"><title>${escaped(title)}</title><h1>${escaped(title)}</h1><p>${escaped(text)}</p>\n`,
  );
}

const same = (a: string, b: string) => a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));

const declined = (name: string, reason: string) =>
  /^(admin_policy_enforced|org_internal)$/.test(reason)
    ? refuse(
        `the account's organisation does not allow this app (${reason})`,
        "Ask its Google Workspace administrator, or sign in with another account.",
        "E_SIGN_IN_POLICY",
      )
    : refuse(
        `the sign-in to ${name} was declined in the browser (${reason.replaceAll(/[^\w.-]/g, "").slice(0, 40)})`,
        `Run \`aftersave connect ${name}\` again and allow the access. In testing mode only listed test users may.`,
      );

interface Waiting {
  readonly redirect: string;
  /** Resolves with what `take` made of the code; rejects with why not. */
  readonly outcome: Promise<void>;
  readonly server: Server;
}

/**
 * Listens on a free loopback port for the browser's return. Only an answer with our `state` counts; anything else is
 * told so and waited past. The page that people see says how it ended.
 */
async function listen(name: string, state: string, take: (code: string, redirect: string) => Promise<void>): Promise<Waiting> {
  let settle: { resolve: () => void; reject: (error: unknown) => void } | undefined;
  const outcome = new Promise<void>((resolve, reject) => (settle = { resolve, reject }));
  outcome.catch(() => undefined); // looked at later; it may fail before that
  let redirect = "";
  let taking: Promise<void> | undefined;
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? "/", redirect);
    const [code, reason] = [url.searchParams.get("code"), url.searchParams.get("error")];
    if (request.method !== "GET" || url.pathname !== "/" || (code === null && reason === null))
      return answer(response, 404, "Nothing here", "This address only takes the answer of a sign-in.");
    if (!same(url.searchParams.get("state") ?? "", state))
      return answer(
        response,
        400,
        "Not this sign-in",
        "This answer belongs to another sign-in. Use the address that the terminal shows now.",
      );
    // a page that is loaded again shows the same end
    taking ??= code === null ? Promise.reject(declined(name, reason ?? "")) : take(code, redirect);
    const error: unknown = await taking.then(
      () => undefined,
      (fault: unknown) => fault ?? new Error("unknown"),
    );
    if (error === undefined) answer(response, 200, `Signed in: ${name}`, "You can close this page and go back to the terminal.");
    else
      answer(
        response,
        400,
        `Not signed in: ${name}`,
        error instanceof AftersaveError ? `${error.message}. ${error.hint ?? ""}` : "The terminal says why.",
      );
    const done = () => (error === undefined ? settle?.resolve() : settle?.reject(error));
    if (response.closed)
      done(); // the page was closed before its answer
    else response.once("close", done);
  };
  const server = createServer(
    (request, response) => void handle(request, response).catch((error: unknown) => settle?.reject(error)),
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  redirect = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { redirect, outcome, server };
}

/** Takes `granted` as the sign-in, or says what is missing. */
function complete(
  { name, scope }: CredentialsOptions,
  granted: Granted,
): Granted & { refreshToken: string; scopes: readonly string[] } {
  const scopes = granted.scopes ?? [scope]; // an answer without them means: as asked
  const { refreshToken } = granted;
  if (!scope.split(" ").every((asked) => covers(scopes, asked)))
    throw refuse(
      `the consent leaves out what ${name} needs (${scope})`,
      `Run \`aftersave connect ${name}\` again and leave the box for Google Drive ticked.`,
      "E_SIGN_IN_SCOPE",
    );
  if (refreshToken === undefined)
    throw refuse(
      "Google gave no refresh token, so the sign-in would end within the hour",
      `Remove the app at https://myaccount.google.com/connections, then run \`aftersave connect ${name}\` again.`,
      "E_AUTH",
    );
  return { ...granted, refreshToken, scopes };
}

async function browserSignIn(options: CredentialsOptions, dialogue: Dialogue): Promise<void> {
  const { name, tokenFile, clientFile, scope, claim, clock } = options;
  const client = await clientFor(options, dialogue);
  const page = authAddress(client, clientFile);
  const { transporter } = await bareClient(options);
  const state = randomBytes(32).toString("base64url");
  const verifier = randomBytes(64).toString("base64url");
  const waiting = await listen(name, state, async (code, redirect_uri) => {
    const form = { ...clientForm(client), grant_type: "authorization_code", code, code_verifier: verifier, redirect_uri };
    const tokens = complete(options, await askToken(transporter, form, clock));
    await storeSignIn(tokenFile, client, tokens, clock.now(), claim);
  });
  const ended = new AbortController();
  try {
    for (const [key, value] of Object.entries({
      client_id: client.id,
      redirect_uri: waiting.redirect,
      response_type: "code",
      scope,
      state,
      code_challenge: createHash("sha256").update(verifier).digest("base64url"),
      code_challenge_method: "S256",
      access_type: "offline",
      prompt: "consent", // or a second sign-in brings no refresh token
    }))
      page.searchParams.set(key, value);
    dialogue.onAddress?.(page.href);
    const patience = dialogue.waitMs ?? PATIENCE_MS;
    const signal = dialogue.signal ? AbortSignal.any([dialogue.signal, ended.signal]) : ended.signal;
    await Promise.race([
      waiting.outcome,
      clock.sleep(patience, signal).then(() => {
        throw refuse(
          `nobody signed in to ${name} within ${Math.round(patience / 1000)} s`,
          `Run \`aftersave connect ${name}\` again. If the browser showed an error of Google's, docs/targets/gdrive.md tells its cure.`,
        );
      }),
    ]);
  } finally {
    ended.abort();
    waiting.server.close();
    waiting.server.closeAllConnections();
  }
}

/**
 * Signs in: with `auth: user` by a person in a browser, else by checking the credentials that are there. Resolves when
 * the sign-in is stored and usable as far as can be told without Drive; throws `auth` with what to do.
 */
export async function connect(context: DriverContext, dialogue: Dialogue): Promise<SignedIn> {
  const options = credentialsOf(context);
  if (options.auth === "user") {
    const before = await readTokenFile(options.tokenFile).catch(() => undefined); // one that cannot be used is what connect replaces
    if (before?.kind === "service_account")
      throw refuse(
        `${options.tokenFile} holds a service account's key, which a sign-in would replace`,
        `Set "auth": "service_account" for ${options.name} in paths.json, or move that file away.`,
        "E_AUTH",
      );
    await browserSignIn(options, dialogue);
  }
  const { api, credentials } = await openApi(context);
  const email = await api.about().then(
    (storage) => storage.email,
    () => null, // the proof that follows meets the same fault, and says it better
  );
  const { kind, account, scopes, file } = await (credentials ?? (await openCredentials(options))).about();
  return { kind, account: email ?? account, scopes, file };
}

/**
 * Revokes the sign-in at Google and removes the token file; one that was invalid already is removed all the same. Throws,
 * and removes nothing, when Google cannot be asked, and for credentials that no `connect` has written.
 */
export async function disconnect(context: DriverContext): Promise<SignedOut> {
  const options = credentialsOf(context);
  const { name, tokenFile, auth, claim } = options;
  const file = auth === "user" ? await readTokenFile(tokenFile) : undefined;
  if (auth !== "user" || (file && file.kind !== "user"))
    throw new AftersaveError("E_USAGE", `${name} is not signed in by a person, so there is nothing to revoke`, {
      hint: "Delete the service account's key in the Google Cloud console, and its file here yourself.",
    });
  if (!file) return { file: tokenFile, removed: false, revoked: "nothing" };
  const { refreshToken, accessToken = "" } = file.tokens;
  const { transporter } = await bareClient(options);
  const revoked = await transporter
    .request({ url: REVOKE_URL, method: "POST", data: new URLSearchParams({ token: refreshToken ?? accessToken }) })
    .then(
      () => "revoked" as const,
      (error: unknown) => {
        const fault = faultOf(error, `revoke the sign-in of ${name}`, { name });
        const status = fault instanceof TargetError ? fault.details["status"] : undefined;
        if (status === 400) return "already invalid" as const;
        throw fault instanceof TargetError
          ? new TargetError(fault.kind, `${fault.message}; ${tokenFile} is still there`, {
              code: fault.code,
              hint: `Try again; or end it at https://myaccount.google.com/connections and remove ${tokenFile} yourself.`,
            })
          : fault;
      },
    );
  return { file: tokenFile, removed: await removeTokenFile(tokenFile, claim), revoked };
}

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach } from "vitest";
import type { DriveApi } from "../../../src/targets/gdrive/api.ts";
import { openCredentials, type Credentials } from "../../../src/targets/gdrive/credentials.ts";
import { createGoogleApi, type GoogleOptions } from "../../../src/targets/gdrive/google.ts";

/** Run after each test, in reverse. */
export const undo: Array<() => unknown> = [];
afterEach(async () => {
  for (const back of undo.splice(0).toReversed()) await back();
});

const clock = { now: () => Date.now(), sleep: async () => undefined };

/** Real sign-in material of a user, whose token lasts. */
export async function signIn(rootUrl: string, tokenUrl: string, token: object = {}): Promise<Credentials> {
  const folder = await mkdtemp(join(tmpdir(), "aftersave-google-"));
  undo.push(() => rm(folder, { recursive: true, force: true }));
  const tokenFile = join(folder, "token.json");
  const file = { client_id: "client", client_secret: "GOCSPX-secret", refresh_token: "1//refresh", access_token: "ya29.first" };
  await writeFile(tokenFile, JSON.stringify({ type: "authorized_user", ...file, expiry_date: Date.now() + 3_600_000, ...token }));
  const clientFile = join(folder, "client.json");
  const scope = "https://www.googleapis.com/auth/drive.file";
  const claim = async () => () => undefined;
  return openCredentials({ name: "drive", tokenFile, clientFile, env: {}, claim, clock, auth: "user", rootUrl, tokenUrl, scope });
}

export interface Request {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage["headers"];
  readonly body: Buffer;
}
export type Handler = (request: Request, response: ServerResponse) => void;

/** A server on loopback that answers as the test says and remembers every request. */
export async function serve(handler: Handler): Promise<{ readonly url: string; readonly seen: Request[] }> {
  const seen: Request[] = [];
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      const { pathname, searchParams } = new URL(request.url ?? "", "http://x");
      const one = { method: request.method ?? "", path: pathname, query: searchParams, headers: request.headers };
      seen.push({ ...one, body: Buffer.concat(parts) });
      handler(seen.at(-1)!, response);
    });
    request.on("error", () => undefined); // a client that went away is what some tests are about
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  undo.push(() => {
    server.closeAllConnections();
    return new Promise((done) => server.close(done));
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, seen };
}

export const json = (response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}) =>
  response.writeHead(status, { "content-type": "application/json; charset=UTF-8", ...headers }).end(JSON.stringify(body));

/** Drive's API over Google's client, at a server that answers as the test says. */
export async function driveAt(
  handler: Handler,
  more: Partial<GoogleOptions> = {},
): Promise<{ readonly api: DriveApi; readonly seen: Request[]; readonly url: string; readonly credentials: Credentials }> {
  const { url, seen } = await serve((request, response) =>
    request.path === "/token"
      ? void json(response, 200, { access_token: "ya29.second", expires_in: 3600, token_type: "Bearer" })
      : handler(request, response),
  );
  const credentials = await signIn(url, `${url}token`);
  return { api: createGoogleApi({ credentials, rootUrl: url, timeoutMs: 5000, name: "drive", ...more }), seen, url, credentials };
}

export async function bytesOf(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of chunks) parts.push(part);
  return Buffer.concat(parts);
}

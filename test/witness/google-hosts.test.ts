/** The proxy behind which the witnesses work lets nobody out. */
import { readFileSync } from "node:fs";
import { createServer, request, type Server } from "node:http";
import { get } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { text } from "node:stream/consumers";
import { connect } from "node:tls";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { whyNot } from "./client.ts";
import { startGoogleHosts, type GoogleHosts } from "./google-hosts.ts";

const why = whyNot(["openssl", "openssl", "version"]);

describe.skipIf(why)(`Google's hosts on loopback${why}`, () => {
  let server: Server;
  let google: GoogleHosts;

  beforeEach(async () => {
    server = createServer((req, res) => {
      res.setHeader("location", `http://${req.headers.host}/session?upload_id=1`);
      res.end(`${req.method} ${req.url}`);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    google = await startGoogleHosts(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  });
  afterEach(async () => {
    await google.close();
    await new Promise((resolve) => server.close(resolve));
  });

  const tunnel = async (host: string): Promise<{ status: number | undefined; socket: Socket }> =>
    new Promise((resolve, reject) => {
      const asking = request(google.url, { method: "CONNECT", path: `${host}:443`, agent: false });
      asking.once("connect", ({ statusCode }, socket) => resolve({ status: statusCode, socket })).once("error", reject);
      asking.end();
    });

  async function fetched(
    host: string,
    path: string,
    ca: Buffer | undefined,
  ): Promise<{ body: string; location: string | undefined }> {
    const { socket } = await tunnel(host);
    return new Promise((resolve, reject) => {
      const createConnection = () => connect({ socket, servername: host, ...(ca && { ca }) });
      get({ host, path, headers: { host }, createConnection }, (res) => {
        text(res).then((body) => resolve({ body, location: res.headers.location }), reject);
      }).once("error", reject);
    });
  }

  it("answer with the server's answers, under their own names", async () => {
    const ca = readFileSync(google.caFile);
    expect(await fetched("www.googleapis.com", "/drive/v3/files?q=1", ca)).toEqual({
      body: "GET /drive/v3/files?q=1",
      location: "https://www.googleapis.com/session?upload_id=1",
    });
    expect((await fetched("oauth2.googleapis.com", "/token", ca)).body).toBe("GET /token");
    expect(google.asked).toEqual(["GET www.googleapis.com/drive/v3/files?q=1", "GET oauth2.googleapis.com/token"]);
    expect(google.refused).toEqual([]);
  });

  it("are believed only by those who were given their CA", async () => {
    await expect(fetched("www.googleapis.com", "/", undefined)).rejects.toMatchObject({
      code: "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    });
    expect(google.asked).toEqual([]);
  });

  it("are all there is: other hosts are refused and remembered", async () => {
    const { status, socket } = await tunnel("accounts.google.com");
    socket.destroy();
    expect(status).toBe(403);
    const plain = await new Promise((resolve, reject) => {
      request(google.url, { path: "http://www.googleapis.com/drive" }, (res) => resolve(res.resume().statusCode))
        .once("error", reject)
        .end();
    });
    expect(plain).toBe(403);
    expect(google.refused).toEqual(["CONNECT accounts.google.com:443", "GET http://www.googleapis.com/drive"]);
  });
});

/**
 * Google's hosts on loopback, for clients that have no setting for another address: a CONNECT proxy that ends TLS for
 * `www.googleapis.com` and `oauth2.googleapis.com` with a CA of its own and hands the requests to an emulator. Every
 * other host is refused and remembered, so that a test can say that nothing else was asked for.
 * @module
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

const OPENSSL = "openssl";
const HOSTS = ["www.googleapis.com", "oauth2.googleapis.com"];

export interface GoogleHosts {
  readonly url: string;
  /** The CA's certificate. */
  readonly caFile: string;
  /** What a client needs in its environment to come here, and nothing of the environment of the tests. */
  readonly env: Readonly<Record<string, string>>;
  /** `METHOD host/path?query` of each request that was handed on, in their order. */
  readonly asked: readonly string[];
  /** What was asked for besides. */
  readonly refused: readonly string[];
  close(): Promise<void>;
}

/** A CA that nobody else knows, and a certificate for `HOSTS` that it signed. */
function certify(folder: string): { readonly caFile: string; readonly key: Buffer; readonly cert: Buffer } {
  const at = (name: string) => join(folder, name);
  // Without a file of our own, openssl.cnf of the machine adds extensions.
  writeFileSync(at("openssl.cnf"), "[req]\ndistinguished_name = dn\n[dn]\n");
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const sign = (name: string, extensions: string[], ...by: string[]) => {
    const out = ["-subj", `/CN=${name}`, "-days", "2", "-keyout", at(`${name}.key`), "-out", at(`${name}.pem`)];
    const added = extensions.flatMap((extension) => ["-addext", extension]);
    execFileSync(OPENSSL, ["req", "-x509", "-config", at("openssl.cnf"), ...curve, ...out, ...added, ...by], { stdio: "pipe" });
  };
  sign("ca", ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"]);
  const names = HOSTS.map((host) => `DNS:${host}`).join(",");
  sign("hosts", [`subjectAltName=${names}`, "extendedKeyUsage=serverAuth"], "-CA", at("ca.pem"), "-CAkey", at("ca.key"));
  return { caFile: at("ca.pem"), key: readFileSync(at("hosts.key")), cert: readFileSync(at("hosts.pem")) };
}

/** Google's hosts, answered by the plain-http server at `target`. */
export async function startGoogleHosts(target: string): Promise<GoogleHosts> {
  const folder = mkdtempSync(join(tmpdir(), "aftersave-hosts-"));
  const { caFile, key, cert } = certify(folder);
  const { hostname, port } = new URL(target);
  const asked: string[] = [];
  const refused: string[] = [];
  const sockets = new Set<Socket>();

  async function handOn(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const host = req.headers.host ?? "";
    asked.push(`${req.method} ${host}${req.url}`);
    const headers = { ...req.headers, host: `${hostname}:${port}` };
    const onward = request({ hostname, port, method: req.method, path: req.url, headers, agent: false });
    const answered = new Promise<IncomingMessage>((resolve, reject) => onward.once("response", resolve).once("error", reject));
    // A server may answer before it has read everything; what counts then is its answer.
    const sent = pipeline(req, onward).catch(() => undefined);
    const answer = await answered;
    const { location } = answer.headers;
    const back =
      location === undefined ? {} : { location: `https://${host}${location.slice(new URL(location, target).origin.length)}` };
    const { connection: _, "keep-alive": __, ...kept } = answer.headers;
    res.writeHead(answer.statusCode ?? 502, { ...kept, ...back });
    await pipeline(answer, res);
    await sent;
  }

  const tls = createTlsServer({ key, cert, requestTimeout: 0 }, (req, res) => {
    // Whatever cut the answer off on its way cuts it off for the client too.
    handOn(req, res).catch(() => req.socket.destroy());
  });
  const proxy = createServer((req, res) => {
    refused.push(`${req.method} ${req.url}`);
    res.writeHead(403).end();
  });
  proxy.on("connection", (socket: Socket) => {
    sockets.add(socket.once("close", () => sockets.delete(socket)).on("error", () => socket.destroy()));
  });
  proxy.on("connect", (req: IncomingMessage, socket: Socket, head: Buffer) => {
    if (!HOSTS.some((host) => req.url === `${host}:443`)) {
      refused.push(`CONNECT ${req.url}`);
      socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
      return;
    }
    socket.write("HTTP/1.1 200 Connection Established\r\n\r\n");
    if (head.length > 0) socket.unshift(head);
    tls.emit("connection", socket);
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  return {
    url,
    caFile,
    env: {
      PATH: process.env["PATH"] ?? "",
      HOME: folder,
      HTTPS_PROXY: url,
      HTTP_PROXY: url,
      http_proxy: url,
      SSL_CERT_FILE: caFile,
      HTTPLIB2_CA_CERTS: caFile,
    },
    asked,
    refused,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => proxy.close(resolve));
      rmSync(folder, { recursive: true });
    },
  };
}

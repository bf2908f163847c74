/**
 * A small WebDAV server on 127.0.0.1 that does what RFC 4918 says, or leaves out what real ones leave out: conditions
 * (nginx, rclone), ETags and fine times (nginx), whole PUTs. It keeps everything in memory.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { PASSWORD, USER } from "./place.ts";

export interface Settings {
  /** PUT, MOVE and DELETE obey `If`, `If-Match` and `If-None-Match`. */
  readonly conditions: boolean;
  /** Without them, a file's version shows in its time only, of whole seconds. */
  readonly etags: boolean;
  /** The `Date` of a PUT becomes the file's time. */
  readonly dates: boolean;
  /** What arrives shows at once. */
  readonly showsHalf: boolean;
  readonly ignoresCase: boolean;
  /** `none`: anybody may. */
  readonly auth: "basic" | "digest" | "none";
  /** Listings show this in front of every path, as behind a proxy. */
  readonly behind: string;
}

/** What is done to one request: answered so; done, but the answer is lost; its answer cut in the middle. */
export type Fault =
  { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string } | "lose" | "cut";

export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
}

interface File {
  bytes: Buffer;
  etag: string;
  modified: number;
}

export interface Dav {
  /** With a slash at its end. */
  readonly url: string;
  readonly requests: Seen[];
  /** Decides over each request, before it is looked at. */
  fault: (request: Seen) => Fault | undefined;
  /** Bytes that fit. */
  room: number;
  /** Changes what is stored of every PUT. */
  spoil: ((bytes: Buffer) => Buffer) | undefined;
  readonly settings: Settings;
  write(path: string, bytes: Uint8Array): void;
  /** Every path that holds a file. */
  files(): string[];
  age(path: string, ms: number): void;
  folders: Set<string>;
  close(): Promise<void>;
}

const DEFAULTS: Settings = {
  conditions: true,
  etags: true,
  dates: false,
  showsHalf: false,
  ignoresCase: false,
  auth: "basic",
  behind: "",
};

const escaped = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
const md5 = (text: string) => createHash("md5").update(text).digest("hex");

export async function startDav(settings: Partial<Settings> = {}): Promise<Dav> {
  const rules: Settings = { ...DEFAULTS, ...settings };
  const files = new Map<string, File>();
  const folders = new Set(["/dav"]);
  let writes = 0;
  let nonces = 0;
  const counts = new Map<string, Set<string>>();

  /** The name under which a path is kept. */
  const nameOf = (path: string): string => {
    const bare = path.replace(/\/$/, "");
    if (!rules.ignoresCase) return bare;
    const same = (one: string) => one.toLowerCase() === bare.toLowerCase();
    return [...files.keys(), ...folders].find(same) ?? bare;
  };
  const parentOf = (path: string) => path.slice(0, path.lastIndexOf("/"));
  const timeNow = () => (rules.etags ? Date.now() : Math.floor(Date.now() / 1000) * 1000);
  const store = (path: string, bytes: Buffer, modified = timeNow()) =>
    files.set(path, { bytes, etag: `${(++writes).toString(16)}-${bytes.length}`, modified });
  const etagOf = (file: File) => (rules.etags ? `"${file.etag}"` : undefined);

  function propsOf(path: string): string {
    const file = files.get(path);
    const href = rules.behind + path.split("/").map(encodeURIComponent).join("/") + (file ? "" : "/");
    const props = file
      ? `<D:resourcetype/><D:getcontentlength>${file.bytes.length}</D:getcontentlength><D:getlastmodified>${new Date(file.modified).toUTCString()}</D:getlastmodified>${
          rules.etags ? `<D:getetag>${etagOf(file)}</D:getetag>` : ""
        }`
      : "<D:resourcetype><D:collection/></D:resourcetype>";
    return `<D:response><D:href>${escaped(href)}</D:href><D:propstat><D:prop>${props}</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>`;
  }

  /** Whether the request's conditions hold; of `If`, one tagged list with one ETag is understood. */
  function holds(headers: IncomingMessage["headers"], path: string): boolean {
    if (!rules.conditions) return true;
    const file = files.get(path);
    if (headers["if-none-match"] === "*" && file) return false;
    const matching = headers["if-match"];
    if (matching !== undefined && (file === undefined || etagOf(file) !== matching)) return false;
    if (headers.if === undefined) return true;
    const [, url = "", etag = ""] = /^<([^>]*)> \(\["([^"]*)"\]\)$/.exec(String(headers.if)) ?? [];
    if (url === "") return false;
    return files.get(nameOf(decodeURIComponent(new URL(url).pathname)))?.etag === etag;
  }

  function isSignedIn(request: IncomingMessage): boolean {
    const sent = Buffer.from(request.headers.authorization ?? "", "latin1").toString("utf8");
    if (rules.auth === "none") return true;
    if (rules.auth === "basic") return sent === `Basic ${Buffer.from(`${USER}:${PASSWORD}`).toString("base64")}`;
    const field = (name: string) => new RegExp(`\\b${name}="?([^",]*)`).exec(sent)?.[1] ?? "";
    const ha1 = md5(`${USER}:dav:${PASSWORD}`);
    const ha2 = md5(`${request.method}:${request.url}`);
    const [nonce, nc] = [field("nonce"), field("nc")];
    const isRight = field("response") === md5(`${ha1}:${nonce}:${nc}:${field("cnonce")}:auth:${ha2}`);
    // a nonce lasts for fifty requests, and no count of it is used twice
    const used = counts.get(nonce);
    const isNext = used !== undefined && !used.has(nc) && used.size < 50;
    if (isRight && isNext) used.add(nc);
    return isRight && isNext;
  }

  async function answer(request: IncomingMessage, response: ServerResponse, fault: Fault | undefined): Promise<void> {
    const { method = "", headers } = request;
    const end = (status: number, text: Buffer | string = "", more: Record<string, string> = {}) => {
      request.resume();
      if (fault === "lose") return void request.socket.destroy();
      response.writeHead(status, { "content-length": Buffer.byteLength(text), ...more });
      if (fault === "cut") {
        response.write(text.slice(0, Math.floor(text.length / 2)));
        return void setTimeout(() => request.socket.destroy(), 5);
      }
      response.end(method === "HEAD" ? undefined : text);
    };
    if (typeof fault === "object") return end(fault.status, fault.body ?? "", fault.headers);
    if (!isSignedIn(request)) {
      const stale = headers.authorization?.startsWith("Digest") === true ? ", stale=true" : "";
      if (rules.auth === "digest") counts.set(`n${++nonces}`, new Set());
      const challenge =
        rules.auth === "basic"
          ? 'Basic realm="dav"'
          : `Digest realm="dav", qop="auth", nonce="n${nonces}", algorithm=MD5${stale}`;
      return end(401, "", { "www-authenticate": challenge });
    }
    const path = nameOf(decodeURIComponent(request.url ?? ""));
    const file = files.get(path);
    const isThere = file !== undefined || folders.has(path);
    switch (method) {
      case "PROPFIND": {
        if (!isThere) return end(404);
        const below = headers.depth === "1" ? [...folders, ...files.keys()].filter((one) => parentOf(one) === path) : [];
        return end(
          207,
          `<?xml version="1.0"?><D:multistatus xmlns:D="DAV:">${[path, ...below].map(propsOf).join("")}</D:multistatus>`,
        );
      }
      case "GET":
      case "HEAD": {
        if (!file) return end(isThere ? 200 : 404, isThere ? "<html>a folder</html>" : "");
        const etag = etagOf(file);
        return end(200, file.bytes, { "last-modified": new Date(file.modified).toUTCString(), ...(etag && { etag }) });
      }
      case "MKCOL":
        if (isThere) return end(405);
        if (!folders.has(parentOf(path))) return end(409);
        folders.add(path);
        return end(201);
      case "PUT": {
        if (folders.has(path)) return end(405);
        if (!folders.has(parentOf(path))) return end(409);
        if (!holds(headers, path)) return end(412);
        const parts: Buffer[] = [];
        try {
          for await (const part of request) {
            parts.push(part as Buffer);
            if (rules.showsHalf) store(path, Buffer.concat(parts));
          }
        } catch {
          return;
        }
        const bytes = Buffer.concat(parts);
        if (bytes.length > dav.room) return end(507);
        // what was looked at before the body came may be another now
        if (!holds(headers, path)) return end(412);
        const time = rules.dates && headers.date !== undefined ? Date.parse(headers.date) : undefined;
        store(path, dav.spoil ? dav.spoil(bytes) : bytes, time);
        return end(file ? 204 : 201);
      }
      case "DELETE":
        if (!isThere) return end(404);
        if (!holds(headers, path)) return end(412);
        for (const one of files.keys()) if (one === path || one.startsWith(`${path}/`)) files.delete(one);
        for (const one of folders) if (one === path || one.startsWith(`${path}/`)) folders.delete(one);
        return end(204);
      case "MOVE":
      case "COPY": {
        const to = nameOf(decodeURIComponent(new URL(String(headers["destination"])).pathname));
        if (!file) return end(isThere ? 403 : 404);
        if (!folders.has(parentOf(to))) return end(409);
        const was = files.has(to) || folders.has(to);
        if (was && headers["overwrite"] === "F") return end(412);
        if (!holds(headers, path)) return end(412);
        // as RFC 4918 has it, whatever lies there goes, a folder too
        for (const one of files.keys()) if (one.startsWith(`${to}/`)) files.delete(one);
        folders.delete(to);
        files.set(to, { ...file, ...(method === "COPY" && { etag: `${(++writes).toString(16)}-c`, modified: timeNow() }) });
        if (method === "MOVE") files.delete(path);
        return end(was ? 204 : 201);
      }
      default:
        return end(501);
    }
  }

  const server = createServer((request, response) => {
    response.on("error", () => undefined);
    request.on("error", () => undefined);
    const seen = { method: request.method ?? "", path: decodeURIComponent(request.url ?? ""), headers: request.headers };
    dav.requests.push(seen);
    answer(request, response, dav.fault(seen)).catch(() => request.socket.destroy());
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const dav: Dav = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/dav/`,
    requests: [],
    fault: () => undefined,
    room: Infinity,
    spoil: undefined,
    settings: rules,
    folders,
    write(path, bytes) {
      const full = nameOf(`/dav/${path}`);
      for (let at = full.indexOf("/", 1); at > 0; at = full.indexOf("/", at + 1)) folders.add(full.slice(0, at));
      store(full, Buffer.from(bytes));
    },
    files: () => [...files.keys()].map((path) => path.slice("/dav/".length)),
    age(path, ms) {
      const file = files.get(`/dav/${path}`);
      if (file) file.modified -= ms;
    },
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
  return dav;
}

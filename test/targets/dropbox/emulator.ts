/**
 * A Dropbox on the loopback, as its API is documented: one namespace that ignores case and lets one writer in at a time, revs,
 * `strict_conflict`, content hashes, upload sessions, refresh tokens, scopes. Of a path it tells only the last name as it is spelled, which is
 * the least that Dropbox promises.
 */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

type Json = Record<string, unknown>;

interface Node {
  readonly name: string;
  readonly path: string;
  readonly bytes?: Buffer;
  readonly rev?: string;
}

export interface Fault {
  /** Of which route, e.g. `files/upload`; all of them when left out. */
  readonly route?: string;
  readonly status?: number;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
  /** `before`: the connection breaks before anything happens; `after`: what was asked for happens, its answer is lost; `half`: the answer breaks off. */
  readonly cut?: "before" | "after" | "half";
  /** Done before the request is answered. */
  readonly meanwhile?: () => void;
  times?: number;
}

const SCOPES = ["account_info.read", "files.content.read", "files.content.write", "files.metadata.read"];
const needs: Readonly<Record<string, string>> = {
  "files/get_metadata": "files.metadata.read",
  "files/list_folder": "files.metadata.read",
  "files/list_folder/continue": "files.metadata.read",
  "files/download": "files.content.read",
  "users/get_current_account": "account_info.read",
  "users/get_space_usage": "account_info.read",
};

class Refusal extends Error {
  readonly status: number;
  readonly body: unknown;
  readonly headers: Record<string, string>;
  constructor(status: number, body: unknown, headers: Record<string, string> = {}) {
    super("refused");
    this.status = status;
    this.body = body;
    this.headers = headers;
  }
}

/** `refuse(409, "path", "conflict", "file")` as Dropbox nests it. */
const union = (tags: readonly string[], extra: Json = {}): Json => {
  const [tag = "", ...rest] = tags;
  return rest.length === 0 ? { ".tag": tag, ...extra } : { ".tag": tag, [tag]: union(rest, extra) };
};
const refusal = (tags: readonly string[], extra: Json = {}) =>
  new Refusal(409, { error_summary: `${tags.join("/")}/..`, error: union(tags, extra) });

export function contentHash(bytes: Uint8Array): string {
  const whole = createHash("sha256");
  for (let at = 0; at < bytes.length; at += 4 * 1024 * 1024)
    whole.update(
      createHash("sha256")
        .update(bytes.subarray(at, at + 4 * 1024 * 1024))
        .digest(),
    );
  return whole.digest("hex");
}

export interface Settings {
  /** Entries on one page of a listing. */
  readonly pageSize: number;
  /** Takes names with characters beyond the Basic Multilingual Plane, which Dropbox did not always. */
  readonly emoji: boolean;
}

export interface DropboxEmulator {
  readonly url: string;
  readonly faults: Fault[];
  /** Routes that were asked for, in order. */
  readonly requests: string[];
  /** Bytes of content that came in. */
  readonly received: () => number;
  readonly sessions: Map<string, { bytes: Buffer[]; closed: boolean }>;
  readonly account: { space: number; scopes: string[]; code: string; appKey: string };
  /** What another program does. */
  write(path: string, bytes: Uint8Array): void;
  /** As someone renames it in the browser, in case only. */
  spell(path: string, name: string): void;
  drop(path: string): void;
  read(path: string): Buffer | undefined;
  paths(): string[];
  /** Ends all access tokens. */
  expire(): void;
  /** Ends all of the sign-in. */
  revoke(): void;
  readonly token: () => string;
  readonly challenges: { verifier?: string };
  close(): Promise<void>;
}

export async function startDropbox({ pageSize = 500, emoji = true }: Partial<Settings> = {}): Promise<DropboxEmulator> {
  const nodes = new Map<string, Node>();
  const deleted = new Set<string>();
  const sessions = new Map<string, { bytes: Buffer[]; closed: boolean }>();
  const cursors = new Map<string, Json[]>();
  const faults: Fault[] = [];
  const requests: string[] = [];
  const challenges: { verifier?: string } = {};
  const account = { space: 1e12, scopes: [...SCOPES], code: "the-code", appKey: "appkey" };
  let [counter, received, writing] = [0, 0, 0];
  let access = "sl.first";
  let refresh: string | undefined = "refresh-1";
  const ended = new Set<string>();

  const fresh = () => (++counter).toString(16).padStart(12, "0");
  const lower = (path: string) => path.toLowerCase();
  const parentOf = (path: string) => path.slice(0, path.lastIndexOf("/"));
  const nameOf = (path: string) => path.slice(path.lastIndexOf("/") + 1);
  const metadata = (node: Node): Json => ({
    ".tag": node.bytes ? "file" : "folder",
    name: node.name,
    id: `id:${node.path}`,
    path_lower: lower(node.path),
    path_display: `${lower(parentOf(node.path))}/${node.name}`,
    ...(node.bytes && {
      rev: node.rev,
      size: node.bytes.length,
      content_hash: contentHash(node.bytes),
      is_downloadable: true,
    }),
  });

  const checkPath = (path: unknown, tags: readonly string[]): string => {
    if (typeof path !== "string" || !/^(\/[^/]+)+$/.test(path))
      throw new Refusal(400, `Error in call to API function: path: '${String(path)}' did not match pattern`);
    if (!emoji && /[\u{10000}-\u{10ffff}]/u.test(path)) throw refusal([...tags, "malformed_path"]);
    if (/[\\]/.test(path)) throw refusal([...tags, "malformed_path"]);
    return path;
  };
  const checkName = (path: string, tags: readonly string[]) => {
    if (/^(desktop\.ini|thumbs\.db|\.ds_store|\.dropbox|\.dropbox\.attr|~\$.*|\.~.*)$/i.test(nameOf(path)))
      throw refusal([...tags, "disallowed_name"]);
  };
  const makeFolders = (path: string, tags: readonly string[]) => {
    const parent = parentOf(path);
    if (parent === "") return;
    const there = nodes.get(lower(parent));
    if (there?.bytes) throw refusal([...tags, "conflict", "file_ancestor"]);
    if (there) return;
    makeFolders(parent, tags);
    nodes.set(lower(parent), { name: nameOf(parent), path: parent });
  };
  const store = (path: string, bytes: Buffer): Json => {
    const there = nodes.get(lower(path));
    const node = { name: there?.name ?? nameOf(path), path: there?.path ?? path, bytes, rev: fresh() };
    nodes.set(lower(path), node);
    deleted.delete(lower(path));
    const { ".tag": _, ...said } = metadata(node);
    return said;
  };

  /** As `WriteMode` and `strict_conflict` are documented. */
  const commit = (info: Json, bytes: Buffer, tags: readonly string[]): Json => {
    const path = checkPath(info["path"], tags);
    checkName(path, tags);
    const mode = info["mode"] as string | { update: string };
    const strict = info["strict_conflict"] === true;
    const rev = typeof mode === "object" ? mode.update : undefined;
    if (rev !== undefined && !/^[0-9a-f]{9,}$/.test(rev))
      throw new Refusal(400, "Error in call to API function: mode: invalid rev");
    const there = nodes.get(lower(path));
    if (there && !there.bytes) throw refusal([...tags, "conflict", "folder"]);
    const same = there?.bytes?.equals(bytes) === true;
    if (
      rev !== undefined ? there?.rev !== rev && (there ? strict || !same : strict) : mode === "add" && there && (strict || !same)
    )
      throw refusal([...tags, "conflict", "file"]);
    if (bytes.length > account.space) throw refusal([...tags, "insufficient_space"]);
    if (there && same) {
      const { ".tag": _, ...said } = metadata(there);
      return said;
    }
    makeFolders(path, tags);
    return store(path, bytes);
  };

  const found = (path: unknown, tags: readonly string[]): Node => {
    const node = nodes.get(lower(checkPath(path, tags)));
    if (!node) throw refusal([...tags, "not_found"]);
    return node;
  };

  const page = (rest: Json[]): Json => {
    const cursor = `cursor-${fresh()}`;
    cursors.set(cursor, rest.slice(pageSize));
    return { entries: rest.slice(0, pageSize), cursor, has_more: rest.length > pageSize };
  };

  const checkHash = (arg: Json, bytes: Buffer) => {
    if (arg["content_hash"] !== undefined && arg["content_hash"] !== contentHash(bytes)) throw refusal(["content_hash_mismatch"]);
  };
  const sessionAt = (arg: Json, tags: readonly string[]) => {
    const { session_id: id, offset } = arg["cursor"] as { session_id: string; offset: number };
    const session = sessions.get(id);
    if (!session) throw refusal([...tags, "not_found"]);
    if (session.closed) throw refusal([...tags, "closed"]);
    const size = session.bytes.reduce((sum, part) => sum + part.length, 0);
    if (size !== offset) throw refusal([...tags, "incorrect_offset"], { correct_offset: size });
    return session;
  };

  const routes: Readonly<Record<string, (arg: Json, bytes: Buffer) => unknown>> = {
    "files/get_metadata": (arg) => {
      const path = checkPath(arg["path"], ["path"]);
      if (arg["include_deleted"] === true && deleted.has(lower(path))) return { ".tag": "deleted", name: nameOf(path) };
      return metadata(found(path, ["path"]));
    },
    "files/list_folder": (arg) => {
      const path = arg["path"] as string;
      if (path === "/") throw new Refusal(400, "Error in call to API function: path: Specify the root folder as an empty string");
      if (path !== "" && found(path, ["path"]).bytes) throw refusal(["path", "not_folder"]);
      const below = [...nodes.entries()].filter(([at]) => path === "" || at === lower(path) || at.startsWith(`${lower(path)}/`));
      return page(below.toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, node]) => metadata(node)));
    },
    "files/list_folder/continue": (arg) => {
      const rest = cursors.get(String(arg["cursor"]));
      if (!rest) throw refusal(["reset"]);
      return page(rest);
    },
    "files/copy_v2": (arg) => {
      const from = found(arg["from_path"], ["from_lookup"]);
      const to = checkPath(arg["to_path"], ["to"]);
      checkName(to, ["to"]);
      const there = nodes.get(lower(to));
      if (there) throw refusal(["to", "conflict", there.bytes ? "file" : "folder"]);
      makeFolders(to, ["to"]);
      return { metadata: { ".tag": "file", ...store(to, from.bytes ?? Buffer.alloc(0)) } };
    },
    "files/delete_v2": (arg) => {
      const node = found(arg["path"], ["path_lookup"]);
      if (arg["parent_rev"] !== undefined && arg["parent_rev"] !== node.rev) throw refusal(["path_write", "conflict", "file"]);
      const at = lower(node.path);
      for (const path of nodes.keys()) if (path === at || path.startsWith(`${at}/`)) nodes.delete(path);
      deleted.add(at);
      return { metadata: metadata(node) };
    },
    "files/upload": (arg, bytes) => {
      checkHash(arg, bytes);
      try {
        return commit(arg, bytes, ["path"]);
      } catch (error) {
        // here the reason stands beside the session
        const body = error instanceof Refusal ? (error.body as { error_summary: string; error: Json }) : undefined;
        if (!body?.error) throw error;
        throw new Refusal(409, {
          ...body,
          error: { ".tag": "path", reason: body.error["path"], upload_session_id: "pid_upload" },
        });
      }
    },
    "files/upload_session/start": (_, bytes) => {
      const id = `session-${fresh()}`;
      sessions.set(id, { bytes: bytes.length > 0 ? [bytes] : [], closed: false });
      return { session_id: id };
    },
    "files/upload_session/append_v2": (arg, bytes) => {
      const session = sessionAt(arg, []);
      checkHash(arg, bytes);
      session.bytes.push(bytes);
      return null;
    },
    "files/upload_session/finish": (arg, bytes) => {
      const session = sessionAt(arg, ["lookup_failed"]);
      const said = commit(arg["commit"] as Json, Buffer.concat([...session.bytes, bytes]), ["path"]);
      session.closed = true;
      return said;
    },
    "users/get_current_account": () => ({ account_id: "dbid:1", email: "mara@example.org" }),
    "users/get_space_usage": () => ({ used: 0, allocation: { ".tag": "individual", allocated: account.space } }),
    "auth/token/revoke": () => {
      ended.add(access);
      refresh = undefined;
      return null;
    },
  };
  const WRITES = ["files/copy_v2", "files/delete_v2", "files/upload", "files/upload_session/finish"];

  const token = (form: URLSearchParams): Json => {
    const wrong = (error: string) => new Refusal(400, { error, error_description: `${error}: ${form.get("code") ?? ""}` });
    if (form.get("client_id") !== account.appKey) throw wrong("invalid_client");
    if (form.has("client_secret")) throw wrong("invalid_request");
    const isCode = form.get("grant_type") === "authorization_code";
    if (isCode ? form.get("code") !== account.code : form.get("refresh_token") !== refresh) throw wrong("invalid_grant");
    if (isCode) {
      challenges.verifier = form.get("code_verifier") ?? "";
      refresh = `refresh-${fresh()}`;
    }
    access = `sl.${fresh()}`;
    const rest = isCode ? { refresh_token: refresh, scope: account.scopes.join(" "), account_id: "dbid:1", uid: "1" } : {};
    return { access_token: access, token_type: "bearer", expires_in: 14_400, ...rest };
  };

  const authorize = (request: IncomingMessage, route: string) => {
    const given = request.headers.authorization?.replace("Bearer ", "") ?? "";
    const refuse = (tag: string, extra: Json = {}) =>
      new Refusal(401, { error_summary: `${tag}/`, error: { ".tag": tag, ...extra } });
    if (ended.has(given)) throw refuse("expired_access_token");
    if (given !== access) throw refuse("invalid_access_token");
    const scope = needs[route] ?? "files.content.write";
    if (!account.scopes.includes(scope)) throw refuse("missing_scope", { required_scope: scope });
  };

  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const url = new URL(request.url ?? "/", "http://127.0.0.1");
    const route = url.pathname.replace(/^\/2\//, "").replace(/^\//, "");
    requests.push(route);
    const at = faults.findIndex((fault) => fault.route === undefined || fault.route === route);
    const fault = faults[at];
    if (fault) {
      fault.times = (fault.times ?? 1) - 1;
      if (fault.times <= 0) faults.splice(at, 1);
    }
    if (fault?.cut === "before") return void request.socket.destroy();
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = Buffer.concat(parts);
    fault?.meanwhile?.();
    let isWriting = false;
    try {
      if (fault?.status !== undefined) throw new Refusal(fault.status, fault.body ?? "", fault.headers);
      let answer: unknown;
      let content: Buffer | undefined;
      if (route === "oauth2/token") answer = token(new URLSearchParams(body.toString()));
      else {
        authorize(request, route);
        const header = request.headers["dropbox-api-arg"];
        if (header !== undefined && /[^\x20-\x7e]/.test(String(header))) throw new Refusal(400, "non-ASCII header");
        const text = header === undefined ? body.toString() : String(header);
        const arg = JSON.parse(text === "" ? "null" : text) as Json;
        if (header !== undefined) received += body.length;
        if (WRITES.includes(route)) {
          isWriting = ++writing === 1 || (writing--, false);
          if (!isWriting)
            throw new Refusal(
              429,
              {
                error_summary: "too_many_write_operations/",
                error: { reason: { ".tag": "too_many_write_operations" }, retry_after: 1 },
              },
              { "retry-after": "1" },
            );
          await new Promise((resolve) => setImmediate(resolve));
        }
        if (route === "files/download") {
          const node = found(arg["path"], ["path"]);
          if (!node.bytes) throw refusal(["path", "not_file"]);
          const { ".tag": _, ...said } = metadata(node);
          const escaped = JSON.stringify(said).replaceAll(
            /[\u007f-\uffff]/g,
            (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
          );
          response.setHeader("dropbox-api-result", escaped);
          content = node.bytes;
        } else {
          const run = routes[route];
          if (!run) throw new Refusal(404, "unknown");
          answer = run(arg, body);
        }
      }
      if (fault?.cut === "after") return void request.socket.destroy();
      response.writeHead(200, { "content-type": content ? "application/octet-stream" : "application/json" });
      if (content && fault?.cut === "half") {
        response.write(content.subarray(0, content.length / 2));
        setTimeout(() => request.socket.destroy(), 5);
        return;
      }
      response.end(content ?? JSON.stringify(answer));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const isText = typeof error.body === "string";
      response.writeHead(error.status, { "content-type": isText ? "text/plain" : "application/json", ...error.headers });
      response.end(isText ? error.body : JSON.stringify(error.body));
    } finally {
      if (isWriting) writing--;
    }
  };

  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      if (!response.headersSent && !request.socket.destroyed) response.writeHead(500).end(String(error));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    faults,
    requests,
    received: () => received,
    sessions,
    account,
    challenges,
    write(path, bytes) {
      makeFolders(path, []);
      store(path, Buffer.from(bytes));
    },
    spell(path, name) {
      const node = nodes.get(lower(path));
      if (node) nodes.set(lower(path), { ...node, name });
    },
    drop: (path) => void nodes.delete(lower(path)),
    read: (path) => nodes.get(lower(path))?.bytes,
    paths: () => [...nodes.values()].filter(({ bytes }) => bytes).map(({ path }) => path),
    expire: () => void ended.add(access),
    revoke() {
      ended.add(access);
      refresh = undefined;
    },
    token: () => access,
    async close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

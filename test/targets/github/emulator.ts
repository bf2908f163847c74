/**
 * The part of GitHub that keeps release assets, as its documentation and its users describe it, over real HTTP: names are
 * changed without a word, an upload is a `starter` until its last byte is there, nothing empty and nothing of unknown length is
 * taken, bytes lie at another host that refuses a token, and what the token may not see is 404.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Settings {
  readonly repo: string;
  readonly token: string;
  /** Most entries of a page, whatever is asked for. */
  readonly pageSize: number;
  /** Whether assets have a digest; Enterprise servers have none. */
  readonly digests: boolean;
  readonly empty: boolean;
  readonly immutable: boolean;
  readonly mostAssets: number;
  readonly now: () => number;
}

export interface StoredAsset {
  id: number;
  release: number;
  name: string;
  label: string;
  state: "starter" | "uploaded";
  type: string;
  bytes: Buffer;
  createdAt: number;
}

export interface StoredRelease {
  id: number;
  tag: string;
  draft: boolean;
  immutable: boolean;
}

/** What happens instead of the answer to the next request that fits. */
export interface Fault {
  readonly method: string;
  readonly path: RegExp;
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly body?: unknown;
  /** The work is done, and then the connection breaks. */
  readonly lost?: boolean;
  /** Bytes of a download that are sent before it breaks. */
  readonly after?: number;
  /** Bytes that GitHub keeps instead of the ones that came. */
  readonly damage?: boolean;
}

export interface Github {
  readonly url: string;
  readonly settings: { -readonly [K in keyof Settings]: Settings[K] };
  readonly releases: StoredRelease[];
  readonly assets: Map<number, StoredAsset>;
  readonly requests: string[];
  /** Requests that carried a token to the host of the bytes. */
  readonly leaks: string[];
  readonly faults: Fault[];
  addRelease(tag: string, draft?: boolean): StoredRelease;
  addAsset(release: number, name: string, bytes: Uint8Array, more?: Partial<StoredAsset>): StoredAsset;
  close(): Promise<void>;
}

const listen = (server: Server) =>
  new Promise<string>((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
  });

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** As its users found out: anything else becomes a dot, and dots in a row or at an end go. */
export const sanitized = (name: string) =>
  name
    .replaceAll(/[^A-Za-z0-9._@+-]+/g, ".")
    .replaceAll(/\.{2,}/g, ".")
    .replaceAll(/^\.+|\.+$/g, "");

export async function startGithub(given: Partial<Settings> = {}): Promise<Github> {
  const settings: Github["settings"] = {
    repo: "me/memory",
    token: "github_pat_11SECRETSECRETSECRET",
    pageSize: 100,
    digests: true,
    empty: false,
    immutable: false,
    mostAssets: 1000,
    now: Date.now,
    ...given,
  };
  const releases: StoredRelease[] = [];
  const assets = new Map<number, StoredAsset>();
  const requests: string[] = [];
  const leaks: string[] = [];
  const faults: Fault[] = [];
  const blobs = new Map<string, Buffer>();
  let ids = 1000;

  const answer = (response: ServerResponse, status: number, body?: unknown, headers: Record<string, string> = {}) => {
    const json = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
    response.writeHead(status, {
      ...(json !== undefined && {
        "content-type": "application/json; charset=utf-8",
        "content-length": String(Buffer.byteLength(json)),
      }),
      date: new Date(settings.now()).toUTCString(),
      ...headers,
    });
    response.end(json);
  };
  const shown = (asset: StoredAsset) => ({
    id: asset.id,
    name: asset.name,
    label: asset.label,
    state: asset.state,
    content_type: asset.type,
    size: asset.state === "uploaded" ? asset.bytes.length : 0,
    digest: settings.digests && asset.state === "uploaded" ? `sha256:${sha256(asset.bytes)}` : null,
    created_at: new Date(asset.createdAt).toISOString(),
    updated_at: new Date(asset.createdAt).toISOString(),
  });
  const shownRelease = ({ id, tag, draft, immutable }: StoredRelease) => ({
    id,
    tag_name: tag,
    draft,
    prerelease: true,
    immutable,
  });
  const invalid = (resource: string, code: string, field: string, message?: string) => ({
    message: "Validation Failed",
    errors: [{ resource, code, field, ...(message !== undefined && { message }) }],
    documentation_url: "https://docs.github.com/rest",
    status: "422",
  });
  const taken = (release: number, name: string, but?: number) =>
    [...assets.values()].some(
      (one) => one.release === release && one.id !== but && one.name.toLowerCase() === name.toLowerCase(),
    );

  const addRelease = (tag: string, draft = false): StoredRelease => {
    const release = { id: ++ids, tag, draft, immutable: settings.immutable && !draft };
    releases.push(release);
    return release;
  };
  const addAsset = (release: number, name: string, bytes: Uint8Array, more: Partial<StoredAsset> = {}): StoredAsset => {
    const asset: StoredAsset = {
      id: ++ids,
      release,
      name,
      label: "",
      state: "uploaded",
      type: "application/octet-stream",
      bytes: Buffer.from(bytes),
      createdAt: settings.now(),
      ...more,
    };
    assets.set(asset.id, asset);
    return asset;
  };

  const bodyOf = async (request: IncomingMessage) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    return Buffer.concat(parts);
  };

  const paged = (response: ServerResponse, url: URL, all: readonly unknown[]) => {
    const per = Math.min(settings.pageSize, Number(url.searchParams.get("per_page") ?? 30));
    const page = Number(url.searchParams.get("page") ?? 1);
    const more = all.length > page * per;
    const next = new URL(url);
    next.searchParams.set("page", String(page + 1));
    answer(response, 200, all.slice((page - 1) * per, page * per), more ? { link: `<${next.href}>; rel="next"` } : {});
  };

  const upload = async (request: IncomingMessage, response: ServerResponse, url: URL, release: StoredRelease, fault?: Fault) => {
    const length = Number(request.headers["content-length"] ?? 0);
    const name = sanitized(url.searchParams.get("name") ?? "");
    const refuse = async (body: unknown, status = 422) => {
      await bodyOf(request);
      answer(response, status, body);
    };
    if (request.headers["content-length"] === undefined) return refuse({ message: "Bad Content-Length: " }, 400);
    if (length === 0) return refuse(invalid("ReleaseAsset", "custom", "size", "size must be greater than or equal to 1"));
    if (release.immutable) return refuse({ message: "Cannot upload assets to an immutable release." });
    if (taken(release.id, name)) return refuse(invalid("ReleaseAsset", "already_exists", "name"));
    if ([...assets.values()].filter((one) => one.release === release.id).length >= settings.mostAssets)
      return refuse(invalid("ReleaseAsset", "custom", "file_count", `file_count limited to ${settings.mostAssets} assets`));
    const asset = addAsset(release.id, name, Buffer.alloc(0), {
      state: "starter",
      label: url.searchParams.get("label") ?? "",
      type: request.headers["content-type"] ?? "",
    });
    if (fault?.status !== undefined) return refuse(fault.body ?? { message: "Server Error" }, fault.status);
    const bytes = await bodyOf(request); // breaks with the connection: the starter stays
    if (!assets.has(asset.id)) return answer(response, 404, { message: "Not Found" });
    asset.bytes = fault?.damage === true ? Buffer.from(bytes.toReversed()) : bytes;
    asset.state = "uploaded";
    if (fault?.lost === true) return void request.socket.destroy();
    answer(response, 201, shown(asset));
  };

  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const url = new URL(request.url ?? "/", base);
    const path = decodeURIComponent(url.pathname);
    const method = request.method ?? "";
    requests.push(`${method} ${path}`);
    const at = faults.findIndex((one) => one.method === method && one.path.test(path));
    const fault = at < 0 ? undefined : faults.splice(at, 1)[0];
    const isUpload = method === "POST" && path.startsWith("/uploads/");
    if (fault?.status !== undefined && !isUpload) {
      await bodyOf(request);
      return answer(response, fault.status, fault.body ?? { message: "Server Error" }, fault.headers);
    }
    const finish = (status: number, body?: unknown, headers?: Record<string, string>) =>
      fault?.lost === true ? void request.socket.destroy() : answer(response, status, body, headers);
    const missing = async () => {
      await bodyOf(request);
      answer(response, 404, { message: "Not Found", documentation_url: "https://docs.github.com/rest" });
    };
    if (!/^(token|bearer) /i.test(request.headers.authorization ?? "")) return missing();
    if (!request.headers.authorization?.endsWith(` ${settings.token}`)) {
      await bodyOf(request);
      return answer(response, 401, { message: "Bad credentials", documentation_url: "https://docs.github.com/rest" });
    }
    const top = `/repos/${settings.repo}`;
    if (isUpload) {
      const [, id] = /^\/uploads(?:\/repos\/[^/]+\/[^/]+)\/releases\/(\d+)\/assets$/.exec(path) ?? [];
      const release = releases.find((one) => one.id === Number(id));
      return release && path.startsWith(`/uploads${top}/`) ? upload(request, response, url, release, fault) : missing();
    }
    if (!path.startsWith(`${top}/`)) return missing();
    const rest = path.slice(top.length);
    const [, tag] = /^\/releases\/tags\/(.+)$/.exec(rest) ?? [];
    if (method === "GET" && tag !== undefined) {
      const release = releases.find((one) => one.tag === tag && !one.draft);
      return release ? finish(200, shownRelease(release)) : missing();
    }
    if (rest === "/releases" && method === "GET") return paged(response, url, releases.map(shownRelease));
    if (rest === "/releases" && method === "POST") {
      const asked = JSON.parse((await bodyOf(request)).toString()) as { tag_name: string; draft?: boolean };
      if (settings.empty) return answer(response, 422, { message: "Repository is empty.", status: "422" });
      if (releases.some((one) => one.tag === asked.tag_name && !one.draft))
        return answer(response, 422, invalid("Release", "already_exists", "tag_name"));
      return finish(201, shownRelease(addRelease(asked.tag_name, asked.draft === true)));
    }
    const [, listed] = /^\/releases\/(\d+)\/assets$/.exec(rest) ?? [];
    if (listed !== undefined && method === "GET") {
      if (!releases.some((one) => one.id === Number(listed))) return missing();
      return paged(response, url, [...assets.values()].filter((one) => one.release === Number(listed)).map(shown));
    }
    const [, id] = /^\/releases\/assets\/(\d+)$/.exec(rest) ?? [];
    const asset = assets.get(Number(id));
    if (!asset) return missing();
    if (method === "DELETE") {
      assets.delete(asset.id);
      return finish(204);
    }
    if (method === "PATCH") {
      const asked = JSON.parse((await bodyOf(request)).toString()) as { name?: string; label?: string };
      const name = asked.name === undefined ? asset.name : sanitized(asked.name);
      if (taken(asset.release, name, asset.id)) return answer(response, 422, invalid("ReleaseAsset", "already_exists", "name"));
      Object.assign(asset, { name, label: asked.label ?? asset.label });
      return finish(200, shown(asset));
    }
    if (method !== "GET") return missing();
    if (request.headers.accept !== "application/octet-stream") return finish(200, shown(asset));
    if (asset.state !== "uploaded") return missing();
    const ticket = sha256(Buffer.from(`${asset.id} ${requests.length}`));
    blobs.set(ticket, asset.bytes);
    answer(response, 302, "", {
      location: `${elsewhere}/blob?sig=${ticket}${fault?.after === undefined ? "" : `&after=${fault.after}`}`,
    });
  };

  const api = createServer((request, response) => {
    serve(request, response).catch(() => response.destroy());
  });
  const bytes = createServer((request, response) => {
    const url = new URL(request.url ?? "/", "http://127.0.0.1");
    const blob = blobs.get(url.searchParams.get("sig") ?? "");
    if (request.headers.authorization !== undefined) {
      leaks.push(request.url ?? "");
      response.writeHead(400).end("Only one auth mechanism allowed");
    } else if (!blob) response.writeHead(403).end("<Error/>");
    else {
      const after = url.searchParams.get("after");
      response.writeHead(200, { "content-type": "application/octet-stream", "content-length": String(blob.length) });
      if (after === null) response.end(blob);
      else response.write(blob.subarray(0, Number(after)), () => response.destroy());
    }
  });
  const base = await listen(api);
  const elsewhere = await listen(bytes);

  return {
    url: base,
    settings,
    releases,
    assets,
    requests,
    leaks,
    faults,
    addRelease,
    addAsset,
    async close() {
      for (const server of [api, bytes]) {
        server.closeAllConnections();
        await new Promise((resolve) => void server.close(resolve));
      }
    },
  };
}

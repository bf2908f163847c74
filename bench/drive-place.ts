/** An emulated Drive in a process of its own, and memory roots that mirror to it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { RequestRecord, TreeItem } from "../src/testing/drive-emulator.ts";

export const project = fileURLToPath(new URL("..", import.meta.url));
/** The loader of TypeScript, for processes whose current folder is elsewhere. */
export const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;

/** Google's own file, with an access token that is still good. */
export interface SignIn {
  readonly client_id: string;
  readonly client_secret: string;
  readonly refresh_token: string;
  readonly access_token: string;
  readonly expiry_date: number;
}

export interface Served {
  readonly rootUrl: string;
  readonly tokenUrl: string;
  signIn(scope?: string): Promise<SignIn>;
  latency(ms: number): Promise<void>;
  /** The requests that `work` makes. */
  asked<T>(work: () => Promise<T>): Promise<{ readonly result: T; readonly requests: readonly RequestRecord[] }>;
  tree(): Promise<readonly TreeItem[]>;
  close(): Promise<void>;
}

/** An empty Drive, of unlimited size. */
export async function serveDrive(): Promise<Served> {
  const script = join(project, "test/testing/drive-emulator.child.ts");
  const child = spawn(process.execPath, ["--import", tsx, script, JSON.stringify({ seed: 1, storageBytes: null })], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout });
  const [line] = (await Promise.race([once(lines, "line"), once(child, "exit").then(() => [undefined])])) as [string | undefined];
  if (line === undefined) throw new Error("the emulator did not start");
  const { rootUrl, tokenUrl } = JSON.parse(line) as { rootUrl: string; tokenUrl: string };

  const control = async (method: string, path: string, json?: unknown): Promise<Record<string, unknown>> => {
    const body = json === undefined ? {} : { body: JSON.stringify(json) };
    const answer = await fetch(`${rootUrl}__emulator/${path}`, { method, ...body });
    const value = (await answer.json()) as Record<string, unknown>;
    if (!answer.ok) throw new Error(`the emulator refused ${method} ${path}: ${JSON.stringify(value)}`);
    return value;
  };

  return {
    rootUrl,
    tokenUrl,
    async signIn(scope = "https://www.googleapis.com/auth/drive.file") {
      const { result } = await control("POST", "account", { do: "authorizedUser", args: [{ scope, expired: false }] });
      return result as SignIn;
    },
    async latency(latencyMs) {
      await control("POST", "settings", { latencyMs });
    },
    async asked(work) {
      await control("DELETE", "requests");
      const result = await work();
      const { requests } = await control("GET", "requests");
      return { result, requests: requests as RequestRecord[] };
    },
    tree: async () => (await control("GET", "tree"))["tree"] as TreeItem[],
    async close() {
      const ended = once(child, "exit");
      child.stdin.end();
      await ended;
    },
  };
}

export interface DriveRoot {
  /** Straight to the emulator; otherwise to Google's addresses, through the proxy of the environment. */
  readonly direct?: boolean;
  readonly folder?: string;
}

/** A memory root that mirrors to `drive`: eight at once, at no pace of its own, with a token that is still good. */
export async function driveRoot(
  root: string,
  drive: Served,
  { direct = true, folder = "MemoryVDB" }: DriveRoot = {},
): Promise<string> {
  mkdirSync(join(root, "Data"), { recursive: true });
  const place = direct ? { root_url: drive.rootUrl, token_url: drive.tokenUrl } : {};
  const cloud = { type: "gdrive", enabled: true, concurrency: 8, writes_per_second: "off", ...place };
  writeFileSync(join(root, "paths.json"), JSON.stringify({ targets: { cloud }, drive_root: `Drive/${folder}/` }));
  writeFileSync(join(root, "drive_token.json"), JSON.stringify(await drive.signIn()), { mode: 0o600 });
  return root;
}

export const keyAt = (n: number, folders: number): string => `Zone${n % folders}/file-${n}.txt`;

export interface Counted {
  readonly reads: number;
  readonly writes: number;
  readonly total: number;
  /** How often each kind of request was made, the most frequent first. */
  readonly kinds: string;
  /** Of the requests for what lies below `.aftersave/`: the marker, the writer's name and the history. */
  readonly own: Counted | undefined;
}

const kindsOf = (requests: readonly RequestRecord[]): string => {
  const counts = new Map<string, number>();
  for (const { api } of requests) counts.set(api, (counts.get(api) ?? 0) + 1);
  return [...counts]
    .toSorted(([, a], [, b]) => b - a)
    .map(([api, count]) => `${count} ${api}`)
    .join(", ");
};

const countedOf = (requests: readonly RequestRecord[], own?: Counted): Counted => ({
  reads: requests.filter(({ kind }) => kind === "read").length,
  writes: requests.filter(({ kind }) => kind === "write" || kind === "upload").length,
  total: requests.length,
  kinds: kindsOf(requests),
  own,
});

const isOwn = ({ path }: TreeItem) => /\/\.aftersave(\/|$)/.test(path);

/** A look at a folder's folders that follows when only folders of aftersave's own were made there. */
function looksAfterOwn(
  { at, query }: RequestRecord,
  parent: string,
  made: readonly TreeItem[],
  looked: Map<string, number>,
): boolean {
  const since = looked.get(parent) ?? 0;
  looked.set(parent, at);
  if (query["q"]?.includes("mimeType = 'application/vnd.google-apps.folder'") !== true) return false;
  const between = made.filter(
    (item) => item.parents.includes(parent) && Date.parse(item.createdTime) > since && Date.parse(item.createdTime) <= at,
  );
  return between.length > 0 && between.every(isOwn);
}

/**
 * Counts requests, those for what is aftersave's own apart. A create's id stands in its body, which the emulator does not
 * keep: each item below `.aftersave/` that is new was made by exactly one request.
 */
export function count(requests: readonly RequestRecord[], before: readonly TreeItem[], after: readonly TreeItem[]): Counted {
  const ids = new Set(after.filter(isOwn).map(({ id }) => id));
  const known = new Set(before.map(({ id }) => id));
  const made = after.filter(({ id }) => !known.has(id));
  let folders = made.filter((item) => item.folder && isOwn(item)).length;
  let files = made.filter((item) => !item.folder && isOwn(item)).length;
  const looked = new Map<string, number>();
  const own: RequestRecord[] = [];
  const rest: RequestRecord[] = [];
  for (const request of requests) {
    const { api, fileId, query } = request;
    const parents = [...(query["q"] ?? "").matchAll(/'([\w-]+)' in parents/g)].map(([, id]) => id ?? "");
    const [parent] = parents;
    const there =
      (fileId !== undefined && ids.has(fileId)) ||
      (parents.length > 0 && parents.every((id) => ids.has(id))) ||
      (parents.length === 1 && parent !== undefined && looksAfterOwn(request, parent, made, looked)) ||
      (api === "files.create" && folders > 0 && folders-- > 0) ||
      (api === "v2.files.insert" && files > 0 && files-- > 0);
    (there ? own : rest).push(request);
  }
  return countedOf(rest, countedOf(own));
}

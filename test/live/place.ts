/**
 * A real account (or what stands in for one) to try things on: raw requests, targets below a scratch folder, and notes
 * that are kept from one run to the next. Everything but the keepsake of the notes is removed again.
 * @module
 */
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { DriverMemory, Target } from "../../src/core/target.ts";
import { openCredentials } from "../../src/targets/gdrive/credentials.ts";
import { readTokenFile } from "../../src/targets/gdrive/token-file.ts";
import { drivers } from "../../src/targets/registry.ts";
import type { DriverContext } from "../../src/targets/shared/driver.ts";
import { claims, memoryOf } from "../targets/gdrive/place.ts";

export const FOLDER = "application/vnd.google-apps.folder";

/** What the environment says of the account. */
export interface Settings {
  readonly tokenFile: string;
  readonly clientFile: string;
  readonly auth: string;
  readonly sharedDrive: string | undefined;
  readonly rootUrl: string;
  readonly tokenUrl: string;
  readonly notesFile: string;
  /** Whether it is Google's, with its rate limits. */
  readonly real: boolean;
}

/** Undefined without `AFTERSAVE_LIVE_DRIVE_TOKEN`. */
export function settingsFrom(env: NodeJS.ProcessEnv): Settings | undefined {
  const said = (name: string) => env[`AFTERSAVE_LIVE_DRIVE_${name}`] || undefined;
  const tokenFile = said("TOKEN");
  if (tokenFile === undefined) return undefined;
  const rootUrl = said("ROOT_URL");
  return {
    tokenFile,
    clientFile: said("CLIENT") ?? join(dirname(tokenFile), "drive_client.json"),
    auth: said("AUTH") ?? "user",
    sharedDrive: said("SHARED_DRIVE"),
    rootUrl: rootUrl ?? "https://www.googleapis.com/",
    tokenUrl: said("TOKEN_URL") ?? "https://oauth2.googleapis.com/token",
    notesFile: said("NOTES") ?? `${tokenFile}.live-notes.json`,
    real: rootUrl === undefined,
  };
}

export interface Notes {
  /** Ids that were reserved and not used yet. */
  reserved: { readonly id: string; readonly at: string }[];
  /** A file that stays, to be looked for under another grant. */
  keepsake?: { readonly id: string; readonly at: string; readonly grant: string };
  answers: Record<string, string>;
}

type Json = Readonly<Record<string, unknown>>;

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Buffer;
  readonly json: Json;
  /** `200`, or status and reason of a refusal, e.g. `404 notFound`. */
  readonly said: string;
}

export interface Request {
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly json?: Json;
  readonly media?: Uint8Array | string;
}

export interface Live {
  readonly settings: Settings;
  readonly scratch: string;
  readonly notes: Notes;
  /** Names the sign-in without giving it away. */
  readonly grant: string;
  /** One request to `path` (without a slash before it, or a whole address); rate limits are waited for. */
  ask(method: string, path: string, request?: Request): Promise<Reply>;
  /** The same, where a refusal is a failure. */
  does(method: string, path: string, request?: Request): Promise<Json>;
  /** A file, made with one request; answers what `ask` does. */
  create(about: Json, content?: string, query?: Readonly<Record<string, string>>): Promise<Reply>;
  reserve(count: number): Promise<string[]>;
  /** The ids that a search finds. */
  search(q: string): Promise<string[]>;
  /** Waits until a search by its name and folder finds a file. */
  found(id: string): Promise<void>;
  /** The driver, for a root of its own below the scratch folder. */
  target(name: string, memory?: DriverMemory): Promise<Target>;
  /** Removes what was made. */
  close(): Promise<void>;
}

const isRecord = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value);

function parse(bytes: Buffer, type: string | null): Json {
  if (type?.startsWith("application/json") !== true || bytes.length === 0) return {};
  const value: unknown = JSON.parse(bytes.toString());
  return isRecord(value) ? value : {};
}

/** Every reason that a refusal gives, in either spelling. */
function reasonsOf(json: Json): string[] {
  const error = isRecord(json["error"]) ? json["error"] : {};
  return ["errors", "details"].flatMap((list) =>
    (Array.isArray(error[list]) ? error[list] : []).flatMap((one: unknown) =>
      isRecord(one) && typeof one["reason"] === "string" ? [one["reason"]] : [],
    ),
  );
}

const isRate = (reasons: readonly string[]) => reasons.some((reason) => /^(user)?rate_?limit_?exceeded$/i.test(reason));

function bodyOf({ json, media }: Request): { type: string; body: Buffer } | undefined {
  const content = media === undefined ? undefined : Buffer.from(media);
  if (content === undefined) return json && { type: "application/json; charset=UTF-8", body: Buffer.from(JSON.stringify(json)) };
  if (json === undefined) return { type: "application/octet-stream", body: content };
  const mark = `=====${createHash("sha256").update(content).digest("hex")}=====`;
  const head = `--${mark}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n${JSON.stringify(json)}\r\n--${mark}\r\nContent-Type: application/octet-stream\r\n\r\n`;
  return {
    type: `multipart/related; boundary="${mark}"`,
    body: Buffer.concat([Buffer.from(head), content, Buffer.from(`\r\n--${mark}--\r\n`)]),
  };
}

/** Signs in and makes the scratch folder. */
export async function openLive(settings: Settings): Promise<Live> {
  const { tokenFile, clientFile, auth, sharedDrive, rootUrl, tokenUrl, notesFile, real } = settings;
  const clock: DriverContext["clock"] = { now: () => Date.now(), sleep: (ms, signal) => pause(ms, undefined, { signal }) };
  const claim = claims();
  const scope = "https://www.googleapis.com/auth/drive.file";
  const name = "live";
  const credentials = await openCredentials({
    name,
    tokenFile,
    clientFile,
    rootUrl,
    tokenUrl,
    scope,
    claim,
    clock,
    auth: auth as "user",
    env: process.env,
  });

  async function once(method: string, path: string, request: Request): Promise<Reply> {
    const url = new URL(path, rootUrl);
    const query: Readonly<Record<string, string>> = { supportsAllDrives: "true", ...request.query };
    if (!path.includes("upload_id=")) for (const [key, value] of Object.entries(query)) url.searchParams.set(key, value);
    const { token } = await credentials.client.getAccessToken();
    const body = bodyOf(request);
    const answer = await fetch(url, {
      method,
      redirect: "manual",
      headers: { authorization: `Bearer ${token}`, ...(body && { "content-type": body.type }), ...request.headers },
      ...(body && { body: body.body }),
    });
    const bytes = Buffer.from(await answer.arrayBuffer());
    const json = answer.status >= 400 || query["alt"] !== "media" ? parse(bytes, answer.headers.get("content-type")) : {};
    return {
      status: answer.status,
      headers: answer.headers,
      bytes,
      json,
      said: [answer.status, ...new Set(reasonsOf(json))].join(" "),
    };
  }

  const ask: Live["ask"] = async (method, path, request = {}) => {
    for (let seconds = 1; ; seconds *= 2) {
      const reply = await once(method, path, request);
      if (seconds > 64 || reply.status === 200 || !isRate(reasonsOf(reply.json))) return reply;
      await pause(seconds * 1000);
    }
  };
  const does: Live["does"] = async (method, path, request) => {
    const { status, json, said } = await ask(method, path, request);
    if (status >= 300) throw new Error(`${method} ${path}: ${said} ${JSON.stringify(json)}`);
    return json;
  };
  const reserve: Live["reserve"] = async (count) => {
    const { ids } = await does("GET", "drive/v3/files/generateIds", {
      query: { count: String(count), space: "drive", type: "files" },
    });
    return ids as string[];
  };

  const search: Live["search"] = async (q) => {
    const query = { q, fields: "files(id)", pageSize: "1000", includeItemsFromAllDrives: "true" };
    return ((await does("GET", "drive/v3/files", { query }))["files"] as { id: string }[]).map(({ id }) => id);
  };

  const file = await readTokenFile(tokenFile);
  const grant = createHash("sha256")
    .update((file?.kind === "user" && file.tokens.refreshToken) || auth)
    .digest("hex");

  const empty: Notes = { reserved: [], answers: {} };
  const notes = existsSync(notesFile) ? { ...empty, ...(JSON.parse(readFileSync(notesFile, "utf8")) as Partial<Notes>) } : empty;
  const folder = `aftersave live test ${new Date().toISOString()}`;
  const { id } = await does("POST", "drive/v3/files", {
    json: { name: folder, mimeType: FOLDER, parents: [sharedDrive ?? "root"] },
  });
  const scratch = String(id);
  const targets: Target[] = [];

  return {
    settings,
    scratch,
    notes,
    grant,
    ask,
    does,
    reserve,
    search,
    async found(id) {
      const { name, parents } = await does("GET", `drive/v3/files/${id}`, { query: { fields: "name,parents" } });
      const quoted = String(name).replace(/['\\]/g, "\\$&");
      const q = `name = '${quoted}' and '${String(parents)}' in parents and trashed = false`;
      while (!(await search(q)).includes(id)) await pause(real ? 500 : 50);
    },
    create: (about, content = "", query = {}) =>
      ask("POST", "upload/drive/v3/files", {
        query: { uploadType: "multipart", ...query },
        json: { name: "live.txt", parents: [scratch], ...about },
        media: content,
      }),
    async target(root, memory = memoryOf()) {
      const target = await drivers["gdrive"]?.open({
        name,
        tokenFile,
        clientFile,
        claim,
        clock,
        memory,
        root: `${folder}/${root}/`,
        options: {
          auth,
          root_url: rootUrl,
          token_url: tokenUrl,
          scope,
          ...(sharedDrive !== undefined && { shared_drive: sharedDrive }),
          writes_per_second: real ? 3 : "off",
          write_burst: 20,
        },
        timeoutMs: null,
        env: process.env,
      });
      if (target === undefined) throw new Error("the registry has no gdrive");
      targets.push(target);
      return target;
    },
    async close() {
      for (const target of targets) await target.close();
      await does("DELETE", `drive/v3/files/${scratch}`);
      writeFileSync(notesFile, `${JSON.stringify(notes, null, 2)}\n`, { mode: 0o600 });
    },
  };
}

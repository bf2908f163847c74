/**
 * Google Drive through Google's own client. Version 2 of its interface writes content, because only that one has a
 * compare-and-set (`If-Match`); version 3 does the rest. Google's client repeats nothing here, follows no redirect
 * and judges no status: that is done once, below.
 * @module
 */
import { Agent } from "node:http";
import { Readable } from "node:stream";
import { TargetError } from "../../core/errors.ts";
import type { Chunks } from "../../core/target.ts";
import { type Asked, type DriveApi, type DriveFile, FOLDER, type Facts, type Progress, type Revision } from "./api.ts";
import type { Credentials } from "./credentials.ts";
import { faultOf, headerOf } from "./faults.ts";
import { bodyOfV2, bodyOfV3, fileOfV2, fileOfV3, notGoogle, revisionOf, typeOf, V2_FIELDS, V3_FIELDS, wanted } from "./shapes.ts";

export interface GoogleOptions {
  readonly credentials: Pick<Credentials, "kind" | "client" | "renew">;
  readonly rootUrl: string;
  /** The id of the shared drive that everything lies in. */
  readonly sharedDrive?: string | undefined;
  /** A request that makes no progress for so long has failed. */
  readonly timeoutMs: number;
  /** The target's name, for hints. */
  readonly name?: string | undefined;
}

interface Answer<T> {
  readonly status: number;
  readonly data: T;
  readonly headers: unknown;
}

/**
 * The time limit is one on progress: a body that flows may take as long as it needs on a slow line, and one that
 * stalls is noticed as soon as a small request is. What a body's source or a download's reader does is not timed.
 */
interface Watch {
  readonly signal: AbortSignal;
  beat(): void;
  rest(): void;
  end(): void;
  /** `work`, or the reason why it is over. Google's client waits for tokens without looking at the signal. */
  within<T>(work: Promise<T>): Promise<T>;
}

function watchOver(ms: number, doing: string, caller: AbortSignal | undefined): Watch {
  caller?.throwIfAborted();
  const controller = new AbortController();
  const { signal } = controller;
  let resting = false;
  const stall = () =>
    resting ||
    controller.abort(
      new TargetError("transient", `could not ${doing}: Google Drive made no progress for ${ms / 1000} s`, {
        hint: "Check the network. It is tried again; `aftersave flush` tries now.",
      }),
    );
  const stop = () => controller.abort(caller?.reason);
  const timer = setTimeout(stall, ms);
  caller?.addEventListener("abort", stop, { once: true });
  return {
    signal,
    beat() {
      resting = false;
      timer.refresh();
    },
    rest() {
      resting = true;
    },
    end() {
      resting = true;
      clearTimeout(timer);
      caller?.removeEventListener("abort", stop);
    },
    within: (work) =>
      Promise.race([
        work,
        new Promise<never>((_, reject) => {
          signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
        }),
      ]),
  };
}

interface Plan {
  /** Statuses that are an answer; by default those from 200 to 299. */
  readonly accepts?: (status: number) => boolean;
  /** The body cannot be sent a second time. */
  readonly once?: boolean;
  readonly upload?: boolean;
}

const PIECE = 64 * 1024;

async function* pieces(bytes: Uint8Array, { beat }: Watch): Chunks {
  for (let at = 0; at < bytes.length; at += PIECE) {
    yield bytes.subarray(at, at + PIECE);
    beat();
  }
}

const nameless = (id: string) =>
  new TargetError("unsupported", `"${id}" is not the id of a file in Drive`, {
    code: "E_INTERNAL",
    hint: "Please report this, with the output of the same command and --debug.",
  });

/** Drive knows the paths `files/trash` (all of the trash) and `files/generateIds`, and takes a parent that is a path for an id. */
function idOf(id: string): string {
  if (!/^[\w-]+$/.test(id) || id === "trash" || id === "generateIds") throw nameless(id);
  return id;
}

/** As `idOf`, and not the whole drive. */
function fileIdOf(id: string): string {
  if (id === "root") throw nameless(id);
  return idOf(id);
}

function checked<T extends Facts>(facts: T): T {
  for (const ids of [facts.parents, facts.addParents, facts.removeParents]) ids?.forEach(idOf);
  return facts;
}

function rethrow(error: unknown): never {
  throw error;
}

/** A page token lives some hours; the search then has to start again. */
function tooOld(error: unknown): never {
  if (!(error instanceof TargetError) || error.details["status"] !== 400) throw error;
  throw new TargetError("transient", "could not search Drive to its end: the search is too old", { cause: error });
}

const moves = ({ addParents, removeParents }: Facts) => ({
  ...(addParents !== undefined && { addParents: addParents.join(",") }),
  ...(removeParents !== undefined && { removeParents: removeParents.join(",") }),
});

async function textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of body) parts.push(part);
  return Buffer.concat(parts).toString();
}

/** Drive as Google serves it, or as what stands at `rootUrl` does. Makes no request and loads nothing before the first call. */
export function createGoogleApi({ credentials, rootUrl, sharedDrive, timeoutMs, name }: GoogleOptions): DriveApi {
  const { client, kind } = credentials;
  const root = rootUrl.endsWith("/") ? rootUrl : `${rootUrl}/`;
  const all = { supportsAllDrives: true } as const;
  // Through a proxy a connection costs three round trips, and Google's library would make one for each request.
  client.transporter.interceptors.request.add({
    resolved: async (config) => {
      if (config.agent instanceof Agent) Object.assign(config.agent, { keepAlive: true });
      return config;
    },
  });

  const load = async () => {
    const { drive } = await import("googleapis/build/src/apis/drive/index.js");
    return { v2: drive({ version: "v2", auth: client }), v3: drive({ version: "v3", auth: client }) };
  };
  let loaded: ReturnType<typeof load> | undefined;
  const versions = () => (loaded ??= load());

  // A client-level rootUrl does not reach uploads, so each call has it.
  const optionsOf = (watch: Watch, etag?: string) => ({
    rootUrl: root,
    signal: watch.signal,
    retry: false,
    redirect: "manual" as const,
    validateStatus: () => true,
    ...(etag !== undefined && { headers: { "If-Match": etag } }),
  });

  async function attempt<T>(
    doing: string,
    asked: Asked | undefined,
    send: (watch: Watch) => Promise<Answer<T>>,
    { accepts = (status) => status >= 200 && status < 300, upload }: Plan,
  ): Promise<{ answer: Answer<T>; watch: Watch }> {
    const watch = watchOver(timeoutMs, doing, asked?.signal);
    try {
      const answer = await watch.within(send(watch));
      if (answer.data === null) throw notGoogle();
      if (accepts(answer.status)) return { answer, watch };
      const data = answer.data instanceof Readable ? await watch.within(textOf(answer.data)) : answer.data;
      const { status, headers } = answer;
      throw Object.assign(new Error(`HTTP ${status}`), { response: { status, headers, data } });
    } catch (error) {
      watch.end();
      throw watch.signal.aborted
        ? watch.signal.reason
        : faultOf(error, doing, { name, serviceAccount: kind === "service_account", upload });
    }
  }

  /** One request. A token that Drive refuses is renewed and the request sent once more: Drive did nothing with the first. */
  async function request<T>(
    doing: string,
    asked: Asked | undefined,
    send: (watch: Watch) => Promise<Answer<T>>,
    plan: Plan = {},
  ): Promise<{ answer: Answer<T>; watch: Watch }> {
    const token = client.credentials.access_token;
    try {
      return await attempt(doing, asked, send, plan);
    } catch (error) {
      if (!(error instanceof TargetError) || error.details["status"] !== 401 || error.kind !== "auth") throw error;
      // Requests that were refused together need one new token between them.
      if (client.credentials.access_token === token) await credentials.renew();
      if (plan.once === true)
        throw new TargetError("transient", `could not ${doing}: the sign-in had to be renewed`, { cause: error });
      return attempt(doing, asked, send, plan);
    }
  }

  async function call<T>(...args: Parameters<typeof request<T>>): Promise<Answer<T>> {
    const { answer, watch } = await request(...args);
    watch.end();
    return answer;
  }

  function addressOf(path: string, params: Readonly<Record<string, string>>): string {
    const url = new URL(path, root);
    for (const [key, value] of Object.entries({ supportsAllDrives: "true", ...params })) url.searchParams.set(key, value);
    return url.href;
  }

  const get = async (id: string, asked?: Asked): Promise<DriveFile> => {
    const { v2 } = await versions();
    const fileId = idOf(id);
    const { data } = await call(`look at ${id}`, asked, (watch) =>
      v2.files.get({ fileId, fields: V2_FIELDS, ...all }, optionsOf(watch)),
    );
    return fileOfV2(data);
  };

  /** Where Drive says a session stands. What is no answer of a living session means that it is dead, bar refusals that can pass. */
  async function progressOf({ status, data, headers }: Answer<unknown>, asked: Asked | undefined): Promise<Progress> {
    if (status === 308) {
      const last = /^bytes=0-(\d+)$/.exec(headerOf(headers, "range"))?.[1];
      return { sent: last === undefined ? 0 : Number(last) + 1 };
    }
    if (status >= 400) return { gone: true };
    const done = fileOfV2(data as object);
    return { done: done.size === undefined ? await get(done.id, asked) : done };
  }
  const answersSession = (status: number) => (status >= 200 && status < 300) || [308, 400, 404, 410, 416].includes(status);

  return {
    guarded: true,
    sessions: true,
    get,

    async generateIds(count, asked) {
      const { v3 } = await versions();
      const { data } = await call("reserve ids", asked, (watch) =>
        v3.files.generateIds({ count, space: "drive", type: "files", fields: "ids" }, optionsOf(watch)),
      );
      return wanted(data.ids);
    },

    async *search(q, asked) {
      const { v3 } = await versions();
      const where = sharedDrive === undefined ? {} : { includeItemsFromAllDrives: true, corpora: "drive", driveId: sharedDrive };
      const fields = `nextPageToken,incompleteSearch,files(${V3_FIELDS})`;
      let pageToken: string | undefined;
      do {
        const page = { ...(pageToken !== undefined && { pageToken }) };
        const { data } = await call("search Drive", asked, (watch) =>
          v3.files.list({ q, pageSize: 1000, spaces: "drive", fields, ...all, ...where, ...page }, optionsOf(watch)),
        ).catch(pageToken === undefined ? rethrow : tooOld);
        if (data.incompleteSearch === true) throw new TargetError("transient", "Google Drive searched a part of itself only");
        yield* wanted(data.files).map(fileOfV3);
        pageToken = data.nextPageToken ?? undefined;
      } while (pageToken !== undefined);
    },

    async createFolder(id, facts, asked) {
      const { v3 } = await versions();
      const requestBody = { ...bodyOfV3(checked(facts)), id: fileIdOf(id), mimeType: FOLDER };
      const { data } = await call(`create the folder ${facts.name ?? id}`, asked, (watch) =>
        v3.files.create({ requestBody, fields: V3_FIELDS, ...all }, optionsOf(watch)),
      );
      return fileOfV3(data);
    },

    async create(id, facts, bytes, asked) {
      const { v2 } = await versions();
      const requestBody = { ...bodyOfV2(checked(facts)), id: fileIdOf(id) };
      const mimeType = typeOf(facts.name) ?? "application/octet-stream";
      const { data } = await call(
        `create ${facts.name ?? id}`,
        asked,
        // A stream also for no bytes: an empty text would send the name alone, a Buffer throws beside one.
        (watch) =>
          v2.files.insert(
            { requestBody, media: { mimeType, body: Readable.from(pieces(bytes, watch)) }, fields: V2_FIELDS, ...all },
            optionsOf(watch),
          ),
        { upload: true },
      );
      return fileOfV2(data);
    },

    async update(id, facts, bytes, etag, asked) {
      const { v2 } = await versions();
      const requestBody = bodyOfV2(checked(facts));
      const mimeType = typeOf(facts.name) ?? "application/octet-stream";
      const fileId = fileIdOf(id);
      const { data } = await call(
        `write ${facts.name ?? id}`,
        asked,
        (watch) =>
          v2.files.update(
            {
              fileId,
              requestBody,
              media: { mimeType, body: Readable.from(pieces(bytes, watch)) },
              fields: V2_FIELDS,
              ...moves(facts),
              ...all,
            },
            optionsOf(watch, etag),
          ),
        { upload: true },
      );
      return fileOfV2(data);
    },

    async patch(id, facts, asked) {
      const { v3 } = await versions();
      const requestBody = bodyOfV3(checked(facts));
      const fileId = fileIdOf(id);
      const { data } = await call(`change what is known of ${id}`, asked, (watch) =>
        v3.files.update({ fileId, requestBody, fields: V3_FIELDS, ...moves(facts), ...all }, optionsOf(watch)),
      );
      return fileOfV3(data);
    },

    async startSession(what, facts, size, asked) {
      const create = "create" in what;
      const id = fileIdOf(create ? what.create : what.update);
      const path = create ? "upload/drive/v2/files" : `upload/drive/v2/files/${id}`;
      const url = addressOf(path, { uploadType: "resumable", fields: V2_FIELDS, ...moves(checked(facts)) });
      const etag = create ? undefined : what.etag;
      const { headers } = await call(
        `begin the upload of ${facts.name ?? id}`,
        asked,
        (watch) =>
          client.request({
            ...optionsOf(watch),
            url,
            method: create ? "POST" : "PUT",
            headers: {
              "X-Upload-Content-Type": typeOf(facts.name) ?? "application/octet-stream",
              "X-Upload-Content-Length": String(size),
              ...(etag !== undefined && { "If-Match": etag }),
            },
            data: { ...bodyOfV2(facts), ...(create && { id }) },
          }),
        { upload: true },
      );
      const location = headerOf(headers, "location");
      if (location === "") throw new TargetError("transient", "Google Drive opened an upload without saying where");
      return new URL(location, root).href;
    },

    async sendChunk(session, { offset, length, total, bytes }, asked) {
      let thrown: { readonly error: unknown } | undefined;
      let sent = 0;
      const fail = (error: unknown): never => {
        thrown = { error };
        throw error;
      };
      async function* timed(watch: Watch): Chunks {
        const parts = bytes[Symbol.asyncIterator]();
        try {
          watch.rest();
          // only what the bytes throw is theirs: a connection that breaks is thrown in at the yield
          for (let item = await parts.next().catch(fail); item.done !== true; item = await parts.next().catch(fail)) {
            sent += item.value.length;
            if (sent > length) break;
            watch.beat();
            yield item.value;
            watch.rest();
          }
          if (sent !== length) fail(new TargetError("corrupt", `a chunk of ${length} bytes turned out to have another length`));
        } finally {
          watch.beat();
          await parts.return?.();
        }
      }
      let body: Readable | undefined;
      const range = `bytes ${offset}-${offset + length - 1}/${total}`;
      const send = (watch: Watch) => {
        body = length === 0 ? undefined : Readable.from(timed(watch));
        return client.request({
          ...optionsOf(watch),
          url: session,
          method: "PUT",
          headers: {
            "Content-Type": "application/octet-stream",
            "Content-Length": String(length),
            ...(length > 0 && { "Content-Range": range }),
          },
          ...(body && { data: body }),
        });
      };
      const plan = { accepts: answersSession, once: true, upload: true };
      try {
        return await progressOf(await call("send a piece of an upload", asked, send, plan), asked);
      } catch (error) {
        throw thrown === undefined ? error : thrown.error;
      } finally {
        body?.destroy(); // Drive may have answered before it had all
      }
    },

    async askSession(session, total, asked) {
      const answer = await call(
        "ask how far an upload has come",
        asked,
        (watch) =>
          client.request({
            ...optionsOf(watch),
            url: session,
            method: "PUT",
            headers: { "Content-Length": "0", "Content-Range": `bytes */${total}` },
          }),
        { accepts: answersSession, upload: true },
      );
      return progressOf(answer, asked);
    },

    async dropSession(session, asked) {
      // Google answers 499 to a session that is cancelled.
      const accepts = (status: number) => status < 300 || [404, 410, 499].includes(status);
      await call(
        "drop an upload",
        asked,
        (watch) => client.request({ ...optionsOf(watch), url: session, method: "DELETE", headers: { "Content-Length": "0" } }),
        { accepts },
      );
    },

    async copy(from, id, facts, asked) {
      const { v3 } = await versions();
      const requestBody = { ...bodyOfV3(checked(facts)), id: fileIdOf(id) };
      const fileId = fileIdOf(from);
      const { data } = await call(
        `copy ${from}`,
        asked,
        (watch) => v3.files.copy({ fileId, requestBody, fields: V3_FIELDS, ...all }, optionsOf(watch)),
        { upload: true },
      );
      return fileOfV3(data);
    },

    async remove(id, etag, asked) {
      const { v2 } = await versions();
      const fileId = fileIdOf(id);
      try {
        const { data } = await call<unknown>(`remove ${id}`, asked, (watch) =>
          v2.files.delete({ fileId, ...all }, optionsOf(watch, etag)),
        );
        if (data) throw notGoogle();
      } catch (error) {
        if (!(error instanceof TargetError) || error.kind !== "not-found") throw error;
      }
    },

    async trash(id, asked) {
      const { v3 } = await versions();
      const fileId = fileIdOf(id);
      const { data } = await call(`move ${id} to the trash`, asked, (watch) =>
        v3.files.update({ fileId, requestBody: { trashed: true }, fields: "id", ...all }, optionsOf(watch)),
      );
      wanted(data.id);
    },

    async download(id, asked) {
      const doing = `download ${id}`;
      const url = addressOf(`drive/v3/files/${fileIdOf(id)}`, { alt: "media" });
      // A stream, because text would be decoded and JSON parsed; not compressed, because an early end would not be noticed.
      const { answer, watch } = await request<AsyncIterable<Uint8Array>>(doing, asked, (watch) =>
        client.request({ ...optionsOf(watch), url, responseType: "stream", headers: { "Accept-Encoding": "identity" } }),
      );
      watch.rest();
      return received(answer, watch, doing);
    },

    async revisions(id, asked) {
      const { v3 } = await versions();
      const fileId = fileIdOf(id);
      const fields = "nextPageToken,revisions(id,md5Checksum,size,modifiedTime,keepForever)";
      const found: Revision[] = [];
      let pageToken: string | undefined;
      do {
        const page = { ...(pageToken !== undefined && { pageToken }) };
        const { data } = await call(`list the revisions of ${id}`, asked, (watch) =>
          v3.revisions.list({ fileId, pageSize: 1000, fields, ...page }, optionsOf(watch)),
        );
        found.push(...wanted(data.revisions).map(revisionOf));
        pageToken = data.nextPageToken ?? undefined;
      } while (pageToken !== undefined);
      return found;
    },

    async pin(id, revision, asked) {
      const { v3 } = await versions();
      const params = { fileId: fileIdOf(id), revisionId: revision, requestBody: { keepForever: true }, fields: "id" };
      const { data } = await call(`keep a revision of ${id}`, asked, (watch) => v3.revisions.update(params, optionsOf(watch)));
      wanted(data.id);
    },

    async about(asked) {
      const { v3 } = await versions();
      const { data, headers } = await call("look at the account", asked, (watch) =>
        v3.about.get({ fields: "user(emailAddress),storageQuota(limit,usage)" }, optionsOf(watch)),
      );
      const { limit, usage } = wanted(data.storageQuota);
      const serverTime = Date.parse(headerOf(headers, "date"));
      return {
        limit: sharedDrive === undefined && typeof limit === "string" ? Number(limit) : null,
        usage: Number(usage ?? 0),
        email: data.user?.emailAddress ?? null,
        serverTime: Number.isNaN(serverTime) ? null : serverTime,
      };
    },

    async sharedDrive(id, asked) {
      const { v3 } = await versions();
      const driveId = idOf(id);
      const { data } = await call("look at the shared drive", asked, (watch) =>
        v3.drives.get({ driveId, fields: "name,capabilities(canAddChildren)" }, optionsOf(watch)),
      );
      return { name: wanted(data.name), canAddChildren: data.capabilities?.canAddChildren === true };
    },
  };
}

async function* received({ data }: Answer<AsyncIterable<Uint8Array>>, watch: Watch, doing: string): Chunks {
  try {
    watch.beat();
    for await (const part of data) {
      watch.rest();
      yield part;
      watch.beat();
    }
  } catch (error) {
    throw watch.signal.aborted ? watch.signal.reason : faultOf(error, doing);
  } finally {
    watch.end();
  }
}

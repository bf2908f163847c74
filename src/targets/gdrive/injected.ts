/**
 * Google Drive through a client that a caller hands in: `google.drive({ version: "v3", auth })`, or a few methods
 * written by hand for a test. Version 3 has no compare-and-set and its client no resumable uploads, so neither is here.
 * @module
 */
import { Readable } from "node:stream";
import type { drive_v3 } from "googleapis/build/src/apis/drive/index.js";
import { TargetError } from "../../core/errors.ts";
import type { Chunks } from "../../core/target.ts";
import { type Asked, type DriveApi, type DriveFile, FOLDER, type Facts, type Revision } from "./api.ts";
import { faultOf, headerOf } from "./faults.ts";
import { bodyOfV3, fileOfV3, revisionOf, typeOf, V3_FIELDS, wanted } from "./shapes.ts";

interface Options {
  readonly signal?: AbortSignal;
  readonly timeout?: number;
  readonly retry?: boolean;
  readonly rootUrl?: string;
  readonly responseType?: "stream";
}

type Answer<T> = Promise<{ readonly data: T; readonly headers?: unknown }>;

interface OfFile {
  fileId: string;
  fields?: string;
  supportsAllDrives?: boolean;
}

interface Written {
  requestBody?: drive_v3.Schema$File;
  media?: { mimeType?: string; body?: Readable };
  fields?: string;
  supportsAllDrives?: boolean;
}

/**
 * The part of Google's client that is used. Every method may be missing: what needs it then fails with
 * `unsupported`, and without `generateIds` files are made under ids that the client gives.
 */
export interface DriveClient {
  readonly files?: {
    generateIds?(
      params: { count?: number; space?: string; type?: string },
      options?: Options,
    ): Answer<drive_v3.Schema$GeneratedIds>;
    /** With `alt: "media"` the answer's data are the bytes: a stream, or all of them at once. */
    get?(params: OfFile & { alt?: string }, options?: Options): Answer<unknown>;
    list?(
      params: {
        q?: string;
        pageSize?: number;
        pageToken?: string;
        fields?: string;
        spaces?: string;
        supportsAllDrives?: boolean;
        includeItemsFromAllDrives?: boolean;
      },
      options?: Options,
    ): Answer<drive_v3.Schema$FileList>;
    create?(params: Written, options?: Options): Answer<drive_v3.Schema$File>;
    update?(
      params: OfFile & Written & { addParents?: string; removeParents?: string },
      options?: Options,
    ): Answer<drive_v3.Schema$File>;
    copy?(params: OfFile & Written, options?: Options): Answer<drive_v3.Schema$File>;
    delete?(params: OfFile, options?: Options): Answer<unknown>;
  };
  readonly revisions?: {
    list?(
      params: { fileId: string; fields?: string; pageSize?: number; pageToken?: string },
      options?: Options,
    ): Answer<drive_v3.Schema$RevisionList>;
    update?(
      params: { fileId: string; revisionId: string; requestBody?: drive_v3.Schema$Revision; fields?: string },
      options?: Options,
    ): Answer<drive_v3.Schema$Revision>;
  };
  readonly about?: { get?(params: { fields?: string }, options?: Options): Answer<drive_v3.Schema$About> };
  readonly drives?: { get?(params: { driveId: string; fields?: string }, options?: Options): Answer<drive_v3.Schema$Drive> };
  /** Where Google's client keeps the options that it was made with. */
  readonly context?: { readonly _options?: { readonly rootUrl?: unknown } };
}

const TIMEOUT_MS = 60_000;
const all = { supportsAllDrives: true };

const unsupported = (what: string) =>
  new TargetError("unsupported", `the injected Drive client has no ${what}`, {
    hint: "Give the client this method, or let aftersave use its own.",
  });

/** What the client answers about a file; what a mock leaves out is taken from what it was told, except what proves the content. */
const fileOf = (data: drive_v3.Schema$File, told: drive_v3.Schema$File): DriveFile =>
  fileOfV3({ name: "", ...told, ...Object.fromEntries(Object.entries(wanted(data)).filter(([, value]) => value !== undefined)) });

function mediaOf(name: string | undefined, bytes: Uint8Array): NonNullable<Written["media"]> {
  // A stream also for no bytes: an empty text would send the name alone, a Buffer throws beside one.
  return { mimeType: typeOf(name) ?? "application/octet-stream", body: Readable.from(bytes.length === 0 ? [] : [bytes]) };
}

const bytesOf = (part: unknown): Uint8Array => {
  if (typeof part === "string") return new TextEncoder().encode(part);
  if (part instanceof Uint8Array) return part;
  if (part instanceof ArrayBuffer) return new Uint8Array(part);
  throw new TargetError("unsupported", "the injected Drive client answered a download with something that is no bytes");
};

async function* chunksOf(data: unknown): Chunks {
  const parts: unknown = data instanceof Blob ? data.stream() : data;
  if (typeof parts === "object" && parts !== null && Symbol.asyncIterator in parts)
    for await (const part of parts as AsyncIterable<unknown>) yield bytesOf(part);
  else yield bytesOf(parts);
}

/**
 * `client` as a `DriveApi`. An etag is not looked at, so whoever updates checks just before; `create` and `update` take
 * any size. Without `generateIds` there are no ids to reserve: an id of `""` then lets the client choose one, and there is no such file.
 */
export function createInjectedApi(client: DriveClient): DriveApi {
  const { _options: made } = client.context ?? {};
  const optionsOf = (asked: Asked | undefined): Options => ({
    timeout: TIMEOUT_MS,
    retry: false,
    // Google's client forgets its own root when it uploads, and would send test data to Google.
    ...(typeof made?.rootUrl === "string" && { rootUrl: made.rootUrl }),
    ...(asked?.signal && { signal: asked.signal }),
  });

  /** The client's own method, so that a class of a mock keeps its `this`. */
  function method<T extends object, K extends keyof T & string>(
    group: string,
    methods: T | undefined,
    name: K,
  ): NonNullable<T[K]> {
    const found = methods?.[name];
    if (typeof found !== "function") throw unsupported(`${group}.${name}`);
    return found.bind(methods) as NonNullable<T[K]>;
  }

  async function call<T>(
    doing: string,
    asked: Asked | undefined,
    upload: boolean,
    work: () => Answer<T>,
  ): Promise<NonNullable<T>> {
    asked?.signal?.throwIfAborted();
    try {
      // A mock may answer nothing at all.
      return wanted(((await work()) as { readonly data: T } | undefined)?.data);
    } catch (error) {
      throw faultOf(error, doing, { signal: asked?.signal, upload });
    }
  }

  const { files, revisions } = client;
  const idOf = (id: string) => (id === "" ? {} : { id });

  async function get(id: string, asked?: Asked): Promise<DriveFile> {
    if (id === "") throw new TargetError("not-found", "no file has an empty id");
    if (typeof files?.get !== "function") {
      for await (const file of search("trashed = false", asked)) if (file.id === id) return file;
      throw new TargetError("not-found", `the injected Drive client lists no file ${id}`);
    }
    const data = await call(`look at ${id}`, asked, false, () =>
      method("files", files, "get")({ fileId: id, fields: V3_FIELDS, ...all }, optionsOf(asked)),
    );
    return fileOf(data, { id });
  }

  async function* search(q: string, asked?: Asked): AsyncGenerator<DriveFile> {
    const fields = `nextPageToken,files(${V3_FIELDS})`;
    const where = { ...all, includeItemsFromAllDrives: true };
    let pageToken: string | undefined;
    do {
      const page = { ...(pageToken !== undefined && { pageToken }) };
      const data = await call("search Drive", asked, false, () =>
        method("files", files, "list")({ q, pageSize: 1000, spaces: "drive", fields, ...where, ...page }, optionsOf(asked)),
      );
      for (const file of wanted(data.files)) yield fileOf(file, {});
      pageToken = data.nextPageToken ?? undefined;
    } while (pageToken !== undefined);
  }

  async function make(doing: string, id: string, facts: Facts, more: Written, asked: Asked | undefined): Promise<DriveFile> {
    const requestBody = { ...bodyOfV3(facts), ...more.requestBody, ...idOf(id) };
    const data = await call(doing, asked, more.media !== undefined, () =>
      method("files", files, "create")({ ...more, requestBody, fields: V3_FIELDS, ...all }, optionsOf(asked)),
    );
    return fileOf(data, requestBody);
  }

  async function change(doing: string, id: string, facts: Facts, more: Written, asked: Asked | undefined): Promise<DriveFile> {
    const { addParents, removeParents } = facts;
    const requestBody = { ...bodyOfV3(facts), ...more.requestBody };
    const moves = {
      ...(addParents && { addParents: addParents.join(",") }),
      ...(removeParents && { removeParents: removeParents.join(",") }),
    };
    const data = await call(doing, asked, more.media !== undefined, () =>
      method(
        "files",
        files,
        "update",
      )({ fileId: id, ...more, requestBody, ...moves, fields: V3_FIELDS, ...all }, optionsOf(asked)),
    );
    return fileOf(data, { ...requestBody, id });
  }

  const noSession = async (): Promise<never> => {
    throw unsupported("resumable uploads");
  };

  return {
    guarded: false,
    sessions: false,
    get,

    async generateIds(count, asked) {
      if (typeof files?.generateIds !== "function") return [];
      const { ids } = await call("reserve ids", asked, false, () =>
        method("files", files, "generateIds")({ count, space: "drive", type: "files" }, optionsOf(asked)),
      );
      return wanted(ids);
    },

    search,

    createFolder: (id, facts, asked) =>
      make(`create the folder ${facts.name ?? id}`, id, facts, { requestBody: { mimeType: FOLDER } }, asked),
    create: (id, facts, bytes, asked) =>
      make(`create ${facts.name ?? id}`, id, facts, { media: mediaOf(facts.name, bytes) }, asked),
    update: (id, facts, bytes, _etag, asked) =>
      change(`write ${facts.name ?? id}`, id, facts, { media: mediaOf(facts.name, bytes) }, asked),
    patch: (id, facts, asked) => change(`change what is known of ${id}`, id, facts, {}, asked),

    startSession: noSession,
    sendChunk: noSession,
    askSession: noSession,
    dropSession: noSession,

    async copy(from, id, facts, asked) {
      const requestBody = { ...bodyOfV3(facts), ...idOf(id) };
      const data = await call(`copy ${from}`, asked, true, () =>
        method("files", files, "copy")({ fileId: from, requestBody, fields: V3_FIELDS, ...all }, optionsOf(asked)),
      );
      return fileOf(data, requestBody);
    },

    async remove(id, _etag, asked) {
      try {
        await call(`remove ${id}`, asked, false, async () => {
          await method("files", files, "delete")({ fileId: id, ...all }, optionsOf(asked));
          return { data: true };
        });
      } catch (error) {
        if (!(error instanceof TargetError) || error.kind !== "not-found") throw error;
      }
    },

    async trash(id, asked) {
      await change(`move ${id} to the trash`, id, {}, { requestBody: { trashed: true } }, asked);
    },

    async download(id, asked) {
      const doing = `download ${id}`;
      let length = "";
      const data = await call(doing, asked, false, async () => {
        const options = { ...optionsOf(asked), responseType: "stream" } as const;
        const answer = await method("files", files, "get")({ fileId: id, alt: "media", ...all }, options);
        if (headerOf(answer.headers, "content-encoding") === "") length = headerOf(answer.headers, "content-length");
        return answer;
      });
      async function* received(): Chunks {
        let got = 0;
        try {
          for await (const chunk of chunksOf(data)) {
            got += chunk.length;
            yield chunk;
          }
        } catch (error) {
          throw faultOf(error, doing, { signal: asked?.signal });
        }
        if (length !== "" && got !== Number(length))
          throw new TargetError("transient", `could not ${doing}: ${got} of ${length} bytes arrived`);
      }
      return received();
    },

    async revisions(id, asked) {
      const fields = "nextPageToken,revisions(id,md5Checksum,size,modifiedTime,keepForever)";
      const found: Revision[] = [];
      let pageToken: string | undefined;
      do {
        const page = { ...(pageToken !== undefined && { pageToken }) };
        const data = await call(`list the revisions of ${id}`, asked, false, () =>
          method("revisions", revisions, "list")({ fileId: id, pageSize: 1000, fields, ...page }, optionsOf(asked)),
        );
        found.push(...wanted(data.revisions).map(revisionOf));
        pageToken = data.nextPageToken ?? undefined;
      } while (pageToken !== undefined);
      return found;
    },

    async pin(id, revision, asked) {
      const params = { fileId: id, revisionId: revision, requestBody: { keepForever: true }, fields: "id" };
      await call(`keep a revision of ${id}`, asked, false, () =>
        method("revisions", revisions, "update")(params, optionsOf(asked)),
      );
    },

    async about(asked) {
      const fields = "user(emailAddress),storageQuota(limit,usage)";
      const { storageQuota, user } = await call("look at the account", asked, false, () =>
        method("about", client.about, "get")({ fields }, optionsOf(asked)),
      );
      const { limit, usage } = wanted(storageQuota);
      return {
        limit: typeof limit === "string" ? Number(limit) : null,
        usage: Number(usage ?? 0),
        email: user?.emailAddress ?? null,
        serverTime: null,
      };
    },

    async sharedDrive(id, asked) {
      const { name, capabilities } = await call("look at the shared drive", asked, false, () =>
        method("drives", client.drives, "get")({ driveId: id, fields: "name,capabilities(canAddChildren)" }, optionsOf(asked)),
      );
      return { name: wanted(name), canAddChildren: capabilities?.canAddChildren === true };
    },
  };
}

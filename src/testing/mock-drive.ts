/**
 * A small Drive in memory with the methods of Google's client, for unit tests through `options.drive`. No network, no
 * sign-in, no clock: times count up by a second. What needs real HTTP is tested on the emulator.
 * @module
 */
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { parseQuery } from "./drive-emulator/query.ts";

const FOLDER = "application/vnd.google-apps.folder";

/** A file or folder in the words of Drive's third version. */
export interface MockDriveFile {
  readonly id: string;
  readonly name: string;
  readonly mimeType: string;
  readonly parents: string[];
  /** By itself or with a folder above it. */
  readonly trashed: boolean;
  readonly createdTime: string;
  readonly modifiedTime: string;
  readonly appProperties: Record<string, string>;
  readonly capabilities: { canAddChildren: boolean; canEdit: boolean };
  /** As Drive answers it, a decimal text; undefined, like the rest, for a folder. */
  readonly size?: string;
  readonly md5Checksum?: string;
  readonly sha256Checksum?: string;
  readonly headRevisionId?: string;
}

export interface MockDriveItem extends MockDriveFile {
  /** Names from the root downwards, `MemoryVDB/Core/Rules.txt`. */
  readonly path: string;
  /** The content as text; undefined for a folder. */
  readonly text: string | undefined;
}

export interface MockDriveCall {
  /** `files.create` and the like. */
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
}

/** What befalls the next call. */
export interface MockDriveFailure {
  /** Of this method only, `files.create` and the like; of any by default. */
  readonly method?: string | undefined;
  /** An HTTP status, or a network's `ECONNRESET` and the like. */
  readonly status: number | string;
  /** As Google spells them, `userRateLimitExceeded`. */
  readonly reason?: string | undefined;
  readonly message?: string | undefined;
  /** Seconds. */
  readonly retryAfter?: number | undefined;
  /** The call is done all the same, and only its answer lost. */
  readonly after?: boolean | undefined;
}

export interface MockDriveOptions {
  /** False: the client has no `generateIds`, as hand-written mocks do not. */
  readonly generateIds?: boolean | undefined;
}

interface Metadata {
  id?: string | null | undefined;
  name?: string | null | undefined;
  mimeType?: string | null | undefined;
  parents?: string[] | null | undefined;
  trashed?: boolean | null | undefined;
  appProperties?: Record<string, string | null> | null | undefined;
}
interface Write {
  requestBody?: Metadata | undefined;
  media?: { mimeType?: string | undefined; body?: unknown } | undefined;
}
interface OfFile {
  fileId: string;
}
interface Get extends OfFile {
  alt?: string;
}
interface Search {
  q?: string;
  pageSize?: number;
  pageToken?: string;
}
interface Update extends OfFile, Write {
  addParents?: string;
  removeParents?: string;
}
interface Copy extends OfFile, Write {}
interface Pin extends OfFile {
  revisionId: string;
  requestBody?: { keepForever?: boolean | null };
}
interface Answer<T> {
  readonly status: number;
  readonly headers: Headers;
  readonly data: T;
}
interface Revision {
  readonly id: string;
  readonly md5Checksum: string;
  readonly size: string;
  readonly modifiedTime: string;
  keepForever: boolean;
}

export interface MockDrive {
  readonly files: {
    generateIds?(params: { count?: number }): Promise<Answer<{ ids: string[] }>>;
    get(params: Get, options?: { responseType?: string }): Promise<Answer<unknown>>;
    list(params: Search): Promise<Answer<{ files: MockDriveFile[]; nextPageToken?: string }>>;
    create(params: Write): Promise<Answer<MockDriveFile>>;
    update(params: Update): Promise<Answer<MockDriveFile>>;
    copy(params: Copy): Promise<Answer<MockDriveFile>>;
    delete(params: OfFile): Promise<Answer<"">>;
  };
  readonly revisions: {
    list(params: OfFile): Promise<Answer<{ revisions: Revision[] }>>;
    update(params: Pin): Promise<Answer<Revision>>;
  };
  readonly about: {
    get(params: object): Promise<Answer<{ user: { emailAddress: string }; storageQuota: { limit: string; usage: string } }>>;
  };
  /** Every call so far, oldest first, those that failed too. */
  readonly calls: readonly MockDriveCall[];
  /** The next calls fail, in this order. */
  fail(...next: MockDriveFailure[]): void;
  /** What is there, the trash too, oldest first. */
  tree(): MockDriveItem[];
  /** What a person does at drive.google.com: writes the file at `path`, and makes it where there is none. */
  edit(path: string, content: string | Uint8Array): MockDriveFile;
}

interface Item {
  readonly id: string;
  name: string;
  mimeType: string;
  parents: string[];
  trashed: boolean;
  readonly createdTime: string;
  modifiedTime: string;
  readonly appProperties: Map<string, string>;
  bytes: Buffer | undefined;
  readonly revisions: Revision[];
}

const hex = (algo: string, bytes: Buffer) => createHash(algo).update(bytes).digest("hex");

async function bytesOf(body: unknown): Promise<Buffer> {
  if (typeof body === "string" || body instanceof Uint8Array) return Buffer.from(body as string);
  const parts: Buffer[] = [];
  for await (const part of body as AsyncIterable<string | Uint8Array>) parts.push(Buffer.from(part as string));
  return Buffer.concat(parts);
}

/** An error as Google's client throws it. */
function failure({ status, reason, message = reason ?? `${status}`, retryAfter }: MockDriveFailure): Error {
  if (typeof status === "string") return Object.assign(new Error(message), { code: status });
  const headers = new Headers(retryAfter === undefined ? {} : { "retry-after": String(retryAfter) });
  const errors = reason === undefined ? [] : [{ domain: "global", reason, message }];
  const data = { error: { code: status, message, errors } };
  return Object.assign(new Error(message), { code: status, status, response: { status, headers, data } });
}

const refuse = (status: number, reason: string, message = reason): never => {
  throw failure({ status, reason, message });
};

/** An empty Drive of its own; nothing is shared between two of them. */
export function mockDrive({ generateIds = true }: MockDriveOptions = {}): MockDrive {
  const items = new Map<string, Item>();
  const calls: MockDriveCall[] = [];
  const failures: MockDriveFailure[] = [];
  let count = 0;
  let ticks = 0;

  const newId = () => `mock-${++count}`;
  const now = () => new Date(Date.UTC(2026, 0, 1) + ++ticks * 1000).toISOString();
  const find = (id: string): Item => items.get(id) ?? refuse(404, "notFound", `File not found: ${id}.`);
  const isTrashed = (item: Item): boolean =>
    item.trashed || item.parents.some((id) => items.has(id) && isTrashed(items.get(id) as Item));

  function show(item: Item): MockDriveFile {
    const { id, name, mimeType, parents, createdTime, modifiedTime, bytes, revisions } = item;
    const head = revisions.at(-1);
    return {
      id,
      name,
      mimeType,
      parents: [...parents],
      trashed: isTrashed(item),
      createdTime,
      modifiedTime,
      appProperties: Object.fromEntries(item.appProperties),
      capabilities: { canAddChildren: mimeType === FOLDER, canEdit: true },
      ...(bytes &&
        head && {
          size: String(bytes.length),
          md5Checksum: head.md5Checksum,
          sha256Checksum: hex("sha256", bytes),
          headRevisionId: head.id,
        }),
    };
  }

  function write(item: Item, bytes: Buffer): void {
    const modifiedTime = now();
    item.bytes = bytes;
    item.modifiedTime = modifiedTime;
    const size = String(bytes.length);
    item.revisions.push({ id: newId(), md5Checksum: hex("md5", bytes), size, modifiedTime, keepForever: false });
  }

  const checkParents = (parents: readonly string[]) => parents.forEach((id) => id === "root" || find(id));

  function describe(item: Item, { name, mimeType, trashed, appProperties }: Metadata): void {
    item.name = name ?? item.name;
    item.mimeType = mimeType ?? item.mimeType;
    item.trashed = trashed ?? item.trashed;
    for (const [key, value] of Object.entries(appProperties ?? {}))
      if (value === null) item.appProperties.delete(key);
      else item.appProperties.set(key, value);
  }

  function make(metadata: Metadata, mimeType: string): Item {
    const id = metadata.id ?? newId();
    const parents = metadata.parents ?? ["root"];
    if (items.has(id)) refuse(409, "fileIdInUse", "A file already exists with the provided ID.");
    checkParents(parents);
    const time = now();
    const item: Item = {
      id,
      name: "Untitled",
      mimeType,
      parents: [...parents],
      trashed: false,
      createdTime: time,
      modifiedTime: time,
      appProperties: new Map(),
      bytes: undefined,
      revisions: [],
    };
    describe(item, metadata);
    items.set(id, item);
    return item;
  }

  const indexed = (item: Item): Parameters<ReturnType<typeof parseQuery>>[0] => ({
    name: item.name,
    text: "",
    mimeType: item.mimeType,
    parents: item.parents,
    owners: [],
    writers: [],
    trashed: isTrashed(item),
    starred: false,
    sharedWithMe: false,
    modifiedTime: Date.parse(item.modifiedTime),
    createdTime: Date.parse(item.createdTime),
    viewedByMeTime: 0,
    properties: new Map(),
    appProperties: item.appProperties,
    shortcutTarget: undefined,
  });

  const childOf = (parent: string, name: string, folder: boolean) =>
    [...items.values()].find(
      (item) => item.name === name && item.parents.includes(parent) && !isTrashed(item) && (item.mimeType === FOLDER) === folder,
    );

  function drop(id: string): void {
    items.delete(id);
    for (const item of items.values()) if (item.parents.includes(id)) drop(item.id);
  }

  const pathOf = ({ name, parents }: Item): string => {
    const above = items.get(parents[0] ?? "");
    return above === undefined ? name : `${pathOf(above)}/${name}`;
  };

  const asText = (item: Item): MockDriveItem => ({ ...show(item), path: pathOf(item), text: item.bytes?.toString("utf8") });

  /** One call of the client: noted, perhaps failed, and done. */
  function method<P extends object, T>(name: string, work: (params: P, options: { responseType?: string }) => T | Promise<T>) {
    return async (params: P, options: { responseType?: string } = {}): Promise<Answer<T>> => {
      calls.push({ method: name, params: { ...params } as Record<string, unknown> });
      const at = failures.findIndex((failure) => failure.method === undefined || failure.method === name);
      const [failing] = at === -1 ? [] : failures.splice(at, 1);
      if (failing && failing.after !== true) throw failure(failing);
      const data = await work(params, options);
      if (failing) throw failure(failing);
      return { status: 200, headers: new Headers(), data };
    };
  }

  return {
    files: {
      ...(generateIds && {
        generateIds: method("files.generateIds", ({ count: wanted = 10 }: { count?: number }) => ({
          ids: Array.from({ length: wanted }, newId),
        })),
      }),
      get: method("files.get", ({ fileId, alt }: Get, { responseType }) => {
        const item = find(fileId);
        if (alt !== "media") return show(item);
        const bytes = item.bytes ?? refuse(403, "fileNotDownloadable");
        if (responseType === "stream") return Readable.from(bytes.length === 0 ? [] : [bytes]);
        return responseType === "arraybuffer" ? Uint8Array.from(bytes).buffer : bytes.toString("utf8");
      }),
      list: method("files.list", ({ q = "", pageSize = 100, pageToken = "0" }: Search) => {
        const matches = q === "" ? () => true : parseQuery(q, (value) => value);
        const found = [...items.values()].filter((item) => matches(indexed(item)));
        const end = Number(pageToken) + pageSize;
        const files = found.slice(Number(pageToken), end).map(show);
        return end < found.length ? { files, nextPageToken: String(end) } : { files };
      }),
      create: method("files.create", async ({ requestBody = {}, media }: Write) => {
        const bytes = media === undefined ? undefined : await bytesOf(media.body ?? "");
        const item = make(requestBody, media?.mimeType ?? "application/octet-stream");
        if (item.mimeType !== FOLDER) write(item, bytes ?? Buffer.alloc(0));
        return show(item);
      }),
      update: method("files.update", async ({ fileId, requestBody = {}, media, addParents, removeParents }: Update) => {
        const bytes = media === undefined ? undefined : await bytesOf(media.body ?? "");
        const item = find(fileId);
        const [added, removed] = [addParents, removeParents].map((ids) => ids?.split(",") ?? []) as [string[], string[]];
        checkParents(added);
        item.parents = [...item.parents.filter((id) => !removed.includes(id)), ...added];
        describe(item, requestBody);
        item.modifiedTime = now();
        if (bytes) write(item, bytes);
        return show(item);
      }),
      copy: method("files.copy", ({ fileId, requestBody = {} }: Copy) => {
        const from = find(fileId);
        const bytes = from.bytes ?? refuse(403, "cannotCopyFile");
        const { name, parents, mimeType } = from;
        const copy = make({ name, parents, ...requestBody, appProperties: Object.fromEntries(from.appProperties) }, mimeType);
        describe(copy, requestBody);
        write(copy, bytes);
        return show(copy);
      }),
      delete: method("files.delete", ({ fileId }: OfFile): "" => {
        drop(find(fileId).id);
        return "";
      }),
    },
    revisions: {
      list: method("revisions.list", ({ fileId }: OfFile) => ({
        revisions: find(fileId).revisions.map((each) => ({ ...each })),
      })),
      update: method("revisions.update", ({ fileId, revisionId, requestBody }: Pin) => {
        const revision = find(fileId).revisions.find(({ id }) => id === revisionId) ?? refuse(404, "notFound");
        revision.keepForever = requestBody?.keepForever ?? revision.keepForever;
        return { ...revision };
      }),
    },
    about: {
      get: method("about.get", () => {
        const usage = [...items.values()].reduce((sum, { bytes }) => sum + (bytes?.length ?? 0), 0);
        return { user: { emailAddress: "mock@example.com" }, storageQuota: { limit: "16106127360", usage: String(usage) } };
      }),
    },
    calls,
    fail: (...next) => void failures.push(...next),
    tree: () => [...items.values()].map(asText),
    edit(path, content) {
      const names = path.split("/");
      const last = names.pop() ?? "";
      let parent = "root";
      for (const name of names) parent = (childOf(parent, name, true) ?? make({ name, parents: [parent] }, FOLDER)).id;
      const item = childOf(parent, last, false) ?? make({ name: last, parents: [parent] }, "text/plain");
      write(item, Buffer.from(content as string));
      return show(item);
    },
  };
}

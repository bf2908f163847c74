/**
 * The methods of the API: which address each has, and what it answers.
 * @module
 */
import type { Access, Principal } from "./access.ts";
import { type Content, sliceOf } from "./content.ts";
import { ApiError, forbidden, invalid, type Json } from "./errors.ts";
import type { RequestKind } from "./faults.ts";
import { applyMask, checkFields, parseFields } from "./fields.ts";
import type { Circumstances, Files, Patch } from "./files.ts";
import { flag, off, on, text, v2Patch, v3Patch } from "./patches.ts";
import { type Resources, V2_FILE, V3_FILE, V3_FILE_DEFAULT } from "./resources.ts";
import type { Change, Item, Store } from "./store.ts";
import type { Received, Sessions, Upload } from "./uploads.ts";

export interface Reply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly json?: unknown;
  readonly bytes?: readonly Buffer[] | undefined;
}

export interface ApiCall {
  readonly principal: Principal;
  readonly params: readonly string[];
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** What the client calls this server. */
  readonly origin: string;
  readonly upload: Upload;
}

export interface Route {
  readonly api: string;
  readonly method: string;
  readonly path: RegExp;
  readonly kind: RequestKind;
  /** Quota units that Google charges. */
  readonly units: number;
  readonly run: (call: ApiCall) => Reply;
}

export interface ApiOptions {
  readonly now: () => number;
  readonly revisionsLocked: boolean;
  readonly changesMs: () => number;
}

const READ = 5;
const LIST = 100;
const DOWNLOAD = 200;
const EDIT = 50;

const allDrives = (query: URLSearchParams) => on(query, "supportsAllDrives", "supportsTeamDrives");

export function createApi(
  store: Store,
  access: Access,
  files: Files,
  resources: Resources,
  sessions: Sessions,
  options: ApiOptions,
) {
  const { now } = options;
  const pages = new Map<string, { readonly ids: readonly string[]; readonly at: number; readonly made: number }>();

  const partial = (call: ApiCall, value: Json, known: ReadonlySet<string> | undefined, fallback: string): unknown => {
    const fields = call.query.get("fields")?.trim();
    const mask = parseFields(fields === undefined || fields === "" ? fallback : fields);
    if (known !== undefined) checkFields(mask, known);
    return applyMask(value, mask);
  };

  function file(call: ApiCall, item: Item, version: 2 | 3): Reply {
    const json =
      version === 3
        ? partial(call, resources.v3(item, call.principal), V3_FILE, V3_FILE_DEFAULT)
        : partial(call, resources.v2(item, call.principal), V2_FILE, "*");
    return { status: 200, headers: { etag: store.etagOf(item) }, json };
  }

  /** Also refuses a bad mask, before anything is done. */
  const circumstances = (call: ApiCall, version: 2 | 3): Circumstances => {
    const fields = call.query.get("fields")?.trim() ?? "";
    if (fields !== "") checkFields(parseFields(fields), version === 3 ? V3_FILE : V2_FILE);
    const ifMatch = call.headers["if-match"];
    return {
      allDrives: allDrives(call.query),
      // Version 3 does not look at it.
      ifMatch: version === 2 && typeof ifMatch === "string" ? ifMatch : undefined,
    };
  };

  const patchOf = (call: ApiCall, version: 2 | 3, fresh: boolean): Patch => {
    const { meta, content, contentType } = call.upload;
    const patch = version === 3 ? v3Patch(meta, call.query) : v2Patch(meta, call.query, fresh);
    return { ...patch, content, contentType };
  };

  function create(call: ApiCall, version: 2 | 3): Reply {
    return file(call, files.create(call.principal, patchOf(call, version, true), circumstances(call, version)), version);
  }

  function update(call: ApiCall, version: 2 | 3): Reply {
    const [id = ""] = call.params;
    let patch = patchOf(call, version, false);
    if (version === 2 && patch.parents !== undefined) {
      const before = access.find(call.principal, id, allDrives(call.query), "write").parent;
      const moved = before !== undefined && patch.parents[0] !== undefined && patch.parents[0] !== before;
      patch = { ...patch, parents: undefined, ...(moved && { addParents: patch.parents, removeParents: [before] }) };
    }
    return file(call, files.update(call.principal, id, patch, circumstances(call, version)), version);
  }

  /** The start of a resumable upload: checked like the write itself, so that nobody sends bytes in vain. */
  function start(call: ApiCall, version: 2 | 3, fileId: string | undefined): Reply {
    const how = circumstances(call, version);
    const patch = patchOf(call, version, fileId === undefined);
    const bytes = Number(call.headers["x-upload-content-length"] ?? 0);
    if (fileId === undefined) files.assertCanCreate(call.principal, patch, how, bytes);
    else files.assertCanUpdate(call.principal, fileId, how, bytes);
    const type = call.headers["x-upload-content-type"];
    const id = sessions.open({
      principal: call.principal,
      version,
      fileId,
      patch,
      // The etag has been checked; between here and the last byte nobody looks at it again.
      how: { allDrives: how.allDrives },
      query: call.query,
      contentType: typeof type === "string" ? type : undefined,
    });
    const place = `upload/drive/v${version}/files${fileId === undefined ? "" : `/${encodeURIComponent(fileId)}`}`;
    const location = `${call.origin}${place}?uploadType=resumable&upload_id=${id}`;
    return { status: 200, headers: { location, "x-guploader-uploadid": id, "content-type": "text/html; charset=UTF-8" } };
  }

  /** What a session is answered after a request to it. */
  function uploaded({ session, content, stored }: Received, withRange = true): Reply {
    if (content === undefined) return { status: 308, headers: stored > 0 && withRange ? { range: `bytes=0-${stored - 1}` } : {} };
    if (session.result === undefined) {
      const patch = { ...session.patch, content, contentType: session.contentType };
      const item =
        session.fileId === undefined
          ? files.create(session.principal, patch, session.how)
          : files.update(session.principal, session.fileId, patch, session.how);
      const call = { principal: session.principal, query: session.query } as ApiCall;
      const { json, headers = {} } = file(call, item, session.version);
      session.result = { status: 200, json, headers };
    }
    return session.result;
  }

  function download(call: ApiCall, content: Content, mimeType: string, item: Item): Reply {
    const base = {
      "content-type": mimeType,
      "accept-ranges": "bytes",
      etag: store.etagOf(item),
      "x-goog-hash": `md5=${Buffer.from(content.md5, "hex").toString("base64")}`,
    };
    const asked = call.headers["range"];
    const range = typeof asked === "string" ? /^bytes=(\d*)-(\d*)$/.exec(asked.trim()) : null;
    if (range === null || (range[1] === "" && range[2] === "")) return { status: 200, headers: base, bytes: sliceOf(content) };
    const suffix = range[1] === "";
    const start = suffix ? Math.max(0, content.size - Number(range[2])) : Number(range[1]);
    const end = suffix || range[2] === "" ? content.size : Math.min(content.size, Number(range[2]) + 1);
    if (start >= content.size || end <= start)
      return { status: 416, headers: { "content-range": `bytes */${content.size}`, "content-type": "text/html" }, bytes: [] };
    return {
      status: 206,
      headers: { ...base, "content-range": `bytes ${start}-${end - 1}/${content.size}` },
      bytes: sliceOf(content, start, end),
    };
  }

  function get(call: ApiCall, version: 2 | 3): Reply {
    const item = access.find(call.principal, call.params[0] ?? "", allDrives(call.query));
    if (call.query.get("alt") !== "media") return file(call, item, version);
    const head = store.headOf(item);
    if (head === undefined)
      throw forbidden(
        "fileNotDownloadable",
        "Only files with binary content can be downloaded. Use Export with Docs Editors files.",
      );
    return download(call, head.content, item.mimeType, item);
  }

  function pageOf(call: ApiCall, all: () => readonly string[], sizeName: string, limit = 1000) {
    const size = Number(call.query.get(sizeName) ?? "100");
    if (!Number.isInteger(size) || size < 1) throw invalid(`Invalid value '${call.query.get(sizeName)}'.`, sizeName);
    const token = call.query.get("pageToken") ?? "";
    const page = token === "" ? { ids: all(), at: 0, made: now() } : pages.get(token);
    if (page === undefined || now() - page.made > 4 * 3600 * 1000) throw invalid("Invalid Value", "pageToken");
    const end = page.at + Math.min(size, limit);
    let nextPageToken: string | undefined;
    if (end < page.ids.length) {
      nextPageToken = `~!!~${store.token(40)}`;
      pages.set(nextPageToken, { ...page, at: end });
    }
    return { ids: page.ids.slice(page.at, end), nextPageToken };
  }

  function listFiles(call: ApiCall, version: 2 | 3): Reply {
    const { query, principal } = call;
    const { ids, nextPageToken } = pageOf(
      call,
      () =>
        files
          .list(principal, {
            q: query.get("q") ?? undefined,
            version,
            orderBy: query.get("orderBy") ?? undefined,
            corpora: query.get("corpora") ?? (query.has("driveId") ? "drive" : "user"),
            driveId: query.get("driveId") ?? undefined,
            fromAllDrives: on(query, "includeItemsFromAllDrives", "includeTeamDriveItems"),
            allDrives: allDrives(query),
          })
          .map(({ id }) => id),
      version === 3 ? "pageSize" : "maxResults",
    );
    const found = ids.flatMap((id) => store.get(id) ?? []);
    const fields = query.get("fields")?.trim() ?? "";
    const mask = parseFields(
      fields !== "" ? fields : version === 3 ? `kind,incompleteSearch,nextPageToken,files(${V3_FILE_DEFAULT})` : "*",
    );
    const name = version === 3 ? "files" : "items";
    checkFields(
      mask,
      new Set([name, "kind", "incompleteSearch", "nextPageToken", ...(version === 2 ? ["etag", "selfLink", "nextLink"] : [])]),
    );
    checkFields(mask.get(name) ?? new Map(), version === 3 ? V3_FILE : V2_FILE);
    const json: Json = {
      kind: "drive#fileList",
      incompleteSearch: false,
      nextPageToken,
      [name]: found.map((item) => (version === 3 ? resources.v3(item, principal) : resources.v2(item, principal))),
    };
    return { status: 200, json: applyMask(json, mask) };
  }

  function revisions(call: ApiCall, version: 2 | 3): Reply {
    const item = access.find(call.principal, call.params[0] ?? "", allDrives(call.query));
    access.assertMay(call.principal, item, "writer");
    store.prune(item);
    if (store.isFolder(item))
      throw forbidden("insufficientFilePermissions", "The user does not have sufficient permissions for this file.");
    const name = version === 3 ? "revisions" : "items";
    const { ids, nextPageToken } = pageOf(
      call,
      () => item.revisions.map(({ id }) => id),
      version === 3 ? "pageSize" : "maxResults",
    );
    const shown = item.revisions
      .filter(({ id }) => ids.includes(id))
      .map((one) => resources.revision(one, call.principal, version));
    const json = { kind: "drive#revisionList", nextPageToken, [name]: shown };
    const fallback = version === 3 ? "kind,nextPageToken,revisions(id,mimeType,kind,modifiedTime)" : "*";
    return { status: 200, json: partial(call, json, new Set(["kind", "nextPageToken", name]), fallback) };
  }

  const REVISION = new Set(
    "kind id mimeType modifiedTime keepForever published publishedLink publishAuto publishedOutsideDomain lastModifyingUser originalFilename md5Checksum size exportLinks".split(
      " ",
    ),
  );

  function revisionAt(call: ApiCall, write: boolean) {
    const [fileId = "", revisionId = ""] = call.params;
    const item = access.find(call.principal, fileId, allDrives(call.query), write ? "write" : "read");
    access.assertMay(call.principal, item, "writer");
    return { item, revision: files.revisionOf(item, revisionId) };
  }

  function getRevision(call: ApiCall, version: 2 | 3): Reply {
    const { item, revision } = revisionAt(call, false);
    if (call.query.get("alt") !== "media") {
      const shown = resources.revision(revision, call.principal, version);
      return {
        status: 200,
        json:
          version === 3 ? partial(call, shown, REVISION, "id,mimeType,kind,modifiedTime") : partial(call, shown, undefined, "*"),
      };
    }
    if (options.revisionsLocked && !revision.keepForever)
      throw forbidden("download_restricted_for_revision", "Only revisions that are kept forever can be downloaded.");
    return download(call, revision.content, revision.mimeType, item);
  }

  function updateRevision(call: ApiCall, version: 2 | 3): Reply {
    const { item, revision } = revisionAt(call, true);
    const keep = flag(call.upload.meta, version === 3 ? "keepForever" : "pinned");
    if (keep === false && revision.keepForever)
      throw new ApiError(
        400,
        "illegalKeepForeverModification",
        "Cannot update the revision keepForever field to false once it is true.",
      );
    if (keep === true && !revision.keepForever) {
      files.assertPins(item);
      revision.keepForever = true;
      store.recount(item);
      store.bump(item);
    }
    const shown = resources.revision(revision, call.principal, version);
    return {
      status: 200,
      json:
        version === 3 ? partial(call, shown, REVISION, "id,mimeType,kind,modifiedTime") : partial(call, shown, undefined, "*"),
    };
  }

  function deleteRevision(call: ApiCall): Reply {
    const { item, revision } = revisionAt(call, true);
    if (item.revisions.length === 1)
      throw new ApiError(400, "cannotDeleteOnlyRevision", "The last remaining revision of a file cannot be deleted.");
    item.revisions = item.revisions.filter((one) => one !== revision);
    store.recount(item);
    store.bump(item);
    return { status: 204 };
  }

  const arrived = (change: Change): boolean => now() - change.at >= options.changesMs();
  /** What the feed shows so far: a change that is held back holds back those behind it. */
  const known = (): number => {
    const held = store.log.findIndex((change) => !arrived(change));
    return held < 0 ? store.log.length : held;
  };

  function changes(call: ApiCall, version: 2 | 3): Reply {
    const { query, principal } = call;
    const sizeName = version === 3 ? "pageSize" : "maxResults";
    const start = Number(
      query.get(version === 3 ? "pageToken" : query.has("pageToken") ? "pageToken" : "startChangeId") ??
        (version === 2 ? "1" : "x"),
    );
    const size = Number(query.get(sizeName) ?? "100");
    if (!Number.isInteger(start) || start < 1 || start > store.log.length + 1) throw invalid("Invalid Value", "pageToken");
    if (!Number.isInteger(size) || size < 1) throw invalid("Invalid Value", sizeName);
    const end = known();
    const driveId = query.get("driveId") ?? undefined;
    const wanted = ({ item, removed }: Change): boolean => {
      if (item.parent === undefined && !removed) return false;
      if (
        driveId !== undefined ? item.driveId !== driveId : item.driveId !== undefined && !on(query, "includeItemsFromAllDrives")
      )
        return false;
      if (removed && off(query, version === 3 ? "includeRemoved" : "includeDeleted")) return false;
      return access.sees(principal, item);
    };
    // Of several changes of one file the feed shows the last.
    const latest = new Map<Item, number>();
    for (let at = start - 1; at < end; at++) {
      const change = store.log[at];
      if (change !== undefined && wanted(change)) latest.set(change.item, at);
    }
    const at = [...latest.values()].toSorted((left, right) => left - right);
    const page = at.slice(0, Math.min(size, 1000));
    const more = at.length > page.length;
    const shown = page.flatMap((index): Json[] => {
      const change = store.log[index];
      if (change === undefined) return [];
      const { item } = change;
      const gone = store.get(item.id) === undefined;
      const file = gone ? undefined : version === 3 ? resources.v3(item, principal) : resources.v2(item, principal);
      return version === 3
        ? [
            {
              kind: "drive#change",
              type: "file",
              changeType: "file",
              time: resources.when(change.at),
              removed: gone,
              fileId: item.id,
              file,
            },
          ]
        : [
            {
              kind: "drive#change",
              id: String(index + 1),
              modificationDate: resources.when(change.at),
              deleted: gone,
              fileId: item.id,
              file,
            },
          ];
    });
    const next = String(more ? (page.at(-1) ?? 0) + 2 : end + 1);
    const json: Json =
      version === 3
        ? { kind: "drive#changeList", [more ? "nextPageToken" : "newStartPageToken"]: next, changes: shown }
        : {
            kind: "drive#changeList",
            largestChangeId: String(end),
            [more ? "nextPageToken" : "newStartPageToken"]: next,
            items: shown,
          };
    const fallback =
      version === 3
        ? `kind,nextPageToken,newStartPageToken,changes(kind,type,changeType,time,removed,fileId,file(${V3_FILE_DEFAULT}))`
        : "*";
    return { status: 200, json: partial(call, json, undefined, fallback) };
  }

  function about(call: ApiCall, version: 2 | 3): Reply {
    const { user } = call.principal;
    const fields = call.query.get("fields")?.trim() ?? "";
    if (version === 3 && fields === "")
      throw new ApiError(400, "required", "The 'fields' parameter is required for this method.", { location: "fields" });
    const trash = store
      .all()
      .filter((item) => item.owner === user.email && item.driveId === undefined && store.isTrashed(item))
      .reduce((sum, { counted }) => sum + counted, 0);
    const limit = user.storage === undefined ? undefined : String(user.storage);
    const person = resources.personOf(user, user, version);
    const json: Json =
      version === 3
        ? {
            kind: "drive#about",
            user: person,
            storageQuota: { limit, usage: String(user.used), usageInDrive: String(user.used), usageInDriveTrash: String(trash) },
            importFormats: {},
            exportFormats: {},
            maxImportSizes: {},
            maxUploadSize: "5242880000000",
            appInstalled: false,
            folderColorPalette: [],
            canCreateDrives: !user.service,
            canCreateTeamDrives: !user.service,
            driveThemes: [],
          }
        : {
            kind: "drive#about",
            name: user.displayName,
            user: person,
            rootFolderId: user.rootId,
            quotaType: user.storage === undefined ? "UNLIMITED" : "LIMITED",
            quotaBytesTotal: limit,
            quotaBytesUsed: String(user.used),
            quotaBytesUsedInTrash: String(trash),
            quotaBytesUsedAggregate: String(user.used),
            largestChangeId: String(known()),
            permissionId: user.permissionId,
          };
    return { status: 200, json: partial(call, json, version === 3 ? new Set(Object.keys(json)) : undefined, "*") };
  }

  function drives(call: ApiCall, version: 2 | 3): Reply {
    const mine = [...store.drives.values()].filter(({ members }) => members.has(call.principal.user.email) || members.has("*"));
    const { ids, nextPageToken } = pageOf(call, () => mine.map(({ id }) => id), version === 3 ? "pageSize" : "maxResults", 100);
    const shown = mine.filter(({ id }) => ids.includes(id)).map((one) => resources.drive(one, call.principal, version));
    const json = { kind: "drive#driveList", nextPageToken, [version === 3 ? "drives" : "items"]: shown };
    return { status: 200, json: partial(call, json, undefined, version === 3 ? "kind,nextPageToken,drives(kind,id,name)" : "*") };
  }

  function drive(call: ApiCall, version: 2 | 3): Reply {
    const [id = ""] = call.params;
    const found = store.drives.get(id);
    if (found === undefined || !(found.members.has(call.principal.user.email) || found.members.has("*")))
      throw new ApiError(404, "notFound", `Shared drive not found: ${id}`, { location: "driveId" });
    return {
      status: 200,
      json: partial(call, resources.drive(found, call.principal, version), undefined, version === 3 ? "kind,id,name" : "*"),
    };
  }

  function generate(call: ApiCall, version: 2 | 3): Reply {
    const { query } = call;
    const count = Number(query.get(version === 3 ? "count" : "maxResults") ?? "10");
    const space = query.get("space") ?? "drive";
    const type = query.get("type") ?? "files";
    if (!Number.isInteger(count) || count < 1 || count > 1000)
      throw invalid("Invalid value for count: it is from 1 to 1000.", "count");
    if (space !== "drive" && space !== "appDataFolder") throw invalid("Invalid value for space.", "space");
    if (type !== "files" && type !== "shortcuts") throw invalid("Invalid value for type.", "type");
    const ids = Array.from({ length: count }, () => store.reserve(type));
    return { status: 200, json: partial(call, { kind: "drive#generatedIds", space, ids }, undefined, "*") };
  }

  function permissions(call: ApiCall): Reply {
    const item = access.find(call.principal, call.params[0] ?? "", allDrives(call.query));
    const shown = [item.owner, ...item.sharedWith].flatMap((email) => {
      const user = store.users.get(email);
      const role = email === item.owner ? "owner" : "writer";
      return user === undefined
        ? []
        : [
            {
              kind: "drive#permission",
              id: user.permissionId,
              type: "user",
              role,
              emailAddress: email,
              displayName: user.displayName,
            },
          ];
    });
    const json = { kind: "drive#permissionList", permissions: shown };
    return { status: 200, json: partial(call, json, undefined, "kind,nextPageToken,permissions(kind,id,type,role)") };
  }

  function share(call: ApiCall): Reply {
    const item = access.find(call.principal, call.params[0] ?? "", allDrives(call.query), "write");
    access.assertMay(call.principal, item, "writer");
    const email = text(call.upload.meta, "emailAddress") ?? "";
    const user = store.users.get(email);
    if (user === undefined) throw invalid("The user does not exist.", "permission.emailAddress");
    item.sharedWith.add(email);
    store.bump(item);
    return { status: 200, json: { kind: "drive#permission", id: user.permissionId, type: "user", role: "writer" } };
  }

  function remove(call: ApiCall, version: 2 | 3): Reply {
    files.remove(call.principal, call.params[0] ?? "", circumstances(call, version));
    return { status: 204 };
  }

  function setTrashed(call: ApiCall, trashed: boolean): Reply {
    return file(call, files.update(call.principal, call.params[0] ?? "", { trashed }, circumstances(call, 2)), 2);
  }

  const route = (api: string, method: string, path: string, kind: RequestKind, units: number, run: Route["run"]): Route => ({
    api,
    method,
    path: new RegExp(`^/${path.replaceAll(":id", "([^/]+)")}$`),
    kind,
    units,
    run,
  });

  const media = (version: 2 | 3, method: string): Route[] => {
    const name = (verb: string) => (version === 3 ? `files.${verb}` : `v2.files.${verb}`);
    const resumable = ({ query }: ApiCall) => query.get("uploadType") === "resumable";
    return [
      route(name(version === 3 ? "create" : "insert"), "POST", `upload/drive/v${version}/files`, "write", EDIT, (call) =>
        resumable(call) ? start(call, version, undefined) : create(call, version),
      ),
      route(name("update"), method, `upload/drive/v${version}/files/:id`, "write", EDIT, (call) =>
        resumable(call) ? start(call, version, call.params[0]) : update(call, version),
      ),
    ];
  };

  const routes: Route[] = [
    route("files.generateIds", "GET", "drive/v3/files/generateIds", "read", READ, (call) => generate(call, 3)),
    route("files.emptyTrash", "DELETE", "drive/v3/files/trash", "write", EDIT, (call) => {
      files.emptyTrash(call.principal, call.query.get("driveId") ?? undefined);
      return { status: 204 };
    }),
    route("files.list", "GET", "drive/v3/files", "read", LIST, (call) => listFiles(call, 3)),
    route("files.create", "POST", "drive/v3/files", "write", EDIT, (call) => create(call, 3)),
    route("files.get", "GET", "drive/v3/files/:id", "read", READ, (call) => get(call, 3)),
    route("files.update", "PATCH", "drive/v3/files/:id", "write", EDIT, (call) => update(call, 3)),
    route("files.delete", "DELETE", "drive/v3/files/:id", "write", EDIT, (call) => remove(call, 3)),
    route("files.copy", "POST", "drive/v3/files/:id/copy", "write", EDIT, (call) =>
      file(call, files.copy(call.principal, call.params[0] ?? "", patchOf(call, 3, true), circumstances(call, 3)), 3),
    ),
    ...media(3, "PATCH"),
    route("revisions.list", "GET", "drive/v3/files/:id/revisions", "read", LIST, (call) => revisions(call, 3)),
    route("revisions.get", "GET", "drive/v3/files/:id/revisions/:id", "read", READ, (call) => getRevision(call, 3)),
    route("revisions.update", "PATCH", "drive/v3/files/:id/revisions/:id", "write", EDIT, (call) => updateRevision(call, 3)),
    route("revisions.delete", "DELETE", "drive/v3/files/:id/revisions/:id", "write", EDIT, deleteRevision),
    route("permissions.list", "GET", "drive/v3/files/:id/permissions", "read", LIST, permissions),
    route("permissions.create", "POST", "drive/v3/files/:id/permissions", "write", EDIT, share),
    route("about.get", "GET", "drive/v3/about", "read", READ, (call) => about(call, 3)),
    route("changes.getStartPageToken", "GET", "drive/v3/changes/startPageToken", "read", READ, (call) => ({
      status: 200,
      json: partial(call, { kind: "drive#startPageToken", startPageToken: String(known() + 1) }, undefined, "*"),
    })),
    route("changes.list", "GET", "drive/v3/changes", "read", LIST, (call) => changes(call, 3)),
    route("drives.list", "GET", "drive/v3/drives", "read", LIST, (call) => drives(call, 3)),
    route("drives.get", "GET", "drive/v3/drives/:id", "read", READ, (call) => drive(call, 3)),

    route("v2.files.generateIds", "GET", "drive/v2/files/generateIds", "read", READ, (call) => generate(call, 2)),
    route("v2.files.emptyTrash", "DELETE", "drive/v2/files/trash", "write", EDIT, (call) => {
      files.emptyTrash(call.principal, call.query.get("driveId") ?? undefined);
      return { status: 204 };
    }),
    route("v2.files.list", "GET", "drive/v2/files", "read", LIST, (call) => listFiles(call, 2)),
    route("v2.files.insert", "POST", "drive/v2/files", "write", EDIT, (call) => create(call, 2)),
    route("v2.files.get", "GET", "drive/v2/files/:id", "read", READ, (call) => get(call, 2)),
    route("v2.files.update", "PUT", "drive/v2/files/:id", "write", EDIT, (call) => update(call, 2)),
    route("v2.files.patch", "PATCH", "drive/v2/files/:id", "write", EDIT, (call) => update(call, 2)),
    route("v2.files.delete", "DELETE", "drive/v2/files/:id", "write", EDIT, (call) => remove(call, 2)),
    route("v2.files.copy", "POST", "drive/v2/files/:id/copy", "write", EDIT, (call) => {
      const how = circumstances(call, 2);
      if (how.ifMatch !== undefined)
        files.assertMatch(access.find(call.principal, call.params[0] ?? "", how.allDrives), how.ifMatch);
      return file(call, files.copy(call.principal, call.params[0] ?? "", patchOf(call, 2, true), how), 2);
    }),
    route("v2.files.trash", "POST", "drive/v2/files/:id/trash", "write", EDIT, (call) => setTrashed(call, true)),
    route("v2.files.untrash", "POST", "drive/v2/files/:id/untrash", "write", EDIT, (call) => setTrashed(call, false)),
    route("v2.files.touch", "POST", "drive/v2/files/:id/touch", "write", EDIT, (call) =>
      file(call, files.update(call.principal, call.params[0] ?? "", { modifiedTime: now() }, circumstances(call, 2)), 2),
    ),
    ...media(2, "PUT"),
    route("v2.revisions.list", "GET", "drive/v2/files/:id/revisions", "read", LIST, (call) => revisions(call, 2)),
    route("v2.revisions.get", "GET", "drive/v2/files/:id/revisions/:id", "read", READ, (call) => getRevision(call, 2)),
    route("v2.revisions.update", "PUT", "drive/v2/files/:id/revisions/:id", "write", EDIT, (call) => updateRevision(call, 2)),
    route("v2.revisions.patch", "PATCH", "drive/v2/files/:id/revisions/:id", "write", EDIT, (call) => updateRevision(call, 2)),
    route("v2.revisions.delete", "DELETE", "drive/v2/files/:id/revisions/:id", "write", EDIT, deleteRevision),
    route("v2.about.get", "GET", "drive/v2/about", "read", READ, (call) => about(call, 2)),
    route("v2.changes.list", "GET", "drive/v2/changes", "read", LIST, (call) => changes(call, 2)),
    route("v2.drives.list", "GET", "drive/v2/drives", "read", LIST, (call) => drives(call, 2)),
    route("v2.drives.get", "GET", "drive/v2/drives/:id", "read", READ, (call) => drive(call, 2)),
  ];

  return {
    uploaded,
    /** The route and what its path names; downloads are a kind of their own. */
    match(
      method: string,
      path: string,
      query: URLSearchParams,
    ): { readonly route: Route; readonly params: readonly string[] } | undefined {
      for (const found of routes) {
        const params = found.method === method ? found.path.exec(path) : null;
        if (params === null) continue;
        const plain = params.slice(1).map((one) => decodeURIComponent(one));
        const download = found.kind === "read" && query.get("alt") === "media";
        return {
          route: download ? { ...found, api: found.api.replace(/get$/, "download"), units: DOWNLOAD } : found,
          params: plain,
        };
      }
      return undefined;
    },
  };
}

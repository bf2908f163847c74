/**
 * What can be done with files, the same for both versions of the API.
 * @module
 */
import type { Access, Principal } from "./access.ts";
import { type Content, contentOf } from "./content.ts";
import { ApiError, forbidden, invalid, notFound, storageFull } from "./errors.ts";
import { type Indexed, parseQuery } from "./query.ts";
import { FOLDER, type Item, type Revision, SHORTCUT, type Store } from "./store.ts";

const PROPERTY_BYTES = 124;
const PROPERTIES = 30;
const PINNED = 200;
const LEVELS = 100;
const DOCS = /^application\/vnd\.google-apps\.(document|spreadsheet|presentation|drawing|form|script|site)$/;

/** What a request wants a file to be; what is left out stays. */
export interface Patch {
  readonly id?: string | undefined;
  readonly name?: string | undefined;
  readonly mimeType?: string | undefined;
  readonly description?: string | undefined;
  readonly starred?: boolean | undefined;
  readonly trashed?: boolean | undefined;
  readonly parents?: readonly string[] | undefined;
  readonly addParents?: readonly string[] | undefined;
  readonly removeParents?: readonly string[] | undefined;
  readonly createdTime?: number | undefined;
  readonly modifiedTime?: number | undefined;
  readonly properties?: Readonly<Record<string, string | null>> | undefined;
  readonly appProperties?: Readonly<Record<string, string | null>> | undefined;
  readonly shortcutTarget?: string | undefined;
  readonly pin?: boolean | undefined;
  /** Version 2 only: false overwrites the head in place. */
  readonly newRevision?: boolean | undefined;
  readonly content?: Content | undefined;
  readonly contentType?: string | undefined;
}

export interface Circumstances {
  readonly allDrives: boolean;
  /** Version 2 only. */
  readonly ifMatch?: string | undefined;
}

export interface FilesOptions {
  /** The reason of the 409 for an id that is taken. */
  readonly idTakenReason: string;
  readonly childrenPerFolder: number;
  /** False: revisions that are not kept for ever can be downloaded too. */
  readonly revisionsLocked: boolean;
  readonly now: () => number;
}

export interface Listing {
  readonly q: string | undefined;
  readonly version: 2 | 3;
  readonly orderBy: string | undefined;
  readonly corpora: string;
  readonly driveId: string | undefined;
  readonly fromAllDrives: boolean;
  readonly allDrives: boolean;
}

export type Files = ReturnType<typeof createFiles>;

export function createFiles(store: Store, access: Access, options: FilesOptions) {
  const { now } = options;

  function merged(before: ReadonlyMap<string, string>, changes: Readonly<Record<string, string | null>>): Map<string, string> {
    const after = new Map(before);
    for (const [key, value] of Object.entries(changes)) {
      if (value === null) after.delete(key);
      else if (Buffer.byteLength(key) + Buffer.byteLength(value) > PROPERTY_BYTES)
        throw invalid(`A property may have ${PROPERTY_BYTES} bytes, key and value together.`, "appProperties");
      else after.set(key, value);
    }
    if (after.size > PROPERTIES) throw invalid(`A file may have ${PROPERTIES} properties of a kind.`, "appProperties");
    return after;
  }

  function ownerOf(principal: Principal, parent: Item): string {
    if (parent.driveId !== undefined) return "";
    if (principal.user.storage === 0) throw storageFull(principal.user.service);
    return principal.user.email;
  }

  function assertRoom(principal: Principal, driveId: string | undefined, bytes: number): void {
    const { storage, used } = principal.user;
    if (driveId === undefined && storage !== undefined && used + bytes > storage) throw storageFull(principal.user.service);
  }

  function parentOf(principal: Principal, ids: readonly string[] | undefined, allDrives: boolean): Item {
    if (ids !== undefined && ids.length > 1)
      throw forbidden("teamDrivesParentLimit", "A file cannot be created in more than one folder.");
    const [id = "root"] = ids ?? [];
    const there = store.get(id);
    // Google answers a service account so even where the folder lies in a shared drive.
    if (there?.driveId !== undefined && !allDrives && principal.user.storage === 0) throw storageFull(true);
    const parent = access.find(principal, id, allDrives, "parent");
    if (!store.isFolder(parent)) throw invalid("The specified parent is not a folder.", "parents");
    access.assertMay(principal, parent, "writer");
    if (parent.parent !== undefined && store.childrenOf(parent.id).length >= options.childrenPerFolder)
      throw forbidden(
        "numChildrenInNonRootLimitExceeded",
        "The limit for this folder's number of children (files and folders) has been exceeded.",
      );
    if ([...store.lineage(parent)].length > LEVELS)
      throw forbidden("myDriveHierarchyDepthLimitExceeded", "Your My Drive cannot contain more than 100 levels of folders.");
    return parent;
  }

  function assertId(id: string, mimeType: string): void {
    if (id === "root" || id === "trash" || id === "generateIds") throw invalid("The provided file ID is not usable.", "file.id");
    if (DOCS.test(mimeType)) throw forbidden("invalid", "Generated IDs are not supported for Docs Editors formats.");
    if (store.wasUsed(id))
      throw new ApiError(409, options.idTakenReason, "A file already exists with the provided ID.", { location: "file.id" });
    const kind = store.reservedAs(id);
    if (kind !== (mimeType === SHORTCUT ? "shortcuts" : "files")) throw invalid("The provided file ID is not usable.", "file.id");
  }

  function assertPins(item: Item | undefined): void {
    if (item !== undefined && item.revisions.filter(({ keepForever }) => keepForever).length >= PINNED)
      throw forbidden("revisionKeepForeverLimitExceeded", `At most ${PINNED} revisions of a file can be kept forever.`);
  }

  function assertMatch(item: Item, ifMatch: string | undefined): void {
    if (ifMatch === undefined || ifMatch === "*" || ifMatch === store.etagOf(item)) return;
    throw new ApiError(412, "conditionNotMet", "Precondition Failed", { location: "If-Match", locationType: "header" });
  }

  /** Checks them now, and sets them when called. */
  function properties(item: Item, app: string, patch: Patch): () => void {
    const open = patch.properties && merged(item.properties, patch.properties);
    const own = patch.appProperties && merged(item.appProperties.get(app) ?? new Map<string, string>(), patch.appProperties);
    return () => {
      if (open) store.setProperties(item, open);
      if (own) store.setAppProperties(item, app, own);
    };
  }

  function plan(principal: Principal, patch: Patch, { allDrives }: Circumstances, mimeType: string) {
    const parent = parentOf(principal, patch.parents, allDrives);
    const owner = ownerOf(principal, parent);
    if (patch.id !== undefined) assertId(patch.id, mimeType);
    merged(new Map(), patch.properties ?? {});
    merged(new Map(), patch.appProperties ?? {});
    return { parent, owner };
  }

  function make(
    principal: Principal,
    patch: Patch,
    place: { parent: Item; owner: string },
    name: string,
    mimeType: string,
  ): Item {
    const { parent, owner } = place;
    const item = store.add({
      ...(patch.id !== undefined && { id: patch.id }),
      name,
      mimeType,
      parent: parent.id,
      driveId: parent.driveId,
      owner,
      created: patch.createdTime ?? now(),
      modified: patch.modifiedTime ?? now(),
      description: patch.description,
      shortcutTarget: patch.shortcutTarget,
    });
    item.apps.add(principal.app);
    item.modifiedBy = principal.user.email;
    item.starred = patch.starred ?? false;
    properties(item, principal.app, patch)();
    return item;
  }

  const mimeOf = (patch: Patch): string => patch.mimeType ?? patch.contentType ?? "application/octet-stream";

  function move(principal: Principal, item: Item, patch: Patch, allDrives: boolean): boolean {
    const { addParents = [], removeParents = [] } = patch;
    if (addParents.length === 0 && removeParents.length === 0) return false;
    const actual = (id: string) => (id === "root" ? principal.user.rootId : id);
    const left = removeParents.some((id) => actual(id) === item.parent) ? undefined : item.parent;
    const [first, ...others] = addParents.filter((id) => actual(id) !== left);
    if (first === undefined && left === undefined) throw forbidden("cannotRemoveLastParent", "A file must have a parent.");
    if (others.length > 0 || (first !== undefined && left !== undefined))
      throw forbidden("cannotAddParent", "Increasing the number of parents is not allowed");
    if (first === undefined) return false;
    const parent = parentOf(principal, [first], allDrives);
    if ([...store.lineage(parent)].includes(item)) throw invalid("The specified parent would make a cycle.", "addParents");
    if (item.driveId !== parent.driveId && store.isFolder(item))
      throw forbidden("teamDrivesFolderMoveInNotSupported", "Moving folders into shared drives is not supported.");
    store.move(item, parent);
    return true;
  }

  function assertTrash(principal: Principal, item: Item): void {
    if (item.driveId === undefined ? item.owner !== principal.user.email : !access.may(principal, item, "fileOrganizer"))
      throw forbidden("insufficientFilePermissions", "The user does not have sufficient permissions for this file.");
  }

  function revisionOf(item: Item, id: string): Revision {
    store.prune(item);
    const found = id === "head" ? store.headOf(item) : item.revisions.find((one) => one.id === id);
    if (found === undefined) throw new ApiError(404, "notFound", `Revision not found: ${id}.`, { location: "revisionId" });
    return found;
  }

  /** Getters, because a search over thousands of files asks most of them for one thing only. */
  function indexed(principal: Principal, item: Item): Indexed {
    const { name, parent, properties, appProperties } = store.indexed(item, principal.app);
    return {
      name,
      text: item.description ?? "",
      mimeType: item.mimeType,
      parents: parent === undefined ? undefined : [parent],
      owners: [item.owner],
      get writers() {
        return [...store.lineage(item)].flatMap(({ owner, sharedWith }) => [owner, ...sharedWith]);
      },
      get trashed() {
        return store.isTrashed(item);
      },
      starred: item.starred,
      sharedWithMe: item.sharedWith.has(principal.user.email),
      modifiedTime: item.modified,
      createdTime: item.created,
      viewedByMeTime: item.modified,
      properties,
      appProperties,
      shortcutTarget: item.shortcutTarget,
    };
  }

  return {
    assertMatch,
    revisionOf,
    assertPins,

    /** Refuses at the start of a resumable upload what its end would refuse. */
    assertCanCreate(principal: Principal, patch: Patch, how: Circumstances, bytes: number): void {
      const { parent } = plan(principal, patch, how, mimeOf(patch));
      assertRoom(principal, parent.driveId, bytes);
    },
    assertCanUpdate(principal: Principal, id: string, how: Circumstances, bytes: number): void {
      const item = access.find(principal, id, how.allDrives, "write");
      access.assertMay(principal, item, "writer");
      assertMatch(item, how.ifMatch);
      assertRoom(principal, item.driveId, bytes - (store.headOf(item)?.content.size ?? 0));
    },

    create(principal: Principal, patch: Patch, how: Circumstances): Item {
      const mimeType = mimeOf(patch);
      const place = plan(principal, patch, how, mimeType);
      if (mimeType === FOLDER && patch.content !== undefined) throw invalid("A folder has no content.", "mimeType");
      const blob = !mimeType.startsWith("application/vnd.google-apps.");
      // Without bytes a file is an empty one.
      const content = patch.content ?? (blob ? contentOf("") : undefined);
      assertRoom(principal, place.parent.driveId, content?.size ?? 0);
      if (patch.shortcutTarget !== undefined) access.find(principal, patch.shortcutTarget, how.allDrives);
      const item = make(principal, patch, place, patch.name ?? "Untitled", mimeType);
      if (blob && content !== undefined) {
        store.write(item, content, mimeType, principal.user.email, patch.pin ?? false);
        store.bump(item, 2);
      }
      return item;
    },

    update(principal: Principal, id: string, patch: Patch, how: Circumstances): Item {
      const item = access.find(principal, id, how.allDrives, "write");
      access.assertMay(principal, item, "writer");
      assertMatch(item, how.ifMatch);
      if (patch.parents !== undefined && (patch.parents.length !== 1 || patch.parents[0] !== item.parent))
        throw forbidden(
          "fieldNotWritable",
          "The parents field is not directly writable in update requests. Use the addParents and removeParents parameters instead.",
        );
      if (patch.trashed !== undefined && patch.trashed !== item.trashed) assertTrash(principal, item);
      if (patch.content !== undefined) {
        if (item.mimeType.startsWith("application/vnd.google-apps.")) throw invalid("This file cannot have content.", "fileId");
        assertRoom(
          principal,
          item.driveId,
          patch.content.size - (patch.pin === true ? 0 : (store.headOf(item)?.content.size ?? 0)),
        );
        if (patch.pin === true) assertPins(item);
      }
      const setProperties = properties(item, principal.app, patch);
      move(principal, item, patch, how.allDrives);
      setProperties();
      if (patch.name !== undefined && patch.name !== item.name) store.rename(item, patch.name);
      item.description = patch.description ?? item.description;
      item.starred = patch.starred ?? item.starred;
      if (patch.trashed !== undefined && patch.trashed !== item.trashed) {
        item.trashed = patch.trashed;
        item.trashedAt = now();
        for (const one of store.below(item)) store.bump(one);
      }
      item.modifiedBy = principal.user.email;
      const edited = patch.content ?? patch.name ?? patch.description ?? patch.mimeType;
      if (edited !== undefined || patch.modifiedTime !== undefined) item.modified = patch.modifiedTime ?? now();
      if (patch.content === undefined) {
        item.mimeType = patch.mimeType ?? item.mimeType;
        const head = store.headOf(item);
        if (patch.pin === true && head !== undefined && !head.keepForever) {
          assertPins(item);
          head.keepForever = true;
        }
        store.bump(item);
        return item;
      }
      if (patch.newRevision === false) item.revisions.pop();
      store.write(
        item,
        patch.content,
        patch.mimeType ?? patch.contentType ?? item.mimeType,
        principal.user.email,
        patch.pin ?? false,
      );
      store.bump(item, 3);
      return item;
    },

    copy(principal: Principal, id: string, patch: Patch, how: Circumstances): Item {
      const source = access.find(principal, id, how.allDrives);
      if (store.isFolder(source)) throw forbidden("cannotCopyFile", "This file cannot be copied by the user.");
      const mimeType = patch.mimeType ?? source.mimeType;
      const home = patch.parents ?? (source.parent === undefined ? undefined : [source.parent]);
      const place = plan(principal, { ...patch, parents: home }, how, mimeType);
      const head = store.headOf(source);
      assertRoom(principal, place.parent.driveId, head?.content.size ?? 0);
      const copied: Patch = {
        ...patch,
        description: patch.description ?? source.description,
        shortcutTarget: source.shortcutTarget,
        properties: { ...Object.fromEntries(source.properties), ...patch.properties },
        appProperties: { ...Object.fromEntries(source.appProperties.get(principal.app) ?? []), ...patch.appProperties },
      };
      const item = make(principal, copied, place, patch.name ?? `Copy of ${source.name}`, mimeType);
      if (head !== undefined) {
        store.write(item, head.content, mimeType, principal.user.email, patch.pin ?? false);
        store.bump(item, 2);
      }
      return item;
    },

    remove(principal: Principal, id: string, how: Circumstances): void {
      const item = access.find(principal, id, how.allDrives, "write");
      assertMatch(item, how.ifMatch);
      if (item.parent === undefined) throw forbidden("insufficientFilePermissions", "The root folder cannot be deleted.");
      if (item.driveId === undefined) assertTrash(principal, item);
      else access.assertMay(principal, item, "organizer");
      store.remove(item);
    },

    emptyTrash(principal: Principal, driveId: string | undefined): void {
      for (const item of store.all())
        if (item.trashed && item.driveId === driveId && (driveId !== undefined || item.owner === principal.user.email))
          store.remove(item);
    },

    /** Everything that matches, in order. */
    list(principal: Principal, listing: Listing): Item[] {
      const alias = (value: string) => (value === "root" ? principal.user.rootId : value === "me" ? principal.user.email : value);
      const query =
        listing.q === undefined || listing.q.trim() === "" ? () => true : parseQuery(listing.q, alias, listing.version);
      if (listing.orderBy !== undefined && /\bfullText\b/.test(listing.q ?? ""))
        throw new ApiError(400, "badRequest", "Sorting is not supported for queries with fullText terms.", {
          location: "orderBy",
        });
      const order = orderOf(listing.orderBy);
      if (listing.driveId !== undefined && store.drives.get(listing.driveId) === undefined) throw notFound(listing.driveId);
      if (listing.corpora === "drive" && (listing.driveId === undefined || !listing.fromAllDrives || !listing.allDrives))
        throw invalid("corpora=drive needs driveId, includeItemsFromAllDrives and supportsAllDrives.", "corpora");
      return store
        .all()
        .filter((item) => {
          if (item.parent === undefined) return false;
          if (item.driveId !== undefined && !(listing.fromAllDrives && listing.allDrives)) return false;
          if (listing.driveId !== undefined && item.driveId !== listing.driveId) return false;
          return access.sees(principal, item) && query(indexed(principal, item));
        })
        .toSorted(order);
    },
  };
}

type Order = (left: Item, right: Item) => number;

const natural = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
const plain = new Intl.Collator("en", { sensitivity: "base" });
const modified: Order = (left, right) => left.modified - right.modified;
const ORDERS: Readonly<Record<string, Order>> = {
  createdTime: (left, right) => left.created - right.created || left.serial - right.serial,
  createdDate: (left, right) => left.created - right.created || left.serial - right.serial,
  folder: (left, right) => Number(right.mimeType === FOLDER) - Number(left.mimeType === FOLDER),
  modifiedTime: modified,
  modifiedDate: modified,
  modifiedByMeTime: modified,
  modifiedByMeDate: modified,
  viewedByMeTime: modified,
  lastViewedByMeDate: modified,
  recency: modified,
  sharedWithMeTime: () => 0,
  sharedWithMeDate: () => 0,
  starred: (left, right) => Number(right.starred) - Number(left.starred),
  quotaBytesUsed: (left, right) => left.counted - right.counted,
  name: (left, right) => plain.compare(left.name, right.name),
  title: (left, right) => plain.compare(left.name, right.name),
  name_natural: (left, right) => natural.compare(left.name, right.name),
  title_natural: (left, right) => natural.compare(left.name, right.name),
};

function orderOf(orderBy: string | undefined): Order {
  const orders = (orderBy ?? "").split(",").flatMap((part): Order[] => {
    const [key = "", direction, ...rest] = part.trim().split(/\s+/);
    if (key === "") return [];
    const order = ORDERS[key];
    if (order === undefined || rest.length > 0 || (direction !== undefined && direction !== "desc"))
      throw invalid(`Invalid value for orderBy: ${part}.`, "orderBy");
    return direction === "desc" ? [(left, right) => order(right, left)] : [order];
  });
  // Newest first when nothing was asked; nobody may rely on it.
  orders.push(
    (left, right) => right.modified - left.modified,
    (left, right) => right.serial - left.serial,
  );
  return (left, right) => {
    for (const order of orders) {
      const found = order(left, right);
      if (found !== 0) return found;
    }
    return 0;
  };
}

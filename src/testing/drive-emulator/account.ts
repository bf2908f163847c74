/**
 * The account from the other side: what people and other programs do to it, and what a test wants to see.
 * @module
 */
import { contentOf, sliceOf } from "./content.ts";
import { FOLDER, type Item, type Rights, type Store, type User } from "./store.ts";

export interface TreeItem {
  /** Names from the root downwards; in a shared drive it begins with two slashes and the drive's name. */
  readonly path: string;
  readonly id: string;
  readonly name: string;
  readonly mimeType: string;
  readonly folder: boolean;
  /** Undefined, like the hashes, where there is no content. */
  readonly size: number | undefined;
  readonly md5: string | undefined;
  readonly sha256: string | undefined;
  /** Also when only a folder above is in the trash. */
  readonly trashed: boolean;
  readonly parents: readonly string[];
  readonly driveId: string | undefined;
  readonly owner: string;
  readonly description: string | undefined;
  readonly properties: Readonly<Record<string, string>>;
  /** Of all apps together. */
  readonly appProperties: Readonly<Record<string, string>>;
  readonly createdTime: string;
  readonly modifiedTime: string;
  readonly version: number;
  readonly etag: string;
  readonly headRevisionId: string | undefined;
  /** Oldest first. */
  readonly revisions: ReadonlyArray<{
    readonly id: string;
    readonly size: number;
    readonly md5: string;
    readonly sha256: string;
    readonly keepForever: boolean;
    readonly modifiedTime: string;
  }>;
}

export interface AddOptions {
  /** Made by hand: invisible under scope `drive.file`. */
  readonly byUser?: boolean | undefined;
  /** Made by another app of this name. */
  readonly app?: string | undefined;
  readonly mimeType?: string | undefined;
  readonly description?: string | undefined;
  readonly properties?: Readonly<Record<string, string>> | undefined;
  readonly appProperties?: Readonly<Record<string, string>> | undefined;
  readonly modifiedTime?: number | undefined;
}

/** Wherever a `target` is wanted: an id, or a path (the oldest file there that is not in the trash). */
export interface Account {
  /** Makes folders on the way where none is. A path that is taken makes a twin. */
  addFile(path: string, bytes: Uint8Array | string, options?: AddOptions): TreeItem;
  addFolder(path: string, options?: AddOptions): TreeItem;
  /** A foreign edit: a new revision, another version and etag. */
  edit(target: string, bytes: Uint8Array | string): TreeItem;
  rename(target: string, name: string): TreeItem;
  move(target: string, folder: string): TreeItem;
  trash(target: string): TreeItem;
  untrash(target: string): TreeItem;
  /** For good, with all that lies in it. */
  delete(target: string): void;
  /** Version and etag move, nothing else does. */
  touch(target: string): TreeItem;
  /** All items, in the trash too, oldest first. */
  tree(): TreeItem[];
  /** All items of this path, oldest first; twins are several. */
  find(path: string): TreeItem[];
  content(target: string, revisionId?: string): Buffer;
  /** The one user's address. */
  readonly email: string;
  /** The id of My Drive's root. */
  readonly rootId: string;
  /** Undefined or null: without limit. */
  setStorage(bytes: number | null | undefined, email?: string): void;
  addSharedDrive(
    name: string,
    rights?: Rights | Readonly<Record<string, Rights>>,
  ): { readonly id: string; readonly name: string };
  /** Lets another user write to it. */
  share(target: string, email: string): void;
  revokeTokens(): void;
  expireAccessTokens(): void;
  /** Changes what was granted, also to tokens that are out. */
  setScope(scope: string): void;
  /** What the person at the consent screen does from now on; `scope`: what is granted instead of what was asked for. */
  setConsent(says: "allow" | "deny", scope?: string): void;
  /** Whether service accounts may speak for users. */
  setDelegation(allowed: boolean): void;
  /** All upload sessions are gone. */
  loseSessions(): void;
}

export type SignIns = Pick<
  Account,
  "revokeTokens" | "expireAccessTokens" | "setScope" | "setConsent" | "setDelegation" | "loseSessions"
>;

/** `clientOf` names the OAuth client of an app. */
export function createAccount(
  store: Store,
  person: User,
  clientOf: (app: string) => string,
  now: () => number,
  signIns: SignIns,
): Account {
  function pathOf(item: Item): string {
    const names: string[] = [];
    for (const one of store.lineage(item))
      if (one.parent !== undefined) names.unshift(one.name);
      else if (one.driveId !== undefined) names.unshift(`//${one.name}`);
    return names.join("/");
  }

  function show(item: Item): TreeItem {
    const head = store.headOf(item);
    return {
      path: pathOf(item),
      id: item.id,
      name: item.name,
      mimeType: item.mimeType,
      folder: store.isFolder(item),
      size: head?.content.size,
      md5: head?.content.md5,
      sha256: head?.content.sha256,
      trashed: store.isTrashed(item),
      parents: item.parent === undefined ? [] : [item.parent],
      driveId: item.driveId,
      owner: item.owner,
      description: item.description,
      properties: Object.fromEntries(item.properties),
      appProperties: Object.fromEntries([...item.appProperties.values()].flatMap((map) => [...map])),
      createdTime: new Date(item.created).toISOString(),
      modifiedTime: new Date(item.modified).toISOString(),
      version: item.version,
      etag: store.etagOf(item),
      headRevisionId: head?.id,
      revisions: item.revisions.map(({ id, content, keepForever, modified }) => ({
        id,
        size: content.size,
        md5: content.md5,
        sha256: content.sha256,
        keepForever,
        modifiedTime: new Date(modified).toISOString(),
      })),
    };
  }

  const clean = (path: string): string => path.replace(/^\/(?!\/)/, "").replace(/(?<=[^/])\/$/, "");
  const inside = () => store.all().filter(({ parent }) => parent !== undefined);
  const at = (path: string): Item[] => {
    const wanted = clean(path);
    return inside()
      .filter((item) => pathOf(item) === wanted)
      .toSorted((left, right) => left.serial - right.serial);
  };

  function the(target: string): Item {
    if (target === "" || target === "/" || target === "root") return root(target === "" ? "/" : target);
    const found = store.get(target) ?? at(target).find((item) => !store.isTrashed(item));
    if (found === undefined) throw new Error(`there is no ${target} on this Drive`);
    return found;
  }

  function root(path: string): Item {
    const [, name] = /^\/\/([^/]+)/.exec(path) ?? [];
    const drive = name === undefined ? undefined : [...store.drives.values()].find((one) => one.name === name);
    if (name !== undefined && drive === undefined) throw new Error(`there is no shared drive ${name}`);
    const item = store.get(drive?.id ?? person.rootId);
    if (item === undefined) throw new Error(`${path} has no root`);
    return item;
  }

  function make(parent: Item, name: string, mimeType: string, options: AddOptions): Item {
    const { byUser = false, app = "app", modifiedTime = now(), description, properties = {}, appProperties = {} } = options;
    const item = store.add({
      name,
      mimeType,
      parent: parent.id,
      driveId: parent.driveId,
      owner: parent.driveId === undefined ? person.email : "",
      modified: modifiedTime,
      description,
    });
    const client = clientOf(app);
    if (!byUser) item.apps.add(client);
    item.modifiedBy = person.email;
    store.setProperties(item, new Map(Object.entries(properties)));
    store.setAppProperties(item, client, new Map(Object.entries(appProperties)));
    return item;
  }

  function place(path: string, options: AddOptions): { parent: Item; name: string } {
    const names = clean(path)
      .replace(/^\/\/[^/]+\/?/, "")
      .split("/");
    const name = names.pop() ?? "";
    let parent = root(path);
    for (const one of names)
      parent =
        store.childrenOf(parent.id).find((child) => child.name === one && store.isFolder(child) && !child.trashed) ??
        make(parent, one, FOLDER, { byUser: options.byUser, app: options.app });
    return { parent, name };
  }

  function write(item: Item, bytes: Uint8Array | string, mimeType: string, by: string): void {
    item.modified = now();
    item.modifiedBy = by;
    store.write(item, contentOf(bytes), mimeType, by, false);
    store.bump(item, 3);
  }

  function setTrashed(target: string, trashed: boolean): TreeItem {
    const item = the(target);
    item.trashed = trashed;
    item.trashedAt = now();
    for (const one of [item, ...store.below(item)]) store.bump(one);
    return show(item);
  }

  return {
    ...signIns,
    email: person.email,
    rootId: person.rootId,

    addFile(path, bytes, options = {}) {
      const { parent, name } = place(path, options);
      const mimeType = options.mimeType ?? "application/octet-stream";
      const item = make(parent, name, mimeType, options);
      store.write(item, contentOf(bytes), mimeType, person.email, false);
      store.bump(item, 2);
      return show(item);
    },
    addFolder(path, options = {}) {
      const { parent, name } = place(path, options);
      return show(make(parent, name, FOLDER, options));
    },
    edit(target, bytes) {
      const item = the(target);
      write(item, bytes, item.mimeType, person.email);
      return show(item);
    },
    rename(target, name) {
      const item = the(target);
      store.rename(item, name);
      store.bump(item);
      return show(item);
    },
    move(target, folder) {
      const item = the(target);
      store.move(item, the(folder));
      store.bump(item);
      return show(item);
    },
    trash: (target) => setTrashed(target, true),
    untrash: (target) => setTrashed(target, false),
    delete: (target) => store.remove(the(target)),
    touch(target) {
      const item = the(target);
      store.bump(item);
      return show(item);
    },
    tree: () =>
      inside()
        .toSorted((left, right) => left.serial - right.serial)
        .map(show),
    find: (path) => at(path).map(show),
    content(target, revisionId) {
      const item = the(target);
      const revision = revisionId === undefined ? store.headOf(item) : item.revisions.find(({ id }) => id === revisionId);
      if (revision === undefined) throw new Error(`${target} has no such content`);
      return Buffer.concat(sliceOf(revision.content));
    },
    setStorage(bytes, email = person.email) {
      const user = store.users.get(email);
      if (user === undefined) throw new Error(`there is no user ${email}`);
      user.storage = bytes ?? undefined;
    },
    addSharedDrive(name, rights = "organizer") {
      const members = new Map<string, Rights>(typeof rights === "string" ? [["*", rights]] : Object.entries(rights));
      const { id } = store.addDrive(name, members);
      return { id, name };
    },
    share(target, email) {
      const item = the(target);
      item.sharedWith.add(email);
      store.bump(item);
    },
  };
}

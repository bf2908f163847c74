/**
 * What is on the emulated Drive, and its bookkeeping: ids, versions, revisions, the log of changes. No policy is here.
 * @module
 */
import { createHash } from "node:crypto";
import { seededRandom } from "../random.ts";
import type { Content } from "./content.ts";

export const FOLDER = "application/vnd.google-apps.folder";
export const SHORTCUT = "application/vnd.google-apps.shortcut";
const KEPT_UNPINNED = 100;
const UNPINNED_MS = 30 * 24 * 3600 * 1000;

export interface Lag {
  /** How long a fresh or changed item is not found by `files.list` under its name. */
  nameMs?: number | undefined;
  /** The same for `properties` and `appProperties`. */
  propertyMs?: number | undefined;
  /** The same for listing a folder. */
  parentMs?: number | undefined;
  /** How long `changes.list` holds a change back. */
  changesMs?: number | undefined;
}

export interface Revision {
  readonly id: string;
  readonly content: Content;
  readonly mimeType: string;
  readonly name: string;
  readonly modified: number;
  /** When it came in: what the 30 days are counted from. */
  readonly stored: number;
  readonly by: string;
  keepForever: boolean;
}

/** What the index still shows: `since` is when `before` was replaced. */
interface Past<T> {
  readonly since: number;
  readonly before: T | undefined;
}

export interface Item {
  readonly id: string;
  readonly serial: number;
  name: string;
  mimeType: string;
  /** Undefined: a root. */
  parent: string | undefined;
  driveId: string | undefined;
  owner: string;
  /** OAuth clients that made or opened it: what scope `drive.file` sees. */
  readonly apps: Set<string>;
  readonly sharedWith: Set<string>;
  created: number;
  modified: number;
  modifiedBy: string;
  version: number;
  description: string | undefined;
  starred: boolean;
  trashed: boolean;
  trashedAt: number;
  properties: Map<string, string>;
  /** By OAuth client. */
  readonly appProperties: Map<string, Map<string, string>>;
  revisions: Revision[];
  readonly shortcutTarget: string | undefined;
  past: { name?: Past<string>; parent?: Past<string>; properties?: Past<Map<string, string>>; app?: Past<Map<string, string>> };
  /** When an invisible change is due that moves version and etag once more. */
  restless: number | undefined;
  counted: number;
}

export interface User {
  readonly email: string;
  readonly displayName: string;
  readonly permissionId: string;
  readonly service: boolean;
  readonly rootId: string;
  /** Undefined: without limit. 0: cannot own a file. */
  storage: number | undefined;
  used: number;
}

export type Rights = "organizer" | "fileOrganizer" | "writer" | "commenter" | "reader";

export interface SharedDrive {
  readonly id: string;
  readonly name: string;
  readonly created: number;
  /** By e-mail address; `*` stands for everybody. */
  readonly members: Map<string, Rights>;
}

export interface Change {
  readonly at: number;
  readonly item: Item;
  readonly removed: boolean;
}

export interface StoreSettings {
  readonly seed: number;
  readonly now: () => number;
  readonly lag: Lag;
  /** So long after its content was written, an item's version and etag move once more. */
  readonly settleMs: number | undefined;
}

export type NewItem = Pick<Item, "name" | "mimeType" | "parent" | "owner"> &
  Partial<Pick<Item, "id" | "driveId" | "created" | "modified" | "description" | "shortcutTarget">>;

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/** All of it is synchronous: what one request does, no other sees half done. */
export type Store = ReturnType<typeof createStore>;

export function createStore(settings: StoreSettings) {
  const { now, lag } = settings;
  const random = seededRandom(settings.seed);
  const items = new Map<string, Item>();
  const folders = new Map<string, Set<Item>>();
  const reserved = new Map<string, "files" | "shortcuts">();
  const everUsed = new Set<string>();
  const users = new Map<string, User>();
  const drives = new Map<string, SharedDrive>();
  const log: Change[] = [];
  let serial = 0;

  const token = (length: number): string => {
    let text = "";
    for (let n = 0; n < length; n++) text += ALPHABET[Math.floor(random() * ALPHABET.length)];
    return text;
  };
  const digits = (length: number) => Array.from({ length }, () => Math.floor(random() * 10)).join("");

  const isFolder = (item: Item) => item.mimeType === FOLDER;
  const headOf = (item: Item): Revision | undefined => item.revisions.at(-1);

  function note(item: Item, removed = false): void {
    log.push({ at: now(), item, removed });
  }

  /** Every visible change moves the version; one of content by more than one. */
  function bump(item: Item, steps = 1): void {
    item.version += steps;
    note(item);
  }

  function recount(item: Item): void {
    const owner = users.get(item.owner);
    if (owner === undefined || item.driveId !== undefined) return;
    const bytes = item.revisions.reduce(
      (sum, { content, keepForever }, index) => (keepForever || index === item.revisions.length - 1 ? sum + content.size : sum),
      0,
    );
    owner.used += bytes - item.counted;
    item.counted = bytes;
  }

  /** Unpinned revisions go after 30 days or when there are more than 100; the head stays. */
  function prune(item: Item): void {
    const head = headOf(item);
    let unpinned = item.revisions.filter(({ keepForever }) => !keepForever).length;
    item.revisions = item.revisions.filter((revision) => {
      if (revision === head || revision.keepForever) return true;
      if (unpinned <= KEPT_UNPINNED && now() - revision.stored < UNPINNED_MS) return true;
      unpinned--;
      return false;
    });
  }

  function settle(item: Item): Item {
    if (item.restless !== undefined && now() >= item.restless) {
      item.restless = undefined;
      item.version++;
    }
    return item;
  }

  function get(id: string): Item | undefined {
    const item = items.get(id);
    return item && settle(item);
  }

  const childrenOf = (id: string): Item[] => [...(folders.get(id) ?? [])];

  function attach(item: Item, parent: string | undefined): void {
    if (item.parent !== undefined) folders.get(item.parent)?.delete(item);
    item.parent = parent;
    if (parent === undefined) return;
    let siblings = folders.get(parent);
    if (siblings === undefined) folders.set(parent, (siblings = new Set()));
    siblings.add(item);
  }

  function add(fresh: NewItem): Item {
    const at = now();
    const id = fresh.id ?? `1${token(32)}`;
    const item: Item = {
      driveId: undefined,
      created: at,
      modified: at,
      description: undefined,
      shortcutTarget: undefined,
      ...fresh,
      id,
      serial: ++serial,
      apps: new Set(),
      sharedWith: new Set(),
      modifiedBy: fresh.owner,
      version: 1,
      starred: false,
      trashed: false,
      trashedAt: 0,
      properties: new Map(),
      appProperties: new Map(),
      revisions: [],
      past: {
        name: { since: at, before: undefined },
        parent: { since: at, before: undefined },
        properties: { since: at, before: undefined },
        app: { since: at, before: undefined },
      },
      restless: undefined,
      counted: 0,
    };
    items.set(id, item);
    everUsed.add(id);
    reserved.delete(id);
    item.parent = undefined;
    attach(item, fresh.parent);
    note(item);
    return item;
  }

  function write(item: Item, content: Content, mimeType: string, by: string, keepForever: boolean): Revision {
    const revision: Revision = {
      id: `0B${token(49)}`,
      content,
      mimeType,
      name: item.name,
      modified: item.modified,
      stored: now(),
      by,
      keepForever,
    };
    item.revisions.push(revision);
    item.mimeType = mimeType;
    prune(item);
    recount(item);
    if (settings.settleMs !== undefined) item.restless = now() + settings.settleMs;
    return revision;
  }

  function remove(item: Item): void {
    for (const child of childrenOf(item.id)) remove(child);
    if (item.parent !== undefined) folders.get(item.parent)?.delete(item);
    items.delete(item.id);
    const owner = users.get(item.owner);
    if (owner !== undefined) owner.used -= item.counted;
    note(item, true);
  }

  function isTrashed(item: Item): boolean {
    for (let at: Item | undefined = item; at !== undefined; at = at.parent === undefined ? undefined : items.get(at.parent))
      if (at.trashed) return true;
    return false;
  }

  /** Everything that lies in it, however deep. */
  function* below(item: Item): Generator<Item> {
    for (const child of childrenOf(item.id)) {
      yield child;
      yield* below(child);
    }
  }

  /** The item and what it lies in, up to its root. */
  function* lineage(item: Item): Generator<Item> {
    for (let at: Item | undefined = item; at !== undefined; at = at.parent === undefined ? undefined : items.get(at.parent))
      yield at;
  }

  const seen = <T>(past: Past<T> | undefined, current: T, ms: number | undefined): T | undefined =>
    past !== undefined && ms !== undefined && now() - past.since < ms ? past.before : current;

  return {
    users,
    drives,
    log,
    token,
    isFolder,
    headOf,
    get,
    childrenOf,
    attach,
    add,
    write,
    remove,
    bump,
    recount,
    prune,
    isTrashed,
    lineage,
    below,
    all: () => [...items.values()].map((item) => settle(item)),
    etagOf: (item: Item): string =>
      `"${createHash("sha1").update(`${settings.seed}:${item.id}:${item.version}`).digest("base64url")}"`,

    reserve(kind: "files" | "shortcuts"): string {
      const id = `1${token(32)}`;
      reserved.set(id, kind);
      return id;
    },
    reservedAs: (id: string) => reserved.get(id),
    wasUsed: (id: string) => everUsed.has(id),

    rename(item: Item, name: string): void {
      item.past.name = { since: now(), before: item.name };
      item.name = name;
    },
    /** Into a shared drive and out of it, what the owner's storage counts changes too. */
    move(item: Item, parent: Item): void {
      item.past.parent = { since: now(), before: item.parent };
      attach(item, parent.id);
      if (item.driveId === parent.driveId) return;
      const before = users.get(item.owner);
      if (before !== undefined) before.used -= item.counted;
      item.counted = 0;
      item.driveId = parent.driveId;
      item.owner = parent.owner;
      recount(item);
    },
    setProperties(item: Item, properties: Map<string, string>): void {
      item.past.properties = { since: now(), before: item.properties };
      item.properties = properties;
    },
    setAppProperties(item: Item, app: string, properties: Map<string, string>): void {
      item.past.app = { since: now(), before: item.appProperties.get(app) };
      item.appProperties.set(app, properties);
    },
    /** What `files.list` knows by now. */
    indexed: (item: Item, app: string) => ({
      name: seen(item.past.name, item.name, lag.nameMs),
      parent: seen(item.past.parent, item.parent, lag.parentMs),
      properties: seen(item.past.properties, item.properties, lag.propertyMs),
      appProperties: seen(item.past.app, item.appProperties.get(app) ?? new Map<string, string>(), lag.propertyMs),
    }),

    addUser(email: string, displayName: string, service: boolean, storage: number | undefined): User {
      const root = add({ id: `0A${token(11)}Uk9PVA`, name: "My Drive", mimeType: FOLDER, parent: undefined, owner: email });
      const user = { email, displayName, permissionId: digits(20), service, rootId: root.id, storage, used: 0 };
      users.set(email, user);
      return user;
    },
    addDrive(name: string, members: Map<string, Rights>): SharedDrive {
      const id = `0A${token(11)}Uk9PVA`;
      add({ id, name, mimeType: FOLDER, parent: undefined, owner: "", driveId: id });
      const drive = { id, name, created: now(), members };
      drives.set(id, drive);
      return drive;
    },
  };
}

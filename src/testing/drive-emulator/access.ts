/**
 * Who may see and do what.
 * @module
 */
import { ApiError, forbidden, notFound } from "./errors.ts";
import type { Item, Rights, Store, User } from "./store.ts";

const SCOPE = "https://www.googleapis.com/auth/";

/** Whoever a token speaks for. */
export interface Principal {
  readonly user: User;
  /** The OAuth client. */
  readonly app: string;
  readonly scopes: readonly string[];
}

export type Access = ReturnType<typeof createAccess>;

const ALL = ["organizer", "fileOrganizer", "writer", "commenter", "reader"] as const;
const atLeast = (rights: Rights | undefined, needed: Rights): boolean =>
  rights !== undefined && ALL.indexOf(rights) <= ALL.indexOf(needed);

/** `rootHidden`: under scope `drive.file`, `files.get("root")` answers 404. */
export function createAccess(store: Store, options: { readonly rootHidden: boolean }) {
  const allows = ({ scopes }: Principal, ...names: string[]): boolean => names.some((name) => scopes.includes(SCOPE + name));
  const onlyOwn = (principal: Principal): boolean =>
    !allows(principal, "drive", "drive.readonly", "drive.metadata.readonly", "drive.metadata");

  function rightsOf({ user }: Principal, item: Item): Rights | undefined {
    if (item.driveId !== undefined) {
      const members = store.drives.get(item.driveId)?.members;
      return members?.get(user.email) ?? members?.get("*");
    }
    if (item.owner === user.email) return "organizer";
    for (const { owner, sharedWith } of store.lineage(item))
      if (sharedWith.has(user.email) || (owner === user.email && item.parent !== undefined)) return "writer";
    return undefined;
  }

  function inScope(principal: Principal, item: Item): boolean {
    if (!onlyOwn(principal)) return true;
    if (item.parent === undefined) return !options.rootHidden || item.driveId !== undefined;
    return item.apps.has(principal.app);
  }

  return {
    rightsOf,

    /** Refuses a token that was granted without the scope. */
    assertScope(principal: Principal, write: boolean): void {
      const names = write ? ["drive", "drive.file"] : ["drive", "drive.file", "drive.readonly", "drive.metadata.readonly"];
      if (allows(principal, ...names)) return;
      throw new ApiError(403, "insufficientPermissions", "Request had insufficient authentication scopes.", {
        rpc: "PERMISSION_DENIED",
        info: "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
      });
    },

    /** Whether lists and the feed show it. */
    sees: (principal: Principal, item: Item): boolean => rightsOf(principal, item) !== undefined && inScope(principal, item),

    /** The item that an id means: 404 when it is gone, invisible, or in a shared drive that the caller does not expect. */
    find(principal: Principal, id: string, allDrives: boolean, use: "read" | "write" | "parent" = "read"): Item {
      const item = store.get(id === "root" ? principal.user.rootId : id);
      if (item === undefined || rightsOf(principal, item) === undefined) throw notFound(id);
      if (item.driveId !== undefined && !allDrives) throw notFound(id);
      if (inScope(principal, item) || (use === "parent" && item.parent === undefined)) return item;
      if (use !== "write") throw notFound(id);
      throw forbidden(
        "appNotAuthorizedToFile",
        `The user has not granted the app ${principal.app.split("-")[0]} write access to the file ${id}.`,
      );
    },

    may: (principal: Principal, item: Item, needed: Rights): boolean => atLeast(rightsOf(principal, item), needed),

    assertMay(principal: Principal, item: Item, needed: Rights): void {
      if (!atLeast(rightsOf(principal, item), needed))
        throw forbidden("insufficientFilePermissions", "The user does not have sufficient permissions for this file.");
    },
  };
}

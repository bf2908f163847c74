/**
 * How files, revisions and changes look in both versions of the API.
 * @module
 */
import type { Access, Principal } from "./access.ts";
import type { Json } from "./errors.ts";
import { type Item, type Revision, SHORTCUT, type SharedDrive, type Store, type User } from "./store.ts";

const names = (text: string): ReadonlySet<string> => new Set(text.trim().split(/\s+/));

/** What may be named in `fields`. */
export const V3_FILE = names(`kind driveId fileExtension copyRequiresWriterPermission md5Checksum contentHints writersCanShare
  viewedByMe mimeType exportLinks parents thumbnailLink iconLink shared lastModifyingUser owners headRevisionId sharingUser
  webViewLink webContentLink size viewersCanCopyContent permissions hasThumbnail spaces folderColorRgb id name description
  starred trashed explicitlyTrashed createdTime modifiedTime modifiedByMeTime viewedByMeTime sharedWithMeTime quotaBytesUsed
  version originalFilename ownedByMe fullFileExtension properties appProperties isAppAuthorized teamDriveId capabilities
  hasAugmentedPermissions trashingUser thumbnailVersion trashedTime modifiedByMe permissionIds imageMediaMetadata
  videoMediaMetadata shortcutDetails contentRestrictions resourceKey linkShareMetadata labelInfo sha1Checksum sha256Checksum
  inheritedPermissionsDisabled downloadRestrictions clientEncryptionDetails`);
export const V2_FILE = names(`alternateLink appDataContents canComment canReadRevisions capabilities contentRestrictions
  copyable copyRequiresWriterPermission createdDate defaultOpenWithLink description downloadUrl driveId editable embedLink etag
  explicitlyTrashed exportLinks fileExtension fileSize folderColorRgb fullFileExtension hasAugmentedPermissions hasThumbnail
  headRevisionId iconLink id imageMediaMetadata indexableText inheritedPermissionsDisabled isAppAuthorized kind labelInfo labels
  lastModifyingUser lastModifyingUserName lastViewedByMeDate linkShareMetadata markedViewedByMeDate md5Checksum mimeType
  modifiedByMeDate modifiedDate openWithLinks originalFilename ownedByMe ownerNames owners parents permissionIds permissions
  properties quotaBytesUsed resourceKey selfLink sha1Checksum sha256Checksum shareable shared sharedWithMeDate sharingUser
  shortcutDetails spaces teamDriveId thumbnail thumbnailLink thumbnailVersion title trashedDate trashingUser userPermission
  version videoMediaMetadata webContentLink webViewLink writersCanShare clientEncryptionDetails downloadRestrictions`);
export const V3_FILE_DEFAULT = "kind,id,name,mimeType,driveId,teamDriveId";

const when = (ms: number): string => new Date(ms).toISOString();

const extensionOf = (name: string): string | undefined => /\.([^./]+)$/.exec(name)?.[1];

export type Resources = ReturnType<typeof createResources>;

/** `root` is the emulator's own address, for the links of version 2. */
export function createResources(store: Store, access: Access, root: () => string) {
  const personOf = (user: User | undefined, me: User, version: 2 | 3): Json | undefined =>
    user && {
      kind: "drive#user",
      displayName: user.displayName,
      [version === 2 ? "isAuthenticatedUser" : "me"]: user === me,
      permissionId: user.permissionId,
      emailAddress: user.email,
    };

  function capabilities(principal: Principal, item: Item): Json {
    const may = (needed: Parameters<Access["may"]>[2]) => access.may(principal, item, needed);
    const folder = store.isFolder(item);
    const own = item.driveId === undefined && item.owner === principal.user.email;
    const inDrive = item.driveId !== undefined;
    const inner = item.parent !== undefined;
    return {
      canAddChildren: folder && may("writer"),
      canChangeCopyRequiresWriterPermission: may("writer"),
      canComment: may("commenter"),
      canCopy: !folder && may("reader"),
      canDelete: inner && (inDrive ? may("organizer") : own),
      canDownload: !folder && may("reader"),
      canEdit: may("writer"),
      canListChildren: folder && may("reader"),
      canModifyContent: may("writer"),
      canMoveItemWithinDrive: inner && may("writer"),
      canReadRevisions: !folder && may("writer"),
      canRemoveChildren: folder && may(inDrive ? "fileOrganizer" : "writer"),
      canRename: inner && may("writer"),
      canShare: may("writer"),
      canTrash: inner && (inDrive ? may("fileOrganizer") : own),
      canUntrash: inner && (inDrive ? may("fileOrganizer") : own),
    };
  }

  /** What both versions name alike. */
  function common(principal: Principal, item: Item): Json {
    const head = store.headOf(item);
    const mine = item.driveId === undefined;
    const extension = head && extensionOf(item.name);
    return {
      id: item.id,
      mimeType: item.mimeType,
      description: item.description,
      version: String(item.version),
      explicitlyTrashed: item.trashed,
      headRevisionId: head?.id,
      md5Checksum: head?.content.md5,
      get sha1Checksum() {
        return head?.content.sha1;
      },
      sha256Checksum: head?.content.sha256,
      originalFilename: head?.name,
      fileExtension: head && (extension ?? ""),
      fullFileExtension: head && (extension ?? ""),
      quotaBytesUsed: String(head === undefined ? 0 : mine ? item.counted : head.content.size),
      get capabilities() {
        return capabilities(principal, item);
      },
      driveId: item.driveId,
      teamDriveId: item.driveId,
      ownedByMe: mine ? item.owner === principal.user.email : undefined,
      shared: mine ? item.sharedWith.size > 0 : undefined,
      spaces: ["drive"],
      hasThumbnail: false,
      thumbnailVersion: "0",
      isAppAuthorized: item.apps.has(principal.app),
      writersCanShare: mine ? true : undefined,
      copyRequiresWriterPermission: false,
      shortcutDetails:
        item.mimeType === SHORTCUT
          ? { targetId: item.shortcutTarget, targetMimeType: store.get(item.shortcutTarget ?? "")?.mimeType }
          : undefined,
    };
  }

  const people = (item: Item, principal: Principal, version: 2 | 3) =>
    item.driveId === undefined ? [personOf(store.users.get(item.owner), principal.user, version)] : undefined;
  const editor = (item: Item, principal: Principal, version: 2 | 3) =>
    personOf(store.users.get(item.modifiedBy), principal.user, version);

  /** Getters cost nothing unless a mask wants them; defineProperties keeps those of `common`. */
  const joined = (base: Json, more: Json): Json => {
    Object.defineProperties(base, Object.getOwnPropertyDescriptors(more));
    return base;
  };

  function v3(item: Item, principal: Principal): Json {
    const own = item.appProperties.get(principal.app);
    return joined(common(principal, item), {
      kind: "drive#file",
      name: item.name,
      parents: item.parent === undefined ? undefined : [item.parent],
      get trashed() {
        return store.isTrashed(item);
      },
      starred: item.starred,
      size: store.headOf(item) && String(store.headOf(item)?.content.size),
      createdTime: when(item.created),
      modifiedTime: when(item.modified),
      modifiedByMeTime: item.modifiedBy === principal.user.email ? when(item.modified) : undefined,
      modifiedByMe: item.modifiedBy === principal.user.email,
      viewedByMe: true,
      trashedTime: item.trashed && item.driveId !== undefined ? when(item.trashedAt) : undefined,
      properties: item.properties.size > 0 ? Object.fromEntries(item.properties) : undefined,
      appProperties: own !== undefined && own.size > 0 ? Object.fromEntries(own) : undefined,
      viewersCanCopyContent: true,
      get owners() {
        return people(item, principal, 3);
      },
      get lastModifyingUser() {
        return editor(item, principal, 3);
      },
      webViewLink: `https://drive.google.com/file/d/${item.id}/view?usp=drivesdk`,
    });
  }

  function v2(item: Item, principal: Principal): Json {
    const head = store.headOf(item);
    const listed = (map: ReadonlyMap<string, string> | undefined, visibility: string) =>
      [...(map ?? [])].map(([key, value]) => ({ kind: "drive#property", key, value, visibility }));
    const self = `${root()}drive/v2/files/${item.id}`;
    return joined(common(principal, item), {
      kind: "drive#file",
      etag: store.etagOf(item),
      selfLink: self,
      title: item.name,
      parents:
        item.parent === undefined
          ? []
          : [
              {
                kind: "drive#parentReference",
                id: item.parent,
                isRoot: item.parent === principal.user.rootId,
                selfLink: `${self}/parents/${item.parent}`,
              },
            ],
      get labels() {
        return { starred: item.starred, hidden: false, trashed: store.isTrashed(item), restricted: false, viewed: true };
      },
      fileSize: head && String(head.content.size),
      createdDate: when(item.created),
      modifiedDate: when(item.modified),
      modifiedByMeDate: item.modifiedBy === principal.user.email ? when(item.modified) : undefined,
      trashedDate: item.trashed && item.driveId !== undefined ? when(item.trashedAt) : undefined,
      properties: [...listed(item.properties, "PUBLIC"), ...listed(item.appProperties.get(principal.app), "PRIVATE")],
      downloadUrl: head && `${self}?alt=media`,
      editable: access.may(principal, item, "writer"),
      copyable: !store.isFolder(item),
      shareable: true,
      appDataContents: false,
      get owners() {
        return people(item, principal, 2);
      },
      get ownerNames() {
        return item.driveId === undefined ? [store.users.get(item.owner)?.displayName] : undefined;
      },
      get lastModifyingUser() {
        return editor(item, principal, 2);
      },
      lastModifyingUserName: store.users.get(item.modifiedBy)?.displayName,
      alternateLink: `https://drive.google.com/file/d/${item.id}/view?usp=drivesdk`,
    });
  }

  const revision = (one: Revision, principal: Principal, version: 2 | 3): Json => ({
    kind: "drive#revision",
    id: one.id,
    mimeType: one.mimeType,
    [version === 2 ? "modifiedDate" : "modifiedTime"]: when(one.modified),
    [version === 2 ? "pinned" : "keepForever"]: one.keepForever,
    published: false,
    [version === 2 ? "fileSize" : "size"]: String(one.content.size),
    md5Checksum: one.content.md5,
    originalFilename: one.name,
    lastModifyingUser: personOf(store.users.get(one.by), principal.user, version),
  });

  const drive = (one: SharedDrive, principal: Principal, version: 2 | 3): Json => {
    const root = store.get(one.id);
    return {
      kind: "drive#drive",
      id: one.id,
      name: one.name,
      [version === 2 ? "createdDate" : "createdTime"]: when(one.created),
      hidden: false,
      capabilities: root && capabilities(principal, root),
      restrictions: {
        driveMembersOnly: false,
        domainUsersOnly: false,
        adminManagedRestrictions: false,
        copyRequiresWriterPermission: false,
      },
    };
  };

  return { v2, v3, revision, drive, personOf, when };
}

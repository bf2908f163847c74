/**
 * Drive's JSON, of its second and third version, and ours.
 * @module
 */
import type { drive_v2, drive_v3 } from "googleapis/build/src/apis/drive/index.js";
import { TargetError } from "../../core/errors.ts";
import type { DriveFile, Facts, Revision } from "./api.ts";

const CAN = "capabilities(canAddChildren,canEdit)";
const HASHES = "md5Checksum,sha256Checksum,headRevisionId";
/** The only version whose answers carry the etag. */
export const V2_FIELDS = `id,title,mimeType,parents(id),labels(trashed),fileSize,${HASHES},etag,createdDate,properties(key,value,visibility),${CAN}`;
export const V3_FIELDS = `id,name,mimeType,parents,trashed,size,${HASHES},createdTime,appProperties,${CAN}`;

/** Extensions of what people keep beside a memory. Without a right type Drive shows no preview, on a phone least of all. */
const TYPES: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    "txt log jsonl ndjson yaml yml toml ini cfg conf py js ts sh sql".split(" ").map((ext) => [ext, "text/plain"]),
  ),
  md: "text/markdown",
  markdown: "text/markdown",
  csv: "text/csv",
  html: "text/html",
  xml: "text/xml",
  json: "application/json",
  pdf: "application/pdf",
  zip: "application/zip",
  png: "image/png",
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  gif: "image/gif",
  webp: "image/webp",
  svg: "image/svg+xml",
};

/** The type of a file of this name; undefined where Drive shall find out by itself. */
export const typeOf = (name = ""): string | undefined => TYPES[/\.([a-z0-9]+)$/i.exec(name)?.[1]?.toLowerCase() ?? ""];

const numberOf = (text: string | null | undefined) => (text === null || text === undefined ? undefined : Number(text));
const known = (text: string | null | undefined) => text ?? undefined;

export const notGoogle = () =>
  new TargetError("transient", "the answer is not one of Google Drive's", {
    hint: "Check whether a proxy or a network's sign-in page stands between this machine and Google. It is tried again.",
  });

/** What an answer must have: a page of a proxy has status 200 as well, and must not read as an empty listing or a success. */
export function wanted<T>(part: T): NonNullable<T> {
  if (part === undefined || part === null) throw notGoogle();
  return part;
}

export function fileOfV2(file: drive_v2.Schema$File): DriveFile {
  const properties = (file.properties ?? []).filter(({ visibility }) => visibility !== "PUBLIC");
  return {
    id: wanted(file.id),
    name: wanted(file.title),
    mimeType: file.mimeType ?? "",
    parents: (file.parents ?? []).flatMap(({ id }) => id ?? []),
    trashed: file.labels?.trashed === true,
    size: numberOf(file.fileSize),
    sha256: known(file.sha256Checksum),
    md5: known(file.md5Checksum),
    rev: known(file.headRevisionId),
    etag: known(file.etag),
    createdTime: file.createdDate ?? "",
    appProperties: Object.fromEntries(properties.map(({ key, value }) => [key ?? "", value ?? ""])),
    canAddChildren: file.capabilities?.canAddChildren ?? undefined,
    canEdit: file.capabilities?.canEdit ?? undefined,
  };
}

export function fileOfV3(file: drive_v3.Schema$File): DriveFile {
  return {
    id: wanted(file.id),
    name: wanted(file.name),
    mimeType: file.mimeType ?? "",
    parents: file.parents ?? [],
    trashed: file.trashed === true,
    size: numberOf(file.size),
    sha256: known(file.sha256Checksum),
    md5: known(file.md5Checksum),
    rev: known(file.headRevisionId),
    etag: undefined,
    createdTime: file.createdTime ?? "",
    appProperties: file.appProperties ?? {},
    canAddChildren: file.capabilities?.canAddChildren ?? undefined,
    canEdit: file.capabilities?.canEdit ?? undefined,
  };
}

export function revisionOf(revision: drive_v3.Schema$Revision): Revision {
  return {
    id: wanted(revision.id),
    md5: known(revision.md5Checksum),
    size: numberOf(revision.size),
    modifiedTime: revision.modifiedTime ?? "",
    keepForever: revision.keepForever === true,
  };
}

export function bodyOfV2({ name, parents, appProperties }: Facts): drive_v2.Schema$File {
  const mimeType = typeOf(name);
  return {
    ...(name !== undefined && { title: name }),
    ...(mimeType !== undefined && { mimeType }),
    ...(parents !== undefined && { parents: parents.map((id) => ({ id })) }),
    ...(appProperties !== undefined && {
      properties: Object.entries(appProperties).map(([key, value]) => ({ key, value, visibility: "PRIVATE" })),
    }),
  };
}

export function bodyOfV3({ name, parents, appProperties }: Facts): drive_v3.Schema$File {
  return {
    ...(name !== undefined && { name }),
    ...(parents !== undefined && { parents: [...parents] }),
    // Google's types know no null, its servers remove a property by it.
    ...(appProperties !== undefined && { appProperties: appProperties as Record<string, string> }),
  };
}

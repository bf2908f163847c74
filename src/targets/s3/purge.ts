/**
 * Forgetting for good, in buckets that keep older versions.
 * @module
 */
import { TargetError } from "../../core/errors.ts";
import type { Call } from "../../core/target.ts";
import type { Service } from "./client.ts";

interface Version {
  readonly id: string;
  readonly at: Date | undefined;
}

interface Markers {
  readonly KeyMarker?: string | undefined;
  readonly VersionIdMarker?: string | undefined;
}

/** Every version and delete marker of exactly this object; undefined where the service does not tell, with the reason. */
async function versionsOf(service: Service, object: string, call: Call): Promise<readonly Version[] | TargetError> {
  const versions: Version[] = [];
  let markers: Markers | undefined = {};
  try {
    while (markers !== undefined) {
      const after: Markers = markers;
      const page = await service.ask(`look for older versions of ${object}`, call, (s3, http) =>
        s3.listObjectVersions({ Bucket: service.bucket, Prefix: object, ...after }, http),
      );
      const found = [...(page.Versions ?? []), ...(page.DeleteMarkers ?? [])];
      for (const { Key, VersionId, LastModified } of found)
        if (Key === object && VersionId !== undefined) versions.push({ id: VersionId, at: LastModified });
      const more = page.IsTruncated === true && page.NextKeyMarker === object;
      markers = more ? { KeyMarker: page.NextKeyMarker, VersionIdMarker: page.NextVersionIdMarker } : undefined;
    }
    return versions;
  } catch (error) {
    if (error instanceof TargetError && error.kind === "unsupported") return error;
    throw error;
  }
}

/**
 * Deletes the object and all its versions; answers what stays, one sentence each.
 *
 * @param shown The path as people read it.
 */
export async function purgeVersions(service: Service, object: string, shown: string, call: Call): Promise<readonly string[]> {
  const { bucket: Bucket } = service;
  const doing = `remove ${shown} for good`;
  const kept: string[] = [];
  const versions = await versionsOf(service, object, call);
  const drop = async (VersionId: string | undefined) => {
    try {
      await service.ask(doing, call, (s3, http) =>
        s3.deleteObject({ Bucket, Key: object, ...(VersionId && { VersionId }) }, http),
      );
    } catch (error) {
      if (!(error instanceof TargetError) || error.kind !== "not-found") throw error;
    }
  };
  if (versions instanceof TargetError) {
    await drop(undefined);
    if (versions.code === "E_TARGET_FORBIDDEN")
      kept.push(`older versions of ${shown}, if the bucket keeps any: the key may not list them (s3:ListBucketVersions)`);
    return kept;
  }
  if (versions.length === 0) await drop(undefined);
  for (const { id, at } of versions) {
    try {
      await drop(id);
    } catch (error) {
      if (!(error instanceof TargetError) || error.kind !== "unsupported") throw error;
      const until = await lockedUntil(service, object, id, call);
      const when = at === undefined ? "" : ` of ${at.toISOString()}`;
      kept.push(
        until === undefined
          ? `the version${when} of ${shown}: the bucket's object lock or the key's rights forbid to delete it (s3:DeleteObjectVersion)`
          : `the version${when} of ${shown}: object lock keeps it ${until}`,
      );
    }
  }
  // what stays is at least no longer what the key holds
  if (kept.length > 0) await drop(undefined);
  return kept;
}

/** In words, when a lock ends; undefined when there is none that can be seen. */
async function lockedUntil(service: Service, object: string, VersionId: string, call: Call): Promise<string | undefined> {
  try {
    const head = await service.ask(`look at ${object}`, call, (s3, http) =>
      s3.headObject({ Bucket: service.bucket, Key: object, VersionId }, http),
    );
    if (head.ObjectLockRetainUntilDate) return `until ${head.ObjectLockRetainUntilDate.toISOString()}`;
    return head.ObjectLockLegalHoldStatus === "ON" ? "as long as its legal hold stands" : undefined;
  } catch (error) {
    if (error instanceof TargetError && !error.canPass) return undefined;
    throw error;
  }
}

/**
 * What an S3 service really does. Servers that speak S3 differ, some ignore a condition silently, so it is tried out once
 * for each place, on an object of our own, and remembered.
 * @module
 */
import { createHash, randomBytes } from "node:crypto";
import type { Clock } from "../../core/clock.ts";
import { TargetError } from "../../core/errors.ts";
import type { Call, DriverMemory } from "../../core/target.ts";
import type { Service } from "./client.ts";
import { purgeVersions } from "./purge.ts";

/** How the service compares an ETag: as the standard writes it, in quotes; only without them (Ceph); or not at all. */
export type Matching = "quoted" | "bare" | "none";

export interface Abilities {
  /** It verifies `x-amz-checksum-sha256`, keeps it and gives it back. */
  readonly checksums: boolean;
  /** The ETag of what is sent in one piece is the MD5 of its bytes. */
  readonly md5: boolean;
  /** PUT obeys `If-None-Match: *`. */
  readonly create: boolean;
  /** PUT obeys `If-Match`. */
  readonly replace: Matching;
  /** So does the end of a multipart upload, for both. */
  readonly complete: boolean;
  /** CopyObject obeys `If-None-Match: *`. */
  readonly copy: boolean;
  /** DeleteObject obeys `If-Match`. */
  readonly remove: boolean;
  /** The bucket keeps older versions. It may begin to at any time, and some services then ignore conditions. */
  readonly versioned: boolean;
  /** Listings may lag behind (OpenStack Swift). */
  readonly lags: boolean;
}

export const PROBE = /^\.aftersave\/probe-[0-9a-f]{16}$/;
const MEMORY = "abilities";
const NOBODYS = "0123456789abcdef0123456789abcdef";

export const quoted = (etag: string) => `"${etag}"`;
export const bareOf = (etag: string | undefined) => (etag ?? "").replaceAll(/^(W\/)?"|"$/g, "");
export const matching = (how: Matching, etag: string) => (how === "bare" ? etag : quoted(etag));
export const md5Of = (bytes: Uint8Array, encoding: "hex" | "base64" = "hex") => createHash("md5").update(bytes).digest(encoding);
export const sha256Of = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("base64");

/** Services are renewed, and another one may answer at the same address: after a week it is found out again. */
const BELIEVED_MS = 7 * 24 * 3_600_000;
/** No try takes as long, so what lies there since is what a kill left. */
const LEFT_MS = 24 * 3_600_000;

/** What was found out about this bucket in the last days, in any process. */
export async function recall(memory: DriverMemory, server: string, clock: Pick<Clock, "now">): Promise<Abilities | undefined> {
  const text = await memory.get(MEMORY);
  if (text === undefined) return undefined;
  const known = JSON.parse(text) as { server: string; at: number; abilities: Abilities };
  return known.server === server && Math.abs(clock.now() - known.at) < BELIEVED_MS ? known.abilities : undefined;
}

export const forget = (memory: DriverMemory) => memory.delete(MEMORY);

/** How a try of something that a service may not know ended. */
type Answer<T> = { readonly done: T } | { readonly refused: number; readonly error: TargetError };

async function tried<T>(work: Promise<T>): Promise<Answer<T>> {
  try {
    return { done: await work };
  } catch (error) {
    if (!(error instanceof TargetError) || error.canPass || error.kind === "auth" || error.kind === "quota") throw error;
    const status = Number(error.details["status"] ?? 0);
    if (status === 0) throw error;
    return { refused: status, error };
  }
}

const REFUSED = new Set([404, 409, 412]);
const refusedBy = (answer: Answer<unknown>) => "refused" in answer && REFUSED.has(answer.refused);

/**
 * Tries it out with some twenty small requests and remembers it. Fails as any request may, and then remembers nothing.
 *
 * @param server Which bucket at which service; another one is asked anew.
 * @param folder What object keys begin with.
 */
export async function findOut(
  service: Service,
  memory: DriverMemory,
  server: string,
  folder: string,
  clock: Pick<Clock, "now">,
  call: Call,
): Promise<Abilities> {
  const { bucket: Bucket } = service;
  const own = `${folder}.aftersave/probe-`;
  const name = () => `${own}${randomBytes(8).toString("hex")}`;
  const [Key, Copy] = [name(), name()];
  const made = new Set<string>();
  const bytes = Buffer.from("aftersave tries out what this place can do");
  const doing = "try out what the bucket can do";
  const ask = <T>(request: Parameters<typeof service.ask<T>>[2]) => tried(service.ask(doing, call, request));

  // the ETag of the object that all is tried on; one that is no hash moves with every write
  let etag = "";
  let versioned = false;
  // a bucket with object lock takes nothing without a digest
  const digest = { ContentMD5: md5Of(bytes, "base64") };
  const put = async (key: string, condition: { IfNoneMatch?: string; IfMatch?: string }, sum = false) => {
    made.add(key);
    const sums = sum ? { ChecksumSHA256: sha256Of(bytes) } : digest;
    const answer = await ask((s3, http) => s3.putObject({ Bucket, Key: key, Body: bytes, ...condition, ...sums }, http));
    if ("done" in answer && key === Key) etag = bareOf(answer.done.ETag);
    return answer;
  };
  /** It refuses what does not match, and takes what does. */
  const obeyed = async (): Promise<Matching> => {
    for (const how of ["quoted", "bare"] as const) {
      if (!refusedBy(await put(Key, { IfMatch: matching(how, NOBODYS) }))) return "none";
      if ("done" in (await put(Key, { IfMatch: matching(how, etag) }))) return how;
    }
    return "none";
  };

  try {
    const summed = await put(Key, {}, true);
    const plain = "done" in summed ? summed : await put(Key, {});
    if ("refused" in plain) throw plain.error;
    const { VersionId } = plain.done;
    versioned = VersionId !== undefined && VersionId !== "null";
    const first = etag;
    const head = await service.ask(doing, call, (s3, http) =>
      s3.headObject({ Bucket, Key, ...("done" in summed && { ChecksumMode: "ENABLED" }) }, http),
    );
    const create = refusedBy(await put(Key, { IfNoneMatch: "*" })) && "done" in (await put(name(), { IfNoneMatch: "*" }));
    const replace = await obeyed();

    const copied = (IfNoneMatch?: string) => {
      made.add(Copy);
      const CopySource = copySource(Bucket, Key);
      return ask((s3, http) => s3.copyObject({ Bucket, Key: Copy, CopySource, ...(IfNoneMatch && { IfNoneMatch }) }, http));
    };
    const copy = "done" in (await copied()) && refusedBy(await copied("*"));

    const complete = create && replace !== "none" && (await obeysAtTheEnd(matching(replace, etag), matching(replace, NOBODYS)));

    const removed = (IfMatch: string) => ask((s3, http) => s3.deleteObject({ Bucket, Key, IfMatch }, http));
    const remove = replace !== "none" && refusedBy(await removed(matching(replace, NOBODYS)));

    const abilities: Abilities = {
      checksums: "done" in summed && head.ChecksumSHA256 === sha256Of(bytes),
      md5: first === md5Of(bytes) && !isEncrypted(head),
      create,
      replace,
      complete,
      copy,
      remove,
      versioned,
      lags: service.isSwift(),
    };
    const left = await tried(service.ask(doing, call, (s3, http) => s3.listObjectsV2({ Bucket, Prefix: own }, http)));
    for (const { Key: object, LastModified } of "done" in left ? (left.done.Contents ?? []) : [])
      if (object !== undefined && LastModified !== undefined && clock.now() - LastModified.getTime() > LEFT_MS) made.add(object);
    await memory.set(MEMORY, JSON.stringify({ server, at: clock.now(), abilities }));
    return abilities;
  } finally {
    const swept = Promise.all([...made].map(sweepAway));
    if (call.signal?.aborted !== true) await swept;
  }

  async function obeysAtTheEnd(right: string, wrong: string): Promise<boolean> {
    let upload: { UploadId: string | undefined; Parts: Array<{ PartNumber: number; ETag: string | undefined }> } | undefined;
    const begin = async () => {
      const { UploadId } = await service.ask(doing, call, (s3, http) => s3.createMultipartUpload({ Bucket, Key }, http));
      upload = { UploadId, Parts: [] };
      const { ETag } = await service.ask(doing, call, (s3, http) =>
        s3.uploadPart({ Bucket, Key, UploadId, PartNumber: 1, Body: bytes, ...digest }, http),
      );
      return (upload = { UploadId, Parts: [{ PartNumber: 1, ETag }] });
    };
    const end = async (condition: { IfNoneMatch?: string; IfMatch?: string }) => {
      const { UploadId, Parts } = upload ?? (await begin());
      return ask((s3, http) =>
        s3.completeMultipartUpload({ Bucket, Key, UploadId, MultipartUpload: { Parts }, ...condition }, http),
      );
    };
    try {
      const begun = await tried(begin());
      if ("refused" in begun) return false;
      for (const condition of [{ IfNoneMatch: "*" }, { IfMatch: wrong }]) {
        const answer = await end(condition);
        if (!refusedBy(answer)) return false;
        // some forget the upload when they refuse its end
        if ("refused" in answer && answer.refused === 404) upload = undefined;
      }
      let answer = await end({ IfMatch: right });
      if ("refused" in answer && answer.refused === 404) {
        upload = undefined;
        answer = await end({ IfMatch: right });
      }
      if ("done" in answer) upload = undefined;
      return "done" in answer;
    } finally {
      const UploadId = upload?.UploadId;
      if (UploadId !== undefined)
        await tried(service.ask(doing, undefined, (s3) => s3.abortMultipartUpload({ Bucket, Key, UploadId })));
    }
  }

  /** An own object that stays is never listed, and the next try removes it: a right that is missing to do so is no failure. */
  async function sweepAway(key: string): Promise<void> {
    const removed = versioned
      ? purgeVersions(service, key, key, {})
      : service.ask(doing, undefined, (s3) => s3.deleteObject({ Bucket, Key: key }));
    await removed.catch((error: unknown) => {
      if (!(error instanceof TargetError)) throw error;
    });
  }
}

/** A key as it stands in `x-amz-copy-source`. */
export const copySource = (bucket: string, key: string) => `${bucket}/${key.split("/").map(encodeURIComponent).join("/")}`;

/** With a key of its own the service's ETag is a random text, not a hash. */
export const isEncrypted = (said: {
  readonly ServerSideEncryption?: string | undefined;
  readonly SSECustomerAlgorithm?: string | undefined;
}) => said.SSECustomerAlgorithm !== undefined || (said.ServerSideEncryption?.startsWith("aws:kms") ?? false);

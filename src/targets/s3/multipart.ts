/**
 * Sends a big body in parts, so that what broke off goes on behind the last part that the service has, also in another
 * process.
 * @module
 */
import { createHash } from "node:crypto";
import type { CompletedPart, Part as ListedPart } from "@aws-sdk/client-s3";
import { untilAborted } from "../../core/chunks.ts";
import type { Clock } from "../../core/clock.ts";
import { TargetError } from "../../core/errors.ts";
import type { Call, DriverMemory, Source } from "../../core/target.ts";
import { bareOf, isEncrypted } from "./abilities.ts";
import type { Service } from "./client.ts";

/** S3's own limits. */
const MOST_PARTS = 10_000;
const MIB = 1024 * 1024;
/** An upload that nobody went on with for so long is given up. */
const ABANDONED_MS = 7 * 24 * 3_600_000;

/** What the service is to say of the bytes, computed here. */
export interface Sums {
  /** The ETag, where it is made of MD5s. */
  readonly etag: string;
  /** `x-amz-checksum-sha256`, as S3 writes it. */
  readonly sha256: string;
}

/** What the service said at the end; texts are empty where it said nothing. */
export interface Stored {
  readonly etag: string;
  readonly sha256: string;
  readonly versionId: string | undefined;
  /** The ETag is no hash. */
  readonly encrypted: boolean;
}

export interface Sending {
  readonly service: Service;
  readonly memory: DriverMemory;
  readonly clock: Pick<Clock, "now">;
  /** Which bucket at which service. */
  readonly place: string;
  /** The key, for the memory. */
  readonly name: string;
  /** The key at the service. */
  readonly object: string;
  readonly doing: string;
  readonly body: Source;
  readonly metadata: Readonly<Record<string, string>>;
  readonly checksums: boolean;
  readonly partBytes: number;
  readonly call: Call;
  readonly onProgress?: ((sent: number) => void) | undefined;
  /** What lies there now, if its sums are these: an end whose answer was lost. */
  readonly landed: (sums: Sums) => Promise<Stored | undefined>;
  /** Looks once more whether the upload may end, and says under which condition. */
  readonly condition: () => Promise<{ IfNoneMatch?: string; IfMatch?: string }>;
}

interface Session {
  readonly place: string;
  readonly object: string;
  readonly uploadId: string;
  readonly sha256: string;
  readonly size: number;
  readonly partBytes: number;
  readonly checksums: boolean;
  readonly metadata: string;
  readonly started: number;
  /** The end was asked for; its answer may have been lost. */
  readonly ending?: true;
}

interface Part {
  readonly number: number;
  readonly bytes: Buffer;
  readonly md5: Buffer;
  readonly sha256: Buffer;
}

export const sessionName = (name: string) => `upload/${name}`;

/** Bytes of one part: as asked, or as many as keep the number of parts within what S3 allows. */
export const partBytesFor = (size: number, wanted: number) =>
  Math.max(wanted, Math.ceil(size / MOST_PARTS / MIB) * MIB * Number(size > wanted * MOST_PARTS));

const wrong = () => new TargetError("corrupt", "the body's bytes are not what its size and sha256 say");

/** The body in parts of its own buffers; the last one comes only when all of it was what it says. */
async function* partsOf(body: Source, partBytes: number, signal?: AbortSignal): AsyncGenerator<Part> {
  const whole = createHash("sha256");
  let bytes = Buffer.allocUnsafe(Math.min(partBytes, body.size));
  let [filled, total, number] = [0, 0, 1];
  const part = (): Part => {
    const [md5, sha256] = ["md5", "sha256"].map((algo) => createHash(algo).update(bytes).digest());
    return { number: number++, bytes, md5: md5 as Buffer, sha256: sha256 as Buffer };
  };
  for await (const chunk of untilAborted(body.open(), signal)) {
    if (total + chunk.length > body.size) throw wrong();
    whole.update(chunk);
    for (let at = 0; at < chunk.length;) {
      if (filled === bytes.length) {
        yield part();
        bytes = Buffer.allocUnsafe(Math.min(partBytes, body.size - total));
        filled = 0;
      }
      const piece = chunk.subarray(at, at + bytes.length - filled);
      bytes.set(piece, filled);
      at += piece.length;
      filled += piece.length;
      total += piece.length;
    }
  }
  if (total !== body.size || whole.digest("hex") !== body.sha256) throw wrong();
  yield part();
}

/** All parts of an upload that the service has; undefined when it does not know the upload. */
async function listParts(
  { service, object, doing, call }: Sending,
  uploadId: string,
): Promise<ReadonlyMap<number, ListedPart> | undefined> {
  const parts = new Map<number, ListedPart>();
  let marker: string | undefined;
  try {
    do {
      const after: string | undefined = marker;
      const page = await service.ask(doing, call, (s3, http) =>
        s3.listParts({ Bucket: service.bucket, Key: object, UploadId: uploadId, PartNumberMarker: after }, http),
      );
      for (const part of page.Parts ?? []) if (part.PartNumber !== undefined) parts.set(part.PartNumber, part);
      marker = page.IsTruncated === true ? page.NextPartNumberMarker : undefined;
    } while (marker !== undefined);
    return parts;
  } catch (error) {
    if (error instanceof TargetError && error.kind === "not-found") return undefined;
    throw error;
  }
}

/** Gives an upload up at the service. One that it does not know any more is fine. */
export async function abandon(service: Service, object: string, uploadId: string, call: Call): Promise<void> {
  try {
    await service.ask(`give up an upload of ${object}`, call, (s3, http) =>
      s3.abortMultipartUpload({ Bucket: service.bucket, Key: object, UploadId: uploadId }, http),
    );
  } catch (error) {
    if (!(error instanceof TargetError) || error.kind !== "not-found") throw error;
  }
}

const parseSession = (text: string): Session => JSON.parse(text) as Session;

/** An upload that has begun, and the parts of it that the service has. */
interface Upload {
  readonly session: Session;
  readonly there: ReadonlyMap<number, ListedPart>;
}

const wantedOf = ({ place, object, body, checksums, metadata, partBytes }: Sending) => ({
  place,
  object,
  sha256: body.sha256,
  size: body.size,
  partBytes: partBytesFor(body.size, partBytes),
  checksums,
  metadata: JSON.stringify(metadata),
});

async function begin(sending: Sending): Promise<Upload> {
  const { service, memory, clock, object, doing, call, metadata, checksums } = sending;
  const sums = checksums && ({ ChecksumAlgorithm: "SHA256", ChecksumType: "COMPOSITE" } as const);
  const { UploadId } = await service.ask(doing, call, (s3, http) =>
    s3.createMultipartUpload({ Bucket: service.bucket, Key: object, Metadata: metadata, ...sums }, http),
  );
  if (!UploadId) throw new TargetError("transient", `could not ${doing}: the answer has no upload id`);
  const session: Session = { ...wantedOf(sending), uploadId: UploadId, started: clock.now() };
  await memory.set(sessionName(sending.name), JSON.stringify(session));
  return { session, there: new Map() };
}

/** The upload that was begun for the same bytes. Another one of this key is given up. `ended`: the service knows it no more, and its end was asked for. */
async function resume(sending: Sending): Promise<Upload | "ended" | undefined> {
  const { service, memory, call } = sending;
  const text = await memory.get(sessionName(sending.name));
  if (text === undefined) return undefined;
  const session = parseSession(text);
  const wanted = wantedOf(sending);
  const same = (Object.keys(wanted) as Array<keyof typeof wanted>).every((field) => session[field] === wanted[field]);
  if (!same) {
    if (session.place === wanted.place) await abandon(service, session.object, session.uploadId, call);
    return void (await memory.delete(sessionName(sending.name)));
  }
  const there = await listParts(sending, session.uploadId);
  if (there) return { session, there };
  return session.ending === true ? "ended" : undefined;
}

/** Whether the service has these very bytes as that part. */
function has({ there }: Upload, { number, bytes, md5, sha256 }: Part): string | undefined {
  const listed = there.get(number);
  if (listed?.Size !== bytes.length) return undefined;
  const same =
    listed.ChecksumSHA256 === undefined
      ? bareOf(listed.ETag) === md5.toString("hex")
      : listed.ChecksumSHA256 === sha256.toString("base64");
  return same ? listed.ETag : undefined;
}

async function sendPart(sending: Sending, upload: Upload, { number: PartNumber, bytes, md5, sha256 }: Part): Promise<string> {
  const { service, object, doing, call, checksums } = sending;
  const sum = checksums ? { ChecksumSHA256: sha256.toString("base64") } : { ContentMD5: md5.toString("base64") };
  const { ETag } = await service.ask(doing, call, (s3, http) =>
    s3.uploadPart(
      { Bucket: service.bucket, Key: object, UploadId: upload.session.uploadId, PartNumber, Body: bytes, ...sum },
      http,
    ),
  );
  if (!ETag) throw new TargetError("transient", `could not ${doing}: the answer to a part has no ETag`);
  return ETag;
}

/** Reads all parts and hands each to `use`, one at a time while the next one is read: two lie in memory. */
async function eachPart(sending: Sending, use: (part: Part) => Promise<void>): Promise<Sums> {
  const { body, call } = sending;
  const [md5s, sha256s] = [createHash("md5"), createHash("sha256")];
  let count = 0;
  let underway = Promise.resolve();
  try {
    for await (const part of partsOf(body, partBytesFor(body.size, sending.partBytes), call.signal)) {
      count++;
      md5s.update(part.md5);
      sha256s.update(part.sha256);
      await underway;
      underway = use(part);
      underway.catch(() => undefined); // thrown where it is awaited
    }
    await underway;
  } catch (error) {
    await underway.catch(() => undefined);
    throw error;
  }
  return { etag: `${md5s.digest("hex")}-${count}`, sha256: `${sha256s.digest("base64")}-${count}` };
}

async function sendParts(sending: Sending, upload: Upload): Promise<{ readonly parts: CompletedPart[]; readonly sums: Sums }> {
  const parts: CompletedPart[] = [];
  let acknowledged = 0;
  const sums = await eachPart(sending, async (part) => {
    const ETag = has(upload, part) ?? (await sendPart(sending, upload, part));
    const sum = sending.checksums && { ChecksumSHA256: part.sha256.toString("base64") };
    parts.push({ PartNumber: part.number, ETag, ...sum });
    acknowledged += part.bytes.length;
    sending.onProgress?.(acknowledged);
  });
  return { parts, sums };
}

/** Ends the upload. Where the answer is lost, or says that somebody ended it, what lies there tells. */
async function end(sending: Sending, { session }: Upload, Parts: CompletedPart[], sums: Sums): Promise<Stored> {
  const { service, memory, object, doing, call } = sending;
  const condition = await sending.condition();
  await memory.set(sessionName(sending.name), JSON.stringify({ ...session, ending: true }));
  try {
    const done = await service.ask(doing, call, (s3, http) =>
      s3.completeMultipartUpload(
        { Bucket: service.bucket, Key: object, UploadId: session.uploadId, MultipartUpload: { Parts }, ...condition },
        http,
      ),
    );
    return {
      etag: bareOf(done.ETag),
      sha256: done.ChecksumSHA256 ?? "",
      versionId: done.VersionId,
      encrypted: isEncrypted(done),
    };
  } catch (error) {
    call.signal?.throwIfAborted();
    const kind = error instanceof TargetError ? error.kind : undefined;
    const stored = kind === "not-found" || kind === "conflict" || kind === "transient" ? await sending.landed(sums) : undefined;
    if (!stored) throw error;
    return stored;
  }
}

const isGone = (error: unknown) => error instanceof TargetError && error.details["reason"] === "NoSuchUpload";

/** Nothing that is tried with this upload again can help. After a conflict the same bytes may be put with another expectation. */
const isHopeless = (error: unknown) =>
  error instanceof TargetError &&
  (error.kind === "corrupt" || error.kind === "unsupported" || String(error.details["reason"]).startsWith("InvalidPart"));

/**
 * Uploads the body and answers what the service says of it, with the sums that it should say. An upload that was begun for the
 * same bytes is gone on with, whoever began it; parts that the service has are read, compared and not sent again.
 *
 * A failure that can pass, a conflict, an abort and a body that throws keep the upload for the next try. Bytes that are not what
 * `size` and `sha256` say throw `corrupt`, and it is given up.
 */
export async function sendInParts(sending: Sending): Promise<{ readonly stored: Stored; readonly sums: Sums }> {
  const { service, memory, call } = sending;
  const finished = async (stored: Stored, sums: Sums) => {
    await memory.delete(sessionName(sending.name));
    return { stored, sums };
  };

  const found = await resume(sending);
  if (found === "ended") {
    const sums = await eachPart(sending, () => Promise.resolve());
    const stored = await sending.landed(sums);
    if (stored) return finished(stored, sums);
  }
  let upload = found === "ended" ? undefined : found;
  for (let renewed = false; ; renewed = true) {
    upload ??= await begin(sending);
    try {
      const { parts, sums } = await sendParts(sending, upload);
      return await finished(await end(sending, upload, parts, sums), sums);
    } catch (error) {
      call.signal?.throwIfAborted();
      if (isGone(error) && !renewed) {
        upload = undefined;
        continue;
      }
      if (isHopeless(error)) {
        try {
          await abandon(service, sending.object, upload.session.uploadId, call);
          await memory.delete(sessionName(sending.name));
        } catch (failed) {
          // what brought us here says more; the upload is swept away some day
          if (!(failed instanceof TargetError)) throw failed;
        }
      }
      throw error;
    }
  }
}

/**
 * Gives up what nobody went on with for a week: uploads that we remember, and those at the service below `folder`. Services charge for
 * the parts of such uploads until somebody does.
 */
export async function sweepUploads(
  { service, memory, clock, place }: Pick<Sending, "service" | "memory" | "clock" | "place">,
  folder: string,
  call: Call,
): Promise<void> {
  const fresh = new Set<string>();
  for (const [entry, text] of await memory.list(sessionName(""))) {
    const session = parseSession(text);
    if (clock.now() - session.started < ABANDONED_MS) {
      fresh.add(session.uploadId);
      continue;
    }
    if (session.place === place) await abandon(service, session.object, session.uploadId, call);
    await memory.delete(entry);
  }
  for (const { object, uploadId, started } of await uploadsAt(service, folder, call))
    if (!fresh.has(uploadId) && clock.now() - started > ABANDONED_MS) await abandon(service, object, uploadId, call);
}

interface Markers {
  readonly KeyMarker?: string | undefined;
  readonly UploadIdMarker?: string | undefined;
}

/** Uploads that have begun and not ended below `prefix`; none where the service does not tell, or not us. */
export async function uploadsAt(service: Service, prefix: string, call: Call) {
  const uploads: Array<{ readonly object: string; readonly uploadId: string; readonly started: number }> = [];
  let markers: Markers | undefined = {};
  try {
    while (markers !== undefined) {
      const after: Markers = markers;
      const page = await service.ask("look for uploads that were left", call, (s3, http) =>
        s3.listMultipartUploads({ Bucket: service.bucket, Prefix: prefix, ...after }, http),
      );
      for (const { Key, UploadId, Initiated } of page.Uploads ?? [])
        if (Key !== undefined && UploadId !== undefined && Key.startsWith(prefix))
          uploads.push({ object: Key, uploadId: UploadId, started: Initiated?.getTime() ?? Infinity });
      const more = page.IsTruncated === true && page.NextKeyMarker !== undefined && page.NextKeyMarker !== after.KeyMarker;
      markers = more ? { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker } : undefined;
    }
  } catch (error) {
    if (!(error instanceof TargetError) || error.kind !== "unsupported") throw error;
  }
  return uploads;
}

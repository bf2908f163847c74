/**
 * S3 as Amazon documents it, on 127.0.0.1 and in memory: signatures, conditions, flexible checksums, multipart uploads, versions, object
 * lock. What a lesser service lacks can be switched off. It checks what it is told, as the real one does: digests, part lists, sizes.
 */
import { createHash, createHmac, randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Settings {
  /** `x-amz-checksum-sha256` is verified, kept and given back; else it is passed over. */
  checksums: boolean;
  /** `obeyed` as Amazon does, `ignored` without a word, `refused` with 501. */
  conditions: "obeyed" | "ignored" | "refused";
  /** The end of a multipart upload obeys conditions. */
  conditionsAtTheEnd: boolean;
  /** With a key of the account: the ETag is no MD5. */
  kms: boolean;
  /** ETags that are no MD5, without a word about it (some gateways). */
  oddEtags: boolean;
  versioned: boolean;
  /** New versions cannot be deleted before this time. */
  lockedUntil: Date | undefined;
  /** Ceph 16: the answer to CompleteMultipartUpload has no ETag. */
  emptyEtagAtTheEnd: boolean;
  pageSize: number;
  minPartBytes: number;
  /** Milliseconds by which the service's clock is ahead. */
  clockAhead: number;
  /** Actions, as in a policy (`s3:PutObject` …), that are forbidden. */
  denied: readonly string[];
}

export interface Asked {
  readonly method: string;
  readonly key: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage["headers"];
  readonly size: number;
  /** As in a policy. */
  readonly action: string;
}

export type Fault =
  /** The connection breaks before anything is done. */
  | "cut"
  /** It is done; the answer is lost. */
  | "lost"
  /** Half of the object's bytes come. */
  | "half"
  /** One bit of what is stored is another. */
  | "flip"
  | { readonly status: number; readonly code?: string; readonly headers?: Record<string, string>; readonly html?: boolean };

interface Version {
  readonly id: string;
  readonly bytes: Buffer;
  readonly etag: string;
  readonly sum: string | undefined;
  readonly composite: boolean;
  readonly meta: Record<string, string>;
  readonly at: Date;
  readonly marker: boolean;
  readonly lockedUntil: Date | undefined;
}

interface Upload {
  readonly key: string;
  readonly summed: boolean;
  readonly meta: Record<string, string>;
  readonly at: Date;
  readonly parts: Map<number, { bytes: Buffer; etag: string; sum: string | undefined }>;
}

class Refusal extends Error {
  readonly status: number;
  readonly code: string;
  readonly fields: Record<string, string>;
  constructor(status: number, code: string, message: string, fields: Record<string, string> = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.fields = fields;
  }
}

const xml = (text: string) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
const hash = (algo: string, data: string | Uint8Array, encoding: "hex" | "base64" = "hex") =>
  createHash(algo).update(data).digest(encoding);
const hmac = (key: string | Buffer, data: string) => createHmac("sha256", key).update(data).digest();
const strict = (text: string) =>
  encodeURIComponent(text).replaceAll(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
const bare = (etag: string) => etag.replaceAll('"', "");

export interface S3Emulator {
  readonly endpoint: string;
  readonly bucket: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly settings: Settings;
  /** Every request so far. */
  readonly asked: Asked[];
  /** Asked before each request is answered; the first fault that is answered strikes. */
  fault: ((asked: Asked) => Fault | undefined) | undefined;
  /** The current bytes of an object. */
  bytesAt(key: string): Buffer | undefined;
  versionsAt(key: string): number;
  /** Keys of all objects. */
  keys(): string[];
  /** And of those of which only older versions or markers are left. */
  everKeys(): string[];
  readonly uploads: ReadonlyMap<string, Upload>;
  /** What another program does: past signatures and conditions. */
  write(key: string, bytes: Uint8Array): void;
  /** Takes the bucket away, or brings it back. */
  exists: boolean;
  close(): Promise<void>;
}

export async function startS3(given: Partial<Settings> = {}): Promise<S3Emulator> {
  const settings: Settings = {
    checksums: true,
    conditions: "obeyed",
    conditionsAtTheEnd: true,
    kms: false,
    oddEtags: false,
    versioned: false,
    lockedUntil: undefined,
    emptyEtagAtTheEnd: false,
    pageSize: 1000,
    minPartBytes: 5 * 1024 * 1024,
    clockAhead: 0,
    denied: [],
    ...given,
  };
  const [bucket, accessKeyId, secretAccessKey] = ["memory", "AKIDEMULATOR", "SECRETemulator/key+1"];
  const objects = new Map<string, Version[]>();
  const uploads = new Map<string, Upload>();
  const asked: Asked[] = [];

  const current = (key: string) => {
    const last = objects.get(key)?.at(-1);
    return last?.marker === true ? undefined : last;
  };
  const etagOf = (bytes: Uint8Array) =>
    settings.kms || settings.oddEtags ? randomBytes(16).toString("hex") : hash("md5", bytes);
  const version = (bytes: Buffer, etag: string, more: Partial<Version> = {}): Version => ({
    id: settings.versioned ? randomBytes(12).toString("hex") : "null",
    bytes,
    etag,
    sum: undefined,
    composite: false,
    meta: {},
    at: new Date(),
    marker: false,
    lockedUntil: settings.lockedUntil,
    ...more,
  });
  const store = (key: string, made: Version) => {
    objects.set(key, settings.versioned ? [...(objects.get(key) ?? []), made] : [made]);
    return made;
  };

  function authorise(request: IncomingMessage, body: Buffer): void {
    const said = /^AWS4-HMAC-SHA256 Credential=([^,]+), SignedHeaders=([^,]+), Signature=([0-9a-f]+)$/.exec(
      request.headers.authorization ?? "",
    );
    if (!said) throw new Refusal(403, "AccessDenied", "Access Denied");
    const [, credential = "", signedHeaders = "", signature = ""] = said;
    const scope = credential.split("/");
    const id = scope.shift();
    if (id !== accessKeyId)
      throw new Refusal(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.", {
        AWSAccessKeyId: id ?? "",
      });
    const date = String(request.headers["x-amz-date"]);
    const at = Date.parse(date.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, "$1-$2-$3T$4:$5:$6Z"));
    if (Math.abs(at - Date.now() - settings.clockAhead) > 15 * 60_000)
      throw new Refusal(
        403,
        "RequestTimeTooSkewed",
        "The difference between the request time and the current time is too large.",
      );
    const [path = "", query = ""] = (request.url ?? "").split("?");
    const pairs =
      query === "" ? [] : query.split("&").map((pair) => pair.split("=").map((part) => strict(decodeURIComponent(part))));
    const canonicalQuery = pairs
      .map(([name, value = ""]) => `${name}=${value}`)
      .toSorted()
      .join("&");
    const headers = signedHeaders.split(";").map((name) => `${name}:${String(request.headers[name] ?? "").trim()}\n`);
    const payload = String(request.headers["x-amz-content-sha256"]);
    const canonical = [request.method, path, canonicalQuery, headers.join(""), signedHeaders, payload].join("\n");
    const toSign = ["AWS4-HMAC-SHA256", date, scope.join("/"), hash("sha256", canonical)].join("\n");
    const key = scope.reduce<string | Buffer>((secret, part) => hmac(secret, part), `AWS4${secretAccessKey}`);
    if (createHmac("sha256", key).update(toSign).digest("hex") !== signature)
      throw new Refusal(
        403,
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided.",
        {
          AWSAccessKeyId: accessKeyId,
          StringToSign: toSign,
          SignatureProvided: signature,
          CanonicalRequest: canonical,
        },
      );
    if (payload !== "UNSIGNED-PAYLOAD" && payload !== hash("sha256", body))
      throw new Refusal(
        400,
        "XAmzContentSHA256Mismatch",
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
      );
  }

  function assertCondition(headers: IncomingMessage["headers"], found: { etag: string } | undefined, obeyed = true): void {
    const [none, match] = [headers["if-none-match"], headers["if-match"]];
    if (none === undefined && match === undefined) return;
    if (settings.conditions === "refused")
      throw new Refusal(501, "NotImplemented", "A header you provided implies functionality that is not implemented.");
    if (settings.conditions === "ignored" || !obeyed) return;
    const failed = new Refusal(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold");
    if (none === "*" && found) throw failed;
    if (match === undefined) return;
    if (!found) throw new Refusal(404, "NoSuchKey", "The specified key does not exist.");
    if (bare(match) !== found.etag) throw failed;
  }

  function assertDigests(headers: IncomingMessage["headers"], body: Buffer): string | undefined {
    const md5 = headers["content-md5"];
    if (md5 !== undefined && md5 !== hash("md5", body, "base64"))
      throw new Refusal(400, "BadDigest", "The Content-MD5 you specified did not match what we received.");
    const sum = headers["x-amz-checksum-sha256"];
    if (!settings.checksums || sum === undefined) return undefined;
    if (sum !== hash("sha256", body, "base64"))
      throw new Refusal(400, "BadDigest", "The SHA256 you specified did not match the calculated checksum.");
    return sum;
  }

  const metaOf = (headers: IncomingMessage["headers"]) =>
    Object.fromEntries(Object.entries(headers).filter(([name]) => name.startsWith("x-amz-meta-"))) as Record<string, string>;

  const facts = (found: Version, mode: boolean): Record<string, string> => ({
    etag: `"${found.etag}"`,
    "last-modified": found.at.toUTCString(),
    ...(settings.versioned && { "x-amz-version-id": found.id }),
    ...(settings.kms && { "x-amz-server-side-encryption": "aws:kms" }),
    ...(mode &&
      found.sum !== undefined && {
        "x-amz-checksum-sha256": found.sum,
        "x-amz-checksum-type": found.composite ? "COMPOSITE" : "FULL_OBJECT",
      }),
    ...found.meta,
  });

  type Reply = { status?: number; headers?: Record<string, string>; body?: string | Buffer };
  const page = (root: string, inner: string): Reply => ({
    headers: { "content-type": "application/xml" },
    body: `<?xml version="1.0" encoding="UTF-8"?>\n<${root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${inner}</${root}>`,
  });
  const tag = (name: string, value: string | number | boolean) => `<${name}>${xml(String(value))}</${name}>`;

  const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));

  function listObjects(query: URLSearchParams): Reply {
    const prefix = query.get("prefix") ?? "";
    const most = Math.min(settings.pageSize, Number(query.get("max-keys") ?? 1000));
    const after = Buffer.from(query.get("continuation-token") ?? "", "base64").toString();
    const found = [...objects.keys()]
      .filter((key) => current(key) && key.startsWith(prefix))
      .toSorted(byBytes)
      .filter((key) => after === "" || byBytes(key, after) > 0);
    const shown = found.slice(0, most);
    const more = found.length > shown.length;
    const encoded = query.get("encoding-type") === "url";
    const name = (key: string) => (encoded ? strict(key).replaceAll("%2F", "/").replaceAll("%20", "+") : key);
    const contents = shown.map((key) => {
      const { bytes, etag, at } = current(key) as Version;
      return `<Contents>${tag("Key", name(key))}${tag("LastModified", at.toISOString())}${tag("ETag", `"${etag}"`)}${tag("Size", bytes.length)}</Contents>`;
    });
    const next = more && shown.length > 0 ? tag("NextContinuationToken", Buffer.from(shown.at(-1) ?? "").toString("base64")) : "";
    return page(
      "ListBucketResult",
      tag("Name", bucket) +
        tag("Prefix", name(prefix)) +
        tag("KeyCount", shown.length) +
        tag("MaxKeys", most) +
        tag("IsTruncated", more) +
        (encoded ? tag("EncodingType", "url") : "") +
        next +
        contents.join(""),
    );
  }

  function listVersions(query: URLSearchParams): Reply {
    const prefix = query.get("prefix") ?? "";
    const all = [...objects].filter(([key]) => key.startsWith(prefix)).toSorted(([a], [b]) => byBytes(a, b));
    const rows = all.flatMap(([key, versions]) =>
      versions.toReversed().map((one) => ({ key, one, newest: one === versions.at(-1) })),
    );
    const [key, id] = [query.get("key-marker"), query.get("version-id-marker")];
    const from = key === null ? 0 : rows.findIndex((row) => row.key === key && row.one.id === id) + 1;
    const shown = rows.slice(from, from + settings.pageSize);
    const more = from + shown.length < rows.length;
    const last = shown.at(-1);
    const next = more && last ? tag("NextKeyMarker", last.key) + tag("NextVersionIdMarker", last.one.id) : "";
    const rowsXml = shown.map(({ key: name, one, newest }) => {
      const what = one.marker ? "DeleteMarker" : "Version";
      return `<${what}>${tag("Key", name)}${tag("VersionId", one.id)}${tag("IsLatest", newest)}${tag("LastModified", one.at.toISOString())}</${what}>`;
    });
    return page("ListVersionsResult", tag("Name", bucket) + tag("IsTruncated", more) + next + rowsXml.join(""));
  }

  function uploadOf(query: URLSearchParams, key: string): Upload {
    const upload = uploads.get(query.get("uploadId") ?? "");
    if (!upload || upload.key !== key)
      throw new Refusal(404, "NoSuchUpload", "The specified upload does not exist. It may have been aborted or completed.");
    return upload;
  }

  function complete(key: string, query: URLSearchParams, headers: IncomingMessage["headers"], body: Buffer): Reply {
    const upload = uploadOf(query, key);
    assertCondition(headers, current(key), settings.conditionsAtTheEnd);
    const named = [...body.toString().matchAll(/<Part>(.*?)<\/Part>/gs)].map(([, part = ""]) => {
      const field = (name: string) => new RegExp(`<${name}>(.*?)</${name}>`).exec(part)?.[1]?.replaceAll("&quot;", '"');
      return { number: Number(field("PartNumber")), etag: bare(field("ETag") ?? ""), sum: field("ChecksumSHA256") };
    });
    if (named.length === 0) throw new Refusal(400, "MalformedXML", "The XML you provided was not well-formed");
    const parts = named.map(({ number, etag, sum }, at) => {
      const part = upload.parts.get(number);
      if (at > 0 && number <= (named[at - 1]?.number ?? 0))
        throw new Refusal(400, "InvalidPartOrder", "The list of parts was not in ascending order.");
      if (!part || part.etag !== etag || (upload.summed && part.sum !== sum))
        throw new Refusal(400, "InvalidPart", "One or more of the specified parts could not be found.");
      if (at < named.length - 1 && part.bytes.length < settings.minPartBytes)
        throw new Refusal(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size");
      return part;
    });
    const bytes = Buffer.concat(parts.map((part) => part.bytes));
    const md5s = Buffer.concat(parts.map((part) => Buffer.from(part.etag, "hex")));
    const sums = Buffer.concat(parts.map((part) => Buffer.from(part.sum ?? "", "base64")));
    const etag = `${settings.kms || settings.oddEtags ? randomBytes(16).toString("hex") : hash("md5", md5s)}-${parts.length}`;
    const sum = upload.summed ? `${hash("sha256", sums, "base64")}-${parts.length}` : undefined;
    const made = store(key, version(bytes, etag, { sum, composite: true, meta: upload.meta }));
    uploads.delete(query.get("uploadId") ?? "");
    const said = page(
      "CompleteMultipartUploadResult",
      tag("Bucket", bucket) +
        tag("Key", key) +
        tag("ETag", settings.emptyEtagAtTheEnd ? "" : `"${etag}"`) +
        (sum ? tag("ChecksumSHA256", sum) : ""),
    );
    const { "x-amz-version-id": id, "x-amz-server-side-encryption": sse } = facts(made, false);
    return {
      ...said,
      headers: { ...said.headers, ...(id && { "x-amz-version-id": id }), ...(sse && { "x-amz-server-side-encryption": sse }) },
    };
  }

  function sourceOf(headers: IncomingMessage["headers"]): Version {
    const key = decodeURIComponent(String(headers["x-amz-copy-source"]))
      .replace(/^\//, "")
      .slice(bucket.length + 1);
    const found = current(key);
    if (!found) throw new Refusal(404, "NoSuchKey", "The specified key does not exist.");
    const match = headers["x-amz-copy-source-if-match"];
    if (typeof match === "string" && bare(match) !== found.etag)
      throw new Refusal(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold");
    return found;
  }

  function removeAt(key: string, query: URLSearchParams, headers: IncomingMessage["headers"]): Reply {
    const id = query.get("versionId");
    const versions = objects.get(key) ?? [];
    if (id === null) {
      if (headers["if-match"] !== undefined) assertCondition(headers, current(key));
      if (!settings.versioned) objects.delete(key);
      else store(key, version(Buffer.alloc(0), "", { marker: true, lockedUntil: undefined }));
    } else {
      const found = versions.find((one) => one.id === id);
      if (found?.lockedUntil && found.lockedUntil.getTime() > Date.now())
        throw new Refusal(403, "AccessDenied", "Access Denied because object protected by object lock.");
      const left = versions.filter((one) => one !== found);
      if (left.length === 0) objects.delete(key);
      else objects.set(key, left);
    }
    return { status: 204 };
  }

  const answers: Record<string, (one: Asked, body: Buffer, flip: boolean) => Reply> = {
    "s3:ListBucket": ({ query }) => listObjects(query),
    "s3:ListBucketVersions": ({ query }) => listVersions(query),
    "s3:ListBucketMultipartUploads": ({ query }) => {
      const found = [...uploads].filter(([, { key }]) => key.startsWith(query.get("prefix") ?? ""));
      const rows = found.map(
        ([id, { key, at }]) => `<Upload>${tag("Key", key)}${tag("UploadId", id)}${tag("Initiated", at.toISOString())}</Upload>`,
      );
      return page("ListMultipartUploadsResult", tag("Bucket", bucket) + tag("IsTruncated", false) + rows.join(""));
    },
    "s3:CreateMultipartUpload": ({ key, headers }) => {
      const id = randomBytes(16).toString("hex");
      const summed = settings.checksums && headers["x-amz-checksum-algorithm"] === "SHA256";
      uploads.set(id, { key, summed, meta: metaOf(headers), at: new Date(), parts: new Map() });
      return page("InitiateMultipartUploadResult", tag("Bucket", bucket) + tag("Key", key) + tag("UploadId", id));
    },
    "s3:UploadPart": ({ key, query, headers }, body, flip) => {
      const upload = uploadOf(query, key);
      const sum = assertDigests(headers, body);
      if (upload.summed && sum === undefined)
        throw new Refusal(400, "InvalidRequest", "The upload was created using the SHA256 checksum mode.");
      const bytes = flip ? flipped(body) : body;
      const etag = etagOf(bytes);
      upload.parts.set(Number(query.get("partNumber")), {
        bytes,
        etag,
        sum: sum === undefined ? undefined : hash("sha256", bytes, "base64"),
      });
      return { headers: { etag: `"${etag}"`, ...(sum && { "x-amz-checksum-sha256": sum }) } };
    },
    "s3:UploadPartCopy": ({ key, query, headers }) => {
      const upload = uploadOf(query, key);
      const [, from = "0", to = ""] = /^bytes=(\d+)-(\d+)$/.exec(String(headers["x-amz-copy-source-range"])) ?? [];
      const bytes = sourceOf(headers).bytes.subarray(Number(from), Number(to) + 1);
      const etag = etagOf(bytes);
      upload.parts.set(Number(query.get("partNumber")), { bytes, etag, sum: undefined });
      return page("CopyPartResult", tag("ETag", `"${etag}"`) + tag("LastModified", new Date().toISOString()));
    },
    "s3:ListMultipartUploadParts": ({ key, query }) => {
      const { parts } = uploadOf(query, key);
      const from = Number(query.get("part-number-marker") ?? 0);
      const found = [...parts].filter(([number]) => number > from).toSorted(([a], [b]) => a - b);
      const shown = found.slice(0, settings.pageSize);
      const rows = shown.map(
        ([number, { bytes, etag, sum }]) =>
          `<Part>${tag("PartNumber", number)}${tag("ETag", `"${etag}"`)}${tag("Size", bytes.length)}${sum ? tag("ChecksumSHA256", sum) : ""}</Part>`,
      );
      const more = found.length > shown.length;
      return page(
        "ListPartsResult",
        tag("IsTruncated", more) + (more ? tag("NextPartNumberMarker", shown.at(-1)?.[0] ?? 0) : "") + rows.join(""),
      );
    },
    "s3:CompleteMultipartUpload": ({ key, query, headers }, body) => complete(key, query, headers, body),
    "s3:AbortMultipartUpload": ({ key, query }) => {
      uploadOf(query, key);
      uploads.delete(query.get("uploadId") ?? "");
      return { status: 204 };
    },
    "s3:PutObject": ({ key, headers }, body, flip) => {
      if (Buffer.byteLength(key) > 1024) throw new Refusal(400, "KeyTooLongError", "Your key is too long");
      const sum = assertDigests(headers, body);
      assertCondition(headers, current(key));
      const bytes = flip ? flipped(body) : body;
      const made = store(
        key,
        version(bytes, etagOf(bytes), { sum: sum && hash("sha256", bytes, "base64"), meta: metaOf(headers) }),
      );
      return { headers: facts(made, true) };
    },
    "s3:CopyObject": ({ key, headers }) => {
      const source = sourceOf(headers);
      if (headers["if-none-match"] !== undefined) assertCondition(headers, current(key));
      const sum =
        settings.checksums && (headers["x-amz-checksum-algorithm"] === "SHA256" || source.sum)
          ? hash("sha256", source.bytes, "base64")
          : undefined;
      const made = store(key, version(source.bytes, etagOf(source.bytes), { sum, meta: source.meta }));
      return page("CopyObjectResult", tag("ETag", `"${made.etag}"`) + tag("LastModified", made.at.toISOString()));
    },
    "s3:GetObject": ({ key, method, headers, query }) => {
      const id = query.get("versionId");
      const found = id === null ? current(key) : objects.get(key)?.find((one) => one.id === id);
      if (!found) throw new Refusal(404, "NoSuchKey", "The specified key does not exist.");
      const lock = found.lockedUntil && {
        "x-amz-object-lock-mode": "COMPLIANCE",
        "x-amz-object-lock-retain-until-date": found.lockedUntil.toISOString(),
      };
      const said = {
        ...facts(found, headers["x-amz-checksum-mode"] === "ENABLED"),
        ...lock,
        "content-length": String(found.bytes.length),
      };
      return method === "HEAD" ? { headers: said } : { headers: said, body: found.bytes };
    },
    "s3:DeleteObject": ({ key, query, headers }) => removeAt(key, query, headers),
  };

  const flipped = (body: Buffer) => Buffer.from(body.map((byte, at) => (at === 0 ? byte ^ 1 : byte)));

  function actionOf(method: string, key: string, query: URLSearchParams, headers: IncomingMessage["headers"]): string {
    const part = query.has("uploadId");
    const copied = headers["x-amz-copy-source"] !== undefined;
    if (key === "")
      return query.has("versions")
        ? "s3:ListBucketVersions"
        : query.has("uploads")
          ? "s3:ListBucketMultipartUploads"
          : "s3:ListBucket";
    if (method === "GET" || method === "HEAD") return part ? "s3:ListMultipartUploadParts" : "s3:GetObject";
    if (method === "POST") return part ? "s3:CompleteMultipartUpload" : "s3:CreateMultipartUpload";
    if (method === "DELETE") return part ? "s3:AbortMultipartUpload" : "s3:DeleteObject";
    return part ? (copied ? "s3:UploadPartCopy" : "s3:UploadPart") : copied ? "s3:CopyObject" : "s3:PutObject";
  }

  const emulator = {
    bucket,
    accessKeyId,
    secretAccessKey,
    settings,
    asked,
    uploads,
    fault: undefined as S3Emulator["fault"],
    exists: true,
    bytesAt: (key: string) => current(key)?.bytes,
    versionsAt: (key: string) => objects.get(key)?.length ?? 0,
    keys: () => [...objects.keys()].filter((key) => current(key)),
    everKeys: () => [...objects.keys()],
    write: (key: string, bytes: Uint8Array) => void store(key, version(Buffer.from(bytes), etagOf(bytes))),
  };

  function answer(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
    const url = new URL(request.url ?? "", "http://x");
    const [, name = "", ...rest] = (request.url ?? "").split("?")[0]?.split("/") ?? [];
    const key = decodeURIComponent(rest.join("/"));
    const { headers, method = "" } = request;
    const action = actionOf(method, key, url.searchParams, headers);
    const one: Asked = { method, key, query: url.searchParams, headers, size: body.length, action };
    asked.push(one);
    const fault = emulator.fault?.(one);
    if (fault === "cut") return void response.destroy();
    let reply: Reply;
    try {
      if (typeof fault === "object") {
        if (fault.html === true) {
          response.writeHead(fault.status, { "content-type": "text/html", ...fault.headers });
          return void response.end(method === "HEAD" ? undefined : "<html><body><br>Please sign in</body></html>");
        }
        throw new Refusal(fault.status, fault.code ?? "InternalError", `an error of the kind ${fault.code ?? fault.status}`);
      }
      authorise(request, body);
      if (name !== bucket || !emulator.exists) throw new Refusal(404, "NoSuchBucket", "The specified bucket does not exist");
      if (settings.denied.includes(action)) throw new Refusal(403, "AccessDenied", "Access Denied");
      reply = answers[action]?.(one, body, fault === "flip") ?? { status: 405 };
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const fields = Object.entries({ Code: error.code, Message: error.message, ...error.fields }).map(([at, value]) =>
        tag(at, value),
      );
      const said = typeof fault === "object" ? fault.headers : {};
      response.writeHead(error.status, {
        "content-type": "application/xml",
        "x-amz-request-id": "1",
        date: new Date().toUTCString(),
        ...said,
      });
      return void response.end(method === "HEAD" ? undefined : `<?xml version="1.0"?><Error>${fields.join("")}</Error>`);
    }
    if (fault === "lost") return void response.destroy();
    response.writeHead(reply.status ?? 200, { "x-amz-request-id": "1", ...reply.headers });
    if (fault === "half" && reply.body !== undefined) {
      response.write(reply.body.slice(0, reply.body.length / 2), () => response.destroy());
      return;
    }
    response.end(method === "HEAD" ? undefined : reply.body);
  }

  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("error", () => undefined); // a client that went away
    request.on("end", () => answer(request, response, Buffer.concat(parts)));
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return Object.assign(emulator, {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise<void>((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  });
}

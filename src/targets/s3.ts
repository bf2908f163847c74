/**
 * A bucket of Amazon S3, or of anything that speaks S3, as a target. A key's rev is its ETag, which the service's own
 * conditions guard where it has them; what it has is tried out once (s3/abilities.ts). Facts: docs/targets/s3.md.
 * @module
 */
import { createHash } from "node:crypto";
import type { Readable } from "node:stream";
import type { HeadObjectCommandOutput } from "@aws-sdk/client-s3";
import { untilAborted } from "../core/chunks.ts";
import { TargetError } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import type { Call, Chunks, Entry, Guard, Hash, Look, Source, Target } from "../core/target.ts";
import {
  type Abilities,
  bareOf,
  copySource,
  findOut,
  forget,
  isEncrypted,
  matching,
  md5Of,
  PROBE,
  recall,
  sha256Of,
} from "./s3/abilities.ts";
import { openService, type Service } from "./s3/client.ts";
import { copyInParts } from "./s3/copy.ts";
import { abandon, sendInParts, sessionName, type Stored, type Sums, sweepUploads, uploadsAt } from "./s3/multipart.ts";
import { purgeVersions } from "./s3/purge.ts";
import { createLines } from "./shared/in-line.ts";
import type { DriverContext } from "./shared/driver.ts";
import { keyOf } from "./shared/names.ts";

export interface S3Tuning {
  /** Bodies up to here go in one request, bigger ones in parts of this length; 8 MiB. S3 takes no smaller parts than 5 MiB. */
  readonly partBytes?: number | undefined;
  /** Objects above this are copied in parts; S3 copies 5 GB at once. */
  readonly copyBytes?: number | undefined;
}

const MIB = 1024 * 1024;
/** Room for concurrent bodies of one part each. */
const MOST_AT_ONCE = 16;
/** Tries of one conditional request that others keep disturbing. */
const ROUNDS = 4;
const PROOFS = "proof/";

const MD5 = /^[0-9a-f]{32}$/;
/** What can stand in a header between quotes. */
const ETAG = /^[\x21\x23-\x7e]+$/;

/** The folder of a root or prefix, as an object key begins with it. */
const folderOf = (text: string) => {
  const trimmed = text.replaceAll(/^\/+|\/+$/g, "");
  return trimmed === "" ? "" : `${trimmed}/`;
};

const textOf = (value: unknown) => (typeof value === "string" ? value : "");

/** What tells one place from another. */
const placeOf = (root: string, options: Readonly<Record<string, unknown>>): string =>
  JSON.stringify([options["endpoint"] ?? null, options["bucket"] ?? null, folderOf(textOf(options["prefix"])), folderOf(root)]);

const hexOf = (base64: string) => Buffer.from(base64, "base64").toString("hex");

/** All bytes of a small body, proven to be the ones that it promises. */
async function collect(body: Source, signal?: AbortSignal): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(body.size);
  const wrong = () => new TargetError("corrupt", "the body's bytes are not what its size and sha256 say");
  let size = 0;
  for await (const chunk of untilAborted(body.open(), signal)) {
    if (size + chunk.length > body.size) throw wrong();
    bytes.set(chunk, size);
    size += chunk.length;
  }
  if (size !== body.size || createHash("sha256").update(bytes).digest("hex") !== body.sha256) throw wrong();
  return bytes;
}

/** Opens the target; what is known of the place is read from the driver's memory, nothing is asked for before the first verb. */
export async function openS3Target(context: DriverContext, tuning: S3Tuning = {}): Promise<Target> {
  const { name, memory, clock, options } = context;
  const { partBytes = 8 * MIB, copyBytes = 5_000_000_000 } = tuning;
  const root = folderOf(context.root);
  const folder = folderOf(textOf(options["prefix"])) + root;
  const place = placeOf(context.root, options);
  const Bucket = String(options["bucket"]);

  const server = JSON.stringify([options["endpoint"] ?? null, Bucket]);

  let known: Abilities | undefined = await recall(memory, server, clock);
  let opening: Promise<Service> | undefined;
  let asking: Promise<Abilities> | undefined;
  let isThere = false;
  let swept = false;

  const service = () =>
    (opening ??= openService(context).catch((error: unknown) => {
      opening = undefined;
      throw error;
    }));

  const abilities = async (call: Call): Promise<Abilities> => {
    if (known) return known;
    const on = await service();
    // several callers wait for one answer; the one whose signal aborts leaves the others without it, and they ask anew
    asking ??= findOut(on, memory, server, folder, clock, call).finally(() => (asking = undefined));
    try {
      return (known = await asking);
    } catch (error) {
      call.signal?.throwIfAborted();
      if (error instanceof TargetError) throw error;
      return abilities(call);
    }
  };

  /** One after the other for a key. */
  const inLine = createLines();

  const shown = context.root === "" || context.root.endsWith("/") ? context.root : `${context.root}/`;
  const pathOf = (key: Key) => shown + key;
  const objectOf = (key: Key) => folder + key;
  const absentFault = (key: Key) => new TargetError("not-found", `${pathOf(key)} is not on ${name}`);
  const conflict = (key: Key, what: string) => new TargetError("conflict", `${pathOf(key)} ${what}`);
  const changed = (key: Key) => conflict(key, "was changed by someone else");

  /** Which sha256 an ETag stands for, of what was compared when it was put, or read. */
  const proofOf = async (key: Key, etag: string): Promise<Hash | undefined> => {
    const [was, hex] = (await memory.get(PROOFS + key))?.split(" ") ?? [];
    return was === etag && hex !== undefined ? { algo: "sha256", hex } : undefined;
  };
  const remember = (key: Key, etag: string, sha256: string) => memory.set(PROOFS + key, `${etag} ${sha256}`);

  /** A service that answers "absent" to everything may be the wrong one: the first such answer is checked by a listing. */
  const assertPlace = async (key: Key, call: Call | undefined): Promise<void> => {
    if (isThere) return;
    const on = await service();
    const doing = `look at ${pathOf(key)}`;
    const page = await on.ask(doing, call, (s3, http) => s3.listObjectsV2({ Bucket, Prefix: objectOf(key), MaxKeys: 1 }, http));
    if (page.IsTruncated === undefined && page.Name === undefined) throw stranger(doing);
    isThere = true;
  };
  const stranger = (doing: string) =>
    new TargetError("transient", `could not ${doing}: what answered does not speak S3`, {
      hint: `Check \`endpoint\` at targets.${name} in paths.json, and the network's proxy or log-in page. It is tried again.`,
    });

  const head = async (key: Key, call: Call | undefined): Promise<(HeadObjectCommandOutput & { ETag: string }) | undefined> => {
    const on = await service();
    const doing = `look at ${pathOf(key)}`;
    try {
      const found = await on.ask(doing, call, (s3, http) =>
        s3.headObject({ Bucket, Key: objectOf(key), ...(known?.checksums && { ChecksumMode: "ENABLED" }) }, http),
      );
      if (!found.ETag || found.ContentLength === undefined) throw stranger(doing);
      return { ...found, ETag: bareOf(found.ETag) };
    } catch (error) {
      if (!(error instanceof TargetError) || error.kind !== "not-found") throw error;
      await assertPlace(key, call);
      return undefined;
    }
  };

  /** As the service says it in so many words; an ETag of several parts, or of an encrypted object, says nothing that can be compared. */
  const reported = (found: HeadObjectCommandOutput & { ETag: string }): Hash | undefined => {
    const sum = found.ChecksumSHA256;
    if (sum !== undefined && found.ChecksumType !== "COMPOSITE" && !sum.includes("-")) return { algo: "sha256", hex: hexOf(sum) };
    return known?.md5 === true && MD5.test(found.ETag) && !isEncrypted(found) ? { algo: "md5", hex: found.ETag } : undefined;
  };

  const stat = async (key: Key, look: Look | undefined): Promise<Entry | undefined> => {
    const found = await head(key, look);
    if (!found) return undefined;
    const said = reported(found);
    const hash = said?.algo === "sha256" ? said : ((await proofOf(key, found.ETag)) ?? said);
    const entry = { key, size: found.ContentLength ?? 0, rev: found.ETag };
    if (hash || look?.hash !== true) return { ...entry, ...(hash && { hash }) };
    return readBack(key, look);
  };

  /** The bytes as the service has them, hashed here: where it reports no hash that can be compared. */
  const readBack = (key: Key, call: Call | undefined): Promise<Entry | undefined> =>
    read(key, call, async (chunks, got) => {
      const hash = createHash("sha256");
      let size = 0;
      for await (const chunk of chunks) {
        hash.update(chunk);
        size += chunk.length;
      }
      const hex = hash.digest("hex");
      await remember(key, got.etag, hex);
      return { key, size, rev: got.etag, hash: { algo: "sha256", hex } };
    }).catch((error: unknown) => {
      if (error instanceof TargetError && error.kind === "not-found") return undefined;
      throw error;
    });

  async function read<T>(
    key: Key,
    call: Call | undefined,
    use: (bytes: Chunks, got: { etag: string }) => Promise<T>,
  ): Promise<T> {
    const on = await service();
    const doing = `read ${pathOf(key)}`;
    const isAbsent = (error: unknown) => error instanceof TargetError && error.kind === "not-found";
    const get = () => on.ask(doing, call, (s3, http) => s3.getObject({ Bucket, Key: objectOf(key) }, http));
    const got = await get()
      .catch(async (error: unknown) => {
        if (!isAbsent(error) || known?.lags !== true) throw error;
        await clock.sleep(50, call?.signal); // while Swift replaces an object there is an instant without one
        return get();
      })
      .catch((error: unknown) => {
        throw isAbsent(error) ? absentFault(key) : error;
      });
    const stream = got.Body as Readable | undefined;
    if (!stream || got.ContentLength === undefined || !got.ETag) throw stranger(doing);
    const size = got.ContentLength;
    // what breaks after its last byte was used breaks nothing
    stream.on("error", () => undefined);
    async function* bytes(): Chunks {
      let count = 0;
      try {
        for await (const chunk of untilAborted(stream as Chunks, call?.signal)) {
          count += chunk.length;
          yield chunk;
        }
      } catch (error) {
        throw on.faultOf(error, doing, call);
      }
      if (count !== size) throw new TargetError("transient", `${pathOf(key)} ended after ${count} of ${size} bytes`);
    }
    try {
      return await use(bytes(), { etag: bareOf(got.ETag) });
    } finally {
      stream.destroy();
    }
  }

  const assertExpected = (key: Key, expect: Guard["expect"], found: { readonly ETag: string } | undefined): void => {
    if (expect === undefined) return;
    if (expect === "absent") {
      if (found) throw conflict(key, "is already there");
    } else if (!found) throw absentFault(key);
    else if (found.ETag !== expect.rev) throw changed(key);
  };

  /** The condition of a write. Where the service has none that works, it is looked at once more instead. */
  const conditionFor = async (key: Key, guard: Guard, can: { create: boolean; replace: Abilities["replace"] }) => {
    const { expect } = guard;
    if (expect === undefined) return {};
    if (expect === "absent" && can.create) return { IfNoneMatch: "*" };
    if (expect !== "absent" && can.replace !== "none" && ETAG.test(expect.rev))
      return { IfMatch: matching(can.replace, expect.rev) };
    assertExpected(key, expect, await head(key, guard));
    return {};
  };

  /** What a refused condition meant: services answer 404, 409 and 412 for several things. */
  const judge = async (error: unknown, key: Key, guard: Guard): Promise<never> => {
    const status = error instanceof TargetError ? Number(error.details["status"]) : 0;
    const upload = error instanceof TargetError && error.details["reason"] === "NoSuchUpload";
    if (upload || guard.expect === undefined || ![404, 409, 412].includes(status)) throw error;
    assertExpected(key, guard.expect, await head(key, guard));
    throw new TargetError("transient", `others write ${pathOf(key)} at the same time`, { cause: error });
  };

  /** Fails unless the service holds what was sent: by its own words, else by reading it back. */
  const prove = async (key: Key, body: Source, sums: Sums, stored: Stored, call: Call): Promise<Entry> => {
    const done = (rev: string): Entry => ({ key, size: body.size, rev, hash: { algo: "sha256", hex: body.sha256 } });
    const said = stored.etag === "" ? await landed(key, sums, call) : stored;
    if (said && (said.sha256 === sums.sha256 || (said.etag === sums.etag && !said.encrypted))) {
      await remember(key, said.etag, body.sha256);
      return done(said.etag);
    }
    const there = await readBack(key, call);
    if (!there) throw new TargetError("transient", `${pathOf(key)} was gone right after it was written`);
    if (there.hash?.hex === body.sha256) return done(there.rev);
    if (stored.etag !== "" && there.rev !== stored.etag) throw changed(key);
    throw new TargetError("corrupt", `what ${name} holds as ${pathOf(key)} is not what was sent`, {
      hint: "It is sent again with the next try. If it goes on, check the service and what lies between.",
    });
  };

  /** What lies there, if the service says that it is this. */
  const landed = async (key: Key, sums: Sums, call: Call): Promise<Stored | undefined> => {
    const found = await head(key, call);
    if (!found) return undefined;
    const encrypted = isEncrypted(found);
    const same = found.ChecksumSHA256 === sums.sha256 || (found.ETag === sums.etag && !encrypted);
    return same ? { etag: found.ETag, sha256: found.ChecksumSHA256 ?? "", versionId: found.VersionId, encrypted } : undefined;
  };

  const putSmall = async (key: Key, body: Source, bytes: Buffer, guard: Guard, can: Abilities): Promise<[Stored, Sums]> => {
    const on = await service();
    const sums: Sums = { etag: md5Of(bytes), sha256: sha256Of(bytes) };
    const sum = can.checksums ? { ChecksumSHA256: sums.sha256 } : { ContentMD5: md5Of(bytes, "base64") };
    for (let round = 1; ; round++) {
      const condition = await conditionFor(key, guard, can);
      try {
        const done = await on.ask(`write ${pathOf(key)}`, guard, (s3, http) =>
          s3.putObject(
            { Bucket, Key: objectOf(key), Body: bytes, Metadata: metadataOf(body, guard), ...sum, ...condition },
            http,
          ),
        );
        return [
          { etag: bareOf(done.ETag), sha256: done.ChecksumSHA256 ?? "", versionId: done.VersionId, encrypted: isEncrypted(done) },
          sums,
        ];
      } catch (error) {
        await judge(error, key, guard).catch((judged: unknown) => {
          // two conditional writes at once: neither may have come through
          const disturbed = judged instanceof TargetError && judged.kind === "transient" && judged.cause === error;
          if (!disturbed || round === ROUNDS) throw judged;
        });
      }
    }
  };

  const metadataOf = (body: Source, guard: Guard) => ({
    "aftersave-sha256": body.sha256,
    ...(guard.version !== undefined && { "aftersave-version": guard.version }),
  });

  const putBig = async (key: Key, body: Source, guard: Guard, can: Abilities): Promise<[Stored, Sums]> => {
    const on = await service();
    const complete = can.complete ? can : { create: false, replace: "none" as const };
    if (!swept) {
      swept = true;
      await sweepUploads({ service: on, memory, clock, place }, folder, guard);
    }
    if (guard.expect !== undefined) {
      const text = await memory.get(sessionName(key));
      // an end whose answer was lost looks like someone else's write
      const mayBeOurs = text !== undefined && (JSON.parse(text) as { ending?: true; sha256: string }).ending === true;
      if (!mayBeOurs) assertExpected(key, guard.expect, await head(key, guard));
    }
    let told = 0;
    const { stored, sums } = await sendInParts({
      service: on,
      memory,
      clock,
      place,
      name: key,
      object: objectOf(key),
      doing: `write ${pathOf(key)}`,
      body,
      metadata: metadataOf(body, guard),
      checksums: can.checksums,
      partBytes,
      call: guard,
      onProgress: (sent) => {
        if (sent > told) guard.onProgress?.((told = sent));
      },
      landed: (expected) => landed(key, expected, guard),
      condition: () => conditionFor(key, guard, complete),
    }).catch((error: unknown) => judge(error, key, guard));
    return [stored, sums];
  };

  const put = async (key: Key, body: Source, bytes: Buffer | undefined, guard: Guard): Promise<Entry> => {
    const can = await abilities(guard);
    const [stored, sums] = bytes ? await putSmall(key, body, bytes, guard, can) : await putBig(key, body, guard, can);
    isThere = true;
    const entry = await prove(key, body, sums, stored, guard);
    if (!can.versioned && stored.versionId !== undefined && stored.versionId !== "null") {
      // the bucket keeps versions since, and what it does with conditions may be something else now
      known = undefined;
      await forget(memory);
    }
    guard.onProgress?.(body.size);
    return entry;
  };

  const copy = async (from: Key, to: Key, guard: Guard): Promise<Entry> => {
    const can = await abilities(guard);
    const on = await service();
    const source = await head(from, guard);
    if (!source) throw absentFault(from);
    if (guard.expect === "absent") throw conflict(from, "is there");
    if (guard.expect && guard.expect.rev !== source.ETag) throw changed(from);
    if (await head(to, guard)) throw conflict(to, "is already there");
    const doing = `copy ${pathOf(from)} to ${pathOf(to)}`;
    const size = source.ContentLength ?? 0;
    const what = { Bucket, Key: objectOf(to), CopySource: copySource(Bucket, objectOf(from)) };
    const moved = () =>
      guard.expect ? changed(from) : new TargetError("transient", `${pathOf(from)} changed while it was copied`);

    const copied = async (CopySourceIfMatch: string | undefined): Promise<string> => {
      if (size > copyBytes) return copyInParts(on, { ...what, CopySourceIfMatch }, size, doing, guard);
      const more = { ...(can.checksums && { ChecksumAlgorithm: "SHA256" as const }), ...(can.copy && { IfNoneMatch: "*" }) };
      const done = await on.ask(doing, guard, (s3, http) => s3.copyObject({ ...what, CopySourceIfMatch, ...more }, http));
      return bareOf(done.CopyObjectResult?.ETag);
    };
    const etag = await copied(matching("quoted", source.ETag)).catch(async (error: unknown) => {
      if (!(error instanceof TargetError) || ![404, 409, 412].includes(Number(error.details["status"]))) throw error;
      if (await head(to, guard)) throw conflict(to, "is already there");
      const now = await head(from, guard);
      if (!now) throw absentFault(from);
      if (now.ETag !== source.ETag) throw moved();
      if (error.kind !== "conflict") throw error;
      // Swift cannot compare the ETag of an object that came in parts
      const unguarded = await copied(undefined);
      if ((await head(from, guard))?.ETag === source.ETag) return unguarded;
      await on.ask(doing, guard, (s3, http) => s3.deleteObject({ Bucket, Key: objectOf(to) }, http));
      throw moved();
    });
    const proof = await proofOf(from, source.ETag);
    // bytes with the same ETag are the same bytes
    if (proof && etag === source.ETag) await remember(to, etag, proof.hex);
    const entry = await stat(to, { ...guard, hash: true });
    if (!entry) throw new TargetError("transient", `${pathOf(to)} was gone right after it was written`);
    if (entry.size !== size)
      throw new TargetError("corrupt", `the copy ${pathOf(to)} has ${entry.size} bytes instead of ${size}`);
    return entry;
  };

  const remove = async (key: Key, guard: Guard): Promise<void> => {
    const on = await service();
    const can = guard.expect === undefined ? known : await abilities(guard);
    let condition: { IfMatch?: string } = {};
    if (guard.expect !== undefined) {
      const found = await head(key, guard);
      if (!found) return;
      assertExpected(key, guard.expect, found);
      if (can?.remove) condition = { IfMatch: matching(can.replace, found.ETag) };
    }
    try {
      await on.ask(`remove ${pathOf(key)}`, guard, (s3, http) =>
        s3.deleteObject({ Bucket, Key: objectOf(key), ...condition }, http),
      );
    } catch (error) {
      if (!(error instanceof TargetError) || error.details["reason"] === "NoSuchBucket") throw error;
      const { kind } = error;
      if (kind === "conflict" && (await head(key, guard))) throw changed(key);
      if (kind !== "not-found" && kind !== "conflict") throw error;
    }
    await memory.delete(PROOFS + key);
  };

  const purge = async (key: Key, call: Call): Promise<readonly string[]> => {
    const on = await service();
    const kept = await purgeVersions(on, objectOf(key), pathOf(key), call);
    for (const { object, uploadId } of await uploadsAt(on, objectOf(key), call))
      if (object === objectOf(key)) await abandon(on, object, uploadId, call);
    await memory.delete(PROOFS + key);
    await memory.delete(sessionName(key));
    return kept;
  };

  async function* list(prefix: string, call: Call = {}): AsyncGenerator<Entry> {
    call.signal?.throwIfAborted();
    if (prefix.startsWith("/") || prefix.split("/").includes("..")) return;
    const on = await service();
    const doing = `list ${shown}${prefix}`;
    const proofs = new Map((await memory.list(PROOFS + prefix)).map(([at, text]) => [at.slice(PROOFS.length), text.split(" ")]));
    let token: string | undefined;
    do {
      const after: string | undefined = token;
      const page = await on.ask(doing, call, (s3, http) =>
        s3.listObjectsV2({ Bucket, Prefix: folder + prefix, EncodingType: "url", ContinuationToken: after }, http),
      );
      if (page.IsTruncated === undefined && page.Name === undefined) throw stranger(doing);
      isThere = true;
      const plain = (text: string) => (page.EncodingType === "url" ? decodeURIComponent(text.replaceAll("+", " ")) : text);
      for (const { Key: object, ETag, Size } of page.Contents ?? []) {
        const path = plain(object ?? "").slice(folder.length);
        const key = PROBE.test(path) ? undefined : keyOf(path);
        // a decomposed name is another object than the key's own
        if (key === undefined || key !== path || !key.startsWith(prefix)) continue;
        const rev = bareOf(ETag);
        const [was, hex] = proofs.get(key) ?? [];
        call.signal?.throwIfAborted();
        yield { key, size: Size ?? 0, rev, ...(was === rev && hex !== undefined && { hash: { algo: "sha256", hex } }) };
      }
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
      if (page.IsTruncated === true && (token === undefined || token === after)) throw stranger(doing);
    } while (token !== undefined);
  }

  return {
    kind: "s3",
    traits: {
      atomicPut: true,
      get guardedPut() {
        return known !== undefined && known.create && known.replace !== "none" && known.complete;
      },
      identity: "path",
      get listing() {
        return known?.lags === true ? "eventual" : "immediate";
      },
      caseSensitive: true,
      hashes: ["sha256", "md5"],
      maxConcurrency: MOST_AT_ONCE,
    },
    pathOf,
    list,
    stat,
    read: (key, use, call) => read(key, call, use),
    async put(key, body, guard = {}) {
      guard.signal?.throwIfAborted();
      const bytes = body.size <= partBytes ? await collect(body, guard.signal) : undefined;
      return inLine(key, () => put(key, body, bytes, guard));
    },
    copy: (from, to, guard = {}) => inLine(to, () => copy(from, to, guard)),
    remove: (key, guard = {}) => inLine(key, () => remove(key, guard)),
    purge: (key, call = {}) => inLine(key, () => purge(key, call)),
    async close() {
      const on = await opening?.catch(() => undefined);
      on?.close();
    },
  };
}

/**
 * The assets of a GitHub release as a target. An asset's bytes never change, so its id is the rev; a changed file is a new
 * asset that takes the old one's name. Facts about GitHub and what is made of them: docs/targets/github.md.
 * @module
 */
import { createHash, randomBytes } from "node:crypto";
import { untilAborted } from "../core/chunks.ts";
import { TargetError } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import type { Call, Chunks, Entry, Guard, Hash, Source, Target } from "../core/target.ts";
import { type Asset, type GithubApi, openGithub } from "./github/api.ts";
import { isLong, labelOf, nameOf, nextName, readName } from "./github/names.ts";
import { createLines } from "./shared/in-line.ts";
import type { DriverContext } from "./shared/driver.ts";
import { keyOf } from "./shared/names.ts";

/** GitHub: "under 2 GiB". */
const LARGEST = 2 * 1024 ** 3 - 1;
/** GitHub's limit is 1,000; the rest is for what takes the place of others. */
const MOST_FILES = 995;
/** GitHub takes no empty asset. A file of this type, one byte long, stands for one. */
const EMPTY_TYPE = "application/x-empty";
const EMPTY_BYTES = Buffer.from("\n");
const DAY = 24 * 60 * 60 * 1000;
/** How often what others change under our hands is looked at anew. */
const ROUNDS = 5;

const sha256 = (bytes: Uint8Array | string) => createHash("sha256").update(bytes).digest("hex");
const EMPTY_MARK = sha256(EMPTY_BYTES);
const EMPTY_HASH = sha256("");

const isEmpty = (asset: Asset) => asset.contentType === EMPTY_TYPE && asset.size === EMPTY_BYTES.length;
const sizeOf = (asset: Asset) => (isEmpty(asset) ? 0 : asset.size);
const revOf = (asset: Asset) => String(asset.id);

/** What was last seen of the release. */
interface Index {
  readonly files: Map<string, Asset>;
  /** Whole or half, of no use to a reader: what killed or failed writers left, and what others are sending now. */
  readonly rest: Map<number, Asset>;
}

const emptyIndex = (): Index => ({ files: new Map(), rest: new Map() });

/** Which asset is whose. One that was to take another's place counts as soon as that one is gone: the writer was killed in between. */
function indexOf(assets: readonly Asset[]): Index {
  const { files, rest } = emptyIndex();
  const ids = new Set(assets.map(({ id }) => id));
  const next: Array<{ asset: Asset; path: string; before: number }> = [];
  for (const asset of assets) {
    const named = readName(asset);
    if (named === undefined) continue;
    if (asset.state !== "uploaded") rest.set(asset.id, asset);
    else if (named.kind === "key") files.set(named.path, asset);
    else next.push({ asset, ...named });
  }
  for (const { asset, path, before } of next.toSorted((a, b) => b.asset.id - a.asset.id)) {
    if (files.has(path) || ids.has(before)) rest.set(asset.id, asset);
    else files.set(path, asset);
  }
  return { files, rest };
}

/** Releases of GitHub, of github.com or an Enterprise server. Nothing is loaded, read or asked for before the first verb. */
export function createGithubTarget(context: DriverContext): Target {
  const { name, clock, memory } = context;
  const root = context.root === "" || context.root.endsWith("/") ? context.root : `${context.root}/`;
  const pathOf = (key: Key) => root + key;
  const absentFault = (key: Key) => new TargetError("not-found", `${pathOf(key)} is not on ${name}`);
  const conflict = (key: Key, what: string) => new TargetError("conflict", `${pathOf(key)} ${what}`);
  const changed = (key: Key) => conflict(key, "was changed by someone else");

  let opening: Promise<GithubApi> | undefined;
  const api = () =>
    (opening ??= openGithub(context).catch((error: unknown) => {
      opening = undefined; // a token may come while we run
      throw error;
    }));

  let release: number | undefined;
  let index: Index | undefined;
  let digests = true;
  let swept = false;
  let writer: string | undefined;

  /** One after the other for a key. */
  const inLine = createLines();

  const hashOf = (asset: Asset): { readonly hash?: Hash } => {
    if (!digests || asset.sha256 === undefined) return {};
    const hex = isEmpty(asset) && asset.sha256 === EMPTY_MARK ? EMPTY_HASH : asset.sha256;
    return { hash: { algo: "sha256", hex } };
  };
  const entryOf = (key: Key, asset: Asset): Entry => ({ key, size: sizeOf(asset), rev: revOf(asset), ...hashOf(asset) });

  const releaseFor = (make: boolean, call?: Call): Promise<number | undefined> =>
    inLine("", async () => (release ??= await (await api()).release(make, call)));

  const refresh = async (doing: string, call?: Call): Promise<Index> => {
    const at = await releaseFor(false, call);
    if (at === undefined) return (index = emptyIndex());
    try {
      return (index = indexOf(await (await api()).assets(at, doing, call)));
    } catch (error) {
      if (!(error instanceof TargetError) || error.kind !== "not-found") throw error;
      release = undefined; // removed by hand
      index = undefined;
      return refresh(doing, call);
    }
  };

  /** What is there now: the asset that was seen last if it still is that, else whatever a new look shows. */
  const look = async (key: Key, doing: string, call?: Call): Promise<Asset | undefined> => {
    const known = index?.files.get(pathOf(key));
    if (known && known.name === nameOf(pathOf(key))) {
      const now = await (await api()).asset(known.id, doing, call);
      if (now?.name === known.name && now.label === known.label) return now;
    }
    return (await refresh(doing, call)).files.get(pathOf(key));
  };

  const drop = (asset: Asset) => {
    for (const [path, { id }] of index?.files ?? []) if (id === asset.id) index?.files.delete(path);
    index?.rest.delete(asset.id);
  };
  const removeAsset = async (asset: Asset, doing: string, call?: Call): Promise<boolean> => {
    const was = await (await api()).remove(asset.id, doing, call);
    drop(asset);
    return was;
  };
  const restOf = (path: string) => [...(index?.rest.values() ?? [])].filter((asset) => readName(asset)?.path === path);

  const use = async <T>(asset: Asset, doing: string, call: Call | undefined, work: (bytes: Chunks) => Promise<T>) => {
    const on = await api();
    if (isEmpty(asset)) return { done: await work(none()) };
    const stream = await on.download(asset.id, doing, call);
    if (!stream) return undefined;
    async function* bytes(): Chunks {
      let count = 0;
      try {
        for await (const chunk of untilAborted(stream as unknown as Chunks, call?.signal)) {
          count += chunk.length;
          yield chunk;
        }
      } catch (error) {
        throw on.faultOf(error, doing, call);
      }
      if (count !== asset.size)
        throw new TargetError("transient", `could not ${doing}: it ended after ${count} of ${asset.size} bytes`);
    }
    try {
      return { done: await work(bytes()) };
    } finally {
      if (!stream.locked) await stream.cancel().catch(() => undefined);
    }
  };

  /** The hash as the server reports it, or where it reports none that of the bytes, which are read for it. */
  const contentOf = async (asset: Asset, doing: string, call?: Call): Promise<string | undefined> => {
    if (isEmpty(asset)) return EMPTY_HASH;
    if (asset.sha256 !== undefined) return asset.sha256;
    const read = await use(asset, doing, call, async (bytes) => {
      const hash = createHash("sha256");
      for await (const chunk of bytes) hash.update(chunk);
      return hash.digest("hex");
    });
    return read?.done;
  };
  const holds = async (asset: Asset, body: Source, doing: string, call?: Call) =>
    sizeOf(asset) === body.size && (await contentOf(asset, doing, call)) === body.sha256;

  /** Sends a body as an asset of its own, which is removed again unless it is what was sent. */
  const send = async (path: string, as: string, body: Source, doing: string, guard: Guard): Promise<Asset | "taken"> => {
    const on = await api();
    const at = await releaseFor(true, guard);
    const label = labelOf(path);
    const empty = body.size === 0;
    const what = {
      name: as,
      label,
      contentType: empty ? EMPTY_TYPE : "application/octet-stream",
      size: empty ? EMPTY_BYTES.length : body.size,
      bytes: () => checked(body, guard.signal),
    };
    let sent: Asset | "taken";
    try {
      sent = await on.upload(at ?? 0, what, doing, guard);
    } catch (error) {
      index = undefined; // it may have arrived, whole or in part
      if (!(error instanceof TargetError) || error.kind !== "not-found") throw error;
      release = undefined;
      throw new TargetError("transient", `could not ${doing}: the release was removed meanwhile`, { cause: error });
    }
    if (sent === "taken") return sent;
    index?.rest.set(sent.id, sent);
    if (sent.state !== "uploaded" || sent.sha256 === undefined) sent = (await on.asset(sent.id, doing, guard)) ?? sent;
    if (sent.sha256 === undefined) digests = false;
    const kept =
      sent.name !== as || (empty && sent.contentType !== EMPTY_TYPE) || (isLong(path) && sent.label !== label)
        ? new TargetError("unsupported", `could not ${doing}: GitHub keeps it under another name, label or type`, {
            hint: "Give the file a shorter and simpler name.",
          })
        : undefined;
    const wanted = empty ? EMPTY_MARK : body.sha256;
    const whole = sent.state === "uploaded" && sent.size === what.size && (sent.sha256 ?? wanted) === wanted;
    if (whole && kept === undefined) return sent;
    await removeAsset(sent, doing, guard);
    throw kept ?? new TargetError("corrupt", `could not ${doing}: GitHub holds other bytes than were sent`);
  };

  const settled = (path: string, asset: Asset): Asset => {
    index?.rest.delete(asset.id);
    index?.files.set(path, asset);
    return asset;
  };

  /** Gives what was sent its final name. `taken`: something has that name. */
  const nameIt = async (path: string, asset: Asset, doing: string, call: Call): Promise<Asset | "taken"> => {
    if (asset.name === nameOf(path)) return settled(path, asset);
    const done = await (await api()).rename(asset.id, { name: nameOf(path), label: labelOf(path) }, doing, call);
    if (done === "taken") return done;
    if (done) return settled(path, done);
    index = undefined;
    throw new TargetError("transient", `could not ${doing}: someone removed it while it was written`);
  };

  const me = async (): Promise<string> => {
    writer ??= await memory.get("writer");
    if (writer === undefined) await memory.set("writer", (writer = randomBytes(4).toString("hex")));
    return writer;
  };

  /** Removes what our own tries for this file left, and once per run what anyone left a day ago. */
  const tidy = async (path: string, keep: Asset | undefined, doing: string, call: Call) => {
    const mine = await me();
    for (const asset of Array.from(index?.rest.values() ?? [])) {
      if (asset.id === keep?.id) continue;
      const named = readName(asset);
      const ours = named?.path === path && named.kind === "next" && named.writer === mine;
      const old = !swept && clock.now() - asset.createdAt > DAY;
      if (ours || old) await removeAsset(asset, doing, call);
    }
    swept = true;
  };

  /** A file that is not there. GitHub itself sees to it that a name is given once. */
  const create = async (path: string, body: Source, doing: string, guard: Guard): Promise<Asset | "taken"> => {
    const known = index ?? (await refresh(doing, guard));
    if (known.files.size >= MOST_FILES)
      throw new TargetError("quota", `could not ${doing}: the release ${String(context.options["tag"])} is full`, {
        code: "E_FOLDER_FULL",
        hint: `A release holds 1,000 files, of which a few are kept free for replacing. Remove some, or give targets.${name} another \`tag\` in paths.json: everything is then sent to a new release, and the old one stays.`,
      });
    if (!swept) await tidy(path, undefined, doing, guard);
    for (let round = 1; ; round++) {
      for (const half of restOf(path)) if (half.name === nameOf(path)) await removeAsset(half, doing, guard);
      const sent = await send(path, nameOf(path), body, doing, guard);
      if (sent !== "taken") return settled(path, sent);
      await refresh(doing, guard);
      if (index?.files.has(path) === true) return "taken";
      if (round === ROUNDS) throw new TargetError("transient", `could not ${doing}: someone else is sending it`);
    }
  };

  /**
   * Puts other bytes in the place of `there`: sent and proven under a name of its own, then the old asset goes and the new
   * one gets its name. Of several who replace the same asset one alone removes it.
   */
  const replace = async (key: Key, there: Asset, body: Source, doing: string, guard: Guard): Promise<Asset> => {
    const path = pathOf(key);
    const mine = await me();
    let fresh: Asset | undefined;
    for (const left of restOf(path)) {
      const named = readName(left);
      const usable = left.state === "uploaded" && named?.kind === "next" && named.writer === mine && named.before === there.id;
      if (usable && left.sha256 !== undefined && (await holds(left, body, doing, guard))) fresh = left;
    }
    await tidy(path, fresh, doing, guard);
    for (let round = 1; fresh === undefined; round++) {
      const sent = await send(path, nextName(path, there.id, mine, randomBytes(2).toString("hex")), body, doing, guard);
      if (sent !== "taken") fresh = sent;
      else if (round === ROUNDS) throw new TargetError("transient", `could not ${doing}: its temporary names are taken`);
    }
    let old: Asset | undefined = there;
    for (let round = 1; round <= ROUNDS; round++) {
      guard.signal?.throwIfAborted();
      const removed = old === undefined || (await removeAsset(old, doing, guard));
      if (!removed && guard.expect !== undefined) break;
      const done = await nameIt(path, fresh, doing, guard);
      if (done !== "taken") return done;
      old = (await refresh(doing, guard)).files.get(path);
      if (guard.expect !== undefined) break;
    }
    await removeAsset(fresh, doing, guard);
    const now = (await refresh(doing, guard)).files.get(path);
    if (guard.expect === undefined) throw new TargetError("transient", `could not ${doing}: others write it at the same time`);
    throw now ? changed(key) : absentFault(key);
  };

  const put = async (key: Key, body: Source, guard: Guard): Promise<Entry> => {
    const path = pathOf(key);
    const doing = `write ${path}`;
    guard.signal?.throwIfAborted();
    if (body.size > LARGEST)
      throw new TargetError("unsupported", `could not ${doing}: GitHub takes files under 2 GiB only`, {
        hint: "Keep the file at another target, or split it.",
      });
    const { expect } = guard;
    const done = (asset: Asset) => {
      guard.onProgress?.(body.size);
      return entryOf(key, asset);
    };
    /** What an earlier try of ours left whole: its answer was lost, or it was killed before it gave the name. */
    const landed = async (asset: Asset): Promise<Entry | undefined> => {
      if (!(await holds(asset, body, doing, guard))) return undefined;
      const named = await nameIt(path, asset, doing, guard);
      if (named === "taken") throw changed(key);
      return done(named);
    };
    if (typeof expect === "object") {
      const there = await look(key, doing, guard);
      if (!there) throw absentFault(key);
      if (revOf(there) !== expect.rev) {
        const ours = await landed(there);
        if (ours) return ours;
        throw changed(key);
      }
      return done(await replace(key, there, body, doing, guard));
    }
    const known = index ?? (await refresh(doing, guard));
    let there = known.files.get(path);
    if (there && expect === "absent") there = await look(key, doing, guard);
    for (let round = 1; there === undefined; round++) {
      const made = await create(path, body, doing, guard);
      if (made !== "taken") return done(made);
      there = index?.files.get(path);
      if (round === ROUNDS && !there) throw new TargetError("transient", `could not ${doing}: others write it at the same time`);
    }
    if (expect !== "absent") return done(await replace(key, there, body, doing, guard));
    const ours = await landed(there);
    if (ours) return ours;
    throw conflict(key, "is already there");
  };

  const copy = async (from: Key, to: Key, guard: Guard): Promise<Entry> => {
    const doing = `copy ${pathOf(from)} to ${pathOf(to)}`;
    const { expect } = guard;
    const source = await look(from, doing, guard);
    if (!source) throw absentFault(from);
    if (expect === "absent") throw conflict(from, "is there");
    if (expect && expect.rev !== revOf(source)) throw changed(from);
    const hex = await contentOf(source, doing, guard);
    const gone = () => new TargetError("transient", `could not ${doing}: the first changed meanwhile`);
    if (hex === undefined) throw gone();
    const on = await api();
    async function* open(): Chunks {
      if (!source || isEmpty(source)) return;
      const stream = await on.download(source.id, doing, guard);
      if (!stream) throw gone();
      yield* stream as unknown as Chunks;
    }
    return put(to, { size: sizeOf(source), sha256: hex, open }, { ...guard, expect: "absent" });
  };

  const remove = async (key: Key, { expect, ...call }: Guard): Promise<void> => {
    const path = pathOf(key);
    const doing = `remove ${path}`;
    for (let round = 1; round <= ROUNDS; round++) {
      const there =
        round === 1 && index?.files.has(path) ? await look(key, doing, call) : (await refresh(doing, call)).files.get(path);
      if (there && (expect === "absent" || (expect && expect.rev !== revOf(there)))) throw changed(key);
      // first what would otherwise come back in its place
      for (const left of restOf(path)) await removeAsset(left, doing, call);
      if (!there || (await removeAsset(there, doing, call))) return;
    }
    throw new TargetError("transient", `could not ${doing}: others write it at the same time`);
  };

  return {
    kind: "github",
    traits: {
      atomicPut: true,
      guardedPut: false,
      listing: "immediate",
      identity: "path",
      caseSensitive: true,
      get hashes() {
        return digests ? ["sha256"] : [];
      },
      maxConcurrency: 2,
    },
    pathOf,

    async *list(prefix, call) {
      const { files } = await refresh(`list ${root}${prefix}`, call);
      for (const [path, asset] of files) {
        call?.signal?.throwIfAborted();
        const key = path.startsWith(root + prefix) ? keyOf(path.slice(root.length)) : undefined;
        if (key !== undefined && pathOf(key) === path) yield entryOf(key, asset);
      }
    },

    async stat(key, ask) {
      const doing = `look at ${pathOf(key)}`;
      const there = await look(key, doing, ask);
      if (!there) return undefined;
      const entry = entryOf(key, there);
      if (ask?.hash !== true || entry.hash || !digests) return entry;
      const hex = await contentOf(there, doing, ask);
      return hex === undefined ? undefined : { ...entry, hash: { algo: "sha256", hex } };
    },

    async read(key, work, call) {
      const doing = `read ${pathOf(key)}`;
      for (let round = 1; round <= ROUNDS; round++) {
        call?.signal?.throwIfAborted();
        const known = round === 1 ? index?.files.get(pathOf(key)) : undefined;
        const there = known && !isEmpty(known) ? known : await look(key, doing, call);
        if (!there) throw absentFault(key);
        const read = await use(there, doing, call, work);
        if (read) return read.done;
        drop(there);
      }
      throw new TargetError("transient", `could not ${doing}: others write it at the same time`);
    },

    put: (key, body, guard = {}) => inLine(pathOf(key), () => put(key, body, guard)),
    copy: (from, to, guard = {}) => inLine(pathOf(to), () => copy(from, to, guard)),
    remove: (key, guard = {}) => inLine(pathOf(key), () => remove(key, guard)),

    async purge(key, call) {
      await inLine(pathOf(key), async () => {
        await refresh(`remove ${pathOf(key)} for good`, call);
        await remove(key, { ...call });
      });
      return [
        "GitHub may keep deleted files in its own backups for some time, and addresses of downloads that were given out work for some minutes",
      ];
    },

    async close() {
      (await opening?.catch(() => undefined))?.close();
    },
  };
}

async function* none(): Chunks {
  yield* [];
}

/** The bytes of a body; the last of them only once all are known to be what the body promises, so that nothing else ever arrives whole. */
async function* checked(body: Source, signal?: AbortSignal): Chunks {
  const hash = createHash("sha256");
  const wrong = () => new TargetError("corrupt", "the body's bytes are not what its size and sha256 say");
  let size = 0;
  let held: Uint8Array | undefined;
  for await (const chunk of untilAborted(body.open(), signal)) {
    if (chunk.length === 0) continue;
    size += chunk.length;
    if (size > body.size) throw wrong();
    hash.update(chunk);
    if (held) yield held;
    held = Buffer.from(chunk);
  }
  if (size !== body.size || hash.digest("hex") !== body.sha256) throw wrong();
  yield held ?? EMPTY_BYTES;
}

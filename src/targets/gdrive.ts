/**
 * Google Drive as a target. A key's identity is its file id, reserved and written down before the file is made; an
 * update is guarded by the etag that was last seen; names are asked for only to adopt what is there. Facts about Drive
 * and their sources: docs/targets/gdrive.md and docs/decisions/drive-guard.md.
 * @module
 */
import { createHash } from "node:crypto";
import { untilAborted } from "../core/chunks.ts";
import { TargetError } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import type { Call, Entry, Guard, Source, Target } from "../core/target.ts";
import { FOLDER, type DriveApi, type DriveFile, type Facts } from "./gdrive/api.ts";
import { absent, byAge, GROUP, inAnyOf, quoted } from "./gdrive/folders.ts";
import type { Known } from "./gdrive/journal.ts";
import { openDrive, type Drive } from "./gdrive/open.ts";
import { uploadResumable } from "./gdrive/resumable.ts";
import { isBlob } from "./gdrive/shelf.ts";
import { createLines } from "./shared/in-line.ts";
import type { DriverContext } from "./shared/driver.ts";
import { keyOf } from "./shared/names.ts";

/** Up to here a file goes in one request; above it in chunks that can be resumed (Google: "5 MB or less"). */
const SMALL = 5 * 1024 * 1024;
/** How often an etag that moved without a new content is taken over in one put. */
const ROUNDS = 5;
/** Ids of a listing that are kept. */
const LISTED = 10_000;

const RETAINED =
  "Google keeps what was deleted for some weeks for its administrators (Vault, and restoring within 25 days), and in its own backups";

const dirOf = (key: string) => key.slice(0, Math.max(0, key.lastIndexOf("/")));
const nameOf = (key: string) => key.slice(key.lastIndexOf("/") + 1);
const digest = (text: string | Uint8Array) => createHash("sha256").update(text).digest("hex");

/** `size`: what is known of it where a mocked client does not say. */
const entryOf = (key: Key, file: DriveFile, size = 0): Entry => ({
  key,
  id: file.id,
  size: file.size ?? size,
  // a mocked client may know no revisions
  rev: file.rev ?? file.md5 ?? file.sha256 ?? file.id,
  ...hashOf(file),
  ...stampOf(file),
});

/** An edit in Drive leaves the properties as they were: only bytes that they speak of are the ones that were stamped. */
const stampOf = ({ sha256, appProperties: told }: DriveFile): Pick<Entry, "stamp"> => {
  const { aftersave_version: version, aftersave_writer: writer } = told;
  if (version === undefined || sha256 === undefined || told["aftersave_sha256"] !== sha256) return {};
  return { stamp: { version, writer } };
};

const hashOf = ({ sha256, md5 }: DriveFile): Pick<Entry, "hash"> =>
  sha256 !== undefined ? { hash: { algo: "sha256", hex: sha256 } } : md5 !== undefined ? { hash: { algo: "md5", hex: md5 } } : {};

const revOf = (file: DriveFile) => entryOf("" as Key, file).rev;

const factsOf = (key: Key, sha256: string, { version, writer }: Pick<Guard, "version" | "writer">): Facts => ({
  name: nameOf(key),
  // at most 124 bytes each, key and value together
  appProperties: {
    aftersave_key: digest(key),
    aftersave_sha256: sha256,
    ...(version !== undefined && { aftersave_version: version }),
    ...(writer !== undefined && { aftersave_writer: writer }),
  },
});

/** All bytes of a small body, proven to be the ones that it promises. */
async function collect(body: Source, signal?: AbortSignal): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const chunk of untilAborted(body.open(), signal)) {
    size += chunk.length;
    if (size > body.size) break;
    parts.push(Buffer.from(chunk));
  }
  const bytes = Buffer.concat(parts);
  if (size !== body.size || digest(bytes) !== body.sha256)
    throw new TargetError("corrupt", "the body's bytes are not what its size and sha256 say");
  return bytes;
}

/** Google Drive, or a shared drive. Nothing is loaded, read or asked for before the first verb. */
export function createGdriveTarget(context: DriverContext): Target {
  const { name, root, clock } = context;
  let opening: Promise<Drive> | undefined;
  const drive = () =>
    (opening ??= openDrive(context).catch((error: unknown) => {
      opening = undefined; // a sign-in may come while we run
      throw error;
    }));

  /** One after the other for a key. */
  const inLine = createLines();

  const pathOf = (key: Key) => `${root}${key}`;
  const absentFault = (key: Key) => new TargetError("not-found", `${pathOf(key)} is not on ${name}`);
  const conflict = (key: Key, what: string) => new TargetError("conflict", `${pathOf(key)} ${what}`);

  /** Ids that the last listing showed: a search by name may not find a file yet that a folder's listing has. */
  const listed = new Map<Key, string>();

  /** The file that is a key's, by its id; without one, the oldest of that name, which is then adopted. */
  const look = async ({ api, journal, folders, shelf }: Drive, key: Key, call?: Call) => {
    const known = await journal.of(key);
    if (known) {
      const file = await api.get(known.id, call).catch(absent);
      if (file && !file.trashed) {
        if (!known.made || known.rev !== file.rev || known.etag !== file.etag)
          await journal.set(key, { ...known, ...seen(file) });
        return file;
      }
    }
    const folder = await folders.find(dirOf(key), call);
    if (folder === undefined) return undefined;
    const id = listed.get(key) ?? (await shelf.named(folder, key, call))[0]?.id;
    if (id === undefined) return undefined;
    const file = await api.get(id, call).catch(absent);
    listed.delete(key);
    if (!file || file.trashed || file.name.normalize("NFC") !== nameOf(key)) {
      shelf.drop(folder);
      return undefined;
    }
    await journal.set(key, { ...(known?.loser === undefined ? {} : { loser: known.loser }), ...seen(file) });
    return file;
  };

  /** Runs a create in the key's folder; a folder that is gone or in the trash is made anew, under a new id. */
  const inFolder = async (
    { folders, shelf }: Drive,
    key: Key,
    call: Call,
    work: (folder: string) => Promise<DriveFile | "trashed">,
  ) => {
    for (let round = 1; ; round++) {
      const folder = await folders.need(dirOf(key), call);
      try {
        const file = await work(folder);
        if (file !== "trashed") return file;
      } catch (error) {
        if (!(error instanceof TargetError) || error.kind !== "not-found") throw error;
        if (round === ROUNDS) throw error;
      }
      if (round === ROUNDS) throw new TargetError("transient", `the folder of ${pathOf(key)} is trashed again and again`);
      shelf.drop(folder);
      await folders.recheck(dirOf(key), call);
    }
  };

  /** Makes a file under an id that was written down before; asked twice, it makes one. */
  const make = (
    on: Drive,
    key: Key,
    same: (file: DriveFile) => boolean,
    call: Call,
    create: (id: string, folder: string) => Promise<DriveFile>,
  ): Promise<DriveFile> =>
    inFolder(on, key, call, async (folder) => {
      const { api, journal, ids } = on;
      const known = await journal.of(key);
      const id = known && !known.made ? known.id : await ids.take(call);
      if (known?.id !== id) await journal.set(key, { id, made: false });
      let file: DriveFile;
      try {
        file = await create(id, folder);
      } catch (error) {
        if (!(error instanceof TargetError) || error.kind !== "conflict") throw error;
        // the id is taken: by an earlier try of ours, whose answer was lost, or whose file is gone again
        const there = await api.get(id, call).catch(absent);
        if (!there || there.trashed) {
          await journal.forget(key);
          return "trashed";
        }
        await journal.saw(key, there);
        if (!same(there)) throw conflict(key, "is already there");
        file = there;
      }
      if (file.trashed) {
        // Drive accepts a child of a folder that lies in the trash
        await journal.forget(key);
        await api.remove(file.id, undefined, call);
        return "trashed";
      }
      await Promise.all([journal.saw(key, file), on.twins.made(folder, dirOf(key), file)]);
      return file;
    });

  /** A file that someone moved goes back to where the key says: `drive_path` is true. */
  const inPlace = async ({ api, folders }: Drive, key: Key, file: DriveFile, call: Call): Promise<DriveFile> => {
    const folder = await folders.find(dirOf(key), call);
    if (folder === undefined || folder === "root" || file.parents.length === 0 || file.parents.includes(folder)) return file;
    const moved = await api.patch(file.id, { addParents: [folder], removeParents: file.parents }, call);
    if (moved.trashed) throw absentFault(key);
    return moved;
  };

  const put = async (on: Drive, key: Key, body: Source, bytes: Buffer | undefined, guard: Guard): Promise<Entry> => {
    const { api, journal } = on;
    const facts = factsOf(key, body.sha256, guard);
    const large = (what: Parameters<typeof uploadResumable>[0]["what"], more: Facts) =>
      uploadResumable({
        api,
        memory: context.memory,
        clock,
        name: key,
        what,
        facts: more,
        body,
        onProgress: guard.onProgress,
        signal: guard.signal,
      });

    const same = (file: DriveFile) =>
      file.size === body.size &&
      (file.sha256 === undefined ? bytes !== undefined && file.md5 === md5(bytes) : file.sha256 === body.sha256);

    const create = async (): Promise<Entry> => {
      const file = await make(on, key, same, guard, (id, folder) => {
        const all = { ...facts, parents: [folder] };
        return bytes ? api.create(id, all, bytes, guard) : large({ create: id }, all);
      });
      return entryOf(key, file, body.size);
    };

    const update = async (id: string, etag: string | undefined, expected: string | undefined): Promise<Entry> => {
      const before = await journal.of(key);
      const big = bytes === undefined && expected !== undefined;
      if (big) await journal.set(key, { ...before, id, made: true, sending: { rev: expected, sha256: body.sha256 } });
      const file = bytes
        ? await api.update(id, facts, bytes, etag, guard)
        : await large({ update: id, etag, rev: expected }, facts);
      if (file.trashed) throw absentFault(key);
      const foreign = big ? await foreignBefore(on, file, expected, guard) : undefined;
      if (before?.loser !== undefined) await api.trash(before.loser, guard).catch(absent);
      await journal.saw(key, await inPlace(on, key, file, guard));
      return { ...entryOf(key, file, body.size), ...displacing(foreign ?? before?.displaced) };
    };

    const replace = async (id: string, known: Known | undefined, expected: string | undefined): Promise<Entry> => {
      // Where etags turned out to move by themselves, a look saves the write that would be refused.
      const trusted = on.etags.moved < 2 && known?.id === id && known.rev === expected && expected !== undefined;
      let etag = trusted ? known.etag : undefined;
      let guessed = etag !== undefined;
      for (let round = 1; ; round++) {
        if (expected !== undefined && etag === undefined) {
          const now = await api.get(id, guard).catch(absent);
          if (!now || now.trashed) {
            await journal.forget(key);
            throw absentFault(key);
          }
          // a mocked client may tell nothing about the content
          if (revOf(now) !== expected && (api.guarded || revOf(now) !== now.id)) {
            await journal.set(key, { ...(await journal.of(key)), ...seen(now) });
            throw conflict(key, "was changed by someone else");
          }
          if (guessed) on.etags.moved++;
          etag = now.etag;
          guessed = false;
        }
        try {
          const entry = await update(id, api.guarded && expected !== undefined ? etag : undefined, expected);
          if (guessed) on.etags.moved = 0;
          return entry;
        } catch (error) {
          const kind = error instanceof TargetError ? error.kind : undefined;
          if (kind === "not-found") await journal.forget(key);
          if (kind !== "conflict" || expected === undefined || round === ROUNDS) throw error;
          etag = undefined; // something about the file moved: the next look says whether it was its content
        }
      }
    };

    const { expect } = guard;
    const ours = await committed(on, key, guard);
    const known = await journal.of(key);
    let done: Entry;
    if (ours && same(ours) && typeof expect === "object") {
      await journal.saw(key, ours);
      done = { ...entryOf(key, ours, body.size), ...displacing(known?.displaced) };
    } else if (typeof expect === "object") {
      const id = expect.id ?? known?.id;
      if (id === undefined || (known?.made === true && known.id !== id)) {
        if (!(await look(on, key, guard))) throw absentFault(key);
        throw conflict(key, "is another file than the one that was seen");
      }
      done = await replace(id, known, expect.rev);
    } else if (expect === "absent") {
      const there = !known || known.made ? await look(on, key, guard) : undefined;
      if (there) {
        if (known?.loser === undefined || !same(there)) throw conflict(key, "is already there");
        // the older twin has these bytes by now, so that the younger one of ours can go
        await api.trash(known.loser, guard).catch(absent);
        await journal.saw(key, there);
        done = entryOf(key, there);
      } else done = await create();
    } else {
      const there = known?.made === true ? known.id : (await look(on, key, guard))?.id;
      try {
        done = there === undefined ? await create() : await replace(there, undefined, undefined);
      } catch (error) {
        if (there === undefined || !(error instanceof TargetError) || error.kind !== "not-found") throw error;
        done = await create();
      }
    }
    guard.onProgress?.(body.size);
    return done;
  };

  const copy = async (on: Drive, from: Key, to: Key, guard: Guard): Promise<Entry> => {
    const { api, journal } = on;
    const source = await look(on, from, guard);
    if (!source) throw absentFault(from);
    const { expect } = guard;
    if (expect === "absent") throw conflict(from, "is there");
    if (expect && (revOf(source) !== expect.rev || (expect.id !== undefined && expect.id !== source.id)))
      throw conflict(from, "was changed by someone else");
    const known = await journal.of(to);
    if ((!known || known.made) && (await look(on, to, guard))) throw conflict(to, "is already there");
    const same = (file: DriveFile) => file.size === source.size && file.md5 === source.md5 && file.sha256 === source.sha256;
    const facts = factsOf(to, source.sha256 ?? "", {});
    // a copy takes over what is not said anew
    const appProperties = { ...facts.appProperties, aftersave_version: null, aftersave_writer: null };
    const file = await make(on, to, same, guard, (id, folder) =>
      api.copy(source.id, id, { ...facts, appProperties, parents: [folder] }, guard),
    );
    if (same(file)) return entryOf(to, file);
    // Drive copies what is there now: someone wrote between our look and the copy
    await api.remove(file.id, undefined, guard);
    on.twins.gone(file.id);
    await journal.forget(to);
    throw conflict(from, "was changed by someone else while it was copied");
  };

  const remove = async (on: Drive, key: Key, guard: Guard): Promise<void> => {
    const { api, journal, folders, shelf } = on;
    const { expect } = guard;
    for (let round = 1; ; round++) {
      const file = await look(on, key, guard);
      if (!file) return;
      if (expect === "absent") throw conflict(key, "is there");
      if (expect && (revOf(file) !== expect.rev || (expect.id !== undefined && expect.id !== file.id)))
        throw conflict(key, "was changed by someone else");
      try {
        await api.remove(file.id, expect && file.etag, guard);
        on.twins.gone(file.id);
        break;
      } catch (error) {
        // something about the file moved: the next look says whether it was its content
        if (!(error instanceof TargetError) || error.kind !== "conflict" || round === ROUNDS) throw error;
      }
    }
    await journal.forget(key);
    const folder = await folders.find(dirOf(key), guard);
    if (folder !== undefined) shelf.drop(folder);
  };

  /** Every file that this key has, or had, in its folder: deleting one takes its revisions along, and passes by the trash. */
  const purge = async (on: Drive, key: Key, call: Call): Promise<readonly string[]> => {
    const { api, journal, folders, shelf } = on;
    const known = await journal.of(key);
    const ids = new Set([known?.id, known?.loser].filter((id) => id !== undefined && id !== ""));
    const folder = await folders.find(dirOf(key), call);
    if (folder !== undefined) {
      const query = `${quoted(folder)} in parents and name = ${quoted(nameOf(key))}`; // in the trash too
      for await (const file of api.search(query, call)) if (file.name === nameOf(key) && isBlob(file)) ids.add(file.id);
      shelf.drop(folder);
    }
    for (const id of ids) {
      await api.remove(id as string, undefined, call);
      on.twins.gone(id as string);
    }
    listed.delete(key);
    await journal.forget(key);
    return ids.size === 0 ? [] : [RETAINED];
  };

  /** A resumable upload is guarded when it starts only: what someone put there meanwhile is in the revisions before ours. */
  const foreignBefore = async ({ api }: Drive, file: DriveFile, expected: string, call: Call): Promise<string | undefined> => {
    const revisions = await api.revisions(file.id, call);
    const at = revisions.findIndex(({ id }) => id === file.rev);
    const from = revisions.findIndex(({ id }) => id === expected);
    // where the list no longer shows what we expected, the one before ours tells
    const foreign = revisions.slice(from < 0 ? Math.max(0, at - 1) : from + 1, Math.max(0, at));
    for (const { id } of foreign) await api.pin(file.id, id, call);
    return foreign.at(-1)?.id;
  };

  /** The file, if it turns out that a big body became it although we never saw the end: what came in under it is still to be kept. */
  const committed = async (on: Drive, key: Key, call: Call): Promise<DriveFile | undefined> => {
    const known = await on.journal.of(key);
    if (known?.sending === undefined) return undefined;
    const { sending, ...rest } = known;
    const file = await on.api.get(known.id, call).catch(absent);
    if (!file || file.trashed || file.rev === sending.rev || file.sha256 !== sending.sha256) return undefined;
    const displaced = (await foreignBefore(on, file, sending.rev, call)) ?? rest.displaced;
    await on.journal.set(key, { ...rest, ...seen(file), displaced });
    return file;
  };

  async function* list(prefix: string, call: Call = {}): AsyncGenerator<Entry> {
    call.signal?.throwIfAborted();
    if (prefix.startsWith("/") || prefix.split("/").includes("..")) return;
    const { api, folders } = await drive();
    const start = dirOf(prefix);
    const first = await folders.find(start, call);
    listed.clear();
    let level = new Map(first === undefined ? [] : [[first, start]]);
    while (level.size > 0) {
      const below = new Map<string, string>();
      for (const group of groupsOf([...level.keys()])) {
        for (const [path, file] of oldestIn(await childrenOf(api, group, call), level)) {
          if (file.mimeType === FOLDER) {
            if (`${path}/`.startsWith(prefix) || prefix.startsWith(`${path}/`)) below.set(file.id, path);
          } else if (isBlob(file) && path.startsWith(prefix)) {
            const key = keyOf(path);
            if (key !== undefined && listed.size < LISTED) listed.set(key, file.id);
            if (key !== undefined) yield entryOf(key, file);
          }
        }
      }
      level = below;
    }
  }

  const run = async <T>(call: Call | undefined, work: (on: Drive) => Promise<T>): Promise<T> => {
    call?.signal?.throwIfAborted();
    return work(await drive());
  };

  return {
    kind: "gdrive",
    traits: {
      atomicPut: true,
      guardedPut: context.client === undefined,
      identity: "id",
      listing: "eventual",
      caseSensitive: true,
      hashes: ["sha256", "md5"],
      maxConcurrency: 16,
    },
    pathOf,
    list,
    stat: (key, call) =>
      run(call, async (on) => {
        const file = await look(on, key, call);
        return file && entryOf(key, file);
      }),
    async read(key, use, call) {
      const bytes = await run(call, async (on) => {
        const file = await look(on, key, call);
        return file && (await on.api.download(file.id, call).catch(absent));
      });
      if (!bytes) throw absentFault(key);
      return use(untilAborted(bytes, call?.signal));
    },
    put: (key, body, guard = {}) =>
      run(guard, async (on) => {
        const small = body.size <= SMALL || !on.api.sessions;
        const bytes = small ? await collect(body, guard.signal) : undefined;
        return inLine(key, () => put(on, key, body, bytes, guard));
      }),
    copy: (from, to, guard = {}) => inLine(to, () => run(guard, (on) => copy(on, from, to, guard))),
    remove: (key, guard = {}) => inLine(key, () => run(guard, (on) => remove(on, key, guard))),
    purge: (key, call = {}) => inLine(key, () => run(call, (on) => purge(on, key, call))),
    async prepare(keys, call = {}) {
      const { journal, folders, shelf } = await drive();
      const fresh = new Map<string, Key[]>();
      for (const key of keys) if (!(await journal.of(key))) fresh.set(dirOf(key), [...(fresh.get(dirOf(key)) ?? []), key]);
      await folders.needAll(fresh.keys(), call);
      for (const [dir, files] of fresh) await shelf.look(await folders.need(dir, call), files, call);
    },
    async audit(call = {}) {
      if (!opening && !call.all) return [];
      const { folders, journal, twins } = await drive();
      if (call.all) await folders.recheck(undefined, call);
      return [...(await journal.lost()), ...(await twins.audit(call))];
    },
    async close() {
      const open = opening;
      opening = undefined;
      await (await open?.catch(() => undefined))?.close();
    },
  };
}

const md5 = (bytes: Uint8Array) => createHash("md5").update(bytes).digest("hex");

const displacing = (rev: string | undefined): Pick<Entry, "displaced"> => (rev === undefined ? {} : { displaced: { rev } });

const seen = ({ id, rev, etag }: DriveFile): Known => ({ id, made: true, rev, etag });

/** The files and folders of these folders by path, without younger twins and without names that no key can have. */
function oldestIn(children: readonly DriveFile[], folders: ReadonlyMap<string, string>): Array<[path: string, file: DriveFile]> {
  const found = new Map<string, [string, DriveFile]>();
  for (const file of children.toSorted(byAge))
    for (const dir of file.parents.flatMap((id) => folders.get(id) ?? [])) {
      const path = dir === "" ? file.name : `${dir}/${file.name}`;
      const mark = `${file.mimeType === FOLDER ? "folder" : isBlob(file) ? "file" : "other"} ${path}`;
      if (!file.name.includes("/") && !found.has(mark)) found.set(mark, [path, file]);
    }
  return [...found.values()];
}

const groupsOf = (ids: readonly string[]): string[][] =>
  Array.from({ length: Math.ceil(ids.length / GROUP) }, (_, at) => ids.slice(at * GROUP, (at + 1) * GROUP));

/** What lies in these folders; an empty answer for many is asked for again, one by one. */
async function childrenOf(api: DriveApi, folders: readonly string[], call: Call): Promise<DriveFile[]> {
  const files: DriveFile[] = [];
  for await (const file of api.search(`${inAnyOf(folders)} and trashed = false`, call)) files.push(file);
  if (files.length > 0 || folders.length === 1) return files;
  for (const folder of folders) for (const file of await childrenOf(api, [folder], call)) files.push(file);
  return files;
}

/**
 * Dropbox as a target, through its API. A file's rev guards it, at Dropbox itself; what it holds is proven by the content
 * hash that Dropbox computes. Facts: docs/targets/dropbox.md.
 * @module
 */
import { createHash } from "node:crypto";
import { untilAborted } from "../core/chunks.ts";
import { digestOf } from "../core/digest.ts";
import { TargetError } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import type { Call, Chunks, Entry, Guard, Hash, Look, Source, Target } from "../core/target.ts";
import { hasTag, stranger } from "./dropbox/faults.ts";
import { type Json, openHttp } from "./dropbox/http.ts";
import { endingOf, sendInSession, sessionName, wrong } from "./dropbox/session.ts";
import { openTokens } from "./dropbox/sign-in.ts";
import { createLines } from "./shared/in-line.ts";
import type { DriverContext } from "./shared/driver.ts";
import { keyOf } from "./shared/names.ts";

export interface DropboxTuning {
  /** Bodies up to here go in one request, bigger ones in parts of this length, which is a multiple of 4 MiB; 8 MiB. */
  readonly partBytes?: number | undefined;
}

const MIB = 1024 * 1024;
/** Each may hold one part in memory. Dropbox lets one of them write at a time. */
const MOST_AT_ONCE = 4;
const ROUNDS = 4;
const PROOFS = "proof/";
/** What Dropbox takes as a rev at all. */
const REV = /^[0-9a-f]{9,}$/;

const KEPT_THERE =
  "Dropbox keeps deleted files and older versions of them for 30 days (180 or 365 on some plans); an app cannot take them away, you can at dropbox.com/deleted_files";

/** What Dropbox says of a file. */
interface File {
  readonly name: string;
  readonly rev: string;
  readonly size: number;
  /** Its content hash; documents that live on the web only have none. */
  readonly content: string | undefined;
}

const dirOf = (path: string) => path.slice(0, Math.max(0, path.lastIndexOf("/")));

/** All bytes of a small body, proven to be the ones that it promises. */
async function collect(body: Source, signal?: AbortSignal): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(body.size);
  let size = 0;
  for await (const chunk of untilAborted(body.open(), signal)) {
    if (size + chunk.length > body.size) throw wrong();
    bytes.set(chunk, size);
    size += chunk.length;
  }
  if (size !== body.size || createHash("sha256").update(bytes).digest("hex") !== body.sha256) throw wrong();
  return bytes;
}

const contentOf = (bytes: Uint8Array): string => {
  const digest = digestOf("dropbox");
  digest?.update(bytes);
  return digest?.hex() ?? "";
};

/** The target. Nothing is read or asked for before the first verb. */
export function openDropboxTarget(context: DriverContext, { partBytes = 8 * MIB }: DropboxTuning = {}): Target {
  const { name, memory, clock } = context;
  const http = openHttp(context);
  const tokens = openTokens(context, http);
  const top = context.root.split("/").filter(Boolean);
  const shown = context.root === "" || context.root.endsWith("/") ? context.root : `${context.root}/`;

  const pathOf = (key: Key) => shown + key;
  const placeOf = (path: string) => ["", ...top, ...path.split("/").filter(Boolean)].join("/");
  const absentFault = (key: Key) => new TargetError("not-found", `${pathOf(key)} is not on ${name}`);
  const conflict = (key: Key, what: string) => new TargetError("conflict", `${pathOf(key)} ${what}`);
  const changed = (key: Key) => conflict(key, "was changed by someone else");

  /** One after the other for a key. */
  const forKey = createLines();
  const commits = createLines();
  /** One change at a time: Dropbox locks the whole account's namespace for each, and refuses the others (too_many_write_operations). */
  const alone = <T>(call: Call | undefined, work: () => Promise<T>): Promise<T> =>
    commits("", async () => {
      call?.signal?.throwIfAborted();
      return work();
    });

  const fileOf = (said: Json, doing: string): File => {
    const { name: last, rev, size, content_hash: content } = said;
    if (typeof rev !== "string" || typeof size !== "number" || typeof last !== "string") throw stranger(doing, name);
    return { name: last, rev, size, content: typeof content === "string" ? content : undefined };
  };

  const look = async (key: Key, call: Call | undefined): Promise<File | undefined> => {
    const doing = `look at ${pathOf(key)}`;
    try {
      const said = await http.rpc(tokens, "files/get_metadata", { path: placeOf(key) }, doing, call);
      return said[".tag"] === "file" ? fileOf(said, doing) : undefined;
    } catch (error) {
      if (error instanceof TargetError && error.kind === "not-found") return undefined;
      throw error;
    }
  };

  const remember = (key: Key, content: string, sha256: string) => memory.set(PROOFS + key, `${content} ${sha256}`);
  /** The sha256 of bytes that had this content hash when both were computed here; else the content hash itself. */
  const hashIn = (proof: string | undefined, content: string | undefined): Hash | undefined => {
    const [was, sha256] = proof?.split(" ") ?? [];
    if (content === undefined) return undefined;
    return was === content && sha256 !== undefined ? { algo: "sha256", hex: sha256 } : { algo: "dropbox", hex: content };
  };
  const entryOf = (key: Key, file: File, proof: string | undefined): Entry => {
    const hash = hashIn(proof, file.content);
    return { key, size: file.size, rev: file.rev, ...(hash && { hash }) };
  };

  const stat = async (key: Key, call: Look | undefined): Promise<Entry | undefined> => {
    const file = await look(key, call);
    return file && entryOf(key, file, await memory.get(PROOFS + key));
  };

  const assertExpected = (key: Key, expect: Guard["expect"], found: File | undefined): void => {
    if (expect === undefined) return;
    if (expect === "absent") {
      if (found) throw conflict(key, "is already there");
    } else if (!found) throw absentFault(key);
    else if (found.rev !== expect.rev) throw changed(key);
  };

  const commitOf = (key: Key, { expect }: Guard): Json => ({
    path: placeOf(key),
    mode: expect === undefined ? "overwrite" : expect === "absent" ? "add" : { ".tag": "update", update: expect.rev },
    autorename: false,
    mute: true,
    // or a file that was removed, and one with the same bytes, would pass for what was expected
    strict_conflict: expect !== undefined,
  });

  /** Fails unless Dropbox holds what was sent, by its own word. */
  const prove = async (key: Key, body: Source, content: string, file: File): Promise<Entry> => {
    if (file.content !== content || file.size !== body.size)
      throw new TargetError("corrupt", `what ${name} holds as ${pathOf(key)} is not what was sent`, {
        hint: "It is sent again with the next try. If it goes on, check what lies between this machine and Dropbox.",
      });
    await remember(key, content, body.sha256);
    return { key, size: body.size, rev: file.rev, hash: { algo: "sha256", hex: body.sha256 } };
  };

  /** A refused condition: what is there says what it means. */
  const judge = async (error: unknown, key: Key, content: string, guard: Guard): Promise<File> => {
    if (!(error instanceof TargetError) || error.kind !== "conflict" || guard.expect === undefined) throw error;
    const found = await look(key, guard);
    assertExpected(key, guard.expect, found);
    // strict about bytes that are there already
    if (found?.content === content) return found;
    throw new TargetError("transient", `others write ${pathOf(key)} at the same time`, { cause: error });
  };

  const putSmall = async (key: Key, body: Source, bytes: Buffer, guard: Guard): Promise<Entry> => {
    const doing = `write ${pathOf(key)}`;
    const content = contentOf(bytes);
    const arg = { ...commitOf(key, guard), content_hash: content };
    const file = await alone(guard, () => http.upload(tokens, "upload", arg, bytes, doing, guard)).then(
      (said) => fileOf(said, doing),
      (error: unknown) => judge(error, key, content, guard),
    );
    return prove(key, body, content, file);
  };

  const putBig = async (key: Key, body: Source, guard: Guard): Promise<Entry> => {
    const doing = `write ${pathOf(key)}`;
    const found = guard.expect === undefined ? undefined : await look(key, guard);
    const ending = await endingOf(memory, key, body);
    const landed = ending === undefined ? undefined : (found ?? (await look(key, guard)));
    if (ending !== undefined && landed?.content === ending) {
      await memory.delete(sessionName(key));
      return prove(key, body, ending, landed);
    }
    assertExpected(key, guard.expect, found);
    const ask = (route: string, arg: Json, bytes: Uint8Array) => http.upload(tokens, route, arg, bytes, doing, guard);
    const { onProgress } = guard;
    return sendInSession(
      { memory, clock, key, name, doing, body, partBytes, call: guard, onProgress, ask },
      async (cursor, content) => {
        const arg = { cursor, commit: commitOf(key, guard) };
        const file = await alone(guard, () => ask("upload_session/finish", arg, new Uint8Array())).then(
          (said) => fileOf(said, doing),
          (error: unknown) => judge(error, key, content, guard),
        );
        return prove(key, body, content, file);
      },
    );
  };

  const put = async (key: Key, body: Source, bytes: Buffer | undefined, guard: Guard): Promise<Entry> => {
    // nothing has such a rev, and Dropbox would call the request malformed
    if (typeof guard.expect === "object" && !REV.test(guard.expect.rev)) {
      if (await look(key, guard)) throw changed(key);
      throw absentFault(key);
    }
    const entry = bytes ? await putSmall(key, body, bytes, guard) : await putBig(key, body, guard);
    // of a bigger body that never got there
    if (bytes && (await memory.get(sessionName(key))) !== undefined) await memory.delete(sessionName(key));
    guard.onProgress?.(body.size);
    return entry;
  };

  const copy = async (from: Key, to: Key, guard: Guard): Promise<Entry> => {
    const doing = `copy ${pathOf(from)} to ${pathOf(to)}`;
    const source = await look(from, guard);
    if (!source) throw absentFault(from);
    if (guard.expect === "absent") throw conflict(from, "is there");
    if (guard.expect && guard.expect.rev !== source.rev) throw changed(from);
    const arg = { from_path: placeOf(from), to_path: placeOf(to), autorename: false };
    const said = await alone(guard, async () => {
      if (await look(to, guard)) throw conflict(to, "is already there");
      return http.rpc(tokens, "files/copy_v2", arg, doing, guard);
    }).catch(async (error: unknown) => {
      if (hasTag(error, "conflict") && error.kind === "conflict") throw conflict(to, "is already there");
      if (error instanceof TargetError && error.kind === "not-found") throw absentFault(from);
      throw error;
    });
    const { metadata } = said;
    const file = fileOf(typeof metadata === "object" && metadata !== null ? (metadata as Json) : {}, doing);
    if (file.content !== source.content || file.size !== source.size) {
      // Dropbox copies what is there by then, whatever was seen
      await remove(to, { ...guard, expect: file });
      if (guard.expect) throw changed(from);
      throw new TargetError("transient", `${pathOf(from)} changed while it was copied`);
    }
    const proof = await memory.get(PROOFS + from);
    if (proof !== undefined && file.content !== undefined && hashIn(proof, file.content)?.algo === "sha256")
      await memory.set(PROOFS + to, proof);
    return entryOf(to, file, proof);
  };

  const remove = async (key: Key, guard: Guard): Promise<void> => {
    const doing = `remove ${pathOf(key)}`;
    for (let round = 1; ; round++) {
      const found = await look(key, guard);
      if (!found) break;
      assertExpected(key, guard.expect, found);
      try {
        // a path alone would remove a folder, with all that is in it
        const arg = { path: placeOf(key), parent_rev: found.rev };
        await alone(guard, () => http.rpc(tokens, "files/delete_v2", arg, doing, guard));
        break;
      } catch (error) {
        const kind = error instanceof TargetError ? error.kind : undefined;
        if (kind === "not-found") break;
        if (kind !== "conflict" || round === ROUNDS) throw error;
      }
    }
    await memory.delete(PROOFS + key);
  };

  const purge = async (key: Key, call: Call): Promise<readonly string[]> => {
    await remove(key, call);
    await memory.delete(sessionName(key));
    const doing = `look for what is left of ${pathOf(key)}`;
    try {
      const said = await http.rpc(tokens, "files/get_metadata", { path: placeOf(key), include_deleted: true }, doing, call);
      return said[".tag"] === "deleted" ? [KEPT_THERE] : [];
    } catch (error) {
      if (error instanceof TargetError && error.kind === "not-found") return [];
      throw error;
    }
  };

  async function* pagesOf(path: string, call: Call): AsyncGenerator<readonly Json[]> {
    const doing = `list ${shown}`;
    let said = await http.rpc(tokens, "files/list_folder", { path, recursive: true }, doing, call);
    for (;;) {
      const { entries, cursor, has_more: more } = said;
      if (!Array.isArray(entries) || typeof cursor !== "string") throw stranger(doing, name);
      yield entries as Json[];
      if (more !== true) return;
      said = await http.rpc(tokens, "files/list_folder/continue", { cursor }, doing, call);
    }
  }

  async function* list(prefix: string, call: Call = {}): AsyncGenerator<Entry> {
    call.signal?.throwIfAborted();
    if (prefix.startsWith("/") || prefix.split("/").includes("..")) return;
    const dir = dirOf(prefix);
    const base = placeOf(dir);
    const depth = base.split("/").length;
    const proofs = new Map((await memory.list(PROOFS + prefix)).map(([at, proof]) => [at.slice(PROOFS.length), proof]));
    /** Names of folders as they are spelled, by their lower-case path: only the last name of a path is sure to be. */
    const spelled = new Map<string, string>();
    const early: Json[] = [];
    const entryIn = (said: Json, last: boolean): Entry | undefined => {
      const lower = String(said["path_lower"]).split("/");
      const display = String(said["path_display"]).split("/");
      const names: string[] = dir === "" ? [] : [dir];
      for (let at = depth; at < lower.length - 1; at++) {
        const folder = spelled.get(lower.slice(0, at + 1).join("/")) ?? (last ? display[at] : undefined);
        if (folder === undefined) return void early.push(said);
        names.push(folder);
      }
      const file = fileOf(said, `list ${shown}`);
      const path = [...names, file.name].join("/");
      const key = keyOf(path);
      // a decomposed name may be another file than the key's own
      if (key === undefined || key !== path || !key.startsWith(prefix)) return undefined;
      return entryOf(key, file, proofs.get(key));
    };
    try {
      for await (const entries of pagesOf(base, call))
        for (const said of entries) {
          if (said[".tag"] === "folder") spelled.set(String(said["path_lower"]), String(said["name"]));
          const entry = said[".tag"] === "file" ? entryIn(said, false) : undefined;
          call.signal?.throwIfAborted();
          if (entry) yield entry;
        }
    } catch (error) {
      if (error instanceof TargetError && error.kind === "not-found") return;
      throw error;
    }
    for (const said of early) {
      const entry = entryIn(said, true);
      if (entry) yield entry;
    }
  }

  const read = async <T>(key: Key, use: (bytes: Chunks) => Promise<T>, call: Call | undefined): Promise<T> => {
    try {
      const doing = `read ${pathOf(key)}`;
      return await http.download(tokens, { path: placeOf(key) }, doing, call, async (chunks, said) => {
        const { size } = fileOf(said, doing);
        async function* bytes(): Chunks {
          let count = 0;
          for await (const chunk of chunks) {
            count += chunk.length;
            yield chunk;
          }
          if (count !== size) throw new TargetError("transient", `${pathOf(key)} ended after ${count} of ${size} bytes`);
        }
        return use(bytes());
      });
    } catch (error) {
      const absent = hasTag(error, "not_found") || hasTag(error, "not_file");
      throw absent ? absentFault(key) : error;
    }
  };

  return {
    kind: "dropbox",
    traits: {
      atomicPut: true,
      guardedPut: true,
      identity: "path",
      listing: "immediate",
      caseSensitive: false,
      hashes: ["sha256", "dropbox"],
      maxConcurrency: MOST_AT_ONCE,
    },
    pathOf,
    list,
    stat,
    read,
    async put(key, body, guard = {}) {
      guard.signal?.throwIfAborted();
      const bytes = body.size <= partBytes ? await collect(body, guard.signal) : undefined;
      return forKey(key, () => put(key, body, bytes, guard));
    },
    copy: (from, to, guard = {}) => forKey(to, () => copy(from, to, guard)),
    remove: (key, guard = {}) => forKey(key, () => remove(key, guard)),
    purge: (key, call = {}) => forKey(key, () => purge(key, call)),
    close: () => Promise.resolve(http.close()),
  };
}

/** Removes the target's root with all that is in it. */
export async function clearDropbox(context: DriverContext): Promise<void> {
  const path = ["", ...context.root.split("/").filter(Boolean)].join("/");
  if (path === "") throw new TargetError("unsupported", "the whole Dropbox is not removed");
  const http = openHttp(context);
  try {
    await http.rpc(openTokens(context, http), "files/delete_v2", { path }, `remove ${context.root}`, undefined);
  } catch (error) {
    if (!(error instanceof TargetError) || error.kind !== "not-found") throw error;
  } finally {
    http.close();
  }
}

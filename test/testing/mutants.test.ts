/** The suite proves itself: each row breaks one promise, and a case of the named group must notice. */
import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { TargetError } from "../../src/core/errors.ts";
import type { Key } from "../../src/core/key.ts";
import { type Chunks, type Entry, forward, type Guard, type Source, type Target } from "../../src/core/target.ts";
import { bytesOf, createMemoryTarget, type MemoryTarget, sourceOf, targetCases } from "../../src/testing/index.ts";

type Break = (inner: MemoryTarget) => Partial<Target>;
const cases = targetCases({ bigBytes: 200_000, patienceMs: 150 });
const kindOf = (error: unknown) => (error instanceof TargetError ? error.kind : "other");
const gather = async (chunks: Chunks) => {
  const parts: Uint8Array[] = [];
  try {
    for await (const part of chunks) parts.push(part.slice());
  } catch {
    return Buffer.concat(parts);
  }
  return Buffer.concat(parts);
};
const rewritten =
  (change: (bytes: Buffer) => Uint8Array): Break =>
  (inner) => ({
    put: async (key, body, guard) => {
      const bytes = Buffer.from(await bytesOf(body.open()));
      const honest = bytes.length === body.size && createHash("sha256").update(bytes).digest("hex") === body.sha256;
      return inner.put(key, honest ? sourceOf(change(bytes)) : body, guard);
    },
  });
const answering =
  (change: (entry: Entry) => Entry): Break =>
  (inner) => ({
    put: async (key, body, guard) => change(await inner.put(key, body, guard)),
  });
const rekeyed =
  (change: (key: string) => string): Break =>
  (inner) => {
    const to = (key: Key) => change(key) as Key;
    return {
      stat: async (key, look) => {
        const entry = await inner.stat(to(key), look);
        return entry && { ...entry, key };
      },
      read: (key, use, call) => inner.read(to(key), use, call),
      put: async (key, body, guard) => ({ ...(await inner.put(to(key), body, guard)), key }),
      copy: async (from, into, guard) => ({ ...(await inner.copy(to(from), to(into), guard)), key: into }),
      remove: (key, guard) => inner.remove(to(key), guard),
    };
  };
const insteadOf =
  (verb: "put" | "remove", kind: string, as: (key: Key) => Error): Break =>
  (inner) => {
    const swap = (key: Key) => (error: unknown) => {
      throw kindOf(error) === kind ? as(key) : error;
    };
    return verb === "put"
      ? { put: (key, body, guard) => inner.put(key, body, guard).catch(swap(key)) }
      : { remove: (key, guard) => inner.remove(key, guard).catch(swap(key)) };
  };
const without = (guard: Guard | undefined, part: keyof Guard): Guard => ({ ...guard, [part]: undefined });
const seenOnly = (guard?: Guard) => (typeof guard?.expect === "object" ? without(guard, "expect") : guard);
const listing =
  (change: (entries: Entry[], prefix: string) => Entry[]): Break =>
  (inner) => ({
    async *list(prefix, call) {
      const all: Entry[] = [];
      for await (const entry of inner.list("", call)) all.push(entry);
      const right = all.filter(({ key }) => key.startsWith(prefix));
      yield* change(right, prefix);
    },
  });
const everything = async (inner: Target) => {
  const entries: Entry[] = [];
  for await (const entry of inner.list("")) entries.push(entry);
  return entries;
};

const table: ReadonlyArray<readonly [group: string, what: string, broken: Break]> = [
  ["round trip", "loses the last byte", rewritten((bytes) => bytes.subarray(0, Math.max(0, bytes.length - 1)))],
  ["round trip", "turns bytes into text", rewritten((bytes) => Buffer.from(bytes.toString("utf8")))],
  [
    "round trip",
    "translates line ends",
    rewritten((bytes) => Buffer.from(bytes.toString("latin1").replaceAll("\r\n", "\n"), "latin1")),
  ],
  ["round trip", "answers another size", answering((entry) => ({ ...entry, size: entry.size + 1 }))],
  ["round trip", "answers another key", answering((entry) => ({ ...entry, key: `x${entry.key}` as Key }))],
  ["round trip", "answers a rev that stat does not know", answering((entry) => ({ ...entry, rev: `${entry.rev}x` }))],
  ["round trip", "answers no hash", answering(({ hash: _, ...entry }) => entry)],
  ["round trip", "answers a wrong hash", answering((entry) => ({ ...entry, hash: { algo: "sha256", hex: "0".repeat(64) } }))],
  [
    "round trip",
    "answers a hash of an algorithm it never promised",
    answering((entry) => ({ ...entry, hash: { algo: "crc", hex: "0" } })),
  ],
  [
    "round trip",
    "keeps the tail of a longer content",
    (inner) => ({
      put: async (key, body, guard) => {
        const old = (await inner.stat(key)) && Buffer.from(await inner.read(key, bytesOf));
        const bytes = Buffer.from(await bytesOf(body.open()));
        return inner.put(
          key,
          old && old.length > bytes.length ? sourceOf(Buffer.concat([bytes, old.subarray(bytes.length)])) : body,
          guard,
        );
      },
    }),
  ],
  [
    "round trip",
    "keeps parts of a body without copying them",
    (inner) => ({
      put: async (key, body, guard) => {
        const parts: Uint8Array[] = [];
        for await (const part of body.open()) parts.push(part);
        const bytes = Buffer.concat(parts);
        return inner.put(key, bytes.length === body.size ? sourceOf(bytes) : body, guard);
      },
    }),
  ],
  ["names", "ignores case, though it says it does not", rekeyed((key) => key.toLowerCase())],
  ["names", "decodes percent signs", rekeyed((key) => key.replace(/%25/g, "%"))],
  ["names", "folds spaces", rekeyed((key) => key.replace(/ +/g, " "))],
  [
    "names",
    "decomposes letters",
    listing((entries) => entries.map((entry) => ({ ...entry, key: entry.key.normalize("NFD") as Key }))),
  ],
  ["names", "cuts long names", rekeyed((key) => key.slice(0, 100))],
  ["names", "mixes up _ and any letter", rekeyed((key) => key.replace("axb", "a_b"))],
  ["names", "has paths that depend on the time", (inner) => ({ pathOf: (key) => inner.objects().length + key })],
  ["names", "has paths without the key", () => ({ pathOf: () => "Drive/" })],
  ["list", "shows the first page only", listing((entries) => entries.slice(0, 100))],
  ["list", "shows an entry twice", listing((entries) => [...entries, ...entries.slice(-1)])],
  [
    "list",
    "takes a prefix for a folder",
    listing((entries, prefix) => entries.filter(({ key }) => prefix === "" || key.startsWith(prefix.replace(/\/?$/, "/")))),
  ],
  [
    "list",
    "does not go down",
    listing((entries, prefix) => entries.filter(({ key }) => !key.slice(prefix.length).includes("/"))),
  ],
  [
    "list",
    "takes a prefix for a pattern",
    (inner) => ({
      async *list(prefix) {
        const like = new RegExp(
          `^${prefix
            .replace(/[.()[\]{}$^*+?]/g, "\\$&")
            .replaceAll("_", ".")
            .replaceAll("%", ".*")}`,
        );
        for (const entry of await everything(inner)) if (like.test(entry.key)) yield entry;
      },
    }),
  ],
  [
    "list",
    "finds the prefix anywhere",
    (inner) => ({
      async *list(prefix) {
        for (const entry of await everything(inner)) if (entry.key.includes(prefix)) yield entry;
      },
    }),
  ],
  ["list", "has revs of its own", listing((entries) => entries.map((entry) => ({ ...entry, rev: `list-${entry.rev}` })))],
  [
    "list",
    "shows what is half-written",
    (inner) => ({
      put: async (key, body, guard) => {
        if (guard?.expect !== undefined || (await inner.stat(key)) !== undefined) return inner.put(key, body, guard);
        const temporary = `${key}.part` as Key;
        inner.edit(temporary, "");
        return inner.put(key, body, guard).finally(() => inner.drop(temporary));
      },
    }),
  ],
  [
    "list",
    "empties the file before it writes",
    (inner) => ({
      put: async (key, body, guard) => {
        if (guard?.expect === undefined && (await inner.stat(key)) !== undefined && body.size < 100) inner.edit(key, "");
        return inner.put(key, body, guard);
      },
    }),
  ],
  [
    "list",
    "holds everything up while it lists",
    (inner) => {
      let listings = 0;
      return {
        async *list(prefix, call) {
          listings++;
          try {
            yield* inner.list(prefix, call);
          } finally {
            listings--;
          }
        },
        read: (key, use, call) => (listings > 0 ? new Promise(() => undefined) : inner.read(key, use, call)),
      };
    },
  ],
  [
    "stat",
    "throws for what is absent",
    (inner) => ({
      stat: async (key, look) => {
        const entry = await inner.stat(key, look);
        if (entry === undefined) throw new TargetError("not-found", "not there");
        return entry;
      },
    }),
  ],
  [
    "stat",
    "finds a sibling",
    (inner) => ({
      stat: async (key, look) =>
        (await inner.stat(key, look)) ?? (await everything(inner)).find((entry) => entry.key.startsWith(key)),
    }),
  ],
  [
    "stat",
    "has one rev for all",
    (inner) => ({
      ...answering((entry) => ({ ...entry, rev: "1" }))(inner),
      stat: async (key, look) => {
        const entry = await inner.stat(key, look);
        return entry && { ...entry, rev: "1" };
      },
    }),
  ],
  [
    "stat",
    "has a new rev each time",
    (inner) => {
      let count = 0;
      return {
        stat: async (key, look) => {
          const entry = await inner.stat(key, look);
          return entry && { ...entry, rev: `${entry.rev}${count++}` };
        },
      };
    },
  ],
  [
    "stat",
    "tells no hash when asked",
    (inner) => ({
      stat: async (key, look) => {
        const { hash: _, ...entry } = (await inner.stat(key, look)) ?? {};
        return "key" in entry ? entry : undefined;
      },
    }),
  ],
  [
    "stat",
    "remembers an old hash",
    (inner) => {
      const first = new Map<string, Entry["hash"]>();
      return {
        stat: async (key, look) => {
          const entry = await inner.stat(key, look);
          if (entry === undefined) return undefined;
          if (!first.has(key)) first.set(key, entry.hash);
          return { ...entry, hash: first.get(key) };
        },
      };
    },
  ],
  [
    "stat",
    "has a rev made of the size",
    (inner) => ({
      ...answering((entry) => ({ ...entry, rev: `${entry.size}` }))(inner),
      stat: async (key, look) => {
        const entry = await inner.stat(key, look);
        return entry && { ...entry, rev: `${entry.size}` };
      },
    }),
  ],
  [
    "read",
    "is empty for what is missing",
    (inner) => ({
      read: (key, use, call) =>
        inner.read(key, use, call).catch((error: unknown) => {
          if (kindOf(error) !== "not-found") throw error;
          return use(sourceOf("").open());
        }),
    }),
  ],
  [
    "read",
    "says transient for what is missing",
    (inner) => ({
      read: (key, use, call) =>
        inner.read(key, use, call).catch((error: unknown) => {
          throw kindOf(error) === "not-found" ? new TargetError("transient", "?") : error;
        }),
    }),
  ],
  [
    "read",
    "wraps the error of its user",
    (inner) => ({
      read: (key, use, call) =>
        inner.read(
          key,
          (bytes) =>
            use(bytes).catch((cause: unknown) => {
              throw new TargetError("transient", "?", { cause });
            }),
          call,
        ),
    }),
  ],
  [
    "read",
    "takes its user's ENOENT for its own",
    (inner) => ({
      read: (key, use, call) =>
        inner.read(key, use, call).catch((error: unknown) => {
          throw (error as { code?: string }).code === "ENOENT" ? new TargetError("not-found", "?") : error;
        }),
    }),
  ],
  [
    "read",
    "drops the answer of its user",
    (inner) => ({
      read: async <T>(key: Key, use: (bytes: Chunks) => Promise<T>) => {
        await inner.read(key, use);
        return undefined as T;
      },
    }),
  ],
  [
    "read",
    "uses one buffer for all parts",
    (inner) => ({
      read: (key, use, call) =>
        inner.read(
          key,
          (bytes) =>
            use(
              (async function* () {
                const buffer = new Uint8Array(64 * 1024);
                for await (const part of bytes) {
                  buffer.set(part);
                  yield buffer.subarray(0, part.length);
                }
              })(),
            ),
          call,
        ),
    }),
  ],
  [
    "read",
    "ends early without a word",
    (inner) => ({
      read: async (key, use, call) => {
        const size = (await inner.stat(key))?.size;
        return inner.read(
          key,
          (bytes) =>
            use(
              (async function* () {
                for await (const part of bytes) {
                  yield part;
                  if ((await inner.stat(key))?.size !== size) return;
                }
              })(),
            ),
          call,
        );
      },
    }),
  ],
  [
    "read",
    "never ends when its user stops early",
    (inner) => ({
      read: (key, use, call) =>
        inner.read(
          key,
          async (bytes) => {
            let whole = false;
            const answer = await use(
              (async function* () {
                yield* bytes;
                whole = true;
              })(),
            );
            return whole || ((await inner.stat(key))?.size ?? 0) < 100_000 ? answer : new Promise<never>(() => undefined);
          },
          call,
        ),
    }),
  ],
  [
    "put",
    "takes no expectation for `absent`",
    (inner) => ({
      put: (key, body, guard) => inner.put(key, body, { ...guard, expect: guard?.expect ?? "absent" }),
    }),
  ],
  [
    "list",
    "shows a helper of its own",
    (inner) => ({
      async *list(prefix, call) {
        yield* inner.list(prefix, call);
        if (prefix === "") yield { key: ".lock" as Key, size: 0, rev: "1" };
      },
    }),
  ],
  [
    "put",
    "overwrites what should be absent",
    (inner) => ({
      put: (key, body, guard) => inner.put(key, body, guard?.expect === "absent" ? without(guard, "expect") : guard),
    }),
  ],
  [
    "put",
    "overwrites what is not what was seen",
    (inner) => ({
      put: async (key, body, guard) => {
        if ((await inner.stat(key)) === undefined) return inner.put(key, body, guard);
        return inner.put(key, body, seenOnly(guard));
      },
    }),
  ],
  [
    "put",
    "makes what was seen and is gone",
    (inner) => ({ put: async (key, body, guard) => inner.put(key, body, (await inner.stat(key)) ? guard : seenOnly(guard)) }),
  ],
  ["put", "says conflict for what is gone", insteadOf("put", "not-found", () => new TargetError("conflict", "?"))],
  ["put", "says not-found for a conflict", insteadOf("put", "conflict", () => new TargetError("not-found", "?"))],
  ["put", "throws what is no TargetError", insteadOf("put", "conflict", () => new Error("409"))],
  [
    "put",
    "writes and then says conflict",
    (inner) => ({
      put: async (key, body, guard) => {
        try {
          return await inner.put(key, body, guard);
        } catch (error) {
          if (kindOf(error) === "conflict") await inner.put(key, body);
          throw error;
        }
      },
    }),
  ],
  [
    "put",
    "does not compare the id",
    (inner) => ({
      put: (key, body, guard) =>
        inner.put(key, body, typeof guard?.expect === "object" ? { ...guard, expect: { rev: guard.expect.rev } } : guard),
    }),
  ],
  [
    "put",
    "makes a new file for each content",
    (inner) => ({
      put: async (key, body, guard) => {
        const bytes = await gather(body.open());
        const entry = await inner.put(key, { ...body, open: sourceOf(bytes).open }, guard);
        if (typeof guard?.expect !== "object") return entry;
        inner.drop(key);
        return inner.put(key, sourceOf(bytes));
      },
    }),
  ],
  [
    "put",
    "looks at the guard before the body only",
    (inner) => ({
      put: async (key, body, guard) => {
        const expect = guard?.expect;
        const now = await inner.stat(key);
        if (typeof expect !== "object" || now?.rev !== expect.rev || now.id !== (expect.id ?? now.id))
          return inner.put(key, body, guard);
        return inner.put(key, body, without(guard, "expect"));
      },
    }),
  ],
  ["put", "tells no progress", (inner) => ({ put: (key, body, guard) => inner.put(key, body, without(guard, "onProgress")) })],
  [
    "put",
    "tells more progress than there is",
    (inner) => ({
      put: (key, body, guard) => inner.put(key, body, { ...guard, onProgress: (sent) => guard?.onProgress?.(sent * 2) }),
    }),
  ],
  [
    "bodies that lie",
    "takes any size and hash",
    (inner) => ({ put: async (key, body, guard) => inner.put(key, sourceOf(await bytesOf(body.open())), guard) }),
  ],
  [
    "bodies that lie",
    "compares sizes only",
    (inner) => ({
      put: async (key, body, guard) => {
        const bytes = await bytesOf(body.open());
        return inner.put(key, bytes.length === body.size ? sourceOf(bytes) : body, guard);
      },
    }),
  ],
  [
    "bodies that lie",
    "stops reading at the size",
    (inner) => ({
      put: (key, body, guard) =>
        inner.put(
          key,
          {
            ...body,
            open: () =>
              (async function* () {
                let left = body.size;
                for await (const part of body.open()) {
                  if (left > 0) yield part.subarray(0, left);
                  left -= part.length;
                }
              })(),
          },
          guard,
        ),
    }),
  ],
  [
    "bodies that lie",
    "keeps half of a body that breaks",
    (inner) => ({
      put: async (key, body, guard) => {
        try {
          return await inner.put(key, body, guard);
        } catch (error) {
          if (kindOf(error) === "other" && guard?.signal === undefined) inner.edit(key, await gather(body.open()));
          throw error;
        }
      },
    }),
  ],
  [
    "bodies that lie",
    "swallows the error of a body",
    (inner) => ({
      put: (key, body, guard) =>
        inner.put(key, body, guard).catch((error: unknown) => {
          throw kindOf(error) === "other" ? new TargetError("transient", "?") : error;
        }),
    }),
  ],
  [
    "bodies that lie",
    "says transient for a body that lies",
    insteadOf("put", "corrupt", () => new TargetError("transient", "?")),
  ],
  [
    "bodies that lie",
    "removes what was there",
    (inner) => ({
      put: async (key, body, guard) => {
        try {
          return await inner.put(key, body, guard);
        } catch (error) {
          if (kindOf(error) === "corrupt") inner.drop(key);
          throw error;
        }
      },
    }),
  ],
  ["races", "makes twins", () => ({ ...createMemoryTarget({ guardedPut: false }), traits: createMemoryTarget().traits })],
  [
    "races",
    "lets two replace what they saw",
    (inner) => ({
      put: async (key, body, guard) => {
        const { expect } = guard ?? {};
        if (typeof expect !== "object" || (await inner.stat(key))?.rev !== expect.rev) return inner.put(key, body, guard);
        return inner.put(key, body, without(guard, "expect"));
      },
    }),
  ],
  [
    "races",
    "tells losers that it was busy",
    (inner) => {
      let puts = 0;
      return {
        put: async (key, body, guard) => {
          puts++;
          try {
            return await inner.put(key, body, guard);
          } catch (error) {
            throw puts > 1 && kindOf(error) === "conflict" ? new TargetError("transient", "busy") : error;
          } finally {
            puts--;
          }
        },
      };
    },
  ],
  [
    "races",
    "loses files that are made at one time",
    (inner) => {
      let puts = 0;
      return {
        put: async (key, body, guard) => {
          const many = ++puts > 4;
          const entry = await inner.put(key, body, guard);
          if (many && body.size < 100) inner.drop(key);
          puts--;
          return entry;
        },
      };
    },
  ],
  [
    "races",
    "reads half old, half new",
    (inner) => ({
      read: (key, use, call) =>
        inner.read(
          key,
          (bytes) =>
            use(
              (async function* () {
                let at = 0;
                for await (const part of bytes) {
                  const now = inner.objects().find((object) => object.key === key)?.bytes ?? part;
                  yield now.length >= at + part.length ? now.slice(at, at + part.length) : part;
                  at += part.length;
                }
              })(),
            ),
          call,
        ),
    }),
  ],
  [
    "races",
    "lets two copies win",
    (inner) => ({
      copy: async (from, to, guard) => {
        if ((await inner.stat(to)) !== undefined) return inner.copy(from, to, guard);
        await inner.stat(to);
        return { ...inner.edit(to, await inner.read(from, bytesOf)), key: to };
      },
    }),
  ],
  [
    "copy",
    "overwrites",
    (inner) => ({
      copy: async (from, to, guard) => {
        if (await inner.stat(from)) inner.drop(to);
        return inner.copy(from, to, guard);
      },
    }),
  ],
  [
    "copy",
    "moves",
    (inner) => ({
      copy: async (from, to, guard) => {
        const entry = await inner.copy(from, to, guard);
        inner.drop(from);
        return entry;
      },
    }),
  ],
  [
    "copy",
    "is only a second name",
    (inner) => {
      const links = new Map<string, Key>();
      return {
        copy: async (from, to, guard) => {
          const entry = await inner.copy(from, to, guard);
          links.set(from, to);
          return entry;
        },
        put: async (key, body, guard) => {
          const entry = await inner.put(key, body, guard);
          const link = links.get(key);
          if (link) inner.edit(link, await inner.read(key, bytesOf));
          return entry;
        },
      };
    },
  ],
  [
    "copy",
    "ignores the guard",
    (inner) => ({
      copy: async (from, to, guard) => inner.copy(from, to, (await inner.stat(from)) ? without(guard, "expect") : guard),
    }),
  ],
  [
    "copy",
    "makes an empty file of what is missing",
    (inner) => ({
      copy: async (from, to, guard) => ((await inner.stat(from)) ? inner.copy(from, to, guard) : inner.put(to, sourceOf(""))),
    }),
  ],
  [
    "copy",
    "answers with the first file's entry",
    (inner) => ({
      copy: async (from, to, guard) => {
        await inner.copy(from, to, guard);
        return (await inner.stat(from)) as Entry;
      },
    }),
  ],
  [
    "copy",
    "touches what it copies",
    (inner) => ({
      copy: async (from, to, guard) => {
        const entry = await inner.copy(from, to, guard);
        inner.edit(from, await inner.read(from, bytesOf));
        return entry;
      },
    }),
  ],
  [
    "copy",
    "answers no hash",
    (inner) => ({
      copy: async (from, to, guard) => {
        const { hash: _, ...entry } = await inner.copy(from, to, guard);
        return entry;
      },
    }),
  ],
  [
    "remove",
    "fails for what is absent",
    (inner) => ({
      remove: async (key, guard) => {
        if ((await inner.stat(key)) === undefined) throw new TargetError("not-found", "?");
        return inner.remove(key, guard);
      },
    }),
  ],
  ["remove", "ignores the guard", (inner) => ({ remove: (key, guard) => inner.remove(key, without(guard, "expect")) })],
  [
    "remove",
    "removes and then says conflict",
    (inner) => ({
      remove: async (key, guard) => {
        try {
          await inner.remove(key, guard);
        } catch (error) {
          inner.drop(key);
          throw error;
        }
      },
    }),
  ],
  [
    "remove",
    "takes everything with that prefix",
    (inner) => ({
      remove: async (key, guard) => {
        await inner.remove(key, guard);
        for (const entry of await everything(inner)) if (entry.key.startsWith(key)) inner.drop(entry.key);
      },
    }),
  ],
  [
    "remove",
    "does nothing",
    (inner) => ({
      remove: async (key, guard) => {
        const entry = await inner.stat(key, { signal: guard?.signal });
        if (entry && guard?.expect !== undefined) return inner.remove(key, guard);
      },
    }),
  ],
  ...(["list", "stat", "read", "put", "copy", "remove"] as const).map((verb): readonly [string, string, Break] => [
    "abort",
    `${verb} does not look at the signal`,
    (inner) => {
      const deaf = <C extends object | undefined>(call: C) => ({ ...call, signal: undefined });
      const all: Partial<Target> = {
        list: (prefix, call) => inner.list(prefix, deaf(call)),
        stat: (key, look) => inner.stat(key, deaf(look)),
        read: (key, use, call) => inner.read(key, use, deaf(call)),
        put: (key, body, guard) => inner.put(key, body, deaf(guard)),
        copy: (from, to, guard) => inner.copy(from, to, deaf(guard)),
        remove: (key, guard) => inner.remove(key, deaf(guard)),
      };
      return { [verb]: all[verb] };
    },
  ]),
  [
    "abort",
    "read looks at the signal at its start only",
    (inner) => ({
      read: async (key, use, call) => {
        call?.signal?.throwIfAborted();
        return inner.read(key, use);
      },
    }),
  ],
  [
    "abort",
    "put looks at the signal at its start only",
    (inner) => ({
      put: async (key, body, guard) => {
        guard?.signal?.throwIfAborted();
        return inner.put(key, body, without(guard, "signal"));
      },
    }),
  ],
  [
    "abort",
    "keeps what was sent until then",
    (inner) => ({
      put: async (key, body, guard) => {
        try {
          return await inner.put(key, body, guard);
        } catch (error) {
          if (guard?.signal?.aborted === true) inner.edit(key, "half");
          throw error;
        }
      },
    }),
  ],
  ["abort", "throws a TargetError for it", insteadOf("put", "other", () => new TargetError("transient", "aborted"))],
  [
    "repeats",
    "makes a second file for a repeated put",
    (inner) => {
      let twins = 0;
      return {
        put: async (key, body, guard) => {
          try {
            return await inner.put(key, body, guard);
          } catch (error) {
            if (kindOf(error) !== "conflict" || (await inner.stat(key, { hash: true }))?.hash?.hex !== body.sha256) throw error;
            return { ...(await inner.put(`${key} (${++twins})` as Key, body)), key };
          }
        },
      };
    },
  ],
  [
    "repeats",
    "opens a body once only",
    (inner) => {
      const opened = new WeakMap<Source, Chunks>();
      return {
        put: (key, body, guard) => {
          if (!opened.has(body)) opened.set(body, body.open());
          return inner.put(key, { ...body, open: () => opened.get(body) as Chunks }, guard);
        },
      };
    },
  ],
  [
    "life",
    "fails to close twice",
    () => {
      let closed = false;
      return { close: () => (closed ? Promise.reject(new Error("closed")) : Promise.resolve(void (closed = true))) };
    },
  ],
  [
    "batches",
    "makes what is only announced",
    (inner) => ({
      prepare: async (keys) => {
        for (const key of keys) if (!(await inner.stat(key))) await inner.put(key, sourceOf(""));
      },
    }),
  ],
  [
    "batches",
    "takes an announced file for a new one",
    (inner) => ({ prepare: async (keys) => keys.forEach((key) => void inner.drop(key)) }),
  ],
  ["batches", "asks for a file again that nobody else made", () => ({ audit: async () => ["Batch/1.txt" as Key] })],
  ["life", "has no name", () => ({ kind: "" })],
  ["forgetting", "keeps what it removes for good", () => ({ purge: async () => [] })],
  [
    "forgetting",
    "takes its neighbours along",
    (inner) => ({
      purge: async (key) => {
        for (const object of inner.objects()) if (object.key.startsWith(key.slice(0, 3))) inner.drop(object.key);
        return [];
      },
    }),
  ],
  ["life", "has half of its traits", (inner) => ({ traits: { ...inner.traits, maxConcurrency: 0 } })],
  [
    "life",
    "forgets when it closes",
    (inner) => ({
      close: async () => {
        for (const { key } of inner.objects()) inner.drop(key);
      },
    }),
  ],
];

const named = ({ group, name }: (typeof cases)[number]) => `${group}: ${name}`;

async function failuresOf(broken: Break, of: readonly (typeof cases)[number][]): Promise<string[]> {
  const failed: string[] = [];
  for (const each of of) {
    const memory = createMemoryTarget();
    const target = forward(memory, broken(memory));
    const foreignWrite = (key: Key, bytes: Uint8Array) => void memory.edit(key, bytes);
    const place = { target, foreignWrite, reopen: () => target, cleanup: () => undefined };
    await each.run(place).catch(() => failed.push(named(each)));
  }
  return failed;
}

test("an unbroken target fails no case", async () => {
  expect(await failuresOf(() => ({}), cases)).toEqual([]);
});

const fell = new Set<string>();
test.each(table)("%s: a target that %s is noticed", async (group, _, broken) => {
  const failed = await failuresOf(
    broken,
    cases.filter((each) => each.group === group),
  );
  for (const name of failed) fell.add(name);
  expect(failed).not.toEqual([]);
});

test("no case is there for nothing: each fails for at least one broken target", () => {
  expect(cases.map(named).filter((name) => !fell.has(name))).toEqual([]);
});

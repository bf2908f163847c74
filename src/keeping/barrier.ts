/**
 * Keeps erased text from coming back: a save through us is refused, a change by others is kept from the targets, and so is
 * every copy of it, whatever was decided of the change.
 * @module
 */
import { AftersaveError } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import type { Chunks } from "../core/target.ts";
import type { Actor, Details } from "../core/version.ts";
import { readPieces } from "../memory/content.ts";
import type { Guard, NewContent } from "../memory/guard.ts";
import type { Heads } from "../memory/heads.ts";
import { Moved, type Journal, type NewBytes } from "../memory/journal.ts";
import type { ContentOf } from "../mirror/gate.ts";
import type { Erasure } from "../state/erasure.ts";
import type { Intent, Saves } from "../state/saves.ts";
import type { Tombstone, Tombstones } from "./tombstone.ts";

export interface BarrierParts {
  readonly tombstones: Tombstones;
  readonly heads: Heads;
  readonly erasure: Pick<Erasure, "swaps">;
  readonly saves: Pick<Saves, "archiveCopy" | "headAt">;
  /** Ends what an erasure that died left of a key, whose claim the caller holds. */
  readonly finishKey: (key: Key) => Promise<void>;
}

export interface Barrier {
  journal(inner: Journal): Journal;
  guard(inner: Guard): Guard;
  /** The last gate in front of every target: throws `E_ERASED` for what holds erased text. */
  content(inner: ContentOf): ContentOf;
  /** The tombstone whose text these bytes hold. */
  holds(key: Key, chunks: Chunks): Promise<Tombstone | undefined>;
}

/** A content is looked through in pieces of this size. */
const WINDOW = 16 << 20;

async function* one(bytes: Uint8Array): Chunks {
  yield bytes;
}

const chunksOf = (bytes: NewBytes): Chunks => {
  if (typeof bytes === "function") return bytes();
  return bytes instanceof Uint8Array ? one(bytes) : readPieces(bytes.spooled);
};

const contentOf = (content: NewContent): Chunks => {
  if (content === null) return one(new Uint8Array());
  return content instanceof Uint8Array ? one(content) : readPieces(content.path, 0, content.size);
};

export function createBarrier({ tombstones, heads, erasure, saves, finishKey }: BarrierParts): Barrier {
  /** The first tombstone whose text is in `chunks`, or begins in what stands before them. */
  const hitIn = async (key: Key, before: Buffer, chunks: Chunks): Promise<Tombstone | undefined> => {
    const keep = Math.max(0, tombstones.reach() - 1);
    let [pieces, size, old]: [Uint8Array[], number, number] = [[before], before.length, before.length];
    const look = async (window: Buffer) => tombstones.hit(window, key, old);
    for await (const chunk of chunks) {
      pieces.push(Buffer.from(chunk)); // some hand out one buffer again and again; `slice` of a Buffer copies nothing
      size += chunk.length;
      if (size < WINDOW) continue;
      const window = Buffer.concat(pieces);
      const found = await look(window);
      if (found) return found;
      pieces = [window.subarray(Math.max(0, window.length - keep))];
      size = old = Math.min(window.length, keep);
    }
    return look(Buffer.concat(pieces));
  };

  const holds = async (key: Key, chunks: Chunks): Promise<Tombstone | undefined> => {
    if (tombstones.all().length === 0) return undefined;
    const file = (await saves.archiveCopy(key))?.file ?? key;
    return hitIn(file, Buffer.alloc(0), chunks);
  };

  const inActor = async (key: Key, actor: Actor): Promise<Tombstone | undefined> => {
    const { chat_name, context_tags, model, session_id, tool, reason } = actor;
    for (const text of [chat_name, ...context_tags, model, session_id, tool, reason]) {
      const found = text === null ? undefined : await tombstones.hit(Buffer.from(text), key);
      if (found) return found;
    }
    return undefined;
  };

  const hitOf = async (intent: Intent, bytes: NewBytes): Promise<Tombstone | undefined> => {
    if (tombstones.all().length === 0) return undefined;
    const { key, old } = intent;
    const isNew = !old && (await saves.headAt(key, Number.MAX_SAFE_INTEGER)) === undefined;
    const said = (await inActor(key, intent.actor)) ?? (isNew ? await tombstones.hit(Buffer.from(key), key) : undefined);
    if (said || !intent.new) return said;
    const pieces: Uint8Array[] = [];
    if (old && old.base === intent.new.base) {
      const from = Math.max(0, old.size - tombstones.reach() + 1);
      for await (const piece of readPieces(heads.path(old.base), from, old.size)) pieces.push(Buffer.from(piece));
    }
    return hitIn(key, Buffer.concat(pieces), chunksOf(bytes));
  };

  const held = (details: Details | null | undefined, { id }: Tombstone): Details => ({
    ...details,
    alarms: [
      ...(details?.alarms ?? []),
      { rule: "erased", says: `it brings back what was erased (erasure ${id}): erase it again, or lift that` },
    ],
    held: true,
  });

  return {
    journal: (inner) => ({
      ...inner,
      async run(intent, file, bytes, owner) {
        if ((await erasure.swaps(intent.key)).length > 0) {
          await finishKey(intent.key);
          throw new Moved(); // what was looked at is not there any more
        }
        const hit = await hitOf(intent, bytes);
        if (!hit) return inner.run(intent, file, bytes, owner);
        if (intent.writes) throw refused(intent.key, hit);
        return inner.run({ ...intent, details: held(intent.details, hit) }, file, bytes, owner);
      },
    }),
    guard: (inner) => ({
      ...inner,
      async keepAside(save, prev, details) {
        const found = tombstones.all().length > 0 ? await hitIn(save.key, Buffer.alloc(0), contentOf(save.content)) : undefined;
        const hit = found ?? (tombstones.all().length > 0 ? await inActor(save.key, save.actor) : undefined);
        if (hit) throw refused(save.key, hit);
        return inner.keepAside(save, prev, details);
      },
    }),
    holds,
    content: (inner) => async (job) => {
      for (;;) {
        const content = await inner(job);
        if (!content || tombstones.all().length === 0) return content;
        try {
          const hit = await holds(job.key, content.source.open());
          if (hit) throw kept(job.key, hit);
          return content;
        } catch (error) {
          // another content came while this one was read
          if ((await inner(job))?.source.sha256 === content.source.sha256) throw error;
        }
      }
    },
  };
}

const kept = (key: Key, { id, at }: Tombstone) =>
  new AftersaveError("E_ERASED", `${key} holds what was erased at ${at} (erasure ${id}): it came back from outside`, {
    hint: `It stays on this machine. Erase it again, here too: \`aftersave erase\` with the same text or key. If it was erased by mistake, \`aftersave erase --lift ${id.slice(-6)}\` lets it out.`,
    details: { erasure: id },
  });

const refused = (key: Key, { id, at }: Tombstone) =>
  new AftersaveError("E_ERASED", `this save of ${key} brings back what was erased at ${at} (erasure ${id})`, {
    hint: `Leave it out and save again. If it was erased by mistake, \`aftersave erase --lift ${id.slice(-6)}\` lets it back in.`,
    details: { erasure: id },
  });

/**
 * What was noticed of the changelog file that nobody of ours did. It stays, whoever mended the file, until a person says
 * that they have looked.
 * @module
 */
import { openDatabase, type Database } from "./sqlite.ts";

export interface Evidence {
  readonly id: number;
  /** When it was noticed, in ISO 8601. */
  readonly at: string;
  /**
   * `removed`, `cut`, `altered`: the file. `added`: something stood behind its end. `unknown`: lines that the state did not
   * know were taken over; `regained`: the same, where the state was gone or damaged.
   */
  readonly what: "removed" | "cut" | "altered" | "added" | "unknown" | "regained";
  /** The file, and the line in it; null: none stood there. */
  readonly path: string;
  readonly line: number | null;
  /** The first line of the history that it is about; null: none is. */
  readonly place: number | null;
  /** How many lines were taken over; else null. */
  readonly lines: number | null;
  /** Files that hold what was set aside. */
  readonly aside: readonly string[];
}

export type Noticed = Omit<Evidence, "id" | "aside">;

export interface EvidenceBook {
  /** Oldest first. */
  list(): Promise<Evidence[]>;
  /** Durable when it resolves, with its id. What was noticed before and is not set aside yet is the same. */
  note(noticed: Noticed): Promise<number>;
  setAside(id: number, path: string): Promise<void>;
  /** Takes over what another state file had. */
  carry(kept: readonly Evidence[]): Promise<void>;
  /** Someone has looked at these. */
  clear(ids: readonly number[]): Promise<void>;
}

/** Above this the first ones and the newest one are kept: neither how it began nor what is going on can be flooded away. */
const MOST = 20;
const NAME = "evidence";

interface Book {
  /** The next id: none is given twice. */
  readonly next: number;
  readonly kept: readonly Evidence[];
}

const read = (db: Database): Book => {
  const row = db.prepare("SELECT value FROM meta WHERE name = ?").get(NAME);
  return row ? (JSON.parse(String(row["value"])) as Book) : { next: 1, kept: [] };
};

const added = ({ next, kept }: Book, one: Omit<Evidence, "id">): Book => ({
  next: next + 1,
  kept: [...kept.slice(0, MOST - 1), { id: next, ...one }],
});

const isSame = (a: Noticed, b: Noticed) => a.what === b.what && a.path === b.path && a.line === b.line && a.place === b.place;

export function createEvidence(db: Database): EvidenceBook {
  const write = (book: Book) =>
    db.prepare("INSERT OR REPLACE INTO meta (name, value) VALUES (?,?)").run(NAME, JSON.stringify(book));
  const change = (work: (book: Book) => Book) => db.transaction(() => write(work(read(db))));
  return {
    async list() {
      return [...read(db).kept];
    },
    async note(noticed) {
      return db.transaction(() => {
        const book = read(db);
        const same = book.kept.find((one) => one.aside.length === 0 && isSame(one, noticed));
        if (!same) write(added(book, { ...noticed, aside: [] }));
        return same?.id ?? book.next;
      });
    },
    async setAside(id, path) {
      const grown = (one: Evidence) => ({ ...one, aside: [...new Set([...one.aside, path])] });
      change(({ next, kept }) => ({ next, kept: kept.map((one) => (one.id === id ? grown(one) : one)) }));
    },
    async carry(more) {
      change((book) => more.reduce((all, { id: _, ...one }) => added(all, one), book));
    },
    async clear(ids) {
      change(({ next, kept }) => ({ next, kept: kept.filter(({ id }) => !ids.includes(id)) }));
    },
  };
}

/** What can still be read of it in a state file that was set aside; nothing where the file is too damaged. */
export function salvageEvidence(path: string): readonly Evidence[] {
  let database: Database | undefined;
  try {
    database = openDatabase(path, 1_000);
    return read(database).kept;
  } catch {
    return []; // the rebuild says that the file was damaged
  } finally {
    database?.close();
  }
}

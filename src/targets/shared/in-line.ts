/**
 * Work that must not overlap in one process. Between processes the engine's claims see to it.
 * @module
 */

/** Does what is asked of one line, a key for instance, one after the other; other lines go on meanwhile. */
export function createLines(): <T>(line: string, work: () => Promise<T>) => Promise<T> {
  const lines = new Map<string, Promise<unknown>>();
  return async (line, work) => {
    const before = lines.get(line);
    const turn = (async () => {
      await before?.catch(() => undefined);
      return work();
    })();
    lines.set(line, turn);
    try {
      return await turn;
    } finally {
      if (lines.get(line) === turn) lines.delete(line);
    }
  };
}

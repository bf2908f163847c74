import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach } from "vitest";
import { filesBelow, foreignWrite, makeRoot, removeRoot, sha256 } from "../../scripts/campaign/root.ts";
import { openMemory, type Memory, type OpenOptions } from "../../src/open.ts";

/** Memory roots of one test file: closed and removed after each test. */
export function freshRoots() {
  const opened: Memory[] = [];
  const roots: string[] = [];
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((memory) => memory.close()));
    for (const root of roots.splice(0)) removeRoot(root);
  });
  const open = async (root: string, options: OpenOptions = {}): Promise<Memory> => {
    const memory = await openMemory({ ...options, root });
    opened.push(memory);
    return memory;
  };
  const make = (more?: Record<string, unknown>) => {
    const root = makeRoot(more);
    roots.push(root);
    return root;
  };
  return {
    make,
    open,
    async fresh(options: OpenOptions = {}) {
      const root = make();
      const data = (key: string) => join(root, "Data", key);
      return {
        root,
        memory: await open(root, options),
        data,
        read: (key: string) => readFileSync(data(key), "utf8"),
        bytes: (key: string) => readFileSync(data(key)),
        there: (key: string) => existsSync(data(key)),
        /** What someone else does. */
        write: (key: string, bytes: string | Uint8Array) => foreignWrite(data(key), bytes),
        edit: (key: string, bytes: string | Uint8Array) => writeFileSync(data(key), bytes),
        files: () => filesBelow(join(root, "Data")),
        archives: () => filesBelow(join(root, "Data/Archive")),
      };
    },
  };
}

export { sha256 };

export const codeOf = async (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => "accepted",
    (error: unknown) => (error as { code?: unknown }).code ?? error,
  );

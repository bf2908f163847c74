/**
 * What a process is killed at: bringing back, settling, keeping and forgetting.
 * @module
 */
import { AftersaveError } from "../../src/core/errors.ts";
import type { EraseWish, Memory, UndoWish } from "../../src/open.ts";

export type Deed =
  | { readonly does: "restore"; readonly file: string; readonly version: string }
  | { readonly does: "restore --at"; readonly at: string }
  | { readonly does: "restore --from" | "restore --from, bare" }
  | { readonly does: "undo"; readonly wish: UndoWish }
  | { readonly does: "prune" }
  | { readonly does: "erase"; readonly wish: EraseWish }
  | { readonly does: "accept" | "reject"; readonly version: string };

export interface BackOrders {
  readonly root: string;
  readonly deed: Deed;
  /** Dies when it comes to so many steps, of whatever kind. */
  readonly step?: number | undefined;
}

/** Does it; done again after a kill, it does what is left. */
export async function perform(memory: Memory, deed: Deed, onStep: () => void = () => undefined): Promise<void> {
  switch (deed.does) {
    case "restore":
      return leftNone(await memory.restore({ file: deed.file, version: deed.version }));
    case "restore --at":
      return leftNone(await memory.restoreAt(deed.at));
    case "restore --from":
    case "restore --from, bare":
      return leftNone(await memory.restoreFrom("drive", { onProgress: onStep }));
    case "undo":
      return leftNone(await memory.undo(deed.wish));
    case "prune":
      return leftNone(await memory.prune());
    case "accept":
    case "reject":
      await memory[deed.does](deed.version);
      return;
    case "erase":
      await memory.erase(deed.wish).catch((error: unknown) => {
        // a key that was erased is not known any more
        if (!(error instanceof AftersaveError) || error.code !== "E_NOT_FOUND") throw error;
      });
  }
}

function leftNone({ left }: { readonly left: readonly unknown[] }): void {
  if (left.length > 0) throw new Error(`left as it was: ${JSON.stringify(left)}`);
}

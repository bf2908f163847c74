/**
 * File ids, reserved ahead: a create that carries one can be repeated, and makes no second file.
 * @module
 */
import type { DriverMemory } from "../../core/target.ts";
import type { DriverContext } from "../shared/driver.ts";
import type { Asked, DriveApi } from "./api.ts";

/** As many as Drive gives at once. */
const ORDER = 1000;
/** Ids that a process takes out of the stock at a time; those it does not use it puts back when it closes. */
const BLOCK = 50;
const STOCK = "ids/";

export interface Ids {
  /** An id that nobody else has or gets. Empty where the client gives none. */
  take(asked?: Asked): Promise<string>;
  close(): Promise<void>;
}

export interface IdsParts {
  readonly api: Pick<DriveApi, "generateIds">;
  readonly memory: DriverMemory;
  readonly claim: DriverContext["claim"];
}

/** The stock lies in the driver's memory; processes take blocks out of it, one at a time. */
export function createIds({ api, memory, claim }: IdsParts): Ids {
  let block: string[] = [];
  let filling: Promise<void> | undefined;

  const put = (ids: readonly string[]) => memory.set(`${STOCK}${ids[0]}`, JSON.stringify(ids));

  const fill = async (asked?: Asked) => {
    const release = await claim("ids");
    try {
      const [next] = await memory.list(STOCK);
      if (next) {
        await memory.delete(next[0]);
        block = JSON.parse(next[1]) as string[];
        return;
      }
      const ids = await api.generateIds(ORDER, asked);
      for (let at = BLOCK; at < ids.length; at += BLOCK) await put(ids.slice(at, at + BLOCK));
      block = ids.slice(0, BLOCK);
    } finally {
      release();
    }
  };

  return {
    async take(asked) {
      if (block.length === 0) {
        filling ??= fill(asked).finally(() => (filling = undefined));
        await filling;
      }
      return block.pop() ?? "";
    },
    async close() {
      const left = block;
      block = [];
      if (left.length > 0) await put(left);
    },
  };
}

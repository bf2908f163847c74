/**
 * `aftersave worker`: the background process that a save starts. Ends when there is nothing left that is due. History
 * that may not be sent before a minute is over is waited for by one process, which holds nothing meanwhile.
 * @module
 */
import { setTimeout as pause } from "node:timers/promises";
import type { Command } from "commander";
import type { Memory } from "../../index.ts";
import type { Cli } from "../cli.ts";

const TURN = "history_turn";

export function define(command: Command, cli: Cli): void {
  command.description("Uploads what is due, as the only worker of this memory root, and ends.").action(async () => {
    const memory = await cli.memory();
    const worked = await memory.work();
    if (worked) await sendLater(memory);
    cli.out.answer({ worked }, () => (worked ? "nothing is due any more" : "another worker is at it"));
  });
}

/** Comes back for the history when its time has come, unless another process has said so. */
async function sendLater(memory: Memory): Promise<void> {
  const now = Date.now();
  const due = await memory.historyDue();
  const turn = Number((await memory.getMeta(TURN)) ?? 0);
  if (due === null || due <= now || turn > now) return;
  await memory.setMeta(TURN, String(due));
  await memory.close();
  await pause(due - now);
  const { openMemory } = await import("../../index.ts");
  const again = await openMemory({ root: memory.root });
  try {
    if (await again.work()) await sendLater(again);
  } finally {
    await again.close();
  }
}

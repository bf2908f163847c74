/**
 * A process that brings back, settles, prunes or erases, and is killed on its way.
 * @module
 */
import { writeSync } from "node:fs";
import { openMemory } from "../../src/open.ts";
import { perform, type BackOrders } from "./deeds.ts";

const { root, deed, step } = JSON.parse(process.argv[2] ?? "") as BackOrders;
let met = 0;
let armed = false;
const onStep = () => {
  if (armed && ++met === step) process.kill(process.pid, "SIGKILL");
};
const memory = await openMemory({ root, retryBaseMs: 1, env: {}, onStep });
writeSync(1, "ready\n");
armed = true;
await perform(memory, deed, onStep);
await memory.close();

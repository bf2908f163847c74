// Restores from its target and is killed. from-target-kill.child.ts ROOT STEP N: at the Nth save's STEP; STEP fetched: when the Nth file came.
import { openMemory } from "../../src/open.ts";

const [root = "", step = "", nth = ""] = process.argv.slice(2);
let met = 0;
const at = (now: string) => {
  if (now === step && ++met === Number(nth)) process.kill(process.pid, "SIGKILL");
};
const memory = await openMemory({ root, env: {}, retryBaseMs: 1, onStep: at });
await memory.restoreFrom("drive", { onProgress: () => at("fetched") });
await memory.close();

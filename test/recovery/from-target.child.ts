// Restores a bare root from its target, and is killed. from-target.child.ts ROOT N MS: so long after the Nth file came.
import { openMemory } from "../../src/open.ts";

const [root = "", nth = "", ms = ""] = process.argv.slice(2);
const die = () => process.kill(process.pid, "SIGKILL");
const memory = await openMemory({ root, env: {} });
await memory.restoreFrom("drive", {
  onProgress(done) {
    if (done !== Number(nth)) return;
    if (ms === "0") die();
    else setTimeout(die, Number(ms));
  },
});
await memory.close();

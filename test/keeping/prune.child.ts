// Prunes, and is killed at the N-th step of that name. prune.child.ts ROOT STEP N
import { openMemory } from "../../src/open.ts";

const [root = "", step = "", n = "1"] = process.argv.slice(2);
let count = 0;
const memory = await openMemory({
  root,
  env: {},
  onStep: (now) => {
    if (now === step && ++count === Number(n)) process.kill(process.pid, "SIGKILL");
  },
});
await memory.prune();
await memory.close();

// Brings back. bringing.child.ts ROOT TIME|SESSION STEP N: is killed when the Nth save is at that step; STEP never: runs to the end.
import { openMemory } from "../../src/open.ts";

const [root = "", how = "", step = "", after = ""] = process.argv.slice(2);
let met = 0;
const memory = await openMemory({
  root,
  env: {},
  onStep: (at) => {
    if (at === step && ++met === Number(after)) process.kill(process.pid, "SIGKILL");
  },
});
const { receipts, left } = how.includes(":") ? await memory.restoreAt(how) : await memory.undo({ session_id: how });
process.stdout.write(JSON.stringify({ receipts, left }));
await memory.close();

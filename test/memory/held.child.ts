// held.child.ts ROOT hold|accept|reject|remove VERSION STEP: is killed where it comes to that step.
import { openMemory } from "../../src/open.ts";

const [root = "", what = "", version = "", at = ""] = process.argv.slice(2);
const memory = await openMemory({
  root,
  env: {},
  onStep: (step) => {
    if (step === at) process.kill(process.pid, "SIGKILL");
  },
});
if (what === "hold") await memory.replace("Meta/Notes.md", "short\n");
else if (what === "accept") await memory.accept(version);
else await memory.reject(version);
process.stdout.write("came to its end");

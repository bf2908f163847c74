// Erases a text, and is killed at the nth time of a step.
import { openMemory } from "../../src/open.ts";

const [root = "", step, nth, text = ""] = process.argv.slice(2);
let seen = 0;
const memory = await openMemory({
  root,
  env: {},
  onStep: (at) => {
    if (at === step && ++seen === Number(nth)) process.kill(process.pid, "SIGKILL");
  },
});
await memory.erase({ match: text });
await memory.close();

// Erases a text or a key, and is killed at the nth time of a step.
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
await memory.erase(text.startsWith("Meta/") ? { key: text } : { match: text });
await memory.close();

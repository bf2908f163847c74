/** Does one thing and says how much memory it took at most. */
import { openMemory } from "../src/index.ts";

const [what, root] = process.argv.slice(2);
if (what !== "nothing") {
  const memory = await openMemory({ root });
  if (what === "rows") {
    await memory.append("Known/1/file-1.txt", "more\n");
    await memory.flush();
    await memory.status();
  } else {
    const result = await memory.upload("Data/big.bin");
    if (result.status !== "success") throw new Error(result.notes);
  }
  await memory.close();
}
process.stdout.write(`peak ${process.resourceUsage().maxRSS * 1024}\n`);

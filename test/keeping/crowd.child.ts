// One of a crowd. crowd.child.ts ROOT saves ID COUNT | appends ID COUNT SECRET | prune | flush | restore ID COUNT | erase ID COUNT SECRET
import { openMemory } from "../../src/open.ts";

const [root = "", what = "", id = "", count = "", secret = ""] = process.argv.slice(2);
const memory = await openMemory({ root, env: {}, retryBaseMs: 1 });
const told: unknown[] = [];
const tell = async (version: Promise<{ version: string }>, text: string) => told.push([(await version).version, text]);
const keys = ["Meta/a.txt", "Meta/b.txt"] as const;
for (let n = 0; n < Number(count || 1); n++) {
  const text = `${id} ${n} ${"x".repeat((n * 37) % 200)}\n`;
  if (what === "saves") await tell(memory.replace(keys[n % 2] ?? "", text), text);
  else if (what === "appends" && n % 3 > 0) await tell(memory.append("Meta/a.txt", text), text);
  else if (what === "appends")
    await memory.append("Meta/a.txt", `${secret} ${text}`).catch((error: unknown) => {
      if ((error as { code?: unknown }).code !== "E_ERASED") throw error; // it comes back too late
    });
  else if (what === "prune") await memory.prune();
  else if (what === "flush") await memory.flush();
  else if (what === "erase") told.push((await memory.erase({ match: secret })).redacted);
  else if (what === "restore") {
    const versions = (await memory.log("changes", { file: "Meta/c.txt" })).slice(0, 6);
    const version = String(versions[n % 6]?.["version"]);
    const { receipts } = await memory.restore({ file: "Meta/c.txt", version });
    for (const receipt of receipts) told.push([receipt.version, `before ${n % 6}\n`]);
  }
}
await memory.close();
process.stdout.write(JSON.stringify(told));

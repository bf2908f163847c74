// Opens a memory whose state is lost. recovery.child.ts ROOT save ID: appends one line. ROOT begun|lines|heads|archives: is killed there.
import { openMemory } from "../../src/open.ts";
import { openState } from "../../src/state/state.ts";
import type { Restore } from "../../src/state/restore.ts";
import { rebuild } from "../../src/recovery/rebuild.ts";
import { createHeads } from "../../src/memory/heads.ts";
import { createPlaces } from "../../src/memory/places.ts";
import { join } from "node:path";

const [root = "", what = "", id = ""] = process.argv.slice(2);
if (what === "save") {
  const memory = await openMemory({ root, env: {} });
  await memory.append("Core/Log.txt", `${id}\n`);
  process.stdout.write(memory.notices.join("\n"));
  await memory.close();
} else {
  const clock = { now: () => Date.now(), sleep: () => Promise.resolve() };
  const state = await openState(join(root, ".aftersave"), clock);
  const die = () => process.kill(process.pid, "SIGKILL");
  const { restore } = state;
  const killing: Restore = {
    ...restore,
    async begin(aside) {
      await restore.begin(aside);
      if (what === "begun") die();
    },
    async lines(lines) {
      await restore.lines(what === "lines" ? lines.slice(0, 10) : lines);
      if (what === "lines") die();
    },
    async heads(heads) {
      await restore.heads(heads.slice(0, 2));
      if (what === "heads") die();
    },
    async end(exported) {
      die();
      await restore.end(exported);
    },
  };
  await rebuild(
    {
      state: { ...state, restore: killing },
      heads: createHeads(join(root, ".aftersave/heads")),
      places: createPlaces(root, join(root, "Data"), "Archive/"),
      archive: "Archive/",
      changelog: join(root, "logs/memory_changelog.json"),
      archiveLog: join(root, "logs/archive_log.json"),
      targetsFor: () => [],
    },
    null,
  );
}

/** Memory roots to measure in. */
import { mkdirSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import type { Key } from "../src/core/key.ts";
import { actorOf, chain } from "../src/core/version.ts";
import { openDatabase } from "../src/state/sqlite.ts";
import { openState, STATE_FILE } from "../src/state/state.ts";

/** An empty root with one folder target on the same disk. */
export function makeRoot(root: string): string {
  mkdirSync(join(root, "Data"), { recursive: true });
  writeFileSync(
    join(root, "paths.json"),
    JSON.stringify({ targets: { drive: { type: "folder", enabled: true, path: "./" } }, drive_root: "Drive/MemoryVDB/" }),
  );
  return root;
}

/**
 * A root that already knows `count` files, each versioned and mirrored. The rows are written straight into the state's
 * tables: what is measured is the cost of the next save, not of these.
 */
export async function makeKnownRoot(root: string, count: number): Promise<string> {
  makeRoot(root);
  const directory = join(root, ".aftersave");
  await (await openState(directory, { now: () => Date.now(), sleep: async () => undefined })).close();
  const database = openDatabase(join(directory, STATE_FILE), 0);
  const body = "known\n";
  const size = body.length;
  const sha256 = createHash("sha256").update(body).digest("hex");
  const timestamp = new Date().toISOString();
  const actor = JSON.stringify(actorOf());
  let prev: string | null = null;
  database.transaction(() => {
    for (let n = 0; n < count; n++) {
      const key = `Known/${n % 100}/file-${n}.txt` as Key;
      const path = join(root, "Data", key);
      if (n < 100) mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, body);
      const version = `01J${String(n).padStart(23, "0")}`;
      const head = join(directory, "heads", version.slice(-1), version);
      mkdirSync(dirname(head), { recursive: true });
      writeFileSync(head, body);
      const shared = {
        version,
        op: "append",
        file: key,
        sha256,
        size,
        prev_sha256: null,
        archived_as: null,
        timestamp,
        details: null,
      } as const;
      const v = chain({ ...shared, ...actorOf() }, n + 1, prev, "00".repeat(16));
      prev = v.sum;
      database
        .prepare("INSERT INTO versions VALUES (?,?,?,?,?,?,NULL,NULL,?,?,?,?,?,?,NULL,NULL)")
        .run(v.place, version, v.op, key, sha256, size, timestamp, actor, version, v.salt, v.sum, v.prev);
      database.prepare("INSERT INTO heads VALUES (?,?,?,?,?,NULL)").run(key, version, version, sha256, size);
      database
        .prepare("INSERT INTO ledger VALUES ('drive',?,?,NULL,'1',?,?,?,1,?)")
        .run(key, key.toLowerCase(), sha256, size, version, key);
    }
  });
  database.close();
  return root;
}

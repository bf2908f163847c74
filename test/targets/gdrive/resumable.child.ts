// FOLDER ROOT_URL TOKEN_URL SIZE STOP_AT: puts a file of SIZE bytes as a worker does, with its state in FOLDER. The body hangs after STOP_AT bytes (0: never).
import { createHash } from "node:crypto";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { parseKey } from "../../../src/core/key.ts";
import type { Chunks } from "../../../src/core/target.ts";
import { openState } from "../../../src/state/state.ts";
import { createGdriveTarget } from "../../../src/targets/gdrive.ts";
import { seededRandom } from "../../../src/testing/random.ts";

const [folder = "", rootUrl = "", tokenUrl = "", sizeText = "", stopText = ""] = process.argv.slice(2);
const [size, stopAt] = [Number(sizeText), Number(stopText)];
const PIECE = 64 * 1024;
const clock = { now: () => Date.now(), sleep: async (ms: number) => void (await pause(ms)) };

/** The same bytes in every process. */
function* pieces(): Generator<Uint8Array> {
  const random = seededRandom(7);
  for (let at = 0; at < size; at += PIECE) yield Buffer.alloc(Math.min(PIECE, size - at), String(random()), "latin1");
}

async function* open(): Chunks {
  let given = 0;
  for (const piece of pieces()) {
    if (stopAt > 0 && given >= stopAt) {
      process.send?.("hangs");
      await new Promise(() => undefined);
    }
    given += piece.length;
    yield piece;
  }
}

const hash = createHash("sha256");
for (const piece of pieces()) hash.update(piece);
const state = await openState(folder, clock);
const target = createGdriveTarget({
  name: "drive",
  root: "Drive/MemoryVDB/",
  options: {
    auth: "user",
    root_url: rootUrl,
    token_url: tokenUrl,
    scope: "https://www.googleapis.com/auth/drive.file",
    writes_per_second: "off",
    write_burst: 20,
  },
  tokenFile: join(folder, "drive_token.json"),
  clientFile: "",
  timeoutMs: 20_000,
  env: {},
  memory: state.ledger.driverMemory("drive"),
  claim: (what) => state.claims.take(what, "drive"),
  clock,
});
const told: number[] = [];
const body = { size, sha256: hash.digest("hex"), open };
const entry = await target.put(parseKey("Core/Big.bin"), body, { expect: "absent", onProgress: (sent) => told.push(sent) });
const left = await state.ledger.driverMemory("drive").list("session/");
await target.close();
await state.close();
process.send?.({ entry, told, left });
process.disconnect();

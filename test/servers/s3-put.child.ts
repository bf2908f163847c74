// FOLDER ENDPOINT BUCKET SIZE: puts a file of SIZE bytes as a worker does, with its state in FOLDER.
import { createHash } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { parseKey } from "../../src/core/key.ts";
import { openState } from "../../src/state/state.ts";
import { seededRandom } from "../../src/testing/random.ts";
import { openAt } from "../targets/s3/place.ts";

const [folder = "", endpoint = "", bucket = "", sizeText = ""] = process.argv.slice(2);
const size = Number(sizeText);
const PIECE = 64 * 1024;

/** The same bytes in every process. */
function* pieces(): Generator<Uint8Array> {
  const random = seededRandom(7);
  for (let at = 0; at < size; at += PIECE) yield Buffer.alloc(Math.min(PIECE, size - at), String(random()), "latin1");
}
async function* open() {
  yield* pieces();
}

const hash = createHash("sha256");
for (const piece of pieces()) hash.update(piece);
const state = await openState(folder, { now: () => Date.now(), sleep: async (ms) => void (await pause(ms)) });
const target = await openAt(
  { endpoint, accessKeyId: "tester", secretAccessKey: "testing", bucket },
  { memory: state.ledger.driverMemory("store") },
);
const body = { size, sha256: hash.digest("hex"), open };
const entry = await target.put(parseKey("Core/Big.bin"), body, {
  expect: "absent",
  onProgress: (sent) => process.send?.({ sent }),
});
const left = await state.ledger.driverMemory("store").list("upload/");
await target.close();
await state.close();
process.send?.({ entry, left, sha256: body.sha256 });
process.disconnect();

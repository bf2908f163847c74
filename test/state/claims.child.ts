// Takes a claim: claims.child.ts FOLDER KIND NAME hold: says so and keeps it. … count FILE N: adds one to FILE, N times, each under the claim.
import { readFileSync, writeFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { createClaims, type ClaimKind } from "../../src/state/claims.ts";

const [folder = "", kind = "", name = "", what = "", file = "", count = "0"] = process.argv.slice(2);
const clock = { now: () => Date.now(), sleep: (ms: number) => pause(ms) };
const claims = createClaims(folder, clock);
if (what === "hold") {
  await claims.take(kind as ClaimKind, name);
  process.stdout.write("held\n");
  setInterval(() => undefined, 60_000);
} else {
  for (let n = 0; n < Number(count); n++) {
    const release = await claims.take(kind as ClaimKind, name);
    const seen = Number(readFileSync(file, "utf8"));
    await pause(0);
    writeFileSync(file, String(seen + 1));
    release();
  }
  claims.close();
}

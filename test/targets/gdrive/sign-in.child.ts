// store TOKEN_FILE CLAIMS NAME COUNT: stores a renewed token COUNT times (0: for ever). renew TOKEN_FILE CLAIMS ROOT_URL TOKEN_URL COUNT: renews as the driver does.
import { setTimeout as pause } from "node:timers/promises";
import { createClaims } from "../../../src/state/claims.ts";
import { openCredentials } from "../../../src/targets/gdrive/credentials.ts";
import { readTokenFile, storeRenewed } from "../../../src/targets/gdrive/token-file.ts";

const [what = "", tokenFile = "", folder = "", ...rest] = process.argv.slice(2);
const clock = { now: () => Date.now(), sleep: async (ms: number) => void (await pause(ms)) };
const claims = createClaims(folder, clock);
const claim = (kind: "token") => claims.take(kind, "");

process.stdout.write("ready\n");
if (what === "store") {
  const [name = "", count = ""] = rest;
  for (let n = 1; n <= Number(count) || count === "0"; n++) {
    const file = await readTokenFile(tokenFile);
    if (file?.kind !== "user") throw new Error("the token file is gone");
    const { refreshToken = "" } = file.tokens;
    await pause(0); // room for the other process between looking and storing
    await storeRenewed(tokenFile, refreshToken, { accessToken: `${name}-${n}`, expiresAt: Date.now() + 3_600_000 }, claim);
    if (n === 1) process.stdout.write("storing\n");
  }
} else {
  const [rootUrl = "", tokenUrl = "", count = ""] = rest;
  const credentials = await openCredentials({
    name: "cloud",
    tokenFile,
    clientFile: "",
    auth: "user",
    scope: "https://www.googleapis.com/auth/drive.file",
    rootUrl,
    tokenUrl,
    env: {},
    claim,
    clock,
  });
  for (let n = 0; n < Number(count); n++) await credentials.renew();
  process.stdout.write(`${(await credentials.about()).unsaved ?? "stored"}\n`);
}
claims.close();

/**
 * The emulator as a process of its own: `drive-emulator.child.ts '{"seed":1}'`. Prints one JSON line
 * with its addresses and sign-in material; everything else goes over `/__emulator/`. Ends when its standard input does.
 */
import { startDriveEmulator, type DriveEmulatorOptions } from "../../src/testing/index.ts";

const emulator = await startDriveEmulator(JSON.parse(process.argv[2] ?? "{}") as DriveEmulatorOptions);
const { rootUrl, tokenUrl, authUrl, seed } = emulator;
const line = {
  rootUrl,
  tokenUrl,
  authUrl,
  seed,
  pid: process.pid,
  accessToken: emulator.accessToken(),
  clientFile: emulator.clientFile(),
  authorizedUser: emulator.authorizedUser(),
};
process.stdout.write(`${JSON.stringify(line)}\n`);
process.stdin.resume();
process.stdin.once("end", () => {
  emulator.close().then(
    () => process.exit(0),
    (error: unknown) => {
      process.stderr.write(`${String(error)}\n`);
      process.exit(1);
    },
  );
});

/** The emulated Google Drive of `npm start`, as a process of its own. Prints its addresses and a sign-in; ends with its standard input. */
import { startDriveEmulator } from "../../src/testing/index.ts";

const drive = await startDriveEmulator();
const { rootUrl, tokenUrl } = drive;
process.stdout.write(`${JSON.stringify({ rootUrl, tokenUrl, token: drive.authorizedUser() })}\n`);
process.stdin.resume();
process.stdin.once("end", () => process.exit(0));

// Starts rclone as a driver does, says where it is, and waits to be killed.
import { createRclone } from "../../../src/targets/rclone/daemon.ts";

const rclone = createRclone({ config: process.argv[2], env: process.env });
const { pid } = await rclone.call("core/pid", {});
process.stdout.write(`${JSON.stringify({ pid, folder: await rclone.folder() })}\n`);
if (process.argv[3] === "forgets") process.exitCode = 7;
else setInterval(() => undefined, 1000);

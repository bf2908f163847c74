// Appends a line that a file size limit cuts short, and tells what was thrown: limit.child.ts PATH
import { appendLines } from "../../src/logs/append.ts";
import { AftersaveError } from "../../src/core/errors.ts";

const [path = ""] = process.argv.slice(2);
process.on("SIGXFSZ", () => {});
await appendLines(path, ['{"first":1}']);
try {
  await appendLines(path, [JSON.stringify({ long: "x".repeat(100_000) })]);
  process.stdout.write("no error");
} catch (error) {
  process.stdout.write(error instanceof AftersaveError ? error.code : String(error));
}

/**
 * Content on stdout, byte for byte.
 * @module
 */
import type { Output } from "./output.ts";

/** Writes `pieces` to stdout as they come, no faster than they are read there; nothing with `--quiet`. */
export async function pour(pieces: AsyncIterable<Uint8Array | string>, { closed, quiet }: Output): Promise<void> {
  if (quiet) return;
  const { stdout } = process;
  for await (const piece of pieces) {
    if (closed.aborted) return;
    if (stdout.write(piece)) continue;
    await new Promise<void>((resolve) => {
      const done = () => {
        stdout.off("drain", done);
        closed.removeEventListener("abort", done);
        resolve();
      };
      stdout.on("drain", done);
      closed.addEventListener("abort", done);
    });
  }
}

/**
 * Many uploads to a Drive that loses answers, refuses and fails.
 * @module
 */
import { openMemory } from "../../src/open.ts";
import { startDriveEmulator } from "../../src/testing/drive-emulator.ts";
import { addFaults, flushAll, held, makeDriveRoot, problemsOn, untold, wasteOn } from "./drive.ts";
import { removeRoot } from "./root.ts";

/** What is broken after `uploads` uploads of `keys` keys; and that the faults struck. */
export async function faultyUploads(uploads: number, keys: number, seed: number): Promise<readonly string[]> {
  // a search by name does not help who forgot an id
  const drive = await startDriveEmulator({ seed, lag: { nameMs: 3000 } });
  const root = makeDriveRoot(drive);
  const memory = await openMemory({ root, retryBaseMs: 1 });
  try {
    addFaults(drive);
    let done = 0;
    memory.on("upload", () => done++);
    const names = Array.from({ length: keys }, (_, n) => `Zone${n % 7}/part ${n % 3}/file ${n}.txt`);
    for (let round = 0; done < uploads; round++) {
      await Promise.all(names.map((key, n) => memory.append(key, `${round}${"!".repeat((n + round) % 50)}\n`)));
      await flushAll(memory);
    }
    const { pending, failed, conflicts } = await memory.status();
    await memory.close(); // the logs are whole then
    const expected = held(root);
    const problems = [...problemsOn(drive, expected), ...wasteOn(drive), ...untold(root, done, expected)];
    if (pending + failed + conflicts > 0) problems.push(`${pending} pending, ${failed} failed, ${conflicts} conflicts`);
    if (expected.size !== keys) problems.push(`${expected.size} files of ${keys} were saved`);
    const struck = drive.requests.filter(({ fault }) => fault !== undefined).length;
    if (struck < drive.requests.length / 25) problems.push(`faults struck ${struck} times in ${drive.requests.length}`);
    return problems;
  } finally {
    await memory.close();
    await drive.close();
    removeRoot(root);
  }
}

// Opens a state and says what it found: open.child.ts FOLDER [hide]. With `hide`, no SQLite library can be loaded.
import Module from "node:module";
import { clock } from "./clock.ts";

const LOAD = "_load";
const [folder = "", hide] = process.argv.slice(2);
if (hide !== undefined) {
  const hidden = new Set(hide.split(","));
  type Load = (this: unknown, request: string, ...more: unknown[]) => unknown;
  const loader = Module as unknown as Record<typeof LOAD, Load>;
  const load = loader[LOAD];
  loader[LOAD] = function (request, ...more) {
    if (hidden.has(request.split("/")[0] ?? ""))
      throw Object.assign(new Error(`Cannot find module '${request}'`), { code: "MODULE_NOT_FOUND" });
    return load.call(this, request, ...more);
  };
}
const { openState } = await import("../../src/state/state.ts");
try {
  const state = await openState(folder, clock);
  const { place } = (await state.saves.last()) ?? { place: 0 };
  process.stdout.write(
    JSON.stringify({ library: state.library, place, check: await state.check(), journalMode: state.journalMode }),
  );
  await state.close();
} catch (error) {
  const { code, message, hint } = error as { code: string; message: string; hint: string };
  process.stdout.write(JSON.stringify({ code, message, hint }));
}

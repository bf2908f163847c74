/** Promise 9, with Drive: no token and no upload session is told, logged or sent anywhere; and nothing leaves this machine. */
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import { afterEach, expect, it, vi } from "vitest";
import { addFaults, flushAll, makeDriveRoot } from "../../scripts/campaign/drive.ts";
import { filesBelow, removeRoot } from "../../scripts/campaign/root.ts";
import { openMemory } from "../../src/open.ts";
import { startDriveEmulator } from "../../src/testing/drive-emulator.ts";
import { anySeed } from "../../src/testing/random.ts";

const undo: Array<() => unknown> = [];
afterEach(async () => {
  for (const back of undo.splice(0).toReversed()) await back();
});

/** Every host that this process connects to. */
function watchConnections(): Set<string> {
  const hosts = new Set<string>();
  const connect = Socket.prototype.connect;
  const spy = vi.spyOn(Socket.prototype, "connect").mockImplementation(function (this: Socket, ...args: unknown[]) {
    const [first, second] = args.flat() as [{ path?: string | null; host?: string } | number, string | undefined];
    hosts.add((typeof first === "object" ? (first.path ?? first.host) : second) ?? "localhost");
    return Reflect.apply(connect, this, args) as Socket;
  });
  undo.push(() => spy.mockRestore());
  return hosts;
}

const cli = (root: string, ...args: string[]) =>
  new Promise<string>((resolve) => {
    const command = ["--import", "tsx", "src/cli/main.ts", "--root", root, "--debug", ...args];
    const env = { ...process.env, AFTERSAVE_NO_BACKGROUND: "1" };
    execFile(process.execPath, command, { env }, (_, stdout, stderr) => resolve(`${stdout}\n${stderr}`));
  });

it("after many failures no token, session or client secret is in a log, an answer, the program's output or on the Drive", async () => {
  const seed = anySeed();
  const drive = await startDriveEmulator({ seed });
  undo.push(() => drive.close());
  const root = makeDriveRoot(drive);
  undo.push(() => removeRoot(root));
  const secrets = new Set<string>();
  drive.faults.add({
    when: ({ headers, query }) => {
      const [, bearer] = String(headers["authorization"] ?? "").split(" ");
      for (const secret of [bearer, query["upload_id"]]) if (secret !== undefined) secrets.add(secret);
      return false;
    },
    do: { kind: "reply-lost" },
  });
  const signIn = JSON.parse(readFileSync(join(root, "drive_token.json"), "utf8")) as Record<string, string>;
  for (const name of ["refresh_token", "client_secret"]) secrets.add(signIn[name] ?? "");

  const hosts = watchConnections();
  const told: unknown[] = [];
  const memory = await openMemory({ root, retryBaseMs: 1 });
  undo.push(() => memory.close());
  for (const name of ["upload", "fail", "conflict", "skip"] as const) memory.on(name, (outcome) => void told.push(outcome));
  for (let n = 0; n < 8; n++) await memory.append(`Meta/${n}.txt`, `${n}\n`);
  await memory.replace("Big/a.bin", Buffer.alloc(6 * 2 ** 20, "a"));
  await flushAll(memory);
  addFaults(drive);
  drive.faults.add({ when: { api: "upload.chunk", times: 1 }, do: { kind: "cut", afterBytes: 2 ** 20 } });
  drive.faults.add({ when: { api: "upload.chunk", times: 1 }, do: { kind: "status", status: 400, reason: "badRequest" } });
  drive.faults.add({
    when: { api: "upload.chunk", times: 1 },
    do: { kind: "status", status: 403, reason: "insufficientFilePermissions" },
  });
  drive.account.expireAccessTokens();
  await memory.append("Big/a.bin", "b");
  for (let n = 0; n < 8; n++) await memory.append(`Meta/${n}.txt`, `${n}\n`);
  await memory.flush();
  await flushAll(memory);
  drive.account.revokeTokens();
  drive.account.expireAccessTokens();
  await memory.append("Big/a.bin", "c");
  told.push(await memory.flush(), await memory.status(), await memory.doctor(), memory.notices);
  await memory.close();
  const output = await cli(root, "flush");

  expect([...hosts]).toEqual(["127.0.0.1"]);
  expect(secrets.size).toBeGreaterThan(4);
  expect(JSON.stringify(told)).toContain("E_SIGN_IN_EXPIRED");
  expect(output).toContain("invalid_grant");
  const logs = [...filesBelow(join(root, "logs")).map((name) => `logs/${name}`), ".aftersave/diagnostic.log"];
  expect(logs.every((name) => existsSync(join(root, name)))).toBe(true);
  const onDrive = drive.account
    .tree()
    .map((item) => JSON.stringify(item) + (item.folder ? "" : drive.account.content(item.id).toString()));
  const texts = [JSON.stringify(told), output, ...logs.map((name) => readFileSync(join(root, name), "utf8")), ...onDrive];
  for (const secret of secrets) {
    expect(secret.length).toBeGreaterThan(8);
    for (const text of texts) expect(text.includes(secret), `seed ${seed}, in ${text.slice(0, 200)}`).toBe(false);
  }
});

import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import { TargetError } from "../../src/core/errors.ts";
import { parseKey } from "../../src/core/key.ts";
import { sourceOf } from "../../src/testing/source.ts";
import { targetSuite } from "../../src/testing/target-suite.ts";
import { openRcloneTarget } from "../../src/targets/rclone.ts";
import { createRclone, type Rclone } from "../../src/targets/rclone/daemon.ts";
import { configOf, contextFor, ROOT } from "../targets/rclone/place.ts";
import { freePorts, missing, type Server, startServer } from "./server.ts";

const MIB = 1024 * 1024;
const NOTE = parseKey("Core/Note.txt");
const options = { bigBytes: 3 * MIB, manyEntries: 12 };

const writes = async (file: string, bytes: Uint8Array) => {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, bytes);
};

const forSftp = missing({ rclone: "rclone", sshd: "openssh-server", "ssh-keygen": "openssh-client" });
if (forSftp.length > 0) test.skip(`rclone and SFTP (SKIPPED: apt-get install ${forSftp.join(" ")})`);

describe.runIf(forSftp.length === 0)("rclone and SFTP (OpenSSH)", () => {
  let server: Server;
  let rclone: Rclone;
  beforeAll(async () => {
    server = await startServer("start-sshd.sh", 2);
    const { folder, port } = server;
    const remote = (name: string, at: number) =>
      `[${name}]\ntype = sftp\nhost = 127.0.0.1\nport = ${at}\nuser = ${userInfo().username}\nkey_file = ${folder}/id\nknown_hosts_file = ${folder}/known_hosts\n`;
    const stranger = remote("stranger", port).replace(`${folder}/id\n`, `${folder}/host\n`);
    const config = await configOf([remote("plain", port), remote("shell", port + 1), stranger, remote("nobody", 1)].join("\n"));
    rclone = createRclone({ config, env: process.env });
  });
  afterAll(async () => {
    await rclone?.close();
    await server?.stop();
  });

  const place = async (remote: string) => {
    // one place for each, because rclone connects anew for every other
    const at = join(server.folder, "root", remote);
    await rm(at, { recursive: true, force: true });
    await mkdir(at);
    const open = () => openRcloneTarget(contextFor(`${remote}:${at}`, { rclone }));
    return { at, open, target: await open() };
  };

  for (const [remote, hashes] of [
    ["plain", []],
    ["shell", ["sha1", "sha256"]],
  ] as const)
    describe(remote === "plain" ? "SFTP and nothing else" : "with a shell", () => {
      targetSuite({
        test,
        options,
        open: async () => {
          const { at, open, target } = await place(remote);
          return {
            target,
            reopen: open,
            foreignWrite: (key, bytes) => writes(join(at, ROOT, key), bytes),
            cleanup: () => rm(at, { recursive: true, force: true }),
          };
        },
      });
      it("tells its hashes", async () => {
        const { target } = await place(remote);
        await target.put(NOTE, sourceOf("x"));
        expect(target.traits.hashes).toEqual(hashes);
      });
    });

  const failing = (remote: string) =>
    openRcloneTarget(contextFor(remote, { rclone }))
      .then((target) => target.stat(NOTE))
      .then(
        () => expect.unreachable("it succeeded"),
        (error: unknown) => error as TargetError,
      );

  it("a key that is refused, a server that is not there and a folder that is missing are told apart", async () => {
    expect(await failing("stranger:x")).toMatchObject({ kind: "auth", code: "E_AUTH" });
    expect(await failing("nobody:x")).toMatchObject({ kind: "transient", code: "E_TARGET_UNREACHABLE" });
    expect(await failing(`plain:${server.folder}/root/never`)).toMatchObject({ code: "E_TARGET_UNREACHABLE" });
  });

  it("an upload that is aborted half-way shows nothing, leaves nothing, and the next one goes", async () => {
    const { at, target } = await place("plain");
    await target.put(NOTE, sourceOf("before"));
    await rclone.call("core/bwlimit", { rate: "2M" });
    const stop = new AbortController();
    const told: number[] = [];
    const body = sourceOf(new Uint8Array(20 * MIB));
    const sending = target.put(NOTE, body, {
      signal: stop.signal,
      onProgress: (sent) => {
        told.push(sent);
        stop.abort();
      },
    });
    await expect(sending).rejects.toMatchObject({ name: "AbortError" });
    expect(told[0]).toBeGreaterThan(0);
    expect(told[0]).toBeLessThan(20 * MIB);
    await rclone.call("core/bwlimit", { rate: "off" });
    await expect.poll(() => readdir(join(at, ROOT, "Core")), { timeout: 10_000 }).toEqual(["Note.txt"]);
    expect((await target.stat(NOTE))?.size).toBe(6);
    expect((await target.put(NOTE, body)).size).toBe(20 * MIB);
  });
});

const forWebdav = missing({ rclone: "rclone" });
if (forWebdav.length > 0) test.skip(`rclone and WebDAV (SKIPPED: apt-get install ${forWebdav.join(" ")})`);

describe.runIf(forWebdav.length === 0)("rclone and WebDAV (rclone's own server)", () => {
  let rclone: Rclone;
  let root: string;
  let stop = async (): Promise<void> => undefined;
  let url: string;
  let places = 0;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "as-"));
    const port = await freePorts(1);
    url = `http://127.0.0.1:${port}`;
    const server = spawn("rclone", ["serve", "webdav", root, "--addr", `127.0.0.1:${port}`, "--dir-cache-time", "0s"], {
      stdio: "ignore",
    });
    const ended = new Promise((resolve) => server.once("close", resolve));
    stop = async () => {
      server.kill();
      await ended;
      await rm(root, { recursive: true, force: true });
    };
    for (
      let look = 0;
      look < 100 &&
      !(await fetch(url).then(
        (answer) => answer.ok,
        () => false,
      ));
      look++
    )
      await pause(100);
    rclone = createRclone({ config: await configOf(`[dav]\ntype = webdav\nurl = ${url}\nvendor = other\n`), env: process.env });
  });
  afterAll(async () => {
    await rclone?.close();
    await stop();
  });

  targetSuite({
    test,
    options,
    open: async () => {
      const at = `place${++places}`;
      await mkdir(join(root, at));
      const open = () => openRcloneTarget(contextFor(`dav:${at}`, { rclone }));
      return {
        target: await open(),
        reopen: open,
        // the place tells whole seconds only: what is written within the same one, with the same length, cannot be told apart
        foreignWrite: async (key, bytes) => {
          await pause(1100);
          const path = [at, ...`${ROOT}${key}`.split("/")];
          for (let depth = 1; depth < path.length; depth++)
            await fetch(`${url}/${path.slice(0, depth).map(encodeURIComponent).join("/")}/`, { method: "MKCOL" });
          await fetch(`${url}/${path.map(encodeURIComponent).join("/")}`, { method: "PUT", body: bytes });
        },
        cleanup: () => rm(join(root, at), { recursive: true, force: true }),
      };
    },
  });
});

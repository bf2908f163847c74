import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { chmod, mkdir, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { TargetError } from "../../../src/core/errors.ts";
import { parseKey } from "../../../src/core/key.ts";
import { sourceOf } from "../../../src/testing/source.ts";
import { clearRclone, openRcloneTarget } from "../../../src/targets/rclone.ts";
import { createRclone } from "../../../src/targets/rclone/daemon.ts";
import { cleaned } from "../../../src/targets/rclone/faults.ts";
import { configOf, contextFor, folder, hasProgram, hasRclone, memoryOf, type Opening, ROOT } from "./place.ts";

const NOTE = parseKey("Core/Note.txt");

const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

const failing = async (remote: string, opening?: Opening): Promise<TargetError> => {
  const target = await openRcloneTarget(contextFor(remote, opening));
  try {
    return await target.stat(NOTE).then(
      () => expect.unreachable("it succeeded"),
      (error: unknown) => error as TargetError,
    );
  } finally {
    await target.close();
  }
};

async function started(...args: string[]): Promise<{ child: ChildProcess; pid: number; folder: string }> {
  const child = spawn(process.execPath, ["--import", "tsx", join(import.meta.dirname, "daemon.child.ts"), ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const line = await new Promise<string>((resolve, reject) => {
    child.stdout?.once("data", (data: Buffer) => resolve(data.toString()));
    child.once("exit", (code) => reject(new Error(`it ended with ${code}`)));
  });
  return { child, ...(JSON.parse(line) as { pid: number; folder: string }) };
}

test("what could be a secret is left out of rclone's words", () => {
  const said =
    'Get "https://me:hunter2@host/x?token=hunter2&sig=hunter2": Authorization: Bearer hunter2 pass = "hunter2", :s3,secret_access_key=hunter2:b\nnext';
  const told = cleaned(said, ":s3,secret_access_key=hunter2:b");
  expect(told).not.toContain("hunter2");
  expect(told).toContain(":s3:");
  expect(told).toContain("host/x");
  expect(cleaned("at onedrive:backup", "onedrive:backup")).toBe("at onedrive:backup");
});

describe("a program that is not there", () => {
  test("is named, with what to install", async () => {
    const error = await failing("cloud:", { options: { program: "/no/such/rclone" } });
    expect(error).toMatchObject({ code: "E_SDK_MISSING", message: expect.stringContaining("/no/such/rclone") });
    expect(error.hint).toContain("apt install rclone");
  });

  test("or is no program, or an old one", async () => {
    const disk = await folder();
    const script = async (name: string, text: string, mode = 0o755) => {
      await writeFile(join(disk, name), text);
      await chmod(join(disk, name), mode);
      return { options: { program: join(disk, name) } };
    };
    const plain = await failing("cloud:", await script("plain", "x", 0o644));
    expect(plain).toMatchObject({ code: "E_SDK_MISSING", message: expect.stringContaining("EACCES") });
    const old = await script("old", '#!/bin/sh\necho "Error: unknown flag: --rc-serve" >&2; exit 1\n');
    expect(await failing("cloud:", old)).toMatchObject({ code: "E_SDK_MISSING", message: expect.stringContaining("too old") });
    const server = createServer((_, answer) => answer.end('{"decomposed":[1,53,3]}')).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const at = server.address() as { port: number };
    const older = await script(
      "older",
      `#!/bin/sh\necho "NOTICE: Serving remote control on http://127.0.0.1:${at.port}/" >&2; exec sleep 60\n`,
    );
    expect(await failing("cloud:", older)).toMatchObject({ code: "E_SDK_MISSING", message: expect.stringContaining("1.53") });
    server.close();
    const broken = await script("broken", '#!/bin/sh\necho "Failed to load config file: pass=hunter2" >&2; exit 1\n');
    const error = await failing("cloud:", broken);
    expect(error.message).toContain("configuration");
    expect(`${error.message} ${error.hint}`).not.toContain("hunter2");
  });
});

describe.runIf(hasRclone)("the rclone that is started", () => {
  test("ends with a parent that is killed, and takes its folder along", { timeout: 20_000 }, async () => {
    const { child, pid, folder: own } = await started(await configOf());
    expect([isAlive(pid), existsSync(own)]).toEqual([true, true]);
    child.kill("SIGKILL");
    await expect.poll(() => isAlive(pid), { timeout: 10_000 }).toBe(false);
    await expect.poll(() => existsSync(own), { timeout: 10_000 }).toBe(false);
  });

  test("does not keep a parent alive that forgot to close it", { timeout: 20_000 }, async () => {
    const { child, pid } = await started(await configOf(), "forgets");
    expect(await new Promise((resolve) => child.once("exit", resolve))).toBe(7);
    await expect.poll(() => isAlive(pid), { timeout: 10_000 }).toBe(false);
  });

  test("is started anew when it died, ends by close, and shows no password in its arguments", async () => {
    const rclone = createRclone({ config: await configOf(), env: process.env });
    const pidOf = async () => (await rclone.call("core/pid", {}))["pid"] as number;
    const first = await pidOf();
    if (existsSync("/proc/self/cmdline")) {
      const said = readFileSync(`/proc/${first}/cmdline`, "utf8");
      expect(said).toContain("127.0.0.1:0");
      expect(said).not.toMatch(/rc-(user|pass)/);
    }
    process.kill(first, "SIGKILL");
    await expect.poll(() => pidOf().catch(() => first), { timeout: 10_000 }).not.toBe(first);
    const second = await pidOf();
    await rclone.close();
    expect(isAlive(second)).toBe(false);
    await rclone.close();
  });

  test.runIf(hasProgram("ss"))("listens on 127.0.0.1 and lets nobody in without the password", async () => {
    const rclone = createRclone({ config: await configOf(), env: process.env });
    const { pid } = (await rclone.call("core/pid", {})) as { pid: number };
    const listening = execFileSync("ss", ["-ltnp"], { encoding: "utf8" });
    const port = new RegExp(String.raw`(\S+):(\d+) .*pid=${pid},`).exec(listening);
    expect(port?.[1]).toBe("127.0.0.1");
    const answer = await fetch(`http://127.0.0.1:${port?.[2]}/core/pid`, { method: "POST" });
    expect(answer.status).toBe(401);
    await rclone.close();
  });

  test("does as we say, whatever the shell's settings for rclone are", async () => {
    const disk = await folder();
    const env = {
      ...process.env,
      RCLONE_CONFIG: "/no/such/file",
      RCLONE_DRY_RUN: "true",
      RCLONE_IGNORE_EXISTING: "true",
      RCLONE_LOG_LEVEL: "ERROR",
      RCLONE_RC_ADDR: "127.0.0.1:1",
      RCLONE_EXCLUDE: "*",
      AWS_CA_BUNDLE: "/no/such/bundle",
    };
    const config = await configOf(`[disk]\ntype = alias\nremote = ${disk}\n`);
    const target = await openRcloneTarget(contextFor("disk:", { env, options: { config } }));
    const seen = await target.put(NOTE, sourceOf("one"));
    await target.put(NOTE, sourceOf("two"), { expect: seen });
    await target.close();
    expect(readFileSync(join(disk, ROOT, NOTE), "utf8")).toBe("two");
    expect(readFileSync(config, "utf8")).toBe(`[disk]\ntype = alias\nremote = ${disk}\n`);
  });

  test("what is asked of it is told apart when it fails, without secrets", { timeout: 30_000 }, async () => {
    const disk = await folder();
    await mkdir(join(disk, ROOT, "Core/Note.txt"), { recursive: true });
    await writeFile(join(disk, "file"), "x");
    const config = await configOf(`[disk]\ntype = alias\nremote = ${disk}\n`);
    const rclone = createRclone({ config, env: process.env });
    const refusing = createServer((_, answer) => answer.writeHead(401, "Unauthorized").end()).listen(0, "127.0.0.1");
    await new Promise((resolve) => refusing.once("listening", resolve));
    const { port } = refusing.address() as { port: number };
    const cases: ReadonlyArray<readonly [remote: string, code: string, word?: RegExp]> = [
      ["nowhere:backup", "E_TARGET_UNSUPPORTED", /section/],
      ["disk:gone", "E_TARGET_UNREACHABLE", /disk:gone is not there/],
      ["disk:file", "E_KEY_FOLDER"],
      [`:webdav,url="http://127.0.0.1:1",user=me,pass=hunter2hunter2:x`, "E_AUTH"],
      [`:webdav,url="http://127.0.0.1:${port}",user=me,bearer_token=hunter2:x`, "E_AUTH"],
      [`:webdav,url="http://127.0.0.1:1",bearer_token=hunter2:x`, "E_TARGET_UNREACHABLE"],
      ["a[b]c:", "E_TARGET_UNSUPPORTED"],
    ];
    for (const [remote, code, word] of cases) {
      const error = await failing(remote, { rclone });
      expect(`${remote} ${error.code}`, error.message).toBe(`${remote} ${code}`);
      expect(error.hint).toBeTruthy();
      expect(error.message).toMatch(word ?? /./);
      expect(JSON.stringify([error.message, error.hint, error.details, String(error.cause)])).not.toContain("hunter2");
    }
    refusing.close();
    const target = await openRcloneTarget(contextFor("disk:", { rclone }));
    await expect(target.put(NOTE, sourceOf("x"))).rejects.toMatchObject({ code: "E_KEY_FOLDER" });
    expect(await readdir(join(disk, ROOT, "Core"))).toEqual(["Note.txt"]);
    await rclone.close();
  });

  test("a place that holds other bytes than it was sent is found out, and they get no name", async () => {
    const disk = await folder();
    const rclone = createRclone({ config: await configOf(`[disk]\ntype = alias\nremote = ${disk}\n`), env: process.env });
    const target = await openRcloneTarget(
      contextFor("disk:", {
        rclone: {
          ...rclone,
          call: async (command, parameters, signal) => {
            const answer = await rclone.call(command, parameters, signal);
            if (command === "operations/copyfile")
              await writeFile(join(disk, ROOT, String(parameters["dstRemote"])), "tHe same length");
            return answer;
          },
        },
      }),
    );
    await expect(target.put(NOTE, sourceOf("the same length"))).rejects.toMatchObject({ kind: "corrupt" });
    expect(await readdir(join(disk, ROOT, "Core"))).toEqual([]);
    await rclone.close();
  });

  test("what was left half-way is never shown, and goes when it is a day old", async () => {
    const disk = await folder();
    const rclone = createRclone({ config: await configOf(`[disk]\ntype = alias\nremote = ${disk}\n`), env: process.env });
    const target = await openRcloneTarget(contextFor("disk:", { rclone }));
    await target.put(NOTE, sourceOf("x"));
    const helperAt = (time: number) => `.${time.toString(36)}-0123456789ab.aftersave-tmp`;
    const [young, old] = [helperAt(Date.now() - 3_600_000), helperAt(Date.now() - 90_000_000)];
    for (const name of [young, old]) await writeFile(join(disk, ROOT, "Core", name), "half");
    const keys: string[] = [];
    for await (const { key } of target.list("")) keys.push(key);
    expect(keys).toEqual([NOTE]);
    expect((await readdir(join(disk, ROOT, "Core"))).toSorted()).toEqual([young, "Note.txt"].toSorted());
    await expect(target.put(parseKey(`Core/${young}`), sourceOf("x"))).rejects.toMatchObject({ kind: "unsupported" });
    await clearRclone(contextFor("disk:", { rclone, root: "Drive/MemoryVDB/" }));
    expect(await readdir(join(disk, "Drive"))).toEqual([]);
    await clearRclone(contextFor("disk:", { rclone, root: "Drive/MemoryVDB/" }));
    await clearRclone(contextFor("disk:", { rclone, root: "/" }));
    expect(await readdir(disk)).toEqual(["Drive"]);
    await rclone.close();
  });

  test("an edit that only touched the time is a change where times are all there is; a name that is too long is refused", async () => {
    const disk = await folder();
    const secret = execFileSync("rclone", ["obscure", "a test's own word"], { encoding: "utf8" }).trim();
    const config = await configOf(
      `[disk]\ntype = alias\nremote = ${disk}\n\n[sealed]\ntype = crypt\nremote = ${disk}\npassword = ${secret}\n`,
    );
    const rclone = createRclone({ config, env: process.env });
    const memory = memoryOf();
    const sealed = await openRcloneTarget(contextFor("sealed:", { rclone, memory }));
    const seen = await sealed.put(NOTE, sourceOf("x"), { expect: "absent" });
    expect([seen.hash, sealed.traits.hashes, sealed.traits.atomicPut]).toEqual([undefined, [], false]);
    const again = await openRcloneTarget(contextFor("sealed:", { rclone, memory }));
    expect(again.traits).toEqual(sealed.traits);
    const long = parseKey(`${"n".repeat(190)}.txt`);
    const refused: unknown = await sealed.put(long, sourceOf("x")).catch((error: unknown) => error);
    expect(refused).toMatchObject({ kind: "unsupported", hint: expect.stringContaining("143") });
    const open = await openRcloneTarget(contextFor("disk:", { rclone, root: "Open/" }));
    const plain = await open.put(NOTE, sourceOf("x"));
    expect(plain.hash?.algo).toBe("sha256");
    await utimes(join(disk, "Open", NOTE), 1, 1);
    await expect(open.put(NOTE, sourceOf("y"), { expect: plain })).rejects.toMatchObject({ kind: "conflict" });
    await rclone.close();
    await rm(disk, { recursive: true });
  });
});

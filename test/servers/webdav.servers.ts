import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import { parseKey } from "../../src/core/key.ts";
import { stack, type Target } from "../../src/core/target.ts";
import { bytesOf, sourceOf } from "../../src/testing/source.ts";
import { targetSuite } from "../../src/testing/target-suite.ts";
import { withRetry } from "../../src/wraps/retry.ts";
import { foreignPut, memoryOf, type Opening, openAt } from "../targets/webdav/place.ts";
import { missing, type Server, startServer } from "./server.ts";
import { startProxy } from "./tcp-proxy.ts";

const MIB = 1024 * 1024;
const SMALL = 256 * 1024;
const NOTE = parseKey("Core/Note.txt");
const password = "secret";

const apache = { apache2: "apache2", htpasswd: "apache2-utils", curl: "curl" };
const servers = {
  "Apache mod_dav": {
    script: "start-apache-dav.sh",
    folder: "",
    programs: apache,
    can: { direct: true, create: true, replace: true, remove: true, etags: true, coarse: false, dates: false },
  },
  "Apache mod_dav with Digest": {
    script: "start-apache-dav.sh",
    folder: "digest/",
    programs: apache,
    can: { direct: true, create: true, replace: true, remove: true },
  },
  "nginx with dav-ext": {
    script: "start-nginx-dav.sh",
    folder: "",
    programs: { nginx: "nginx-light libnginx-mod-http-dav-ext", htpasswd: "apache2-utils", curl: "curl" },
    can: { direct: false, create: true, replace: false, remove: false, etags: false, coarse: true, dates: true },
  },
  "rclone serve webdav": {
    script: "start-rclone-dav.sh",
    folder: "",
    programs: { rclone: "rclone", curl: "curl" },
    can: { direct: false, create: true, replace: false, remove: false, etags: true, coarse: false, dates: false },
  },
} as const;

for (const [name, { script, folder, programs, can }] of Object.entries(servers)) {
  const lacking = missing(programs);
  if (lacking.length > 0) {
    test.skip(`WebDAV on ${name} (SKIPPED: apt-get install ${lacking.join(" ")})`);
    continue;
  }
  describe(`WebDAV on ${name}`, () => {
    let server: Server;
    let cases = 0;
    const known = new Map<string, string>();
    const urlOf = (port: number) => `http://127.0.0.1:${port}/${folder}`;
    const open = (opening: Opening = {}, port = server.port): Promise<Target> => openAt(urlOf(port), { password, ...opening });
    beforeAll(async () => {
      server = await startServer(script, 1);
    });
    afterAll(() => server.stop());

    it("can do what is written of it", async () => {
      const target = await open({ memory: memoryOf(known), root: "first/" });
      await target.put(NOTE, sourceOf("x"));
      expect(JSON.parse(known.get("abilities") ?? "")).toMatchObject({ abilities: can });
      expect(target.traits).toMatchObject({ guardedPut: can.create && can.replace, caseSensitive: true });
      await target.close();
    });

    describe("target suite", () => {
      targetSuite({
        test,
        options: { manyEntries: 40, bigBytes: 2 * MIB + 17 },
        open: async () => {
          const root = `case-${++cases}/`;
          const abilities = (known.get("abilities") ?? "").replace("first/", root);
          const opening = { memory: memoryOf(new Map([["abilities", abilities]])), root, tuning: { smallBytes: SMALL } };
          const target = await open(opening);
          return {
            target,
            cleanup: () => target.close(),
            reopen: () => open(opening),
            // with Digest it is another process of ours that writes
            foreignWrite: async (key, bytes) => {
              if (folder === "") return foreignPut(urlOf(server.port), root + key, bytes, password);
              const stranger = await open({ ...opening, memory: memoryOf(new Map([["abilities", abilities]])) });
              await stranger.put(key, sourceOf(bytes));
              await stranger.close();
            },
          };
        },
      });
    });

    it("a wrong password, an absent folder and a quota are told apart", async () => {
      const wrong = await open({ password: "wrong-password" });
      await expect(wrong.stat(NOTE)).rejects.toMatchObject({ kind: "auth", code: "E_AUTH" });
      const absent = await openAt(`${urlOf(server.port)}no/such/folder/`, { password });
      await expect(absent.stat(NOTE)).rejects.toMatchObject({ code: "E_TARGET_UNREACHABLE" });
      await Promise.all([wrong.close(), absent.close()]);
    });

    it("cuts on the way lose nothing and leave nothing half-written", async () => {
      const proxy = await startProxy(server.port);
      const through = await open({ root: "cut/" }, proxy.port);
      const target = stack(through, withRetry({ attempts: 5, baseMs: 10 }));
      const bytes = Buffer.alloc(4 * MIB, "content ");
      await target.put(NOTE, sourceOf("old"));
      proxy.cutAfterUp = 2 * MIB;
      await target.put(NOTE, sourceOf(bytes));
      proxy.cutAfterDown = 2 * MIB;
      const hash = await target.read(NOTE, async (chunks) =>
        createHash("sha256")
          .update(await bytesOf(chunks))
          .digest("hex"),
      );
      expect(hash).toBe(sourceOf(bytes).sha256);
      // the answer to each of the requests of a put is lost once
      for (let after = 100; after <= 900; after += 200) {
        proxy.cutAfterDown = after;
        const seen = await target.stat(NOTE);
        await target.put(NOTE, sourceOf(`after ${after}`), { expect: seen });
        expect(Buffer.from(await target.read(NOTE, bytesOf)).toString()).toBe(`after ${after}`);
      }
      const keys: string[] = [];
      for await (const { key } of target.list("")) keys.push(key);
      expect(keys).toEqual([NOTE]);
      await target.close();
      await proxy.close();
    });
  });
}

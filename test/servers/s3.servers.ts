import { type ChildProcess, fork } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import { parseKey } from "../../src/core/key.ts";
import { stack } from "../../src/core/target.ts";
import { anySeed, seededRandom } from "../../src/testing/random.ts";
import { bytesOf, sourceOf } from "../../src/testing/source.ts";
import { targetSuite } from "../../src/testing/target-suite.ts";
import { withRetry } from "../../src/wraps/retry.ts";
import { withTimeout } from "../../src/wraps/timeout.ts";
import { clientAt, memoryOf, openAt, ROOT, type Where } from "../targets/s3/place.ts";
import { missing, type Server, startServer } from "./server.ts";
import { startProxy } from "./tcp-proxy.ts";

const MIB = 1024 * 1024;
/** The smallest that S3 takes. */
const PART = 5 * MIB;
const NOTE = parseKey("Core/Note.txt");
const AT = `${ROOT}${NOTE}`;

const services = {
  "Ceph radosgw": {
    script: "start-rgw.sh",
    ports: 30,
    programs: { radosgw: "radosgw", "ceph-mon": "ceph-mon", "ceph-osd": "ceph-osd", curl: "curl" },
    accessKeyId: "tester",
    can: { create: true, replace: "bare", complete: false, md5: true, checksums: false, lags: false },
  },
  "OpenStack Swift": {
    script: "start-swift.sh",
    ports: 5,
    programs: {
      "swift-proxy-server": "swift-proxy",
      "swift-account-server": "swift-account",
      "swift-container-server": "swift-container",
      "swift-object-server": "swift-object",
      memcached: "memcached",
      curl: "curl",
    },
    accessKeyId: "test:tester",
    can: { create: false, replace: "none", complete: false, md5: true, checksums: false, lags: true },
  },
} as const;

for (const [name, { script, ports, programs, accessKeyId, can }] of Object.entries(services)) {
  const lacking = missing(programs);
  if (lacking.length > 0) {
    test.skip(`S3 on ${name} (SKIPPED: apt-get install ${lacking.join(" ")})`);
    continue;
  }
  describe(`S3 on ${name}`, () => {
    let server: Server;
    let buckets = 0;
    const known = new Map<string, string>();
    beforeAll(async () => {
      server = await startServer(script, ports);
    });
    afterAll(() => server.stop());

    const endpointOf = (port: number) => `http://127.0.0.1:${port}`;
    const place = async (versioned = false): Promise<Where> => {
      const where = { endpoint: endpointOf(server.port), accessKeyId, secretAccessKey: "testing", bucket: `bucket-${++buckets}` };
      const s3 = clientAt(where);
      await s3.createBucket({ Bucket: where.bucket });
      if (versioned) await s3.putBucketVersioning({ Bucket: where.bucket, VersioningConfiguration: { Status: "Enabled" } });
      s3.destroy();
      return where;
    };
    const foreign = async (where: Where, key: string, bytes: Uint8Array) => {
      const s3 = clientAt(where);
      await s3.putObject({ Bucket: where.bucket, Key: key, Body: bytes });
      s3.destroy();
    };

    it("can do what is written of it", async () => {
      const values = new Map<string, string>();
      const target = await openAt(await place(), { memory: memoryOf(values) });
      await target.put(NOTE, sourceOf("x"));
      expect(JSON.parse(values.get("abilities") ?? "")).toMatchObject({ abilities: can });
      expect(target.traits.guardedPut).toBe(false);
      await target.close();
    });

    describe("target suite", () => {
      let where: Where;
      let cases = 0;
      beforeAll(async () => {
        where = await place();
        const target = await openAt(where, { memory: memoryOf(known), root: "first/" });
        await target.put(NOTE, sourceOf("x"));
        await target.close();
        for (const at of known.keys()) if (at !== "abilities") known.delete(at);
      });
      targetSuite({
        test,
        options: { manyEntries: 40, bigBytes: 2 * PART + 17 },
        open: async () => {
          const root = `case-${++cases}/`;
          const opening = { memory: memoryOf(new Map(known)), root, tuning: { partBytes: PART } };
          const target = await openAt(where, opening);
          return {
            target,
            cleanup: () => target.close(),
            reopen: () => openAt(where, opening),
            foreignWrite: (key, bytes) => foreign(where, root + key, bytes),
          };
        },
      });
    });

    it("what someone else writes while a big file is sent is not overwritten", async () => {
      const where = await place();
      const target = await openAt(where, { tuning: { partBytes: PART } });
      const seen = await target.put(NOTE, sourceOf("seen"));
      const bytes = Buffer.alloc(2 * PART + 3, "ours");
      async function* open() {
        yield bytes.subarray(0, PART + 1);
        await foreign(where, AT, Buffer.from("theirs"));
        yield bytes.subarray(PART + 1);
      }
      const put = target.put(NOTE, { ...sourceOf(bytes), open }, { expect: seen });
      await expect(put).rejects.toMatchObject({ kind: "conflict" });
      expect(Buffer.from(await target.read(NOTE, bytesOf)).toString()).toBe("theirs");
      await target.close();
    });

    it("in a bucket with versions: guards hold, and all versions go", async () => {
      const where = await place(true);
      const target = await openAt(where);
      const seen = await target.put(NOTE, sourceOf("one"), { expect: "absent" });
      await expect(target.put(NOTE, sourceOf("two"), { expect: "absent" })).rejects.toMatchObject({ kind: "conflict" });
      await target.put(NOTE, sourceOf("two"), { expect: seen });
      await target.remove(NOTE);
      await target.put(NOTE, sourceOf("three"), { expect: "absent" });
      const s3 = clientAt(where);
      const versions = async () => {
        const { Versions = [], DeleteMarkers = [] } = await s3.listObjectVersions({ Bucket: where.bucket, Prefix: AT });
        return Versions.length + DeleteMarkers.length;
      };
      expect(await versions()).toBeGreaterThanOrEqual(4);
      expect(await target.purge?.(NOTE)).toEqual([]);
      expect(await versions()).toBe(0);
      s3.destroy();
      await target.close();
    });

    it("wrong credentials and a missing bucket are told as such", async () => {
      const where = await place();
      const wrong = await openAt({ ...where, secretAccessKey: "wrong" });
      await expect(wrong.stat(NOTE)).rejects.toMatchObject({ code: "E_AUTH" });
      const nowhere = await openAt({ ...where, bucket: "no-such-bucket" });
      await expect(nowhere.stat(NOTE)).rejects.toMatchObject({ code: "E_TARGET_UNREACHABLE" });
      await expect(nowhere.put(NOTE, sourceOf("x"))).rejects.toMatchObject({ code: "E_TARGET_UNREACHABLE" });
      await Promise.all([wrong.close(), nowhere.close()]);
    });

    const seed = Number(process.env["AFTERSAVE_SEED"] ?? anySeed());
    it(`cuts and delays on the way lose nothing and make no second file (seed ${seed})`, async () => {
      const random = seededRandom(seed);
      const where = await place();
      const proxy = await startProxy(server.port);
      const driver = await openAt({ ...where, endpoint: endpointOf(proxy.port) }, { tuning: { partBytes: PART } });
      const target = stack(driver, withTimeout(30_000), withRetry({ attempts: 30, baseMs: 5, maxMs: 200 }));
      let seen = await target.put(NOTE, sourceOf("first"), { expect: "absent" });
      for (let round = 0; round < 12; round++) {
        const bytes = Buffer.alloc(round % 3 === 0 ? 3 * PART + round : 10_000 + round, `round ${round} `);
        proxy.delayMs = round % 4 === 1 ? 2 : 0;
        if (random() < 0.7) proxy.cutAfterUp = Math.floor(random() * bytes.length * 1.2);
        if (random() < 0.5) proxy.cutAfterDown = Math.floor(random() * 3000);
        const told: number[] = [];
        seen = await target.put(NOTE, sourceOf(bytes), { expect: seen, onProgress: (sent) => told.push(sent) });
        // none where the write had landed and only its answer was lost
        expect(told).toEqual(told.toSorted((a, b) => a - b));
        expect(told.at(-1) ?? bytes.length).toBe(bytes.length);
        proxy.cutAfterDown = Math.floor(random() * bytes.length * 2);
        expect(Buffer.from(await target.read(NOTE, bytesOf)).equals(bytes)).toBe(true);
        proxy.cutAfterUp = proxy.cutAfterDown = Infinity;
      }
      const keys: string[] = [];
      for await (const { key } of target.list("")) keys.push(key);
      expect(keys).toEqual([NOTE]);
      // an upload whose very beginning was not answered is nobody's, and is swept up after a week
      const later = await openAt(where, { tuning: { partBytes: PART }, now: () => Date.now() + 8 * 86_400_000 });
      await later.put(parseKey("Core/Later.bin"), sourceOf(Buffer.alloc(PART + 1)));
      await later.close();
      const s3 = clientAt(where);
      expect((await s3.listMultipartUploads({ Bucket: where.bucket })).Uploads ?? []).toEqual([]);
      s3.destroy();
      await target.close();
      await proxy.close();
    });

    if (accessKeyId === "tester")
      it("after SIGKILL an upload of 64 MiB goes on, and at most one part is sent twice", async () => {
        const where = await place();
        const folder = await mkdtemp(join(tmpdir(), "aftersave-s3-"));
        const proxy = await startProxy(server.port);
        const size = 64 * MIB;
        const start = () =>
          fork(join(import.meta.dirname, "s3-put.child.ts"), [folder, endpointOf(proxy.port), where.bucket, String(size)], {
            execArgv: ["--import", "tsx"],
          });
        const heard = (child: ChildProcess, until: (message: Record<string, unknown>) => boolean) =>
          new Promise<Record<string, unknown>>((done, failed) => {
            child.on("message", (message: Record<string, unknown>) => until(message) && done(message));
            child.on("exit", (code) => failed(new Error(`the child ended with ${code}`)));
          });
        try {
          for (const parts of [2, 5]) {
            const child = start();
            await heard(child, ({ sent }) => Number(sent) >= parts * 8 * MIB);
            const gone = new Promise((done) => child.on("exit", done));
            child.kill("SIGKILL");
            await gone;
          }
          const { entry, left, sha256 } = await heard(start(), (message) => message["entry"] !== undefined);
          expect(left).toEqual([]);
          expect(entry).toMatchObject({ size, hash: { algo: "sha256", hex: sha256 } });
          const reader = await openAt(where);
          const hash = createHash("sha256");
          await reader.read(parseKey("Core/Big.bin"), async (chunks) => {
            for await (const chunk of chunks) hash.update(chunk);
          });
          expect(hash.digest("hex")).toBe(sha256);
          await reader.close();
          // two kills, so at most two parts twice; the rest is what requests weigh
          expect(proxy.up).toBeLessThan(size + 2 * 8 * MIB + 256 * 1024);
        } finally {
          await proxy.close();
          await rm(folder, { recursive: true, force: true });
        }
      });
  });
}

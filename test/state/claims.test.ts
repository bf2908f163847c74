import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { createClaims } from "../../src/state/claims.ts";
import { clock, ended, freshFolder, said, start } from "./folder.ts";

const claimsIn = (folder: string) => {
  const claims = createClaims(folder, clock);
  onTestFinished(() => claims.close());
  return claims;
};

describe("claims", () => {
  it("have one holder over all processes, whatever their number", async () => {
    const folder = freshFolder();
    const file = join(folder, "count");
    writeFileSync(file, "0");
    const codes = Array.from({ length: 4 }, async () =>
      ended(await start("claims.child.ts", folder, "save", "Meta/A.txt", "count", file, "100")),
    );
    expect(await Promise.all(codes)).toEqual([0, 0, 0, 0]);
    expect(readFileSync(file, "utf8")).toBe("400");
  });

  it("have one holder in one process, in the order in which they were asked for", async () => {
    const claims = claimsIn(freshFolder());
    const order: number[] = [];
    let inside = 0;
    await Promise.all(
      [1, 2, 3, 4, 5].map(async (n) => {
        const release = await claims.take("save", "k");
        expect(++inside).toBe(1);
        await clock.sleep(0);
        order.push(n);
        inside--;
        release();
      }),
    );
    expect(order).toEqual([1, 2, 3, 4, 5]);
  });

  it("are refused while another process holds them, without blocking this one, and are free once it was killed", async () => {
    const folder = freshFolder();
    const claims = claimsIn(folder);
    const child = await start("claims.child.ts", folder, "save", "k", "hold");
    await said(child);
    expect(await claims.tryTake("save", "k")).toBeUndefined();
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await expect(claims.take("save", "k", { waitMs: 200 })).rejects.toMatchObject({ code: "E_BUSY" });
    clearInterval(timer);
    expect(turns).toBeGreaterThan(20);
    const other = await claims.take("upload", "k", { waitMs: 0 }); // another kind never waits for it
    other();
    child.kill("SIGKILL");
    await ended(child);
    const release = await claims.tryTake("save", "k");
    expect(release).toBeDefined();
    release?.();
  });

  it("pass to whoever waits when the holder is killed", async () => {
    const folder = freshFolder();
    const claims = claimsIn(folder);
    const child = await start("claims.child.ts", folder, "worker", "worker", "hold");
    await said(child);
    const waiting = claims.take("worker", "worker", { waitMs: 30_000 });
    child.kill("SIGKILL");
    (await waiting)();
  });

  it("tell who holds them", async () => {
    const folder = freshFolder();
    const claims = claimsIn(folder);
    const mine = await claims.take("logs", "logs");
    const child = await start("claims.child.ts", folder, "save", "k", "hold");
    await said(child);
    expect(await claims.held()).toEqual([{ kind: "save", pids: process.platform === "linux" ? [child.pid] : [] }]);
    mine();
  });

  it("can be given up while waiting, and then block nobody", async () => {
    const claims = claimsIn(freshFolder());
    const first = await claims.take("save", "k");
    const folder2 = freshFolder();
    const child = await start("claims.child.ts", folder2, "save", "k", "hold");
    await said(child);
    const stop = new AbortController();
    const waiting = claimsIn(folder2).take("save", "k", { signal: stop.signal });
    stop.abort();
    await expect(waiting).rejects.toMatchObject({ name: "AbortError" });
    first();
    first(); // twice does nothing
    (await claims.take("save", "k", { waitMs: 0 }))();
  });

  it("a lock database that was damaged is sound again, and exclusive", async () => {
    const folder = freshFolder();
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "worker-0.lock"), "garbage ".repeat(1000));
    const [one, two] = [claimsIn(folder), claimsIn(folder)];
    const release = await one.take("worker", "worker");
    expect(await two.tryTake("worker", "worker")).toBeUndefined();
    release();
    (await two.take("worker", "worker", { waitMs: 0 }))();
  });

  it("answer E_CLOSED when closed, and a release after that harms nothing", async () => {
    const claims = createClaims(freshFolder(), clock);
    const release = await claims.take("save", "k");
    claims.close();
    release();
    await expect(claims.take("save", "k")).rejects.toMatchObject({ code: "E_CLOSED" });
    await expect(claims.tryTake("save", "k")).rejects.toMatchObject({ code: "E_CLOSED" });
  });
});

/**
 * Does one thing to a Drive and prints what it took, as JSON: `save` (many single saves, each until it is verified),
 * `big` (a file of the memory), `bare` (the same bytes by nothing but one request to an upload session).
 */
import { createReadStream, statSync } from "node:fs";
import { request, type IncomingMessage } from "node:http";
import { once } from "node:events";
import { pipeline } from "node:stream/promises";
import { openMemory, type Memory } from "../src/index.ts";

const [what = "", place = "", ...rest] = process.argv.slice(2);

/** From the save to the moment at which it is known to be verified, and to the end of the call that waits for it. */
async function saved(memory: Memory, key: string): Promise<{ readonly verified: number; readonly settled: number }> {
  const start = performance.now();
  let verified = Number.NaN;
  const off = memory.on("upload", ({ file }) => {
    if (file === key) verified = performance.now() - start;
  });
  const receipt = await memory.append(key, `${start}\n`);
  const { uploads } = await memory.settle(receipt);
  off();
  const wrong = uploads.find(({ status }) => status !== "success");
  if (wrong) throw new Error(wrong.notes);
  return { verified, settled: performance.now() - start };
}

async function saves(memory: Memory, rounds: number) {
  await memory.append("Zone/changed.txt", "first\n");
  await memory.append("Zone/other.txt", "first\n");
  await memory.flush();
  const fresh: Awaited<ReturnType<typeof saved>>[] = [];
  const changed: typeof fresh = [];
  for (let n = 0; n < rounds + 3; n++) {
    const pair = [await saved(memory, `Zone/new-${n}.txt`), await saved(memory, "Zone/changed.txt")] as const;
    if (n < 3) continue;
    fresh.push(pair[0]);
    changed.push(pair[1]);
  }
  return { fresh, changed };
}

async function big(memory: Memory, key: string) {
  await memory.append("Zone/warm.txt", "warm\n");
  await memory.flush();
  const receipt = await memory.saved(key);
  const start = performance.now();
  let ms = Number.NaN;
  memory.on("upload", ({ file }) => {
    if (file === key) ms = performance.now() - start;
  });
  const { uploads } = await memory.settle(receipt);
  if (uploads.some(({ status }) => status !== "success")) throw new Error(uploads[0]?.notes);
  return { ms };
}

async function send(url: URL, method: string, headers: Record<string, string>, path?: string): Promise<IncomingMessage> {
  const req = request(url, { method, headers });
  const answered = once(req, "response") as Promise<[IncomingMessage]>;
  if (path === undefined) req.end();
  else await pipeline(createReadStream(path), req);
  const [answer] = await answered;
  for await (const _ of answer);
  if (answer.statusCode !== 200) throw new Error(`status ${answer.statusCode} for ${method} ${url.pathname}`);
  return answer;
}

async function bare(rootUrl: string, token: string, path: string) {
  const Authorization = `Bearer ${token}`;
  await send(new URL("drive/v3/about?fields=user", rootUrl), "GET", { Authorization });
  const size = String(statSync(path).size);
  const start = performance.now();
  const begun = await send(new URL("upload/drive/v3/files?uploadType=resumable", rootUrl), "POST", {
    Authorization,
    "Content-Length": "0",
    "X-Upload-Content-Length": size,
  });
  await send(new URL(begun.headers.location ?? "", rootUrl), "PUT", { Authorization, "Content-Length": size }, path);
  return { ms: performance.now() - start };
}

async function withMemory<T>(work: (memory: Memory) => Promise<T>): Promise<T> {
  const memory = await openMemory({ root: place });
  try {
    return await work(memory);
  } finally {
    await memory.close();
  }
}

const found =
  what === "save"
    ? await withMemory((memory) => saves(memory, Number(rest[0])))
    : what === "big"
      ? await withMemory((memory) => big(memory, rest[0] ?? ""))
      : await bare(place, rest[0] ?? "", rest[1] ?? "");
process.stdout.write(`${JSON.stringify({ ...found, peak: process.resourceUsage().maxRSS * 1024 })}\n`);

/**
 * What nobody outside Google could say for sure about Drive when this was written, each as an experiment. An answer
 * is a sentence for people; `docs/targets/gdrive.md` says what the driver assumes.
 * @module
 */
import { setTimeout as pause } from "node:timers/promises";
import { FOLDER, type Live, type Reply } from "./place.ts";

export interface Question {
  readonly asks: string;
  readonly answer: (live: Live) => Promise<string>;
}

const idOf = ({ json, said }: Reply): string => {
  if (typeof json["id"] !== "string") throw new Error(`a file was refused: ${said} ${JSON.stringify(json)}`);
  return json["id"];
};
const daysSince = (at: string) => `${((Date.now() - Date.parse(at)) / 86_400_000).toFixed(1)} days`;

const file = async (live: Live, content = "one", about = {}): Promise<string> => idOf(await live.create(about, content));
const edit = (live: Live, id: string, content: string) =>
  live.does("PATCH", `upload/drive/v3/files/${id}`, { query: { uploadType: "media" }, media: content });
const etagOf = async (live: Live, id: string): Promise<string> =>
  String((await live.does("GET", `drive/v2/files/${id}`))["etag"]);
const folder = async (live: Live): Promise<string> =>
  String(
    (await live.does("POST", "drive/v3/files", { json: { name: "folder", mimeType: FOLDER, parents: [live.scratch] } }))["id"],
  );
const trash = (live: Live, id: string) => live.does("PATCH", `drive/v3/files/${id}`, { json: { trashed: true } });
const remove = (live: Live, id: string) => live.does("DELETE", `drive/v3/files/${id}`);
/** How soon a file that was just made is found by each search, over some files. */
async function lags(live: Live, count: number, searches: (name: string) => Readonly<Record<string, string>>): Promise<string> {
  const slowest = new Map<string, number>();
  const late = new Map<string, number>();
  const patience = live.settings.real ? 60_000 : 1000;
  for (let n = 0; n < count; n++) {
    const name = `lag ${n} ${live.scratch}`;
    const made = await file(live, "x", { name, appProperties: { lag: name } });
    const since = Date.now();
    for (const [by, q] of Object.entries(searches(name))) {
      let found = (await live.search(q)).includes(made);
      if (!found) late.set(by, (late.get(by) ?? 0) + 1);
      while (!found && Date.now() - since < patience) {
        await pause(250);
        found = (await live.search(q)).includes(made);
      }
      slowest.set(by, Math.max(slowest.get(by) ?? 0, found ? Date.now() - since : Infinity));
    }
  }
  const sentence = (by: string) => {
    const missed = late.get(by) ?? 0;
    return `by ${by}: ${count - missed} of ${count} at once${missed === 0 ? "" : `, the last after ${slowest.get(by)} ms`}`;
  };
  return [...slowest.keys()].map(sentence).join("; ");
}

export const questions: readonly Question[] = [
  {
    asks: "With what reason is an id refused that is taken?",
    async answer(live) {
      const id = await file(live);
      const copied = await live.ask("POST", `drive/v3/files/${id}/copy`, { json: { id, parents: [live.scratch] } });
      const older = await live.ask("POST", "drive/v2/files", { json: { id, title: "x", parents: [{ id: live.scratch }] } });
      return `create ${(await live.create({ id })).said}, copy ${copied.said}, v2 ${older.said}`;
    },
  },
  {
    asks: "Can an id be used again once its file is in the trash, and once it is deleted?",
    async answer(live) {
      const id = await file(live);
      await trash(live, id);
      const trashed = await live.create({ id });
      await remove(live, id);
      return `in the trash ${trashed.said}, deleted ${(await live.create({ id })).said}`;
    },
  },
  {
    asks: "How long does a reserved id live?",
    async answer({ notes, ...live }) {
      const [oldest] = notes.reserved;
      const reply = oldest && (await live.create({ id: oldest.id }));
      notes.reserved.shift();
      const at = new Date().toISOString();
      const short = Math.max(0, 20 - notes.reserved.length);
      if (short > 0) notes.reserved.push(...(await live.reserve(short)).map((id) => ({ id, at })));
      if (oldest === undefined || reply === undefined) return "ask again in some weeks: ids were reserved and noted";
      return `after ${daysSince(oldest.at)}: ${reply.said}`;
    },
  },
  {
    asks: "Do reserved ids work in a shared drive?",
    async answer(live) {
      if (live.settings.sharedDrive === undefined) return "not asked: set AFTERSAVE_LIVE_DRIVE_SHARED_DRIVE to the id of one";
      const [id = ""] = await live.reserve(1);
      const first = await live.create({ id, parents: [live.settings.sharedDrive] });
      const again = await live.create({ id, parents: [live.settings.sharedDrive] });
      if (first.status === 200) await remove(live, id);
      return `first ${first.said}, repeated ${again.said}`;
    },
  },
  {
    asks: "Does an upload by version 3 honour If-Match?",
    async answer(live) {
      const id = await file(live);
      const stale = await etagOf(live, id);
      await edit(live, id, "two");
      const upload = { query: { uploadType: "media" }, headers: { "If-Match": stale }, media: "three" };
      const { status, said } = await live.ask("PATCH", `upload/drive/v3/files/${id}`, upload);
      return `${status === 200 ? "no: a stale etag was ignored" : "yes"} (${said})`;
    },
  },
  {
    asks: "Does an upload by version 2 honour If-Match?",
    async answer(live) {
      const id = await file(live);
      const stale = await etagOf(live, id);
      await edit(live, id, "two");
      const put = async (etag: string) =>
        (
          await live.ask("PUT", `upload/drive/v2/files/${id}`, {
            query: { uploadType: "media" },
            headers: { "If-Match": etag },
            media: "three",
          })
        ).said;
      return `stale ${await put(stale)}, right ${await put(await etagOf(live, id))}`;
    },
  },
  {
    asks: "When is If-Match looked at in a resumable upload?",
    async answer(live) {
      const id = await file(live);
      const start = (etag: string) =>
        live.ask("PUT", `upload/drive/v2/files/${id}`, {
          query: { uploadType: "resumable" },
          headers: { "If-Match": etag, "X-Upload-Content-Length": "5" },
          json: {},
        });
      const stale = await etagOf(live, id);
      const begun = await start(stale);
      await edit(live, id, "two");
      const refused = await start(stale);
      const session = begun.headers.get("location") ?? "";
      const ended = await live.ask("PUT", session, { headers: { "Content-Range": "bytes 0-4/5" }, media: "three" });
      return `stale at the start ${refused.said}, stale by the end ${ended.said}`;
    },
  },
  {
    asks: "Does an etag move although the content stays?",
    async answer(live) {
      const id = await file(live);
      const before = await etagOf(live, id);
      const since = Date.now();
      const patience = live.settings.real ? 60_000 : 300;
      while (Date.now() - since < patience) {
        await pause(patience / 30);
        if ((await etagOf(live, id)) !== before) return `yes, after ${Math.round((Date.now() - since) / 1000)} s`;
      }
      return `not within ${patience / 1000} s`;
    },
  },
  {
    asks: "Can a revision be read that is not kept for ever?",
    async answer(live) {
      const id = await file(live, "one");
      await edit(live, id, "two");
      await edit(live, id, "three");
      const { revisions } = await live.does("GET", `drive/v3/files/${id}/revisions`, { query: { fields: "revisions(id)" } });
      const [one, two, three] = revisions as { id: string }[];
      await live.does("PATCH", `drive/v3/files/${id}/revisions/${two?.id}`, { json: { keepForever: true } });
      const read = async (revision: { id: string } | undefined) =>
        (await live.ask("GET", `drive/v3/files/${id}/revisions/${revision?.id}`, { query: { alt: "media" } })).said;
      return `old ${await read(one)}, old and kept ${await read(two)}, head ${await read(three)}`;
    },
  },
  {
    asks: "How soon does a search find a new file?",
    answer: (live) =>
      lags(live, live.settings.real ? 20 : 3, (name) => ({
        parent: `'${live.scratch}' in parents and trashed = false`,
        name: `name = '${name}' and trashed = false`,
        property: `appProperties has { key='lag' and value='${name}' } and trashed = false`,
      })),
  },
  {
    asks: "What is answered to a create in a folder that is trashed, or deleted?",
    async answer(live) {
      const gone = await folder(live);
      await trash(live, gone);
      const reply = await live.create({ parents: [gone] }, "x", { fields: "id,trashed" });
      const into = `${reply.said}${reply.status === 200 ? (reply.json["trashed"] === true ? " and it is in the trash" : " and it is not in the trash") : ""}`;
      await remove(live, gone);
      return `trashed ${into}, deleted ${(await live.create({ parents: [gone] })).said}`;
    },
  },
  {
    asks: "Does a copy take the properties of the app along?",
    async answer(live) {
      const id = await file(live, "one", { appProperties: { mark: "yes" } });
      const { appProperties } = await live.does("POST", `drive/v3/files/${id}/copy`, {
        query: { fields: "appProperties" },
        json: { name: "copy", parents: [live.scratch] },
      });
      return appProperties === undefined ? "no" : "yes";
    },
  },
  {
    asks: "Does the answer to an upload carry the SHA-256?",
    async answer(live) {
      const { json } = await live.create({}, "one", { fields: "id,md5Checksum,sha256Checksum" });
      return typeof json["sha256Checksum"] === "string" ? "yes" : `no: ${JSON.stringify(json)}`;
    },
  },
  {
    asks: "Does a file stay visible after the consent is revoked and given again?",
    async answer({ notes, grant, ...live }) {
      const keep = async () => {
        const reply = await live.create({
          name: "aftersave live test, keep until the next run",
          parents: [live.settings.sharedDrive ?? "root"],
        });
        notes.keepsake = { id: idOf(reply), at: new Date().toISOString(), grant };
      };
      if (notes.keepsake === undefined) await keep();
      const { id = "", grant: then } = notes.keepsake ?? {};
      if (then === grant)
        return "not yet: revoke (`aftersave disconnect`), sign in again with the same client (`aftersave connect`), and run this once more";
      const { status, said } = await live.ask("GET", `drive/v3/files/${id}`);
      if (status === 200) await live.does("DELETE", `drive/v3/files/${id}`);
      await keep();
      return `${status === 200 ? "yes" : "no"} (${said})`;
    },
  },
];

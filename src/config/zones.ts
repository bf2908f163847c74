/**
 * Zones that paths.json names and that no file lies in. None is wrong, since any zone may come to be; but one that is called
 * almost as a folder is was meant to be that one, and its rules would guard nothing.
 * @module
 */
import { readdir } from "node:fs/promises";
import { foldKey, isArchiveKey, type ArchiveFolder } from "../core/key.ts";
import { nearestOf } from "../core/nearest.ts";

/** What of the configuration is said by zone. */
interface Named {
  readonly dataDir: string;
  readonly archive: ArchiveFolder;
  readonly guard: object;
  readonly retention: object;
  readonly secrets: { readonly policies: object };
}

/** One sentence for each zone that is called almost as a folder of `dataDir` is. Reads names only; without that folder there are none. */
export async function strangeZones({ dataDir, archive, guard, retention, secrets }: Named): Promise<string[]> {
  const named = Object.entries({ guard, retention, secrets: secrets.policies }).map(
    ([path, zones]) => [path, Object.keys(zones).filter((zone) => zone !== "*" && zone !== "Root")] as const,
  );
  if (named.every(([, zones]) => zones.length === 0)) return [];
  const entries = await readdir(dataDir, { withFileTypes: true }).catch(() => []); // what hinders here is told by whoever needs the folder
  const folders = entries
    .filter((entry) => !entry.isFile() && !isArchiveKey(entry.name, archive))
    .map((entry) => entry.name.normalize("NFC"));
  const known = new Set([...folders, "Root"]);
  return named.flatMap(([path, zones]) =>
    zones
      .filter((zone) => !known.has(zone))
      .flatMap((zone) => {
        // what has rules of its own was meant there, and not here
        const free = [...known].filter((one) => foldKey(one) === foldKey(zone) || !zones.includes(one));
        const nearest = nearestOf(zone, free);
        return nearest === undefined
          ? []
          : [`${path}.${zone} in paths.json is about no file: there is no folder "${zone}". Did you mean "${nearest}"?`];
      }),
  );
}

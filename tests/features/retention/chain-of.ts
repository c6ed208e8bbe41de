import { createHash } from "node:crypto";
import canonicalize from "canonicalize";
import { withClient } from "../../support/client.ts";

const DAY_MS = 24 * 3_600_000;
const sha256 = (text: string) => createHash("sha256").update(text, "utf8").digest("hex");

interface Target {
  readonly clock: { iso(offsetMs: number): string };
  readonly database: { readonly superUrl: string };
}

/** Writes a chain of valid entries directly, of which the first `old` are 800 days old: one commit each would take minutes. */
export async function writeChain({ clock, database }: Target, id: string, entries: number, old: number): Promise<void> {
  await withClient(database.superUrl, async (client) => {
    await client.query("set session_replication_role = replica");
    await client.query("delete from kv.entries where owner = $1 and key like 'audit:%'", [id]);
    let hash = "0".repeat(64);
    for (let at = 0; at < entries; at += 5_000) {
      const values = Array.from({ length: Math.min(5_000, entries - at) }, (_, i) => {
        const seq = at + i + 1;
        const timestamp = clock.iso((seq <= old ? -800 : -1) * DAY_MS + seq);
        const [actor, tenantId] = [{ type: "user", id: "u1" }, id];
        const key = `audit:${id}:${timestamp}:${String(seq).padStart(12, "0")}`;
        const entry = { id: key, action: "room.opened", resource: "room", resourceId: "r1", tenantId, actor, userId: "u1", timestamp };
        const prevHash = hash;
        hash = sha256(`${prevHash}:${seq}:${sha256(canonicalize(entry) ?? "")}`);
        return JSON.stringify({ ...entry, seq, prevHash, hash });
      });
      await client.query(
        `insert into kv.entries (key, value, version, owner, cascades, created_at, updated_at)
         select v::jsonb->>'id', v::jsonb, 1, $2, false, now(), now() from unnest($1::text[]) v`,
        [values, id],
      );
    }
    await client.query("update kv.chains set seq = $2, hash = $3 where scope = $1", [id, entries, hash]);
    await client.query("analyze kv.entries_audit");
  });
}

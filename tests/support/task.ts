import { z } from "zod";
import { instant, segment } from "../../shared/core/values.ts";
import { registry } from "../../shared/features/registry.ts";
import { declaredBy, schemaChanges } from "../../shared/kv/declared.ts";
import { defineEntity } from "../../shared/kv/define.ts";
import { withClient } from "./client.ts";
import type { TestDatabase } from "./postgres.ts";

/** A queue: what waits for a worker has a `dueAt`. */
export const task = defineEntity({
  name: "task",
  summary: "Something to do for a tenant.",
  key: "task:{id}",
  schema: z.looseObject({ id: segment, tenantId: segment.optional(), kind: z.string().optional(), dueAt: instant.optional() }),
  owner: "tenant",
  filterable: ["kind"],
  indexes: [["dueAt"], ["@tenantId", "dueAt"]],
  example: { id: "t1", tenantId: "tn_1767225600000_a1b2c3d4e5f6", dueAt: "2026-01-01T00:00:00.000Z" },
});

/** Declares the queue in a database, as a migration does. */
export async function declareTasks({ ownerUrl }: Pick<TestDatabase, "ownerUrl">): Promise<void> {
  const changes = schemaChanges(declaredBy(registry), declaredBy([...registry, task]), new Map());
  await withClient(ownerUrl, async (owner) => void await owner.query(changes));
}

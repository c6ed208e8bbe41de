// shared/entities/door.ts
import { z } from "zod";
import { defineEntity } from "../kv/define.ts";
import { instant, segment } from "../entities/values.ts";

export const door = defineEntity({
  name: "door",
  summary: "A model of door that the platform offers.",
  key: "door:{id}",
  schema: z.looseObject({
    id: segment,
    name: z.string().min(1).max(200),
    kind: z.enum(["room", "gate"]),
    createdAt: instant,
  }),
  owner: "platform",
  readableByTenants: true,
  filterable: ["kind"],
  sortable: ["name", "createdAt"],
  searchable: ["name"],
  indexes: [["name"], ["kind", "createdAt"]],
  example: { id: "front", name: "Front door", kind: "gate", createdAt: "2026-01-01T00:00:00.000Z" },
});

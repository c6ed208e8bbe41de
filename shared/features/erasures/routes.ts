import { z } from "zod";
import { crud } from "../../core/crud.ts";
import { type Route, verb } from "../../core/route.ts";
import { component, recordOf } from "../../core/schemas.ts";
import { segment } from "../../core/values.ts";
import { tenant } from "../tenants/entity.ts";
import { erasure } from "./entity.ts";
import { erasureInput, ErasureService } from "./service.ts";

const path = "/v1/erasures";
const sample = { body: (n: number) => ({ userId: `erased-${n}` }) };
const preview = component(
  "PersonPreview",
  z.object({
    records: z.array(z.object({
      entity: z.string().meta({ description: "The kind of records." }),
      pattern: z.string().meta({ description: "The pattern of their keys." }),
      field: z.string().meta({ description: "The field that names the person." }),
      count: z.int().meta({ description: "The number of records." }),
      keys: z.array(z.string()).meta({ description: "The keys of the first 100." }),
    })),
    tenants: z.array(segment).meta({ description: "The tenants that these records belong to, of the first 500 of each kind and field." }),
  }),
  () => ({
    records: [{ entity: "tenant", pattern: "tenant:{id}", field: "owner", count: 1, keys: [`tenant:${tenant.example.id}`] }],
    tenants: [tenant.example.id],
  }),
);

export const routes: readonly Route[] = [
  verb(`POST ${path}`, {
    service: ErasureService,
    operationId: "erasePerson",
    summary: "Erase a person from the audit log",
    description:
      "Deletes the keys under which audit entries hold the person's data, in every chain. The entries then show `[erased]`, and " +
      "the chains stay valid. It cannot be undone. The event `subject.erased` announces it. Records that name the person are not " +
      "changed: change or delete them before. The preview lists them.",
    scope: "write:erasures",
    input: erasureInput,
    output: recordOf(erasure),
    location: ({ id }) => `${path}/${id}`,
    sample,
    run: async ({ service, body }) => await service.erase(body),
  }),
  verb(`POST ${path}/preview`, {
    service: ErasureService,
    operationId: "previewErasure",
    summary: "List the records that name a person",
    description: "Found by the indexes of the fields that are declared as ids of users or addresses of persons. Nothing is written.",
    scope: "read:erasures",
    input: erasureInput,
    output: preview,
    readOnly: true,
    sample,
    run: async ({ service, body }) => await service.preview(body) as never,
  }),
  ...crud(erasure, { path, scope: "erasures", service: ErasureService, only: ["list", "get"], sample: {} }),
];

import { z } from "zod";
import { type Route, verb } from "../../core/route.ts";
import { component } from "../../core/schemas.ts";
import { erasureInput, ErasureService } from "./service.ts";

const erasure = component(
  "Erasure",
  z.object({ keys: z.int().meta({ description: "The number of keys that were deleted. 0: the audit log holds no data of the person." }) })
    .meta({ examples: [{ keys: 3 }] }),
);

export const routes: readonly Route[] = [
  verb("POST /v1/erasures", {
    service: ErasureService,
    operationId: "erasePerson",
    summary: "Erase a person from the audit log",
    description:
      "Deletes the keys under which audit entries hold the person's data, in every chain. The entries then show `[erased]`, and " +
      "the chains stay valid. It cannot be undone. Records that name the person are not changed: change or delete them before.",
    scope: "write:erasures",
    input: erasureInput,
    output: erasure,
    sample: { body: (n) => ({ userId: `erased-${n}` }) },
    run: async ({ service, body }) => await service.erase(body),
  }),
];

import { z } from "zod";
import { type Route, verb } from "../../core/route.ts";
import { component } from "../../core/schemas.ts";
import { rootKey } from "./entity.ts";
import { ROOT_KEY_STATES } from "./rules.ts";
import { RootKeyService } from "./service.ts";

const view = z.object({
  ...rootKey.schema.shape,
  state: z.enum(ROOT_KEY_STATES).meta({
    description:
      "`current` encrypts. `previous` may still be needed to decrypt. `unused` can be removed from the configuration. `lost`: records are under " +
      "it, and the program starts without it.",
  }),
  available: z.boolean().meta({ description: "Whether the process that responded has the key." }),
});

const list = component(
  "RootKeys",
  z.object({ data: z.array(view) }),
  () => ({ data: [{ ...rootKey.schema.parse(rootKey.example), state: "current", available: true }] }),
);

/** For the platform only. */
export const routes: readonly Route[] = [
  verb("GET /v1/root-keys", {
    service: RootKeyService,
    operationId: "listRootKeys",
    summary: "List the root keys that encrypt credentials",
    description: "Shows the ids of the keys and never a key. The job `root-keys` counts the records under each, once a day.",
    scope: "read:root-keys",
    errors: ["root_key_unavailable"],
    output: list,
    run: async ({ service }) => ({ data: await service.list() }),
  }),
];

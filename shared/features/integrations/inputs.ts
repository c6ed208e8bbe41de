import { z } from "zod";
import { instant } from "../../core/values.ts";
import { MAX_SYNC_ERROR_CHARS, SYNC_STATUSES } from "./entity.ts";

/** The body of a connection. The provider's own schemas check the members of config and credentials. */
export const connectionInput = z.strictObject({
  config: z.record(z.string(), z.json()).optional().meta({ description: "As the provider's schema of the config says. Default: `{}`." }),
  credentials: z.record(z.string(), z.string()).optional().meta({
    description: "As the provider's schema of the credentials says. If omitted, the stored ones stay. No response contains them.",
  }),
  enabled: z.boolean().default(true).meta({ description: "If false, the program makes no calls." }),
  credentialsExpireAt: instant.optional().meta({ description: "When the credentials expire. Reminders are sent 14, 7 and 1 days before." }),
});
export type ConnectionInput = z.input<typeof connectionInput>;

export const syncInput = z.strictObject({
  status: z.enum(SYNC_STATUSES).meta({ description: "`running`: the synchronisation has begun." }),
  error: z.string().min(1).max(MAX_SYNC_ERROR_CHARS).optional().meta({ description: "What failed, for people." }),
});

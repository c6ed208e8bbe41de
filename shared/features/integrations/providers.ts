import { z } from "zod";
import { InnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { Provider } from "./provider.ts";
import { CONTACT } from "./providers-contact.ts";
import { FINANCE } from "./providers-finance.ts";
import { HOTEL } from "./providers-hotel.ts";

/** Every provider that a tenant can connect. */
export const PROVIDERS: readonly Provider[] = [...FINANCE, ...CONTACT, ...HOTEL];

const byId = new Map(PROVIDERS.map((provider) => [provider.id, provider]));

/** Throws `unknown_provider`. */
export function providerOf(id: string): Provider {
  const found = byId.get(id);
  if (found) return found;
  const known = [...byId.keys()].join(", ");
  throw new InnkeepError("unknown_provider", `There is no provider of this name. The providers are: ${known}.`);
}

/** A provider as its list shows it. */
export interface ShownProvider extends Pick<Provider, "id" | "name" | "type" | "docs"> {
  readonly config: JsonObject;
  readonly credentials: JsonObject;
}

let shown: readonly ShownProvider[] | undefined;

/** The providers with the JSON Schemas of their config and credentials. */
export function shownProviders(): readonly ShownProvider[] {
  return shown ??= PROVIDERS.map(({ id, name, type, docs, config, credentials }) => (
    { id, name, type, docs, config: jsonSchemaOf(config), credentials: jsonSchemaOf(credentials) }
  ));
}

/** Of the input: a field with a default is optional. */
function jsonSchemaOf(schema: z.ZodObject): JsonObject {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: "input" });
  return rest as JsonObject;
}

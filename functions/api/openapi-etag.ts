import type { z } from "zod";
import type { Route } from "../../shared/core/route.ts";

/** Whether the route reads or changes one thing that has an ETag: a record, or a text with its digest. */
export function hasEtag(route: Route): boolean {
  return route.etag === true || hasMember(route.responses[200]?.schema, "version");
}

/** Whether the schema is of an object that declares the member. */
export function hasMember(schema: z.ZodType | undefined, name: string): boolean {
  return schema !== undefined && "shape" in schema && Object.hasOwn(schema.shape as object, name);
}

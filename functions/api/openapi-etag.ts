import type { z } from "zod";
import type { Route } from "../../shared/core/route.ts";

/** Whether the route reads or changes a record with an ETag, or returns a text with its digest as the ETag. */
export function hasEtag(route: Route): boolean {
  return route.etag === true || hasMember(route.responses[200]?.schema, "version");
}

/** Whether the schema describes an object with this member. */
export function hasMember(schema: z.ZodType | undefined, name: string): boolean {
  return schema !== undefined && "shape" in schema && Object.hasOwn(schema.shape as object, name);
}

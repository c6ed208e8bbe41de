import { z } from "zod";
import { Reply } from "../../core/reply.ts";
import { type Route, verb } from "../../core/route.ts";
import { component, exampleOf } from "../../core/schemas.ts";
import { OFREP_ERRORS, ofrepEvaluation, ofrepRequest } from "./protocol.ts";
import { OfrepService } from "./service.ts";

const path = "/ofrep/v1/evaluate/flags";
const flags = component(
  "OfrepFlags",
  z.object({ flags: z.array(ofrepEvaluation) }),
  () => ({ flags: [exampleOf(ofrepEvaluation)] }),
);
const evaluation = {
  service: OfrepService,
  scope: "read:flags",
  readOnly: true,
  errorProtocol: OFREP_ERRORS,
  input: ofrepRequest,
  inputOptional: true,
} as const;
const body = { context: { targetingKey: "tn_1767225600000_a1b2c3d4e5f6", userId: "guest-1" } };

/** The OpenFeature Remote Evaluation Protocol (OFREP). SDKs append these paths to the base URL of the API. */
export const routes: readonly Route[] = [
  verb(`POST ${path}`, {
    ...evaluation,
    operationId: "ofrepEvaluateFlags",
    summary: "Evaluate all flags for client programs (OFREP)",
    description: "Server-only flags are omitted. The ETag changes with each change of a result. " +
      "Errors have `errorCode` and `errorDetails` of OFREP in addition.",
    etag: true,
    output: flags,
    sample: { body },
    run: async ({ service, body, tenantId }) => {
      const { flags, digest } = await service.evaluateAll(body.context, tenantId);
      return new Reply(200, { flags }, { version: digest });
    },
  }),
  verb(`POST ${path}/:key`, {
    ...evaluation,
    operationId: "ofrepEvaluateFlag",
    summary: "Evaluate one flag (OFREP)",
    description: "For a tenant's callers, a server-only flag does not exist. " +
      "Errors have `key`, `errorCode` and `errorDetails` of OFREP in addition.",
    resource: "flag",
    output: ofrepEvaluation,
    sample: { body, memberOf: { key: "/v1/flags" } },
    run: async ({ service, params, body, tenantId }) => await service.evaluate(params.key, body.context, tenantId),
  }),
];

import { crud } from "../../core/crud.ts";
import { type Route, verb } from "../../core/route.ts";
import { recordOf } from "../../core/schemas.ts";
import { tenant } from "../tenants/entity.ts";
import { legalHold } from "./entity.ts";
import { LegalHoldService } from "./service.ts";

const path = "/v1/legal-holds";

/** Legal holds, for the platform only. */
export const routes: readonly Route[] = [
  ...crud(legalHold, {
    path,
    scope: "legal-holds",
    service: LegalHoldService,
    only: ["list", "create", "get"],
    descriptions: {
      create:
        "Names a tenant or a person (`userId`, `email` or both). Until the release, nothing of the tenant is deleted, neither by retention, nor by " +
        "expiry, nor on request; data of the person is not erased.",
    },
    sample: { create: (n) => ({ tenantId: tenant.example.id as string, reason: `Case ${n}` }) },
  }),
  verb(`POST ${path}/:legalHoldId/release`, {
    service: LegalHoldService,
    operationId: "releaseLegalHold",
    summary: "Release a legal hold",
    description: "What it has prevented goes on if no other hold remains. A hold that was released already is not changed.",
    scope: "write:legal-holds",
    loads: [legalHold],
    output: recordOf(legalHold),
    run: async ({ service, params, options }) => await service.release(params.legalHoldId, options),
  }),
];

import { crud } from "../../core/crud.ts";
import { Records } from "../../core/records.ts";
import { type Route, verb } from "../../core/route.ts";
import { recordOf } from "../../core/schemas.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { commitInput, reservation, reserveInput } from "./entity.ts";
import { ReservationService } from "./service.ts";

const path = "/v1/tenants/:tenantId/usage/:metric";
const LIST = "/v1/tenants/:tenantId/reservations";
const METRIC = "api_calls";

/** Makes the reservation of the sample. Others have generated ids. */
class SampleReservations {
  constructor(private readonly work: UnitOfWork) {}

  async make(tenantId: string): Promise<void> {
    const record = { ...reservation.schema.parse(reservation.example), tenantId };
    await new Records(reservation, this.work).create("reservation.created", () => ({ record }));
  }
}

const changes = { service: ReservationService, output: recordOf(reservation), scope: "write:usage" } as const;

/** The platform reserves usage. A tenant's users read what is reserved. */
export const routes: readonly Route[] = [
  ...crud(reservation, {
    path: LIST,
    scope: "reservations",
    service: ReservationService,
    only: ["list"],
    descriptions: {
      list: "One that has expired is shown as released. The filter `status=held` lists it for up to a minute longer.",
    },
    sample: {},
  }),
  verb(`GET ${LIST}/:reservationId`, {
    ...changes,
    operationId: "getReservation",
    summary: "Get a reservation",
    scope: "read:reservations",
    loads: [reservation],
    sample: {
      params: { reservationId: reservation.example.id },
      prepare: async (_, { tenantId = "" }, use) => await use(SampleReservations).make(tenantId),
    },
    run: async ({ service, params }) => await service.get(params.tenantId, params.reservationId),
  }),
  verb(`POST ${path}/reserve`, {
    ...changes,
    operationId: "reserveUsage",
    summary: "Hold an amount until it is used",
    description: "Holds the amount in the current month if the policy of the metric allows it. Until it expires, it counts as used. " +
      "Concurrent calls never exceed the limit together.",
    input: reserveInput,
    errors: ["usage_limit_exceeded", "write_conflict"],
    location: ({ id }) => `${LIST}/${id}`,
    sample: { makes: `${path}/reservations`, params: { metric: METRIC }, auditEntries: 0, body: { amount: 1 } },
    run: async ({ service, params, body, options }) =>
      await service.reserve(params.tenantId, params.metric, body.amount, body.expiresInSeconds, options),
  }),
  verb(`POST ${path}/reservations/:reservationId/commit`, {
    ...changes,
    operationId: "commitReservation",
    summary: "Count the amount that was used",
    description: "By default that is the held amount. More must fit the limit, and less frees the rest. It counts in the month of the " +
      "reservation, for a gauge in the current month. Repeating the call with the same amount changes nothing.",
    input: commitInput,
    inputOptional: true,
    errors: ["reservation_expired", "reservation_ended", "usage_limit_exceeded", "precondition_failed", "write_conflict"],
    loads: [reservation],
    sample: { auditEntries: 0, params: { metric: METRIC } },
    run: async ({ service, params, body, options }) =>
      await service.commit(params.tenantId, params.metric, params.reservationId, body.amount, options),
  }),
  verb(`POST ${path}/reservations/:reservationId/release`, {
    ...changes,
    operationId: "releaseReservation",
    summary: "Free a held amount",
    description: "Repeating the call changes nothing.",
    errors: ["reservation_ended", "precondition_failed", "write_conflict"],
    loads: [reservation],
    sample: { auditEntries: 0, params: { metric: METRIC } },
    run: async ({ service, params, options }) => await service.release(params.tenantId, params.metric, params.reservationId, options),
  }),
];

import { expect } from "vitest";
import type { Services } from "../../../shared/container.ts";
import type { TestContext } from "../../support/test-context.ts";
import type { Killed } from "./killed.test.ts";

const TENANTS = 10;
const HELD = 12;

/** Reservations that expire one after the other, while the processes are killed. */
export async function reservations(context: TestContext & Services): Promise<Killed> {
  const tenants = await Promise.all(Array.from({ length: TENANTS }, () => context.tenant({ plan: "Pro" })));
  await Promise.all(tenants.map(async ({ id }) => {
    for (let n = 0; n < HELD; n++) await context.ReservationService.reserve(id, "users", 1, 1 + n % 8);
    const used = await context.ReservationService.reserve(id, "users", 2, 3_600);
    await context.ReservationService.commit(id, "users", used.id);
  }));
  return {
    check: async () => {
      while ((await context.as().JobService.run("reservations")).processed > 0);
      for (const { id } of tenants) {
        expect(await context.UsageService.get(id, "users"), id).toMatchObject({ current: 2, reserved: 0 });
        const { data } = await context.ReservationService.list(id, {}, undefined, { limit: 100 });
        expect(data.filter(({ status, expired }) => status === "released" && expired), id).toHaveLength(HELD);
      }
    },
  };
}

import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isMutation } from "../../../shared/core/route.ts";
import { declaredActions } from "../../../shared/core/actions.ts";
import type { AuditEntry } from "../../../shared/core/audit-entry.ts";
import { type Container, createBackend, type Services } from "../../../shared/container.ts";
import type { OutboxEvent } from "../../../shared/core/outbox-event.ts";
import { eventTypes } from "../../../shared/features/events/catalogue.ts";
import { isTenantScoped } from "../../../shared/features/events/event-type.ts";
import { actions } from "../../../shared/features/index.ts";
import { registry } from "../../../shared/features/registry.ts";
import { systemContext } from "../../../shared/kernel/context.ts";
import { silentLogger } from "../../../shared/kernel/logger.ts";
import type { Store } from "../../../shared/kv/store.ts";
import { expectProblem, useApi } from "../../http/support/api.ts";
import { bodyOf, pathOf, prepare } from "../../http/support/samples.ts";
import { numberAll } from "../../support/events.ts";
import { storedFault } from "../../support/event-contract.ts";
import { ADMIN, KEYS, type TestContext } from "../../support/test-context.ts";
import { openIntegrations } from "../integrations/support.ts";
import { failOutbound, runAllJobs } from "./all-jobs.ts";

const api = useApi();
let context: TestContext & Services;
afterAll(() => context.close());
let emitted: OutboxEvent[] = [];
let audited: AuditEntry[] = [];

/** Calls every route that changes something with its sample. */
async function callEveryRoute(): Promise<void> {
  const token = api.admin("super_admin");
  for (const route of api.routes.filter(isMutation)) {
    const ids = await prepare(api, route);
    const json = bodyOf(route, ids);
    const answer = await api.send(route.method, pathOf(route, ids), { token, ...(json ? { json } : {}) });
    expect(answer.status, `${route.operationId}: ${answer.text}`).toBeLessThan(300);
  }
}

async function allIn<T>(prefix: string, stores: readonly Store[]): Promise<T[]> {
  const found: T[] = [];
  for (const store of stores) for await (const { value } of store.entries({ prefix, pageSize: 500 })) found.push(value as T);
  return found;
}

beforeAll(async () => {
  const opened = await openIntegrations();
  context = opened.context;
  const { store, clock } = context;
  const work = createBackend({ store, clock, logger: silentLogger, ...KEYS }).bind({
    actor: ADMIN,
    tenantId: null,
    requestId: "req_test",
    clock,
  });
  await Promise.all([callEveryRoute(), runAllJobs(context, work)]);
  await failOutbound(opened);
  const stores = [api.open.store, store];
  [emitted, audited] = [await allIn("outbox", stores), await allIn("audit", stores)];
}, 120_000);

describe("the events of every route and job", () => {
  test("W17: are declared, with every member of their data, and match the schemas of their types", () => {
    expect(emitted.length).toBeGreaterThan(eventTypes.length);
    expect([...new Set(emitted.map(storedFault))]).toEqual([null]);
  });

  test("W17: have every declared type", () => {
    const seen = new Set(emitted.map(({ type }) => type));
    expect(eventTypes.map(({ type }) => type).filter((type) => !seen.has(type))).toEqual([]);
  });

  test("W17: belong to a tenant only if their type says so", () => {
    const platform = new Set(eventTypes.filter((of) => !isTenantScoped(of)).map(({ type }) => type));
    expect(emitted.filter(({ type, tenantId }) => platform.has(type) && tenantId !== undefined)).toEqual([]);
  });
});

test("A16: the data of every audit entry of every route and job matches the schema of its action", () => {
  const ajv = addFormats.default(new Ajv2020({ allowUnionTypes: true }));
  const byAction = new Map(declaredActions(actions, registry).map((each) => [each.action, each]));
  const faults = audited.filter(({ actionVersion }) => actionVersion === undefined).flatMap(({ action, resource, data = {} }) => {
    const declared = byAction.get(action);
    if (declared?.resource !== resource) return [`${action} of ${resource} is not declared`];
    return ajv.validate(declared.dataSchema, data) ? [] : [`${action}: ${ajv.errorsText()} in ${Object.keys(data).join(", ")}`];
  });
  expect([...new Set(faults)]).toEqual([]);
  expect(new Set(audited.map(({ action }) => action)).size).toBeGreaterThan(80);
});

describe("the routes of events", () => {
  test("W17: list the types to every caller, with a schema that the example matches", async () => {
    const { id } = await api.tenant();
    for (const token of [await api.user(id, "viewer"), await api.key(["read:plans"], id), api.admin("read_only")]) {
      const { status, body } = await api.send("GET", "/v1/event-types?types=tenant.*,invoice.paid", { token });
      expect(status).toBe(200);
      const shown = body.data as readonly { readonly type: string; readonly jsonSchema: object; readonly examples: readonly object[] }[];
      expect(shown.map(({ type }) => type).filter((type) => !type.startsWith("tenant."))).toEqual(["invoice.paid"]);
      const [paid] = shown;
      const ajv = addFormats.default(new Ajv2020());
      expect(ajv.validate(paid?.jsonSchema ?? {}, paid?.examples[0]), ajv.errorsText()).toBe(true);
    }
    const all = await api.send("GET", "/v1/event-types", { token: api.admin("read_only") });
    expect(all.body.data.map(({ type }: { readonly type: string }) => type)).toEqual(eventTypes.map(({ type }) => type));
    const unknown = await api.send("GET", "/v1/event-types?types=tenant.asleep", { token: api.admin("read_only") });
    expectProblem(unknown, 400, "invalid_parameter");
  });

  test("W22: answer an expired cursor with 410, and another limit than 1 to 100 with 400", async () => {
    const token = api.admin("read_only");
    const { id } = await api.tenant();
    await numberAll((api.container as Container).bind(systemContext(api.clock)));
    const first = await api.send("GET", `/v1/events?tenantId=${id}&limit=1`, { token });
    expect(first.body).toMatchObject({ data: [{ type: "tenant.created", tenantId: id }], hasMore: false });
    const after = await api.send("GET", "/v1/events?limit=1", { token });
    api.clock.advance(31 * 86_400_000);
    expectProblem(
      await api.send("GET", `/v1/events?after=${after.body.nextCursor}`, { token: await tokenAfter("read_only") }),
      410,
      "cursor_expired",
    );
    for (const limit of ["0", "101", "x"]) {
      expectProblem(await api.send("GET", `/v1/events?limit=${limit}`, { token: await tokenAfter("read_only") }), 400, "invalid_parameter");
    }
  });
});

/** A token that is valid at the present time of the clock. */
const tokenAfter = (role: string) => api.signer.sign(`user-${role}`);

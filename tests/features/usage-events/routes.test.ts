import { describe, expect, it } from "vitest";
import { read } from "../../architecture/sources.ts";
import { expectProblem, useApi } from "../../http/support/api.ts";
import { eventOf } from "./support.ts";

const api = useApi();
const PATH = "/v1/usage/events";

/** The JSON examples of the page, with this tenant and this month in place of theirs. */
function examples(tenantId: string, month: string): unknown[] {
  const blocks = [...read("docs/usage-events.md").matchAll(/```json\n([\s\S]*?)```/g)].map(([, json = ""]) => json);
  return blocks.map((json) =>
    JSON.parse(
      json.replaceAll("tn_1767225600000_a1b2c3d4e5f6", tenantId).replaceAll("2026-03-10T10:00:00Z", `${month}-01T00:00:00Z`).replaceAll(
        "2026-03",
        month,
      ),
    ) as unknown
  );
}

describe("the routes of usage events", () => {
  it("U10: answer the examples of docs/usage-events.md as the page says", async () => {
    const { id } = await api.tenant();
    const month = api.clock.iso().slice(0, 7);
    const token = api.admin("super_admin");
    const [batch, results, track] = examples(id, month) as [unknown, { data: Record<string, unknown>[] }, Record<string, unknown>];
    const answer = await api.send("POST", PATH, { token, json: batch });
    const usageEventId = answer.body.data[0].usageEventId;
    expect(answer.body).toEqual({ data: results.data.map((result) => "usageEventId" in result ? { ...result, usageEventId } : result) });
    const one = await api.send("POST", `/v1/tenants/${id}/usage/track`, { token, json: track });
    expect([one.status, one.body.status]).toEqual([201, "accepted"]);
    expect((await api.send("GET", one.headers.get("location") ?? "", { token })).body).toMatchObject({
      eventId: "order-17",
      amount: 2,
      userId: "user-7",
    });
    expect((await api.send("POST", `/v1/tenants/${id}/usage/track`, { token, json: track })).status).toBe(200);
    const list = await api.send("GET", `/v1/tenants/${id}/usage-events?metric=api_calls&period=${month}&timeTo=${month}-01`, { token });
    expect(list.body.pagination.total).toBe(2);
    const groups = await api.send("GET", `/v1/tenants/${id}/usage/api_calls/groups?dimension=endpoint&period=${month}`, { token });
    expect(groups.body.data).toEqual([{ value: "/v1/rooms", amount: 3 }]);
  });

  it("U10: take the media types of CloudEvents, and report a single event that is rejected as an error of the request", async () => {
    const { id } = await api.tenant();
    const token = api.admin("super_admin");
    const send = (raw: unknown, type: string) =>
      api.send("POST", PATH, { token, raw: JSON.stringify(raw), headers: { "content-type": type } });
    expect((await send(eventOf(id, "m1"), "application/cloudevents+json; charset=utf-8")).body).toMatchObject({
      data: [{ status: "accepted" }],
    });
    expect((await send([eventOf(id, "m2")], "application/cloudevents-batch+json")).body).toMatchObject({ data: [{ status: "accepted" }] });
    expectProblem(await send(eventOf(id, "m3"), "application/cloudevents+xml"), 415, "unsupported_media_type");
    expectProblem(await send(eventOf("tn_none", "m4"), "application/json"), 404, "not_found");
    expectProblem(await send(eventOf(id, "m1", { amount: 2 }), "application/json"), 422, "idempotency_mismatch");
    const invalid = await send(eventOf(id, "", { amount: -1 }), "application/json");
    expectProblem(invalid, 422, "validation_failed");
    expect(invalid.body.errors?.map(({ path }: { path: string }) => path)).toEqual(["/id", "/data/amount"]);
  });

  it("U10: keep a batch whose items cannot be stored or parsed, and refuse more than 1,000", async () => {
    const { id } = await api.tenant();
    const token = api.admin("super_admin");
    const good = JSON.stringify(eventOf(id, "good"));
    const bad = [
      good.replace("good", "b\\u0000"),
      good.replace("good", "b\\ud800"),
      good.replace("}", ',"data":{"amount":1e999}}'),
      good.replace("}", ',"__proto__":1}'),
    ];
    const headers = { "content-type": "application/json", "idempotency-key": "batch-1" };
    const raw = `[${[...bad, good].join(",")}]`;
    const answer = await api.send("POST", PATH, { token, raw, headers });
    expect(answer.body.data.map(({ status }: { status: string }) => status)).toEqual([...Array(4).fill("rejected"), "accepted"]);
    const again = await api.send("POST", PATH, { token, raw, headers });
    expect([again.headers.get("idempotent-replayed"), again.text]).toEqual(["true", answer.text]);
    expectProblem(
      await api.send("POST", PATH, { token, json: Array.from({ length: 1_001 }, (_, n) => eventOf(id, `n${n}`)) }),
      422,
      "validation_failed",
    );
  });
});

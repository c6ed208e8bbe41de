import { expect, test } from "vitest";
import { type CallApi, startWebhookEcho } from "../../functions/local/webhook-echo.ts";
import { signatureHeaders } from "../../shared/features/webhooks/signature.ts";
import { useApi } from "../http/support/api.ts";
import { localOutbound } from "../support/outbound.ts";

const api = useApi({ outbound: localOutbound() });
const EVENT = '{"id":"evt_1","type":"tenant.suspended","tenantId":"tn_1","subject":"tn_1","data":{}}';

/** The calls of the echo, and the secrets and webhooks that the API returned. */
function caller(): { readonly call: CallApi; readonly made: { readonly id: string; readonly secret: string }[] } {
  const made: { id: string; secret: string }[] = [];
  return {
    made,
    call: async (method, path, body) => {
      const answer = await api.send(method, path, { token: api.admin("super_admin"), ...(body ? { json: body } : {}) });
      const { id, secret } = (answer.body ?? {}) as { id: string; secret?: string };
      if (secret !== undefined) made.push({ id, secret });
      return answer;
    },
  };
}

async function deliver(url: string, secret: string, body = EVENT, id = "evt_1"): Promise<number> {
  const headers = await signatureHeaders({ id, timestampMs: Date.now(), body: new TextEncoder().encode(EVENT) }, [secret]);
  return (await fetch(url, { method: "POST", body, headers })).status;
}

test("W02: the echo prints each request and whether its signature is valid, and takes its webhook up again at the next start", async () => {
  const lines: string[] = [];
  const { call, made } = caller();
  const first = await startWebhookEcho(call, (line) => lines.push(line));
  const { id = "", secret = "" } = made[0] ?? {};
  const stored = async () => (await call("GET", `/v1/webhooks/${id}`)).body;
  expect(await stored()).toMatchObject({ url: first.url, events: ["*"], enabled: true });
  expect(await deliver(first.url, secret)).toBe(204);
  expect(await deliver(first.url, secret, EVENT.replace("tn_1", "tn_2"))).toBe(401);
  expect(await deliver(first.url, secret, "no JSON")).toBe(401);
  expect((await fetch(first.url, { method: "POST", body: EVENT })).status).toBe(401);
  expect(lines.map((line) => line.replace(/v1,\S+/g, "v1,…"))).toEqual([
    "webhook evt_1: tenant.suspended tn_1 of tn_1; valid signature",
    "webhook evt_1: tenant.suspended tn_1 of tn_2; INVALID signature: v1,… instead of v1,…",
    "webhook evt_1: not an event; INVALID signature: v1,… instead of v1,…",
    "webhook without an id: tenant.suspended tn_1 of tn_1; INVALID timestamp",
  ]);
  expect(lines.join("\n")).not.toContain(secret);
  await first.close();
  expect(await stored()).toMatchObject({ enabled: false });

  const next = await startWebhookEcho(call, (line) => lines.push(line));
  expect(made.at(-1)).toMatchObject({ id });
  expect(await stored()).toMatchObject({ url: next.url, enabled: true });
  expect(await deliver(next.url, made.at(-1)?.secret ?? "")).toBe(204);
  expect(await deliver(next.url, secret), "the secret of the earlier start").toBe(401);
  await next.close();
});

test("W02: the echo ends with the reason if its webhook is refused", async () => {
  const refusing: CallApi = (method) =>
    Promise.resolve(method === "GET" ? { status: 200, body: { data: [] } } : { status: 422, body: { detail: "/url: no" } });
  await expect(startWebhookEcho(refusing, () => undefined)).rejects.toThrow("the webhook of the echo: /url: no");
});

import { describe, expect, test } from "vitest";
import { expectProblem, useApi } from "../../http/support/api.ts";

const api = useApi();
const lineItems = [{ description: "Pro, March 2026", unitAmount: 29900 }];

async function hotel() {
  const { id } = await api.tenant();
  return { id, path: `/v1/tenants/${id}/invoices`, notes: `/v1/tenants/${id}/credit-notes`, token: api.admin("admin") };
}

test("B14: the platform issues, fails, pays and refunds an invoice over HTTP, and the tenant reads it, also when suspended", async () => {
  const { id, path, token } = await hotel();
  const made = await api.send("POST", path, { token, json: { lineItems, tax: 2392, subscriptionId: "sub_1" } });
  expect(made.status, made.text).toBe(201);
  expect(made.body).toMatchObject({ amount: 29900, tax: 2392, total: 32292, status: "pending", number: "INV-2026-000001" });
  const one = `${path}/${made.body.id as string}`;
  expect(made.headers.get("location")).toBe(one);
  expect((await api.send("POST", `${one}/fail`, { token })).body).toMatchObject({ status: "failed" });
  const paid = await api.send("POST", `${one}/pay`, { token, json: { paidAt: "2026-02-28T00:00:00.000Z" } });
  expect(paid.body).toMatchObject({ status: "paid", paidAt: "2026-02-28T00:00:00.000Z" });
  expect((await api.send("POST", `${one}/pay`, { token })).body).toEqual(paid.body);
  const refused = await api.send("POST", `${one}/void`, { token });
  expectProblem(refused, 409, "invalid_transition");
  expect(refused.body).toMatchObject({ from: "paid", to: "void", allowed: ["refunded"] });
  expect((await api.send("POST", `${one}/refund`, { token })).body).toMatchObject({ status: "refunded" });

  await api.services.TenantService.suspend(id, "unpaid");
  const owner = await api.user(id, "owner");
  expect((await api.send("GET", one, { token: owner })).body).toMatchObject({ status: "refunded", total: 32292 });
  expect((await api.send("GET", `${path}?status=refunded,paid&sort=-total`, { token: owner })).body.data).toHaveLength(1);
  expect((await api.send("GET", `${path}?dueDateTo=2026-03-15T00:00:00.000Z`, { token: owner })).body.data).toEqual([]);
});

test("B14: a tenant's owner cannot issue, pay, void or credit an invoice", async () => {
  const { id, path, notes, token } = await hotel();
  const { body } = await api.send("POST", path, { token, json: { lineItems } });
  const owner = await api.user(id, "owner");
  expectProblem(await api.send("POST", path, { token: owner, json: { lineItems } }), 403, "insufficient_scope");
  for (const step of ["pay", "fail", "void", "refund"]) {
    expectProblem(await api.send("POST", `${path}/${body.id as string}/${step}`, { token: owner }), 403, "insufficient_scope");
  }
  const json = { invoiceId: body.id as string, lineItems, reason: "x" };
  expectProblem(await api.send("POST", notes, { token: owner, json }), 403, "insufficient_scope");
});

test("B16: no method edits or deletes an invoice or a credit note", async () => {
  const { path, notes, token } = await hotel();
  const { body } = await api.send("POST", path, { token, json: { lineItems } });
  const note = await api.send("POST", notes, { token, json: { invoiceId: body.id as string, lineItems, reason: "x" } });
  for (const one of [`${path}/${body.id as string}`, `${notes}/${note.body.id as string}`]) {
    for (const method of ["PUT", "PATCH", "DELETE"]) {
      const answer = await api.send(method, one, { token, ...(method === "DELETE" ? {} : { json: { total: 1 } }) });
      expectProblem(answer, 405, "method_not_allowed");
    }
  }
  expectProblem(
    await api.send("POST", notes, { token, json: { invoiceId: body.id as string, lineItems, reason: "x" } }),
    409,
    "credit_exceeds_invoice",
  );
});

describe("bad input", () => {
  const HUGE = 1e14 + 1;
  test.each<[string, Record<string, unknown>, readonly string[]]>([
    ["no lines", { lineItems: [] }, ["/lineItems"]],
    ["251 lines", { lineItems: Array.from({ length: 251 }, () => lineItems[0]) }, ["/lineItems"]],
    ["a fraction of a cent", { lineItems: [{ description: "x", unitAmount: 0.5 }] }, ["/lineItems/0/unitAmount"]],
    ["a fraction of a unit", { lineItems: [{ description: "x", unitAmount: 1, quantity: 1.5 }] }, ["/lineItems/0/quantity"]],
    ["a quantity of 0", { lineItems: [{ description: "x", unitAmount: 1, quantity: 0 }] }, ["/lineItems/0/quantity"]],
    ["a float tax", { lineItems, tax: 1.1 }, ["/tax"]],
    ["a negative tax", { lineItems, tax: -1 }, ["/tax"]],
    ["a text as an amount", { lineItems, amount: "29900" }, ["/amount"]],
    ["an amount above the highest", { lineItems: [{ description: "x", unitAmount: HUGE }] }, ["/lineItems/0/unitAmount"]],
    ["an amount that JSON cannot hold exactly", { lineItems: [{ description: "x", unitAmount: 2 ** 53 }] }, ["/lineItems/0/unitAmount"]],
    ["lines that sum above the highest", { lineItems: [1, 2].map(() => ({ description: "x", unitAmount: 1e14 })) }, ["/lineItems"]],
    ["lines that sum below 0", { lineItems: [{ description: "x", unitAmount: -1 }] }, ["/lineItems"]],
    ["wrong sums", { lineItems, amount: 1, total: 2 }, ["/amount", "/total"]],
    ["a currency that is none", { lineItems, currency: "EURO" }, ["/currency"]],
    ["another currency than the platform's", { lineItems, currency: "EUR" }, ["/currency"]],
    ["a due date in the past", { lineItems, dueDate: "2026-02-01T00:00:00.000Z" }, ["/dueDate"]],
    ["its own number", { lineItems, number: "INV-2026-000001" }, ["/number"]],
    ["its own status", { lineItems, status: "paid" }, ["/status"]],
  ])("B14: an invoice with %s is 422, names the field, and takes no number", async (_, json, paths) => {
    const { path, token } = await hotel();
    const before = (await api.open.store.get("counter:invoice-2026"))?.version;
    const answer = await api.send("POST", path, { token, json });
    expectProblem(answer, 422, "validation_failed");
    expect(answer.body.errors.map(({ path }: { path: string }) => path)).toEqual(paths);
    expect((await api.open.store.get("counter:invoice-2026"))?.version).toBe(before);
  });

  test("B14: an invoice of 250 lines and 240,000 bytes is issued; one of 300,000 bytes is 413 and takes no number", async () => {
    const { path, token } = await hotel();
    const issue = async (description: string, padding: number) => {
      const lines = Array.from({ length: 250 }, () => ({ description, unitAmount: 4e11, kind: "usage" }));
      return await api.send("POST", path, { token, json: { lineItems: lines, metadata: { note: "n".repeat(padding) } } });
    };
    const small = await issue("d".repeat(500), 0);
    expect([small.status, small.body.total], small.text.slice(0, 300)).toEqual([201, 1e14]);
    const largest = await issue("d".repeat(500), 240_000 - small.text.length);
    expect([largest.status, Math.abs(largest.text.length - 240_000) < 100], largest.text.slice(0, 300)).toEqual([201, true]);
    expectProblem(await issue("漢".repeat(500), 0), 413, "payload_too_large");
    expect(Number((await issue("d", 0)).body.number.slice(9)) - Number(largest.body.number.slice(9))).toBe(1);
  });

  test("B14: a payment in the future or with a status in its body is 422, and one of an unknown invoice is 404", async () => {
    const { path, token } = await hotel();
    const { body } = await api.send("POST", path, { token, json: { lineItems } });
    const pay = `${path}/${body.id as string}/pay`;
    expectProblem(await api.send("POST", pay, { token, json: { paidAt: "2026-03-02T00:00:00.000Z" } }), 422, "validation_failed");
    expectProblem(await api.send("POST", pay, { token, json: { status: "paid" } }), 422, "validation_failed");
    expectProblem(await api.send("POST", `${path}/inv_none/pay`, { token }), 404, "not_found");
  });

  test("B16: a credit note names its invoice by its short id or full key; another tenant's full key is 422", async () => {
    const { id, path, notes, token } = await hotel();
    const { body } = await api.send("POST", path, { token, json: { id: "inv_same", lineItems } });
    const foreign = await hotel();
    await api.send("POST", foreign.path, { token, json: { id: "inv_same", lineItems } });
    const credit = (invoiceId: string) =>
      api.send("POST", notes, { token, json: { invoiceId, lineItems: [{ description: "x", unitAmount: 1 }], reason: "x" } });
    expect((await credit(`invoice:${id}:inv_same`)).body).toMatchObject({ invoiceId: "inv_same", total: 1 });
    for (const other of [`invoice:${foreign.id}:inv_same`, "inv none", "a".repeat(512)]) {
      expectProblem(await credit(other), 422, "validation_failed");
    }
    expect((await api.send("GET", `${path}?createdFrom=2026-03-01&createdTo=2026-03-01`, { token })).body.data).toHaveLength(1);
    expect((await api.send("GET", `${path}?createdTo=2026-02-28`, { token })).body.data).toEqual([]);
    expect(body.creditedTotal).toBe(0);
  });

  test("B16: a credit note for an unknown invoice, without lines or without a reason is 422", async () => {
    const { path, notes, token } = await hotel();
    const { body } = await api.send("POST", path, { token, json: { lineItems } });
    const invoiceId = body.id as string;
    for (
      const json of [{ invoiceId: "inv_none", lineItems, reason: "x" }, { invoiceId, lineItems: [], reason: "x" }, { invoiceId, lineItems }]
    ) {
      expectProblem(await api.send("POST", notes, { token, json }), 422, "validation_failed");
    }
  });
});

test("T10: only the platform can read the invoices of a deleted tenant over HTTP", async () => {
  const { id, path, token } = await hotel();
  const { body } = await api.send("POST", path, { token, json: { lineItems } });
  const owner = await api.user(id, "owner");
  expect((await api.send("DELETE", `/v1/tenants/${id}`, { token })).body.kept).toEqual(expect.arrayContaining(["invoice", "credit-note"]));
  expect((await api.send("GET", `${path}/${body.id as string}`, { token })).body.number).toBe(body.number);
  expect((await api.send("GET", path, { token })).body.data).toHaveLength(1);
  expect((await api.send("GET", path, { token: owner })).status).toBe(403);
  expectProblem(await api.send("POST", `${path}/${body.id as string}/pay`, { token }), 409, "tenant_deleted");
});

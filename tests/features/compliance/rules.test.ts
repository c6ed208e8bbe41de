import { describe, expect, test } from "vitest";
import { type ComplianceRequest, complianceRequest, REQUEST_STATUSES } from "../../../shared/features/compliance/entity.ts";
import { archiveIdOf, assertByHand, dueFrom, dueness, moved, REQUEST_TRANSITIONS } from "../../../shared/features/compliance/rules.ts";

function thrown(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return error;
  }
}

const NOW = "2026-02-01T00:00:00.000Z";
const { fileId: _, expiresAt: _expiresAt, completedAt: _completedAt, ...open } = complianceRequest.schema.parse(complianceRequest.example);
const request = (fields: Partial<ComplianceRequest>): ComplianceRequest => ({ ...open, ...fields }) as ComplianceRequest;

describe("the state machine of a request", () => {
  test("C02: allows exactly the declared steps, and a repetition of the present state", () => {
    for (const from of REQUEST_STATUSES) {
      for (const to of REQUEST_STATUSES) {
        const error = to === "failed" ? { error: "not possible" } : {};
        const isAllowed = from === to || REQUEST_TRANSITIONS[from].includes(to);
        const refusal = { code: "invalid_transition", details: { from, to, allowed: REQUEST_TRANSITIONS[from] } };
        expect(thrown(() => moved(request({ status: from }), to, error, NOW))).toMatchObject(isAllowed ? { status: to } : refusal);
      }
    }
  });

  test("C02: keeps the progress of a step, is complete at 100, and begins again at 0", () => {
    expect(moved(request({ status: "pending", progress: 0 }), "processing", { progress: 40 }, NOW)).toMatchObject({ progress: 40 });
    expect(moved(request({ status: "processing", progress: 40 }), "completed", {}, NOW)).toMatchObject({ progress: 100, completedAt: NOW });
    const failed = moved(request({ status: "processing", progress: 40 }), "failed", { error: "no proof" }, NOW);
    expect(failed).toMatchObject({ progress: 40, error: "no proof", completedAt: NOW });
    const again = moved(failed, "pending", {}, NOW);
    expect(again.progress).toBe(0);
    expect([again.error, again.completedAt]).toEqual([undefined, undefined]);
  });

  test("C02: needs a reason for a failure, and takes none for anything else", () => {
    const move = (to: "failed" | "processing", error?: string) =>
      thrown(() => moved(request({ status: "processing" }), to, { error }, NOW));
    expect(move("failed")).toMatchObject({ code: "validation_failed", fields: [{ path: "/error", code: "required" }] });
    expect(move("processing", "x")).toMatchObject({ code: "validation_failed", fields: [{ path: "/error", code: "not_applicable" }] });
  });
});

test("C08: a deletion is completed by the program alone, so that its certificate is true", () => {
  const byHand = (type: ComplianceRequest["type"]) => thrown(() => assertByHand(request({ type, status: "processing" }), "completed"));
  expect(byHand("deletion")).toMatchObject({ code: "invalid_transition", details: { allowed: ["failed", "cancelled"] } });
  expect(byHand("rectification")).toBeUndefined();
});

describe("the due date", () => {
  test("C03: is 30 days after the request", () => {
    expect(dueFrom("2026-01-15T10:00:00.000Z")).toBe("2026-02-14T10:00:00.000Z");
  });

  test.each(
    [
      ["pending", 30 * 24, false, 30],
      ["processing", 25, false, 1],
      ["processing", 1, false, 0],
      ["pending", -1, true, -1],
      ["pending", -49, true, -3],
      ["completed", -49, false, null],
      ["failed", 48, false, null],
    ] as const,
  )("C03: of a request that is %s with %s hours left: overdue %s, %s days", (status, hours, overdue, remainingDays) => {
    const dueAt = new Date(Date.parse(NOW) + hours * 3_600_000).toISOString();
    expect(dueness({ status, dueAt }, Date.parse(NOW))).toEqual({ overdue, remainingDays });
  });
});

test("C05: an archive can be downloaded until it expires, and a request without one never", () => {
  const of = (fields: Partial<ComplianceRequest>) => thrown(() => archiveIdOf(request(fields), NOW));
  expect(of({ fileId: "file_1", expiresAt: "2026-02-01T00:00:00.001Z" })).toBe("file_1");
  expect(of({ fileId: "file_1", expiresAt: NOW })).toMatchObject({ code: "link_expired" });
  expect(of({ status: "processing" })).toMatchObject({ code: "export_not_ready" });
  expect(of({ type: "restriction" })).toMatchObject({ code: "export_not_ready" });
});

import { describe, expect, test } from "vitest";
import { type Filters, selectionOf } from "../../shared/core/paging.ts";
import { admin } from "../../shared/features/admins/entity.ts";
import { tenant } from "../../shared/features/tenants/entity.ts";

const at = "2026-01-01T00:00:00.000Z";
const later = "2026-02-01T00:00:00.000Z";

describe("filters of a list", () => {
  test.each<[string, Filters, unknown[]]>([
    ["nothing", {}, []],
    ["one value", { status: "active" }, [{ field: "status", in: ["active"] }]],
    ["any of several values", { status: ["active", "trial"] }, [{ field: "status", in: ["active", "trial"] }]],
    ["two fields", { status: "active", plan: "Pro" }, [{ field: "status", in: ["active"] }, { field: "plan", in: ["Pro"] }]],
    ["zero, which is a value", { mrr: 0 }, [{ field: "mrr", in: [0] }]],
    ["what is absent: no value, an empty text, an empty list", { status: undefined, plan: "", region: [], owner: ["", ""] }, []],
    ["an empty text among values", { plan: ["", "Pro"] }, [{ field: "plan", in: ["Pro"] }]],
    ["an empty end of a range", { mrrFrom: "", createdTo: "" }, []],
    ["a range that begins", { mrrFrom: 0 }, [{ field: "mrr", from: 0 }]],
    ["a range that ends", { mrrTo: 9.5 }, [{ field: "mrr", to: 9.5 }]],
    ["both ends of a range, which are one condition", { mrrTo: 9, mrrFrom: 1 }, [{ field: "mrr", from: 1, to: 9 }]],
    ["one end in a list of one", { mrrFrom: [1] }, [{ field: "mrr", from: 1 }]],
    ["the time of creation", { createdFrom: at, createdTo: later }, [{ field: "createdAt", from: at, to: later }]],
    [
      "two ranges and a value, the value first",
      { trialEndsAtFrom: at, mrrTo: 5, status: "trial" },
      [{ field: "status", in: ["trial"] }, { field: "trialEndsAt", from: at }, { field: "mrr", to: 5 }],
    ],
  ])("T04: take %s", (_what, filters, where) => {
    expect(selectionOf(tenant, filters)).toEqual({ where, search: undefined });
  });

  test("T04: take true and false, and false is a value", () => {
    expect(selectionOf(admin, { enabled: false }).where).toEqual([{ field: "enabled", in: [false] }]);
  });

  test.each<[string, Filters, string, string, string]>([
    ["a field that is no filter", { ownerName: "Ada" }, "ownerName", "is not a filter of this list", "unknown_field"],
    ["an empty text for what is no filter", { colour: "" }, "colour", "is not a filter of this list", "unknown_field"],
    ["two values for one end", { mrrFrom: [1, 2] }, "mrrFrom", "must be one value", "invalid"],
    ["a text for a number", { mrrFrom: "1" }, "mrrFrom", "must be a number", "invalid"],
    ["what is no number", { mrrTo: Number.NaN }, "mrrTo", "must be a number", "invalid"],
    ["a number without end", { mrrTo: Infinity }, "mrrTo", "must be a number", "invalid"],
    ["a number for a time", { trialEndsAtFrom: 1 }, "trialEndsAtFrom", "must be a UTC instant YYYY-MM-DDTHH:mm:ss.sssZ", "invalid"],
    ["a day for a time", { createdTo: "2026-01-01" }, "createdTo", "must be a UTC instant YYYY-MM-DDTHH:mm:ss.sssZ", "invalid"],
    ["a time for a number", { mrrTo: at }, "mrrTo", "must be a number", "invalid"],
    ["accents alone", { search: "\u0301" }, "search", "must contain more than accents", "invalid"],
  ])("T04: are refused with %s", (_what, filters, path, message, code) => {
    expect(() => selectionOf(tenant, filters)).toThrowError(
      expect.objectContaining({ code: "invalid_parameter", fields: [{ path, message, code }] }),
    );
  });

  test("T04: ignore a filter without a value, declared or not", () => {
    expect(selectionOf(tenant, { colour: undefined })).toEqual({ where: [], search: undefined });
  });

  test.each(["aurora", ""])("T05: pass on the search text %j", (search) => {
    expect(selectionOf(tenant, { search, status: "active" })).toEqual({ where: [{ field: "status", in: ["active"] }], search });
  });
});

import { describe, expect, test } from "vitest";
import { localised, namesIn, TEMPLATES, textOf } from "../../../shared/features/notifications/templates.ts";
import { InnkeepError } from "../../../shared/kernel/errors.ts";

const USAGE = { metric: "Bookings", period: "2026-11", current: 480, limit: 500, percent: 80 };

describe("a template", () => {
  test("N13: has the text of the language, else of the language without its region, else English", () => {
    const texts = { en: "en", de: "de", "de-CH": "de-CH", "zh-Hant": "zh-Hant" };
    const found = ["de-AT", "de-CH", "DE-ch-1996", "de", "en-GB", "fr", "zh-Hant-TW", "zh", ""].map((locale) => localised(texts, locale));
    expect(found).toEqual(["de", "de-CH", "de-CH", "de", "en", "en", "zh-Hant", "en", "en"]);
    expect(textOf("usage_near_limit", "de-AT", USAGE)?.title).toBe("Bookings: 80 % des Limits verbraucht");
    expect(textOf("usage_near_limit", "it", USAGE)?.title).toBe("Bookings: 80 % of the limit used");
    expect(textOf("of_another_version", "en", {})).toBeNull();
  });

  test("N13: refuses to be made without one of its variables, and names each", () => {
    const { metric: _, limit: _limit, ...rest } = USAGE;
    let error: unknown;
    try {
      textOf("usage_near_limit", "de", rest);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(InnkeepError);
    expect(error).toMatchObject({ code: "validation_failed" });
    expect((error as InnkeepError).fields.map(({ path, code }) => `${path} ${code}`)).toEqual([
      "/variables/metric missing_variable",
      "/variables/limit missing_variable",
    ]);
  });

  test("N13: takes a value as it is, also one that looks like a variable", () => {
    const text = textOf("webhook_gone", "en", { host: "{host} $& <b>" });
    expect(text?.message).toBe(
      "No more events are sent to {host} $& <b>. Its receiver has answered 410 Gone. Repair the receiver, then enable the webhook.",
    );
  });

  test("N13: needs the same variables in every language", () => {
    for (const [name, texts] of Object.entries(TEMPLATES)) {
      const [english, ...others] = Object.values(texts).map(({ title, message }) => [...new Set(namesIn(title + message))].sort());
      for (const other of others) expect(other, name).toEqual(english);
    }
  });
});

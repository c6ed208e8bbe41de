import ts from "typescript";
import { describe, expect, test } from "vitest";
import { placeOf, sourcesOf, walk } from "./sources.ts";

const sources = sourcesOf("shared", "functions");

/** Files of transport that reach past the caller's own services, each for a reason. */
const SERVICE_LEVEL: Readonly<Record<string, string>> = {
  "functions/api/app.ts": "hands the store to readiness and to the look-up of who calls and for which tenant",
  "functions/api/middleware/authenticate.ts": "reads the caller's admin record or tenant before there is a caller",
  "functions/api/middleware/tenant-scope.ts": "finds the tenant of a host through the claims, which no tenant may list",
  "functions/api/start.ts": "makes the first administrator, when nobody could be the caller",
};

/** The whole list of writes that leave no audit entry (data-model.md): metering. */
const UNAUDITED = ["shared/services/usage-service.ts"];

describe("the store", () => {
  test("a request reaches past its caller's services only in the files of a short list", () => {
    const reaching = sources.filter(({ path, ast }) => {
      if (!path.startsWith("functions/api/")) return false;
      let reaches = false;
      walk(ast, (node) => {
        if (ts.isPropertyAccessExpression(node) && node.name.text === "store") reaches = true;
        if (ts.isCallExpression(node) && node.expression.getText() === "systemContext") reaches = true;
      });
      return reaches;
    });
    expect(reaching.map(({ path }) => path).filter((path) => !SERVICE_LEVEL[path])).toEqual([]);
  });

  test("only the container makes services, and binds a tenant's to its own store", () => {
    const places = sources.flatMap((source) => {
      const found: string[] = [];
      walk(source.ast, (node) => {
        if (ts.isNewExpression(node) && /(Service|UnitOfWork)$/.test(node.expression.getText())) found.push(placeOf(source, node));
      });
      return found;
    });
    expect(places.filter((place) => !place.startsWith("shared/container.ts:"))).toEqual([]);
  });

  test("a service writes through the unit of work; the store's own writes are the unit's and metering's", () => {
    const writes = /\bstore\s*\.\s*(commit|set|mset|del|mdel|increment)\(/;
    const writing = sources.filter(({ path, text }) => /^shared\/services\//.test(path) && writes.test(text)).map(({ path }) => path);
    expect(writing.sort()).toEqual(["shared/services/unit-of-work.ts", ...UNAUDITED].sort());
  });

  test("what goes unaudited is on the list", () => {
    const unaudited = sources.filter(({ text }) => /^(?!\s*\*|\s*\/\/).*audit: "none"[ ,}]/m.test(text)).map(({ path }) => path);
    expect(unaudited).toEqual(UNAUDITED);
  });
});

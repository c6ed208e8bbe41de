import ts from "typescript";
import { describe, expect, test } from "vitest";
import { sourcesOf, walk } from "./sources.ts";

const sources = sourcesOf("shared", "functions");

/** Files of functions/ that use the store outside of the caller's services, each with a reason. */
const SERVICE_LEVEL: Readonly<Record<string, string>> = {
  "functions/api/authenticate-key.ts":
    "finds the API key and its tenant before there is a caller, and stores its hash under a new server key",
  "functions/api/authenticate.ts": "reads the caller's admin record or tenant before there is a caller",
  "functions/api/backend.ts": "makes the store",
  "functions/api/load-deps.ts": "makes the first administrator, when nobody could be the caller",
  "functions/api/pipeline.ts":
    "starts to read what path and host name while the caller is looked up, and shows of it what the caller may see",
  "functions/api/system.ts": "readiness asks the store itself how it is",
  "functions/api/tenant-scope.ts": "finds the tenant of a host through the claims, which no tenant may list",
};

/** The places that make services for a caller: the library's container, and the routes. */
const MAKERS = ["functions/api/pipeline.ts", "functions/jobs/app.ts", "shared/container.ts", "shared/features/jobs/run.ts"];

/**
 * The whole list of writes that leave no audit entry: metering and the log of calls, which are themselves the record, the jobs'
 * bookkeeping, the deliveries of events, audit entries and mails, what a user has read, and steps of retention, whose audit entry at the end of
 * a run has the number of what its commits deleted.
 */
const UNAUDITED = [
  "shared/features/api-keys/due.ts",
  "shared/features/audit-exports/steps.ts",
  "shared/features/audit-sinks/send.ts",
  "shared/features/compliance/export.ts",
  "shared/features/connector-events/service.ts",
  "shared/features/emails/fan-out.ts",
  "shared/features/emails/links.ts",
  "shared/features/emails/sample.ts",
  "shared/features/emails/send.ts",
  "shared/features/erasures/receipts.ts",
  "shared/features/integrations/calls.ts",
  "shared/features/jobs/dead-letters.ts",
  "shared/features/jobs/schedules.ts",
  "shared/features/notifications/service.ts",
  "shared/features/plan-migrations/wave.ts",
  "shared/features/reservations/expiry.ts",
  "shared/features/reservations/service.ts",
  "shared/features/retention/heads.ts",
  "shared/features/retention/records.ts",
  "shared/features/root-keys/jobs.ts",
  "shared/features/usage-events/counting.ts",
  "shared/features/usage/jobs.ts",
  "shared/features/usage/meter.ts",
  "shared/features/usage/settle.ts",
  "shared/features/webhooks/dispatch.ts",
  "shared/features/webhooks/replays.ts",
  "shared/features/webhooks/results.ts",
  "shared/features/webhooks/settle.ts",
];

/** The files that write to the store directly. */
const WRITERS: Readonly<Record<string, string>> = {
  "shared/core/coalescer.ts": "counts of uses, written in the background: single increments, like metering",
  "shared/core/personal-keys.ts": "keys of personal data, for callers who may not write records of the platform",
  "shared/core/plain.ts": "the plain view of the store for use as a library, which no route has",
  "shared/core/unit-of-work.ts": "the one write path",
  "shared/features/jobs/schedules.ts": "claims of the jobs that are due: their leases are bookkeeping",
  "shared/features/usage/meter.ts": "metering: single increments, which the store adds up for many callers at once",
};

/** Files with a node of this kind. */
function filesWith(folder: string, isMeant: (node: ts.Node) => boolean): string[] {
  return sources.filter(({ path, ast }) => {
    let found = false;
    walk(ast, (node) => {
      if (path.startsWith(folder) && isMeant(node)) found = true;
    });
    return found;
  }).map(({ path }) => path).sort();
}

describe("the store", () => {
  test("only the listed files use the store outside of a caller's services", () => {
    const reaching = filesWith("functions/api/", (node) =>
      (ts.isIdentifier(node) && node.text === "store") ||
      (ts.isCallExpression(node) && node.expression.getText() === "systemContext"));
    expect(reaching).toEqual(Object.keys(SERVICE_LEVEL));
  });

  test("only the container makes units of work, and binds a tenant's to its own store; a preview writes to none", () => {
    const making = filesWith("", (node) => ts.isNewExpression(node) && node.expression.getText() === "UnitOfWork");
    expect(making).toEqual(["shared/container.ts", "shared/core/unit-of-work.ts"]);
  });

  test("only the container and the routes make services, from a unit of work", () => {
    const making = filesWith("", (node) => ts.isNewExpression(node) && /service$/i.test(node.expression.getText()));
    expect(making).toEqual(MAKERS);
  });

  test("features write through the unit of work, and only it and metering write to the store", () => {
    const writes = /\bstore\s*\.\s*(commit|set|mset|del|mdel|increment|claim)\(/;
    const writing = sources.filter(({ path, text }) => /^shared\/(core|features)\//.test(path) && writes.test(text)).map(({ path }) =>
      path
    );
    expect(writing.sort()).toEqual(Object.keys(WRITERS));
  });

  test("every unaudited write is on the list", () => {
    const unaudited = sources.filter(({ text }) => /^(?!\s*\*|\s*\/\/).*audit: "none"[ ,}]/m.test(text)).map(({ path }) => path);
    expect(unaudited.sort()).toEqual([...UNAUDITED].sort());
  });
});

import { z } from "zod";
import { crud } from "../../core/crud.ts";
import { inputsOf } from "../../core/fields.ts";
import type { Route } from "../../core/route.ts";
import { auditSink } from "./entity.ts";
import { AuditSinkService } from "./service.ts";

const token = z.string().min(8).max(1_000).meta({
  description: "The credential of the receiver: Splunk's HEC token, Datadog's API key, else a bearer token. No response shows it.",
});

/** The receivers of audit entries. Their tokens are write-only. */
export const routes: readonly Route[] = crud(auditSink, {
  path: "/v1/audit/sinks",
  scope: "audit-sinks",
  service: AuditSinkService,
  input: {
    create: inputsOf(auditSink).create.extend({ token }),
    update: inputsOf(auditSink).update.extend({ token: token.optional() }),
  },
  descriptions: {
    create: "The receiver gets the entries from now on, each at least once.",
    update: "Send `token` again with another `url`.",
  },
  errors: { create: ["root_key_unavailable"], update: ["root_key_unavailable"] },
  sample: {
    create: (n: number) => ({
      name: `Security team ${n}`,
      kind: "splunk",
      url: "https://splunk.example.com/services/collector/event",
      token: "0123456789abcdef",
    }),
    update: { name: "Operations" },
  },
});

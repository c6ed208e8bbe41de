import { z } from "zod";
import { parseInput } from "../../core/collection.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { email } from "../../core/values.ts";
import { InnkeepError } from "../../kernel/errors.ts";
import { erasePerson } from "../audit/erasure.ts";

const MAX_NAMES = 20;

/** Whom an erasure is about. */
export const erasureInput = z.strictObject({
  userId: z.string().min(1).max(128).optional().meta({ description: "The person's id in Supabase Auth." }),
  emails: z.array(email).min(1).max(MAX_NAMES).optional().meta({ description: "Email addresses of the person." }),
  records: z.array(z.string().min(3).max(600).regex(/^[a-z-]+:./, "must be a resource and an id, such as tenant:tn_1")).min(1).max(
    MAX_NAMES,
  )
    .optional().meta({
      description: "Records whose audit entries name the person, but no user id or address, such as `tenant:tn_1`; IP addresses of " +
        "refused requests without a caller, such as `address:203.0.113.7`.",
    }),
}).refine(({ userId, emails, records }) => userId !== undefined || emails !== undefined || records !== undefined, {
  message: "must name the person by userId, emails or records",
  path: ["userId"],
});

/** Erases what the audit log holds of a person. The chains stay valid. */
export class ErasureService {
  constructor(private readonly work: UnitOfWork) {}

  /**
   * Deletes the keys of the person's data in every audit chain, and returns their number. It cannot be undone. Records such as a tenant's
   * `owner` are not changed. Throws `validation_failed`, and `forbidden` for a tenant's own caller.
   */
  async erase(person: z.input<typeof erasureInput>): Promise<{ readonly keys: number }> {
    if (this.work.context.tenantId !== null) throw new InnkeepError("forbidden", "Only the platform erases a person's data.");
    const input = parseInput(erasureInput, person);
    return { keys: await erasePerson(this.work, input, input.userId ?? input.records?.[0] ?? "a person without a user id") };
  }
}

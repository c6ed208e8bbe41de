import { z } from "zod";
import { email, emailAddress } from "../emails/entity.ts";
import { eventsOf, type EventType } from "./event-type.ts";

const reason = z.object({ reason: z.string().meta({ description: "The codes of the mail server's reply." }) })
  .meta({ examples: [{ reason: "RCPT TO: 550 5.1.1" }] });

/** Notifications by e-mail. */
export const emailEvents: readonly EventType[] = [
  ...eventsOf(emailAddress, {
    "email-address.created": "A user wants notifications by e-mail.",
    "email-address.updated": "A user has changed the address or language of these mails.",
    "email-address.deleted": "A user wants no notifications by e-mail any more.",
    "email-address.bounced": {
      description: "A mail server has refused an address, to which nothing more is sent.",
      extra: reason,
      example: { status: "bounced", bouncedAt: "2026-01-02T00:00:00.000Z" },
    },
  }),
  ...eventsOf(email, {
    "email.retried": { description: "A mail that could not be sent is tried again.", example: { status: "pending", attempts: 0 } },
  }),
];

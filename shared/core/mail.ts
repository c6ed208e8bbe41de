/** An e-mail to one address. */
export interface Mail {
  /** `<local@domain>`, the same in every attempt, so that a receiver can discard a second copy. */
  readonly messageId: string;
  readonly to: string;
  readonly subject: string;
  readonly text: string;
  readonly html: string;
  /** RFC 5646 tag of the language of the text. */
  readonly language: string;
  /** When it is sent, ISO. */
  readonly date: string;
}

/**
 * `bounced`: the address does not exist. `deferred`: this mail was refused for another reason, or for now. `unavailable`: the server
 * takes no mails at all at present, so the next one would fail as well. `reason` contains nothing that the server sent but its codes.
 */
export type MailResult =
  | { readonly outcome: "sent" }
  | { readonly outcome: "bounced" | "deferred" | "unavailable"; readonly reason: string };

/** Mails one after the other, over one connection while it lasts. */
export interface MailSession {
  send(mail: Mail): Promise<MailResult>;
  close(): Promise<void>;
}

/** Sends e-mail. */
export interface Mailer {
  /** The domain of the sender, for ids of messages. */
  readonly domain: string;
  /** The address of the API from outside, without a slash at its end, for links. */
  readonly apiUrl: string;
  open(): MailSession;
}

import type { Mail, Mailer } from "../../core/mail.ts";
import type { Notification } from "../notifications/entity.ts";
import type { Email, EmailAddress } from "./entity.ts";

interface Parts {
  readonly email: Email;
  readonly notification: Notification;
  readonly address: EmailAddress;
}

/** The mail of a notification. */
export function mailOf({ email, notification, address }: Parts, { domain }: Mailer, date: string): Mail {
  const { title, message, actionUrl, actionLabel } = notification;
  const link = actionUrl === undefined ? null : { url: actionUrl, label: actionLabel ?? actionUrl };
  return {
    messageId: `<${email.id}@${domain}>`,
    to: address.address,
    subject: title,
    text: [message, ...link ? [`${link.label}: ${link.url}`] : []].join("\n\n"),
    html: htmlOf(message, link),
    language: address.locale,
    date,
  };
}

/** Paragraphs of plain text, and a link. Nothing of the text is markup. */
function htmlOf(message: string, link: { readonly url: string; readonly label: string } | null): string {
  const paragraphs = message.split(/\n{2,}/).map((each) => `<p>${escaped(each).replaceAll("\n", "<br>")}</p>`);
  return [...paragraphs, ...link ? [`<p><a href="${escaped(link.url)}">${escaped(link.label)}</a></p>`] : []].join("\n");
}

const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

function escaped(text: string): string {
  return text.replaceAll(/[&<>"']/g, (char) => ENTITIES[char] ?? "");
}

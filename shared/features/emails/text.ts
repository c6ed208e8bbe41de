import type { Mail, Mailer } from "../../core/mail.ts";
import type { Notification } from "../notifications/entity.ts";
import { localised, textOf } from "../notifications/templates.ts";
import type { Email, EmailAddress } from "./entity.ts";

interface Parts {
  readonly email: Email;
  readonly notification: Notification;
  readonly address: EmailAddress;
  /** What the mail's link leads through, if the notification has one. */
  readonly link: string;
}

/** The mail around the text of a notification. */
const FRAME = {
  en: {
    open: "Open",
    why: "You get this mail because you asked for notifications by e-mail. Your preferences for notifications end that.",
  },
  de: {
    open: "Öffnen",
    why:
      "Sie erhalten diese Nachricht, weil Sie Mitteilungen per E-Mail bestellt haben. In Ihren Einstellungen für Mitteilungen können Sie " +
      "das beenden.",
  },
};

/** The mail of a notification, in the language of its user. One that no template has made is sent as it was written. */
export function mailOf({ email, notification: one, address, link }: Parts, { domain }: Mailer, date: string): Mail {
  const { title, message: written } = textOf(one.template ?? "", address.locale, one.variables ?? {}) ?? one;
  // RFC 5321, section 2.3.8: no CR without LF.
  const message = written.replaceAll(/\r\n?/g, "\n");
  const { open, why } = localised(FRAME, address.locale);
  const button = one.actionUrl === undefined ? null : { url: link, label: (one.actionLabel ?? open).replaceAll(/\s+/g, " ") };
  return {
    messageId: `<${email.id}@${domain}>`,
    to: address.address,
    subject: title,
    text: [message, ...button ? [`${button.label}: ${button.url}`] : [], `-- \n${why}`].join("\n\n"),
    html: htmlOf(message, button, why),
    language: address.locale,
    date,
  };
}

/** Paragraphs of plain text, and a link. Nothing of the text is markup. */
function htmlOf(message: string, button: { readonly url: string; readonly label: string } | null, why: string): string {
  const paragraphs = message.split(/\n{2,}/).map((each) => `<p>${escaped(each).replaceAll("\n", "<br>")}</p>`);
  const link = button ? [`<p><a href="${escaped(button.url)}">${escaped(button.label)}</a></p>`] : [];
  return [...paragraphs, ...link, `<p><small>${escaped(why)}</small></p>`].join("\n");
}

const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** The text as the content or a quoted attribute of HTML. */
function escaped(text: string): string {
  return text.replaceAll(/[&<>"']/g, (char) => ENTITIES[char] ?? "");
}

import type { Mail } from "../core/mail.ts";

/** The bytes of a mail (RFC 5322), with a plain and an HTML part. The library encodes and folds headers, and lets none be injected. */
export async function messageOf(mail: Mail, from: string): Promise<Uint8Array> {
  const { createTransport } = await import("nodemailer");
  const composer = createTransport({
    streamTransport: true,
    buffer: true,
    newline: "windows",
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  const { messageId, to, subject, text, html, language, date } = mail;
  const { message } = await composer.sendMail({
    from,
    to: { name: "", address: to },
    subject,
    text,
    html,
    messageId,
    date: new Date(date),
    // RFC 3834: nobody answers it automatically.
    headers: { "Auto-Submitted": "auto-generated", "Content-Language": language },
  });
  if (!(message instanceof Uint8Array)) throw new TypeError("the message is not buffered");
  return message;
}

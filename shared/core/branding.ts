import { z } from "zod";
import { email, webUrl } from "./values.ts";

const colour = z.string().regex(/^#[0-9a-fA-F]{6}$/, "must be #rrggbb").optional();

const brandingOf = <S extends z.ZodType, N extends z.ZodType, E extends z.ZodType>(url: S, name: N, address: E) =>
  z.object({
    name: name.optional(),
    logoUrl: url.optional(),
    faviconUrl: url.optional(),
    primaryColor: colour,
    secondaryColor: colour,
    emailSenderName: name.optional(),
    emailSenderAddress: address.optional(),
  }).catchall(z.json());

/** The stored form. It stays readable when a rule for input becomes stricter. */
export const branding = brandingOf(z.string(), z.string(), z.string());
/** The input form. */
export const brandingInput = brandingOf(webUrl, z.string().trim().min(1).max(200), email);

/** What the public sees of a branding: the declared members, and none that a caller has added. */
export const publicBranding = z.object(branding.shape);

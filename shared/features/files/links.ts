import type { SecretBox } from "../../core/secret-box.ts";
import { InnkeepError } from "../../kernel/errors.ts";
import type { StoredFile } from "./entity.ts";

const PURPOSE = "download link";

type Linked = Pick<StoredFile, "id" | "tenantId" | "expiresAt">;

/** The path and query of a link that downloads the file without a credential until it expires. Throws `root_key_unavailable`. */
export async function linkTo(secrets: SecretBox, file: Linked): Promise<string> {
  const { id, tenantId, expiresAt } = file;
  const signature = await secrets.sign(PURPOSE, signedText(file));
  const query = new URLSearchParams({ ...(tenantId === undefined ? {} : { owner: tenantId }), expiresAt, signature });
  return `/v1/downloads/${id}?${query}`;
}

/** Throws `not_found` for a link that was not signed by the platform, and `link_expired`. */
export async function checkLink(secrets: SecretBox, link: Linked & { readonly signature: string }, now: string): Promise<void> {
  if (!await secrets.isSigned(PURPOSE, signedText(link), link.signature)) {
    throw new InnkeepError("not_found", "There is no such download. Use the link as you got it.");
  }
  if (link.expiresAt > now) return;
  throw new InnkeepError("link_expired", `The link expired at ${link.expiresAt}. Request a new export.`);
}

/** No id or instant contains a line break. */
function signedText({ id, tenantId = "", expiresAt }: Linked): string {
  return [tenantId, id, expiresAt].join("\n");
}

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { ADMIN_ROLES, TENANT_ROLES } from "../../shared/core/scopes.ts";
import { isSegment } from "../../shared/kv/key.ts";
import { systemClock } from "../../shared/kernel/clock.ts";
import { peekDataDirectory } from "./data-directory.ts";
import { PROJECT_DIR } from "./options.ts";
import { LOCAL_ADMINS, tokenFor } from "./people.ts";
import type { TokenSubject } from "./people.ts";
import type { LocalData } from "./pages.ts";

const TOKEN_SECONDS = 24 * 3_600;

/** Data for the local page that the API does not provide: the program's version, and tokens. */
export function pageData(dataDir: string): LocalData {
  return async (path, query) => {
    if (path === "/local/about") return await about();
    return path === "/local/tokens" ? await tokens(dataDir, query.get("tenantId")) : null;
  };
}

async function about() {
  const text = await readFile(join(PROJECT_DIR, "package.json"), "utf8");
  return z.object({ name: z.string(), version: z.string(), description: z.string() }).parse(JSON.parse(text));
}

/** A new token for each role. Those of tenant roles are for the requested tenant, else for the demo tenant, if there is one. */
async function tokens(dataDir: string, asked: string | null) {
  const { secrets, info } = await peekDataDirectory(dataDir);
  if (!info || (asked !== null && !isSegment(asked))) return null;
  const tenantId = asked ?? info.tenantId;
  const sign = async (subject: TokenSubject, person: string) => ({
    role: subject.role,
    person,
    token: await tokenFor(secrets, info.url, subject, TOKEN_SECONDS),
  });
  return {
    url: info.url,
    expiresAt: new Date(systemClock.now() + TOKEN_SECONDS * 1_000).toISOString(),
    platform: await Promise.all(ADMIN_ROLES.map((role) => sign({ role, tenantId: null }, LOCAL_ADMINS[role].name))),
    tenantId,
    tenant: tenantId === null
      ? []
      : await Promise.all([...TENANT_ROLES].reverse().map((role) => sign({ role, tenantId }, `local-tenant-${role}`))),
  };
}

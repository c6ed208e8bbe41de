import type { Notice } from "./notify.ts";

/** An export that can be downloaded. `tenantId` is null for one of the platform. */
interface Ready {
  readonly tenantId: string | null;
  readonly id: string;
  readonly expiresAt: string;
}

/** For those who may download exports of their tenant: administrators and owners. */
export function exportReady({ tenantId, id, expiresAt }: Ready): Notice {
  return {
    tenantId,
    template: "export_ready",
    variables: { request: id, until: expiresAt },
    type: "success",
    category: "compliance",
    expiresAt,
    ...(tenantId === null ? {} : { targetRoles: ["admin", "owner"] }),
  };
}

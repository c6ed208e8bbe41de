import { z } from "zod";
import { type Route, verb } from "../../core/route.ts";
import { instant, segment } from "../../core/values.ts";
import { FileService } from "./service.ts";

const link = z.strictObject({
  owner: segment.optional().meta({ description: "The tenant that the file belongs to; absent for the platform." }),
  expiresAt: instant.meta({ description: "When the link expires." }),
  signature: z.string().min(1).max(200).meta({ description: "The signature of the platform over the other parts of the link." }),
});

/** The downloads of signed links. */
export const routes: readonly Route[] = [
  verb("GET /v1/downloads/:fileId", {
    service: FileService,
    operationId: "downloadFile",
    summary: "Download a file by its signed link",
    description: "The link is the credential: whoever has it can download the file until it expires. Each download is audited.",
    scope: "public",
    query: link,
    files: ["application/x-ndjson", "text/csv", "application/json", "application/zip"],
    errors: ["not_found", "link_expired", "root_key_unavailable"],
    run: async ({ service, params, query }) => await service.download(params.fileId, query),
  }),
];

import { z } from "zod";
import { instant, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";

const NAME = /^[A-Za-z0-9._-]{1,128}$/;

export const storedFile = defineEntity({
  name: "stored-file",
  summary: "A file that a job writes in steps and that signed links download until it expires.",
  key: "file:{tenantId?}:{id}",
  schema: z.looseObject({
    id: segment,
    tenantId: segment.optional(),
    name: z.string().regex(NAME).meta({ description: "The name under which it is downloaded." }),
    mediaType: z.string().min(1).max(100),
    bytes: z.int().min(0).meta({ description: "The length of its content." }),
    chunks: z.int().min(0).meta({ description: "The number of records that hold its content." }),
    sha256: z.string().regex(/^[0-9a-f]{64}$/).optional().meta({ description: "Lower-case hex; absent until the file is complete." }),
    /** The state of SHA-256 after the present content, so that the next step continues it. */
    hashState: z.string().optional(),
    parts: z.array(z.object({ name: z.string().regex(NAME), fileId: segment })).min(1).max(200).optional().meta({
      description: "Other files of the tenant, of which a download is a ZIP archive. It has no content of its own.",
    }),
    createdAt: instant,
    expiresAt: instant.meta({ description: "The end of its links. The file is then deleted." }),
  }),
  owner: "tenant",
  expires: true,
  secrets: ["hashState"],
  example: {
    id: "file_1767225600000_a1b2c3d4e5f6",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    name: "audit.ndjson",
    mediaType: "application/x-ndjson",
    bytes: 1_048_576,
    chunks: 6,
    sha256: "a".repeat(64),
    createdAt: "2026-01-01T00:00:00.000Z",
    expiresAt: "2026-01-08T00:00:00.000Z",
  },
});

export const fileChunk = defineEntity({
  name: "file-chunk",
  summary: "A part of a stored file.",
  key: "filechunk:{tenantId?}:{fileId}:{number}",
  schema: z.looseObject({
    fileId: segment,
    tenantId: segment.optional(),
    number: segment.meta({ description: "Its place in the file, from 0." }),
    content: z.string().meta({ description: "Base64url of the gzip of the bytes." }),
  }),
  owner: "tenant",
  expires: true,
  secrets: ["content"],
  example: {
    fileId: "file_1767225600000_a1b2c3d4e5f6",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    number: "0",
    content: "H4sIAAAAAAAAAwMAAAAAAAAAAAA",
  },
});

export type StoredFile = RecordOf<typeof storedFile>;

/** Whether it can be downloaded. */
export function isComplete({ sha256, parts }: StoredFile): boolean {
  return sha256 !== undefined || parts !== undefined;
}

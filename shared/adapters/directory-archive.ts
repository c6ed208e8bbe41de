import type { Archive } from "../kernel/archive.ts";
import { InnkeepError } from "../kernel/errors.ts";
import type { Files } from "../ports.ts";

/** An archive in a directory, such as a mounted volume. A file has its name only when all its bytes are on the disk. */
export function directoryArchive(files: Files, directory: string): Archive {
  return {
    async put(path, bytes) {
      const target = `${directory.replace(/[/\\]+$/, "")}/${path}`;
      const part = `${target}.part`;
      try {
        await files.mkdir(target.slice(0, target.lastIndexOf("/")), { recursive: true });
        await writeAll(files, part, bytes);
        await files.rename(part, target);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        throw new InnkeepError("archive_unavailable", `The archive cannot be written: ${reason}. Nothing was deleted.`);
      }
    },
  };
}

async function writeAll(files: Files, path: string, bytes: Uint8Array): Promise<void> {
  const file = await files.open(path, { write: true, create: true, truncate: true });
  try {
    for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
    await file.sync();
  } finally {
    file.close();
  }
}

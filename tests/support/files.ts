import { mkdir, open, rename } from "node:fs/promises";
import type { Files } from "../../shared/ports.ts";

/** Node's file system as the program expects Deno's. */
export const nodeFiles: Files = {
  mkdir: async (path, options) => void await mkdir(path, options),
  rename,
  open: async (path) => {
    const file = await open(path, "w");
    return {
      write: async (bytes) => (await file.write(bytes)).bytesWritten,
      sync: () => file.sync(),
      close: () => void file.close(),
    };
  },
};

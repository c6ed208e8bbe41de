import { createServer } from "node:net";
import type { AddressInfo } from "node:net";

/** Whether a port of 127.0.0.1 can be listened on. */
export function isPortFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(false));
    probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
  });
}

/** The preferred port when it is free, else one the system gives; never the one that another part is about to take. */
export async function freePort(
  options: { readonly preferred?: number | undefined; readonly except?: number | undefined } = {},
): Promise<number> {
  const { preferred, except } = options;
  if (preferred !== undefined && preferred !== except && await isPortFree(preferred)) return preferred;
  const given = await new Promise<number>((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => resolve(port));
    });
  });
  return given === except ? await freePort({ except }) : given;
}

/** The first free port after a taken one; null when there is none. */
export async function nextFreePort(taken: number): Promise<number | null> {
  for (let port = taken + 1; port <= 65_535; port++) if (await isPortFree(port)) return port;
  return null;
}

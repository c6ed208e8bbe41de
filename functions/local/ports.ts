import { createServer } from "node:net";
import type { AddressInfo } from "node:net";

/** Whether a process can listen on this port of 127.0.0.1. */
export function isPortFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(false));
    probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
  });
}

/** Returns the preferred port if it is free, else one chosen by the system. Never returns `except`, which another part will use. */
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

/** Returns the first free port after `taken`, or null. */
export async function nextFreePort(taken: number): Promise<number | null> {
  for (let port = taken + 1; port <= 65_535; port++) if (await isPortFree(port)) return port;
  return null;
}

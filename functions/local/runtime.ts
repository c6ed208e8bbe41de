/** What the local programs take from Deno because node's own does not do it; tests load them under node. */
interface Runtime {
  readonly Deno: {
    readonly stdout: { write(bytes: Uint8Array): Promise<number> };
    serve(handler: Handler): unknown;
  };
}

export type Handler = (request: Request) => Response | Promise<Response>;

function deno(): Runtime["Deno"] {
  return (globalThis as unknown as Runtime).Deno;
}

/** Does not wait for a slow reader with everything else, as node:fs does there. */
export function writeStandardOutput(bytes: Uint8Array): Promise<number> {
  return deno().stdout.write(bytes);
}

/** At the address of DENO_SERVE_ADDRESS. */
export function serve(handler: Handler): void {
  deno().serve(handler);
}

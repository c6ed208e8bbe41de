import type { ByteSink } from "../../shared/kernel/line-writer.ts";
import type { Files, Sockets } from "../../shared/ports.ts";

/** The parts of Deno that the local programs use where Node's API does not suffice. Tests load the same files under Node. */
interface Runtime {
  readonly Deno: Files & Sockets & {
    readonly stdout: ByteSink;
    serve(handler: Handler): unknown;
  };
}

export type Handler = (request: Request) => Response | Promise<Response>;

function deno(): Runtime["Deno"] {
  return (globalThis as unknown as Runtime).Deno;
}

/** Deno's own stream: under Deno, a write by `node:fs` blocks the process while the reader is slow. */
export function standardOutput(): ByteSink {
  return deno().stdout;
}

export function fileSystem(): Files {
  return deno();
}

export function sockets(): Sockets {
  return deno();
}

/** Listens on the address of DENO_SERVE_ADDRESS. */
export function serve(handler: Handler): void {
  deno().serve(handler);
}

import { once } from "node:events";
import { connect } from "node:net";
import type { OpenSocket, Sockets } from "../../shared/ports.ts";

/** Connections to this machine in the form of Deno's. No name is resolved, so no other machine is reached. */
export const localSockets: Sockets = {
  resolveDns: (host) => Promise.reject(new Error(`${host} is not resolved in tests`)),
  startTls: () => Promise.reject(new Error("there is no TLS here")),
  connect: async ({ hostname, port }): Promise<OpenSocket> => {
    const socket = connect({ host: hostname, port });
    await once(socket, "connect");
    const chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
    let rest = new Uint8Array();
    return {
      async read(into) {
        if (rest.length === 0) {
          const { done, value } = await chunks.next();
          if (done) return null;
          rest = new Uint8Array(value);
        }
        const count = Math.min(rest.length, into.length);
        into.set(rest.subarray(0, count));
        rest = rest.subarray(count);
        return count;
      },
      write: (bytes) =>
        new Promise((resolve, reject) => void socket.write(bytes, (error) => error ? reject(error) : resolve(bytes.length))),
      close: () => void socket.destroy(),
    };
  },
};

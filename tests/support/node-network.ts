import { lookup } from "node:dns/promises";
import { connect, isIP, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import type { Connection, Network } from "../../shared/ports.ts";

interface NetworkOptions {
  /** A certificate authority in PEM, instead of the runtime's. */
  readonly ca?: string;
}

/** The network of Node, in which most tests run. Deployments have Deno's (`shared/adapters/network.ts`). */
export function nodeNetwork(options: NetworkOptions = {}): Network {
  return {
    resolve: async (host) => (await lookup(host, { all: true })).map(({ address }) => address),
    connect: async (address, port, signal) => connectionOf(await opened(connect({ host: address, port }), "connect", signal), options),
  };
}

/** Resolves with the socket at the event. Destroys it at the signal's end, also later. */
function opened<S extends Socket>(socket: S, event: string, signal: AbortSignal): Promise<S> {
  const stop = () => void socket.destroy(new Error("the call has ended"));
  signal.addEventListener("abort", stop, { once: true });
  socket.once("close", () => signal.removeEventListener("abort", stop));
  return new Promise((resolve, reject) => {
    // Stays, because a socket without a listener for errors ends the process.
    socket.on("error", reject);
    socket.once("close", () => reject(new Error("the connection was closed")));
    socket.once(event, () => resolve(socket));
    if (signal.aborted) stop();
  });
}

function connectionOf(socket: Socket, options: NetworkOptions): Connection {
  let reading: AsyncIterator<Uint8Array> | undefined;
  return {
    secure: async (host, signal, protocols = []) => {
      // An address has no server name (RFC 6066 §3); the certificate is compared with `host`.
      const name = isIP(host) ? {} : { servername: host };
      const secured: TLSSocket = connectTls({ socket, host, ...name, ...options, ALPNProtocols: [...protocols], minVersion: "TLSv1.2" });
      return connectionOf(await opened(secured, "secureConnect", signal), options);
    },
    write: (bytes) => new Promise((resolve, reject) => void socket.write(bytes, (error) => error ? reject(error) : resolve())),
    read: async () => {
      reading ??= socket[Symbol.asyncIterator]();
      const { done, value } = await reading.next();
      return done ? null : value;
    },
    close: () => void socket.destroy(),
  };
}

import type { Connection, Network, OpenSocket, Sockets } from "../ports.ts";

const READ_BYTES = 16 * 1_024;

/**
 * The network of Deno. Its own functions instead of `node:tls`, which in Deno 2.1 reports a handshake as complete before it is, and
 * does not report a certificate that is not valid. `ca`: a certificate authority in PEM that is trusted, too.
 */
export function denoNetwork(sockets: Sockets, { ca }: { readonly ca?: string } = {}): Network {
  return {
    async resolve(host) {
      const [ipv4, ipv6] = await Promise.allSettled([sockets.resolveDns(host, "A"), sockets.resolveDns(host, "AAAA")]);
      if (ipv4.status === "rejected" && ipv6.status === "rejected") throw ipv4.reason;
      return [ipv4, ipv6].flatMap((answer) => answer.status === "fulfilled" ? answer.value : []);
    },
    async connect(address, port, signal) {
      return connectionOf(await sockets.connect({ hostname: address, port }), sockets, ca === undefined ? [] : [ca], signal);
    },
  };
}

/** A connection that is closed at the signal's end, also if it is made later. */
function connectionOf(socket: OpenSocket, sockets: Sockets, caCerts: string[], signal: AbortSignal): Connection {
  const into = new Uint8Array(READ_BYTES);
  let isOpen = true;
  const close = () => {
    signal.removeEventListener("abort", close);
    if (isOpen) socket.close();
    isOpen = false;
  };
  signal.addEventListener("abort", close, { once: true });
  if (signal.aborted) close();
  return {
    close,
    async secure(hostname, until, protocols = []) {
      signal.removeEventListener("abort", close);
      // The socket belongs to the secured one from here on.
      isOpen = false;
      const secured = await sockets.startTls(socket, { hostname, alpnProtocols: [...protocols], caCerts });
      const connection = connectionOf(secured, sockets, caCerts, until);
      try {
        await secured.handshake();
        return connection;
      } catch (error) {
        connection.close();
        throw error;
      }
    },
    async write(bytes) {
      for (let at = 0; at < bytes.length;) at += await socket.write(bytes.subarray(at));
    },
    async read() {
      const count = await socket.read(into).catch((error: unknown) => {
        // Many servers close TLS connections without saying so (RFC 8446 §6.1); the length of the response tells what is missing.
        if (error instanceof Error && error.name === "UnexpectedEof") return null;
        throw error;
      });
      return count === null ? null : into.slice(0, count);
    },
  };
}

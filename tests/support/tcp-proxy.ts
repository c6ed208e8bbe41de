import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";

/** A wire between a client and a server that can be cut where a test wants it. */
export interface TcpProxy {
  /** The given URL with the proxy's address in it. */
  readonly url: string;
  /** The next request goes to the server, its answer never comes back: the connection is cut instead. */
  loseNextAnswer(): void;
  /** The connection of the next request carries nothing any more, that request included; it stays open. Resolves when that came. */
  silenceNextRequest(): Promise<void>;
  close(): Promise<void>;
}

export async function startTcpProxy(serverUrl: string): Promise<TcpProxy> {
  const target = new URL(serverUrl);
  const sockets = new Set<Socket>();
  let losing = false;
  let silence: (() => void) | undefined;
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    let sent = false;
    let silent = false;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => sockets.delete(socket));
    }
    client.on("data", (data) => {
      silent ||= silence !== undefined;
      silence?.();
      silence = undefined;
      if (silent) return;
      sent = losing;
      upstream.write(data);
    });
    upstream.on("data", (data) => {
      if (silent) return;
      if (!sent) return void client.write(data);
      losing = false;
      client.destroy();
      upstream.end();
    });
    client.on("close", () => upstream.end());
    upstream.on("close", () => client.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = new URL(serverUrl);
  url.port = String((server.address() as AddressInfo).port);
  return {
    url: url.href,
    loseNextAnswer: () => void (losing = true),
    silenceNextRequest: () => new Promise((resolve) => void (silence = resolve)),
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

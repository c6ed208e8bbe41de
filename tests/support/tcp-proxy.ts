import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";

/** A proxy between a client and a server that a test can interrupt. */
export interface TcpProxy {
  /** The given URL with the proxy's address in it. */
  readonly url: string;
  /** Forwards the next request, then closes the connection instead of returning the response. */
  loseNextAnswer(): void;
  /** Keeps the connection of the next request open but forwards nothing on it, from that request on. Resolves when it arrived. */
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

import { createOutbound } from "../../shared/adapters/outbound.ts";
import type { Outbound } from "../../shared/core/outbound.ts";
import type { Network } from "../../shared/ports.ts";
import { nodeNetwork } from "./node-network.ts";

/** The program's own client, allowed to call receivers on this machine. `ca`: who issues their certificates. */
export function localOutbound(ca?: string): Outbound {
  return createOutbound({ rules: { ports: [443], local: true }, network: nodeNetwork(ca === undefined ? {} : { ca }) });
}

/**
 * The program's own client with the rules of a deployment, for hosts with the given addresses. A connection to one of them goes to
 * `port` of this machine instead; `connected` lists what was to be connected to, as `address:port`.
 */
export function publicOutbound(
  addressesOf: (host: string) => readonly string[] | Promise<readonly string[]>,
  { port = 0, ca, ports = [443] }: { readonly port?: number; readonly ca?: string; readonly ports?: readonly number[] } = {},
): Outbound & { readonly connected: readonly string[] } {
  const sockets = nodeNetwork(ca === undefined ? {} : { ca });
  const connected: string[] = [];
  const network: Network = {
    resolve: async (host) => await addressesOf(host),
    connect: (address, asked, signal) => {
      connected.push(`${address}:${asked}`);
      return sockets.connect("127.0.0.1", port, signal);
    },
  };
  return { ...createOutbound({ rules: { ports, local: false }, network, dnsStepMs: 1 }), connected };
}

import { type OwnCluster, ownCluster } from "../../support/own-cluster.ts";

let starting: Promise<OwnCluster> | undefined;

/** A server for this test file alone, which may stop it. */
export function own(): Promise<OwnCluster> {
  return starting ??= ownCluster();
}

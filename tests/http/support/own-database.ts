import { type OwnCluster, ownCluster } from "../../support/own-cluster.ts";

let starting: Promise<OwnCluster> | undefined;

/** One server of the test file's own, which it may stop. */
export function own(): Promise<OwnCluster> {
  return starting ??= ownCluster();
}

import { startCluster } from "./cluster.ts";
import type { Cluster, PostgresMajor } from "./cluster.ts";
import { emptyDatabase, migrate, postgresMajor } from "./postgres.ts";
import type { TestDatabase } from "./postgres.ts";
import { bootstrapRoles } from "./roles.ts";

/** A durable server that a test may stop and crash, with one migrated database. */
export interface OwnCluster {
  readonly cluster: Cluster;
  readonly database: TestDatabase;
}

export async function ownCluster(): Promise<OwnCluster> {
  const cluster = await startCluster({ major: postgresMajor() as PostgresMajor, durable: true });
  await bootstrapRoles(cluster.superUrl);
  const database = await emptyDatabase("", cluster.superUrl);
  await migrate(database.ownerUrl);
  return { cluster, database };
}

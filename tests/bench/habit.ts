import pg from "pg";

type Json = Readonly<Record<string, unknown>>;

/**
 * The common key-value pattern with plain SQL over a pool, without the HTTP hop of its usual client: values are read, changed and
 * written in the program, prefixes are found by LIKE, and everything else loads the prefix.
 */
export class Habit {
  readonly pool: pg.Pool;

  constructor(connectionString: string, max = 16) {
    this.pool = new pg.Pool({ connectionString, max });
  }

  async get(key: string): Promise<Json | undefined> {
    return (await this.pool.query<{ value: Json }>("select value from kv_store where key = $1", [key])).rows[0]?.value;
  }

  async set(key: string, value: Json): Promise<void> {
    await this.pool.query("insert into kv_store (key, value) values ($1, $2) on conflict (key) do update set value = excluded.value", [
      key,
      value,
    ]);
  }

  async increment(key: string): Promise<void> {
    const record = await this.get(key) ?? { current: 0 };
    await this.set(key, { ...record, current: Number(record["current"]) + 1 });
  }

  async mget(keys: readonly string[]): Promise<Json[]> {
    return (await this.pool.query<{ value: Json }>("select value from kv_store where key = any($1)", [keys])).rows.map((row) => row.value);
  }

  async mset(pairs: readonly (readonly [string, Json])[]): Promise<void> {
    for (const [key, value] of pairs) await this.set(key, value);
  }

  /** A variant of the habit: one upsert of all rows. */
  async msetInOneStatement(pairs: readonly (readonly [string, Json])[]): Promise<void> {
    await this.pool.query(
      "insert into kv_store select * from unnest($1::text[], $2::jsonb[]) on conflict (key) do update set value = excluded.value",
      [pairs.map(([key]) => key), pairs.map(([, value]) => JSON.stringify(value))],
    );
  }

  async mdel(keys: readonly string[]): Promise<void> {
    await this.pool.query("delete from kv_store where key = any($1)", [keys]);
  }

  async getByPrefix(prefix: string, limit?: number): Promise<Json[]> {
    const { rows } = await this.pool.query<{ value: Json }>(
      `select key, value from kv_store where key like $1${limit ? ` limit ${limit}` : ""}`,
      [`${prefix}%`],
    );
    return rows.map((row) => row.value);
  }

  async deletePrefix(prefix: string): Promise<void> {
    const { rows } = await this.pool.query<{ key: string }>("select key from kv_store where key like $1", [`${prefix}%`]);
    await this.mdel(rows.map((row) => row.key));
  }
}

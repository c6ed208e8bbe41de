import { familyOf, indexesOf } from "./define.ts";
import type { AnyEntity } from "./define.ts";
import { fieldTypeOf } from "./fields.ts";
import { indexNameOf } from "./query-plan.ts";
import { shapesOf } from "./shape.ts";

/**
 * The part of the database schema that is derived from the declarations. `kv.declared()` returns that of a database, and
 * {@link declaredBy} that of the program. `npm run schema` writes the difference as a migration.
 */
export interface Declared {
  readonly families: readonly { readonly family: string; readonly fillfactor: number }[];
  readonly entities: readonly DeclaredEntity[];
  readonly indexes: readonly DeclaredIndex[];
  readonly rollups: readonly DeclaredRollup[];
}

export interface DeclaredEntity {
  readonly entity: string;
  readonly family: string;
  readonly colons: number;
  readonly owner_rule: string;
  readonly cascades: boolean;
  readonly append_only: boolean;
  readonly tenant_readable: boolean;
}

export interface DeclaredIndex {
  readonly entity: string;
  readonly fields: string;
  /** Set if another entity shares the family: the index contains only keys with this number of colons. */
  readonly colons: number | null;
  /** Set in rows of a database. */
  readonly name?: string;
}

export interface DeclaredRollup {
  readonly rollup: string;
  readonly group_by: readonly string[];
  readonly sum: string | null;
}

export const NOTHING_DECLARED: Declared = { families: [], entities: [], indexes: [], rollups: [] };

/** Four fields of at most 128 characters and the key fit into an index tuple of 2,704 bytes. */
const MAX_INDEX_FIELDS = 4;
/** The page functions `page_<index>_desc_after` must fit into the 63 bytes of a PostgreSQL identifier. */
const MAX_INDEX_NAME = 47;
const FILLFACTOR = 90;
/** Leaves room for heap-only tuple (HOT) updates. */
const FREQUENT_UPDATES_FILLFACTOR = 75;

/** The schema that the entities require. Throws a TypeError if two entities have keys of the same shape, or names are invalid. */
export function declaredBy(registry: readonly AnyEntity[]): Declared {
  assertShapes(registry);
  const families = [...new Set(registry.map(familyOf))];
  return {
    families: families.map((family) => ({
      family,
      fillfactor: membersOf(registry, family).some((entity) => entity.frequentUpdates) ? FREQUENT_UPDATES_FILLFACTOR : FILLFACTOR,
    })),
    entities: registry.flatMap((entity) => entityRows(entity)),
    indexes: registry.flatMap((entity) => indexRows(entity, membersOf(registry, familyOf(entity)).length > 1)),
    rollups: registry.flatMap((entity) =>
      entity.rollup
        ? [{ rollup: entity.name, group_by: [...entity.rollup.groupBy] as string[], sum: (entity.rollup.sum ?? null) as string | null }]
        : []
    ),
  };
}

function membersOf(registry: readonly AnyEntity[], family: string): AnyEntity[] {
  return registry.filter((entity) => familyOf(entity) === family);
}

/** Entities that share a family must have keys with different numbers of colons. */
function assertShapes(registry: readonly AnyEntity[]): void {
  const seen = new Map<string, string>();
  for (const entity of registry) {
    if (!/^[a-z][a-z0-9]{0,39}$/.test(familyOf(entity)) || familyOf(entity) === "default") {
      throw new TypeError(
        `${entity.name}: the first segment of the key must be 1-40 characters of a-z 0-9, begin with a letter, and not be "default"`,
      );
    }
    if (shapesOf(entity).length > 1 && membersOf(registry, familyOf(entity)).length > 1) {
      throw new TypeError(
        `${entity.name}: keys with an optional segment require a family of their own, but another entity also uses ${familyOf(entity)}`,
      );
    }
    for (const fields of indexesOf(entity)) {
      const name = indexNameOf(entity, fields);
      if (fields.length > MAX_INDEX_FIELDS) throw new TypeError(`${entity.name}: an index has at most ${MAX_INDEX_FIELDS} fields`);
      if (name.length > MAX_INDEX_NAME) {
        throw new TypeError(`${entity.name}: the index name ${name} is longer than ${MAX_INDEX_NAME} characters`);
      }
    }
    for (const { colons } of shapesOf(entity)) {
      const shape = `${familyOf(entity)} with ${colons} colons`;
      if (seen.has(shape)) {
        throw new TypeError(`${entity.name} and ${seen.get(shape)} both have keys of the family ${shape}; add a segment to one of them`);
      }
      seen.set(shape, entity.name);
    }
  }
}

function entityRows(entity: AnyEntity): DeclaredEntity[] {
  return shapesOf(entity).map(({ colons, ownerRule }) => ({
    entity: entity.name,
    family: familyOf(entity),
    colons,
    owner_rule: ownerRule,
    cascades: entity.onTenantDelete !== "retain",
    append_only: entity.appendOnly === true,
    tenant_readable: entity.readableByTenants === true,
  }));
}

function indexRows(entity: AnyEntity, shared: boolean): DeclaredIndex[] {
  const shapes = shapesOf(entity);
  const colons = shared && shapes.length === 1 ? shapes[0]?.colons ?? null : null;
  const trees = indexesOf(entity).map((fields) =>
    fields.map((field) => field === "@tenantId" ? "owner" : `${field} ${fieldTypeOf(entity, field)}`).join(", ")
  );
  const search = entity.searchable?.length ? [`search(${(entity.searchable as readonly string[]).join(", ")})`] : [];
  return [...trees, ...search].map((fields) => ({ entity: entity.name, fields, colons }));
}

/** The statements that change schema `from` into schema `to`; empty if they are equal. No statement deletes rows. */
export function schemaChanges(from: Declared, to: Declared, summaries: ReadonlyMap<string, string>): string {
  // Indexes, page functions and rollups depend on the partition, the key shape and the owner rule.
  const isMoved = (entity: string) => placement(entity, from) !== "" && placement(entity, from) !== placement(entity, to);
  const rollups = from.rollups.filter((row) => !isMoved(row.rollup) && to.rollups.some((other) => sameRollup(row, other)));
  const indexes = from.indexes.filter((row) => !isMoved(row.entity) && to.indexes.some((other) => sameIndex(row, other)));
  const entities = from.entities.filter((row) => !isMoved(row.entity) && to.entities.some(({ entity }) => entity === row.entity));
  const gone = [
    ...from.rollups.filter((row) => !rollups.includes(row)).map(({ rollup }) => `select kv.drop_rollup('${rollup}');`),
    ...from.indexes.filter((row) => !indexes.includes(row)).map(({ name }) => `select kv.drop_index('${name}');`),
    ...[...new Set(from.entities.filter((row) => !entities.includes(row)).map(({ entity }) => entity))]
      .map((entity) => `select kv.drop_entity('${entity}');`),
  ];
  const stays: Declared = { families: from.families, entities, indexes, rollups };
  const isNew = (family: string) => !from.families.some((row) => row.family === family);
  const partsOf = (rows: readonly DeclaredEntity[]) =>
    [...new Set(rows.map(({ entity }) => entity))].flatMap((entity) => {
      const lines = entityChanges(entity, stays, to);
      return lines.length > 0 ? [[`-- ${entity}: ${(summaries.get(entity) ?? "").replace(/\s+/g, " ")}`, ...lines].join("\n")] : [];
    });
  return [
    gone.join("\n"),
    ...partsOf(to.entities.filter(({ family }) => isNew(family))),
    // It locks the whole table, so it precedes statements that lock partitions in use.
    to.families.some(({ family }) => isNew(family)) ? "select kv.attach_families();" : "",
    ...partsOf(to.entities.filter(({ family }) => !isNew(family))),
  ].filter(Boolean).join("\n\n");
}

/** The family, key shapes and owner rules of an entity. */
function placement(entity: string, { entities }: Declared): string {
  return entities.filter((row) => row.entity === entity).map((row) => `${row.family}/${row.colons}/${row.owner_rule}`).sort().join();
}

function entityChanges(entity: string, from: Declared, to: Declared): string[] {
  const rows = to.entities.filter((row) => row.entity === entity);
  const family = to.families.find((row) => row.family === rows[0]?.family);
  const first = to.entities.find((row) => row.family === family?.family)?.entity === entity;
  const known = from.families.find((row) => row.family === family?.family);
  const indexes = to.indexes.filter((row) => row.entity === entity && !from.indexes.some((other) => sameIndex(row, other)));
  return [
    ...family && first && known?.fillfactor !== family.fillfactor
      ? [`select kv.add_family('${family.family}'${family.fillfactor === FILLFACTOR ? "" : `, ${family.fillfactor}`});`]
      : [],
    ...rows.filter((row) => !from.entities.some((other) => sameEntity(row, other))).map(addEntity),
    ...addIndexes(entity, indexes),
    ...to.rollups.filter((row) => row.rollup === entity && !from.rollups.some((other) => sameRollup(row, other))).map(addRollup),
  ];
}

function addEntity(row: DeclaredEntity): string {
  const options = [
    `owner_rule => '${row.owner_rule}'`,
    ...row.cascades ? [] : ["cascades => false"],
    ...row.append_only ? ["append_only => true"] : [],
    ...row.tenant_readable ? ["tenant_readable => true"] : [],
  ];
  return `select kv.add_entity('${row.entity}', '${row.family}', ${row.colons}, ${options.join(", ")});`;
}

/** One statement for all indexes, in lines of at most 140 characters. */
function addIndexes(entity: string, rows: readonly DeclaredIndex[]): string[] {
  const [row] = rows;
  if (!row) return [];
  const colons = row.colons === null ? "" : `, colons => ${row.colons}`;
  if (rows.length === 1) return [`select kv.add_index('${entity}', '${row.fields}'${colons});`];
  const lines = [`select kv.add_index('${entity}', fields${colons}) from unnest(array[`];
  let line = " ";
  for (const [i, { fields }] of rows.entries()) {
    const item = ` '${fields}'${i < rows.length - 1 ? "," : ""}`;
    if (line.length + item.length > 140) {
      lines.push(line);
      line = " ";
    }
    line += item;
  }
  return [...lines, line, "]) fields;"];
}

function addRollup({ rollup, group_by, sum }: DeclaredRollup): string {
  return `select kv.add_rollup('${rollup}', '{${group_by.join(", ")}}'${sum === null ? "" : `, sum => '${sum}'`});`;
}

function sameEntity(a: DeclaredEntity, b: DeclaredEntity): boolean {
  return a.entity === b.entity && a.family === b.family && a.colons === b.colons && a.owner_rule === b.owner_rule &&
    a.cascades === b.cascades &&
    a.append_only === b.append_only && a.tenant_readable === b.tenant_readable;
}

function sameIndex(a: DeclaredIndex, b: DeclaredIndex): boolean {
  return a.entity === b.entity && a.fields === b.fields && a.colons === b.colons;
}

function sameRollup(a: DeclaredRollup, b: DeclaredRollup): boolean {
  return a.rollup === b.rollup && a.group_by.join() === b.group_by.join() && a.sum === b.sum;
}

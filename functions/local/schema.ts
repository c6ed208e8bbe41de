import { declaredSql } from "../../shared/derive/schema-sql.ts";
import { registry } from "../../shared/entities/registry.ts";

// What the declarations ask of the database: the text of supabase/schemas/20_declared.sql.
console.log(declaredSql(registry).trimEnd());

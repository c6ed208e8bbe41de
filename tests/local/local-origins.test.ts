import { expect, test } from "vitest";
import { loadConfig } from "../../shared/config.ts";
import { withLocalOrigins } from "../../functions/local/local-origins.ts";
import { ROOT_KEY_TEXT } from "../support/root-key.ts";

const DATABASE = {
  DATABASE_URL: "postgres://u:p@127.0.0.1/innkeep",
  INNKEEP_JWT_ISSUER: "i",
  INNKEEP_JWT_SECRET: "0123456789abcdef",
  INNKEEP_ROOT_KEY: ROOT_KEY_TEXT,
};

test.each([
  ["", ["http://localhost"]],
  ["https://admin.example", ["https://admin.example", "http://localhost"]],
  ["https://a.example, https://b.example", ["https://a.example", "https://b.example", "http://localhost"]],
  ["*", ["*"]],
  [" * ", ["*"]],
])("H21: npm start adds local frontends to the origins %j, and the API accepts the list", (own, origins) => {
  expect(loadConfig({ ...DATABASE, INNKEEP_CORS_ORIGINS: withLocalOrigins(own) }).corsOrigins).toEqual(origins);
});

import { postgresMajor } from "../support/postgres.ts";
import { freshStore } from "../support/store.ts";
import { storeContract } from "./contract/index.ts";

// Locks and their order are our SQL's: what they decide in races is the same on the older server.
storeContract("postgres", () => freshStore({ driver: "postgres" }), { serverCases: postgresMajor() === 18 });

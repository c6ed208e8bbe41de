import { freshStore } from "../support/store.ts";
import { storeContract } from "./contract/index.ts";

storeContract("postgres", () => freshStore({ driver: "postgres" }), { serverCases: true });

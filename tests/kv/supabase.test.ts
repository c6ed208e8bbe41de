import { freshStore } from "../support/store.ts";
import { storeContract } from "./contract/index.ts";

storeContract("supabase", () => freshStore({ driver: "supabase" }), { serverCases: false });

import type { Route } from "../../core/route.ts";

export const routes: readonly Route[] = [];

import { z } from "zod";
import { basic, id, type Provider, provider, text, token } from "./provider.ts";

const siteminder = provider({
  id: "siteminder",
  name: "SiteMinder pmsXchange",
  type: "channel_manager",
  docs: "https://developer.siteminder.com/siteminder-apis/pms-rms",
  config: z.strictObject({
    // The password is sent to this host.
    host: z.string().max(253).regex(/^([a-z0-9-]+\.)+siteminder\.com$/, "must be a host of siteminder.com, as SiteMinder told you"),
    pmsCode: id.meta({ description: "The code of the property management system." }),
    hotelCode: id,
  }),
  credentials: z.strictObject({ username: text, password: text }),
  test: ({ host, pmsCode, hotelCode }, { username, password }) => ({
    method: "GET",
    url: `https://${host}/core-api/pmses/${pmsCode}/hotels/${hotelCode}/room-rates`,
    headers: { ...basic(username, password), "x-sm-trace-token": crypto.randomUUID() },
  }),
});

const cloudbeds = provider({
  id: "cloudbeds",
  name: "Cloudbeds",
  type: "property_management",
  docs: "https://developers.cloudbeds.com/docs/quickstart-guide-api-authentication-for-property-level-users",
  config: z.strictObject({ propertyId: z.string().regex(/^\d{1,20}$/, "must be 1-20 digits").optional() }),
  credentials: z.strictObject({ apiKey: token }),
  test: ({ propertyId }, { apiKey }) => ({
    method: "GET",
    url: `https://api.cloudbeds.com/api/v1.2/getHotels${propertyId === undefined ? "" : `?propertyIDs=${propertyId}`}`,
    headers: { "x-api-key": apiKey, accept: "application/json" },
  }),
  signs: [{ status: 200, body: /"success":\s*false/, outcome: "unexpected" }],
});

export const HOTEL: readonly Provider[] = [siteminder, cloudbeds];

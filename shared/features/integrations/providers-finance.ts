import { z } from "zod";
import { basic, bearer, id, oauth, type Provider, provider, token } from "./provider.ts";

const stripe = provider({
  id: "stripe",
  name: "Stripe",
  type: "payment_gateway",
  docs: "https://docs.stripe.com/keys",
  config: z.strictObject({
    accountId: z.string().regex(/^acct_[A-Za-z0-9]{1,60}$/, "must be the id of an account, such as acct_1a2B3c").optional()
      .meta({ description: "The connected account on whose behalf calls are made." }),
  }),
  credentials: z.strictObject({
    secretKey: token.regex(/^(sk|rk)_(live|test)_/, "must begin with sk_live_, sk_test_, rk_live_ or rk_test_")
      .meta({ description: "A secret or restricted key." }),
    webhookSecret: token.regex(/^whsec_/, "must begin with whsec_").optional().meta({ description: "Verifies the provider's webhooks." }),
  }),
  test: ({ accountId }, { secretKey }) => ({
    method: "GET",
    url: "https://api.stripe.com/v1/balance",
    headers: { ...bearer(secretKey), ...(accountId === undefined ? {} : { "stripe-account": accountId }) },
  }),
  signs: [
    { status: 401, body: /"code":\s*"api_key_expired"/, outcome: "invalid_credentials", revoked: true },
    { status: 403, body: /"code":\s*"account_invalid"/, outcome: "not_found" },
  ],
});

const paypal = provider({
  id: "paypal",
  name: "PayPal",
  type: "payment_gateway",
  docs: "https://developer.paypal.com/api/rest/authentication/",
  config: z.strictObject({ environment: z.enum(["live", "sandbox"]).default("live") }),
  credentials: z.strictObject({ clientId: token, clientSecret: token }),
  test: ({ environment }, { clientId, clientSecret }) => ({
    method: "POST",
    url: `https://api-m.${environment === "sandbox" ? "sandbox." : ""}paypal.com/v1/oauth2/token`,
    headers: { ...basic(clientId, clientSecret), "content-type": "application/x-www-form-urlencoded" },
    body: "grant_type=client_credentials",
  }),
});

const quickbooks = provider({
  id: "quickbooks",
  name: "QuickBooks Online",
  type: "accounting",
  docs: "https://developer.intuit.com/app/developer/qbo/docs/develop/authentication-and-authorization",
  config: z.strictObject({
    realmId: z.string().regex(/^\d{1,30}$/, "must be 1-30 digits").meta({ description: "The id of the company." }),
    environment: z.enum(["production", "sandbox"]).default("production"),
  }),
  credentials: oauth,
  test: ({ realmId, environment }, { accessToken }) => ({
    method: "GET",
    url: `https://${environment === "sandbox" ? "sandbox-" : ""}quickbooks.api.intuit.com/v3/company/${realmId}/companyinfo/${realmId}`,
    headers: bearer(accessToken),
  }),
});

const xero = provider({
  id: "xero",
  name: "Xero",
  type: "accounting",
  docs: "https://developer.xero.com/documentation/guides/oauth2/overview/",
  config: z.strictObject({ organisationId: id.meta({ description: "The id of the organisation, which Xero calls its tenant id." }) }),
  credentials: oauth,
  test: ({ organisationId }, { accessToken }) => ({
    method: "GET",
    url: "https://api.xero.com/api.xro/2.0/Organisation",
    headers: { ...bearer(accessToken), "xero-tenant-id": organisationId },
  }),
});

export const FINANCE: readonly Provider[] = [stripe, paypal, quickbooks, xero];

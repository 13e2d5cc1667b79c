// The package has no functions for exports. This is the client below its other functions, which
// returns only the content.
import HttpClient from "mongodb-atlas-api-client/src/httpClient.js";
import urllib from "urllib";
import { baseUrl, privateKey, publicKey, serve } from "./serve.mjs";

const client = new HttpClient(urllib, publicKey, privateKey);

await serve(async ({ method, url, header, body }) => {
  const content = await client.fetch(new URL(url, baseUrl).href, { method, headers: header, data: body && JSON.parse(body) });
  return { body: content === null ? "" : JSON.stringify(content) };
});

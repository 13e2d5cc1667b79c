import DigestClient from "digest-fetch";
import { algorithm, baseUrl, form, privateKey, publicKey, serve } from "./serve.mjs";

const client = new DigestClient(publicKey, privateKey, { algorithm, basic: form === "basic" });

await serve(async ({ method, url, header, body }) => {
  const response = await client.fetch(new URL(url, baseUrl).href, { method, headers: header, body });
  return {
    status: response.status,
    contentType: response.headers.get("content-type") ?? "",
    body: await response.text(),
  };
});

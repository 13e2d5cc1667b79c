// What the scripts of the clients share: serve reads a list of calls from each line of standard
// input, makes them at the same time, and writes the list of their answers as a line.
import { createInterface } from "node:readline";

export const {
  MONGODB_ATLAS_BASE_URL: baseUrl,
  MONGODB_ATLAS_PUBLIC_API_KEY: publicKey,
  MONGODB_ATLAS_PRIVATE_API_KEY: privateKey,
  FORM: form, // digest or basic
  DIGEST_ALGORITHM: algorithm,
} = process.env;

export async function serve(send) {
  for await (const line of createInterface({ input: process.stdin })) {
    const answers = await Promise.all(JSON.parse(line).map(send));
    console.log(JSON.stringify(answers));
  }
}

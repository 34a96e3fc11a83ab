// What every client here does, as in ../python/steps.py: it takes the names of steps on standard input, tries each
// operation of that step, and says of each how it ended, as one line of JSON.

import { createInterface } from "node:readline";

const say = (line) => console.log(JSON.stringify(line));

export async function serve(steps) {
  say({ end: "start" });
  for await (const step of createInterface({ input: process.stdin })) {
    for (const [operation, run] of Object.entries(steps[step] ?? {})) {
      const outcome = await run().then(
        (value) => ({ value }),
        (error) => ({ error: String(error) }),
      );
      say({ operation, ...outcome });
    }
    say({ end: step });
  }
}

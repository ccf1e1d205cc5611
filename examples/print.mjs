// Print what a monitor hears: node --experimental-websocket print.mjs [URL [SINCE]]
import { follow } from "./follow.mjs";

const [url = "ws://127.0.0.1:8765", since] = process.argv.slice(2);
for await (const event of follow(url, { since }))
  console.log(event.sequence, event.type.replace(/^org\.stser\.|\.v1$/g, ""), event.data.label ?? "");

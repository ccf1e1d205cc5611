// The events of a monitor, over every interruption. For browsers and Node 22; Node 20 needs --experimental-websocket.
// since: a sequence of the first stream, or one for each: { mic: "17", door: "4" }.
export async function* follow(url, { since, types, streams } = {}) {
  const each = since !== null && typeof since === "object";
  const first = each ? undefined : since;
  const had = new Map(Object.entries(each ? since : {})); // the latest heard comes last
  for (let wait = 500; ; wait = Math.min(2 * wait, 30_000)) {
    const known = [...had].slice(-64).map(([stream, sequence]) => `${stream}:${sequence}`); // an address holds 8 KB
    if (first !== undefined) known.unshift(first);
    const query = new URLSearchParams();
    if (known.length > 0) query.set("since", known.join(","));
    if (types !== undefined) query.set("types", types.join(","));
    if (streams !== undefined) query.set("stream", streams.join(","));
    const socket = new WebSocket(`${url}/events?${query}`, "cloudevents.json");
    const waiting = [];
    let opened = 0;
    let wake = () => {};
    const put = (item) => { waiting.push(item); wake(); };
    socket.onopen = () => { opened = Date.now(); };
    socket.onmessage = ({ data }) => put([JSON.parse(data), Date.now() < opened + 500]);
    socket.onclose = socket.onerror = () => put(null);
    try {
      const begun = new Set();
      for (;;) {
        while (waiting.length === 0) await new Promise((resolve) => { wake = resolve; });
        const item = waiting.shift();
        if (item === null) break;
        const [event, early] = item;
        if (event.specversion === undefined) continue; // the answer to a command
        wait = 500;
        const stream = event.source.split("/").at(-1);
        // The current state comes first, ahead of what was missed: nothing to go on after.
        const ahead = early && !begun.has(stream) && event.type === "org.stser.emotion.state.v1";
        begun.add(stream);
        const sequence = event.type === "org.stser.stream.gap.v1" ? event.data.to_sequence : event.sequence;
        if (sequence !== undefined && !ahead) {
          had.delete(stream);
          had.set(stream, sequence);
        }
        yield event;
      }
    } finally {
      socket.close();
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

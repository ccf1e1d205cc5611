// The events of a monitor, over every interruption. For browsers and Node 22; Node 20 needs --experimental-websocket.
export async function* follow(url, { since, types } = {}) {
  for (let wait = 500; ; wait = Math.min(2 * wait, 30_000)) {
    const query = new URLSearchParams();
    if (since !== undefined) query.set("since", since);
    if (types !== undefined) query.set("types", types.join(","));
    const socket = new WebSocket(`${url}/events?${query}`, "cloudevents.json");
    const waiting = [];
    let wake = () => {};
    const put = (item) => { waiting.push(item); wake(); };
    socket.onmessage = ({ data }) => put(JSON.parse(data));
    socket.onclose = socket.onerror = () => put(null);
    try {
      // The current state comes first, ahead of what was missed, and once more in its place.
      let ahead = since !== undefined;
      for (;;) {
        while (waiting.length === 0) await new Promise((resolve) => { wake = resolve; });
        const event = waiting.shift();
        if (event === null) break;
        if (event.specversion === undefined) continue; // the answer to a command
        wait = 500;
        if (event.type === "org.stser.stream.gap.v1") since = event.data.to_sequence;
        else if (event.sequence !== undefined && !(ahead && event.type === "org.stser.emotion.state.v1"))
          since = event.sequence;
        ahead = false;
        yield event;
      }
    } finally {
      socket.close();
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

// The WebSocket to the monitor: comes back by itself, and asks for what was missed.

import { parseMessage } from "./events";
import type { Session } from "./session";
import { TEXT } from "./text";

/** Why the monitor closes a connection that showed no token, or another. */
const TOKEN_NEEDED = 1008;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
/** A page that is opened late is given this much of what went before. */
const HISTORY_EVENTS = 2_000n;

export class Connection {
  readonly #session: Session;
  #socket: WebSocket | undefined;
  #waitMs = FIRST_WAIT_MS;
  #resume = true;
  #since: bigint | undefined;

  #token = keptToken();

  constructor(session: Session) {
    this.#session = session;
  }

  /** Connects, or asks for the token first where one is needed: /metrics tells. */
  async start(): Promise<void> {
    const status = this.#token
      ? 200
      : await fetch("metrics").then(
          (answer) => answer.status,
          () => 0,
        );
    if (status === 401) this.#session.setConnection("token");
    else this.open();
  }

  /** The token lasts as long as the browser's tab. */
  useToken(token: string): void {
    this.#token = token;
    keepToken(token);
    this.open();
  }

  open(): void {
    const socket = new WebSocket(this.#address(), "cloudevents.json");
    let opened = false;
    this.#socket = socket;
    socket.onopen = () => {
      opened = true;
      if (this.#token) socket.send(JSON.stringify({ type: "auth", token: this.#token }));
      this.#waitMs = FIRST_WAIT_MS;
      this.#session.setConnection("live", this.#resume);
      this.#resume = true;
    };
    socket.onmessage = (message) => this.#take(message.data);
    socket.onclose = ({ code }) => {
      if (code === TOKEN_NEEDED) {
        this.#session.setConnection("token");
        return;
      }
      this.#session.setConnection("lost");
      if (opened) this.#retry();
      else void this.#refused();
    };
  }

  send(command: { type: string; text?: string }): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(command));
  }

  #address(): URL {
    const address = new URL("events", location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    address.search = "";
    address.hash = "";
    const since = this.#session.last ?? this.#since;
    if (this.#resume && since !== undefined)
      address.searchParams.set("since", String(since).padStart(20, "0"));
    return address;
  }

  #take(data: unknown): void {
    if (typeof data !== "string") return;
    const message = parseMessage(data);
    if (message?.event?.sequence !== undefined && this.#since === undefined) {
      this.#goBack(message.event.sequence);
    } else if (message?.event) {
      this.#session.take(message.event, data);
    } else if (message?.answer.type === "error") {
      this.#session.setAnswer(TEXT.refused(message.answer.message));
    }
  }

  /** The first event tells where the monitor is: connect again for what went before it. */
  #goBack(sequence: bigint): void {
    this.#since = sequence > HISTORY_EVENTS ? sequence - HISTORY_EVENTS : 0n;
    const socket = this.#socket!;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    this.open();
  }

  /** A browser does not tell why a handshake failed. Where the monitor lives, `since` is what it refused. */
  async #refused(): Promise<void> {
    const alive = await fetch("healthz").then(
      (answer) => answer.ok,
      () => false,
    );
    const once = alive && this.#resume;
    this.#resume = !once;
    if (once) this.open();
    else this.#retry();
  }

  #retry(): void {
    // Jitter, so that many pages do not come back at the same moment.
    setTimeout(() => this.open(), this.#waitMs * (0.5 + Math.random() / 2));
    this.#waitMs = Math.min(2 * this.#waitMs, LONGEST_WAIT_MS);
  }
}

function keptToken(): string {
  try {
    return sessionStorage.getItem("stser-token") ?? "";
  } catch {
    return "";
  }
}

function keepToken(token: string): void {
  try {
    sessionStorage.setItem("stser-token", token);
  } catch {
    // Asked for again, then.
  }
}

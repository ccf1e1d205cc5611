// The WebSocket to the monitor: comes back by itself, and asks for what was missed.

import { KINDS, parseMessage } from "./events";
import { fetchHealth, type Health } from "./health";
import type { Session } from "./session";
import { TEXT } from "./text";

/** Why the monitor closes a connection that showed no token, or another. */
const TOKEN_NEEDED = 1008;
/** Why it does when it ends in order. */
const GOING_AWAY = 1001;
/** How it answers an address that it does not understand. */
const BAD_REQUEST = 400;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
const LOOK_MS = 5_000;
/** A page that is opened late is given this much of what went before, of each stream. */
const HISTORY_EVENTS = 2_000n;
/** Streams whose past is asked for: an address cannot name all that ever were. */
const MOST_STREAMS = 24;

export interface Command {
  type: string;
  text?: string;
  stream?: string;
}

export class Connection {
  readonly #session: Session;
  #socket: WebSocket | undefined;
  #waitMs = FIRST_WAIT_MS;
  #resume = true;
  #looking: ReturnType<typeof setInterval> | undefined;

  token = keptToken();

  constructor(session: Session) {
    this.#session = session;
  }

  /** Connects, or asks for the token first where one is needed: /metrics tells. */
  async start(): Promise<void> {
    const status = this.token
      ? 200
      : await fetch("metrics").then(
          (answer) => answer.status,
          () => 0,
        );
    if (status === 401) this.#session.setConnection("token");
    else await this.open();
  }

  /** The token lasts as long as the browser's tab. */
  useToken(token: string): void {
    this.token = token;
    keepToken(token);
    void this.open();
  }

  async open(): Promise<void> {
    const health = await this.look();
    if (health === undefined) this.#retry();
    else this.#connect(health);
  }

  /** Asks how the monitor fares. */
  async look(): Promise<Health | undefined> {
    const health = await fetchHealth(this.token);
    this.#session.setHealth(health);
    return health;
  }

  /** Whether the command has gone to the monitor; where it has not, the session says why. */
  send(command: Command): boolean {
    const open = this.#socket?.readyState === WebSocket.OPEN;
    if (open) this.#socket!.send(JSON.stringify(command));
    this.#session.setAnswer(open ? "" : TEXT.warn.disconnected);
    return open;
  }

  #connect(health: Health): void {
    const resume = this.#resume;
    const address = this.#address(health);
    const socket = new WebSocket(address, "cloudevents.json");
    let opened = false;
    this.#socket = socket;
    socket.onopen = () => {
      opened = true;
      if (this.token) socket.send(JSON.stringify({ type: "auth", token: this.token }));
      this.#waitMs = FIRST_WAIT_MS;
      this.#resume = true;
      this.#session.setConnection("live", resume);
      void this.look();
      clearInterval(this.#looking);
      this.#looking = setInterval(() => void this.look(), LOOK_MS);
    };
    socket.onmessage = (message) => this.#take(message.data);
    socket.onclose = ({ code }) => {
      clearInterval(this.#looking);
      if (code === TOKEN_NEEDED) {
        this.#session.setConnection("token");
        return;
      }
      this.#session.setConnection(code === GOING_AWAY ? "stopped" : "lost");
      if (!opened && resume) void this.#refused(address);
      else this.#retry();
    };
  }

  /** Goes on without `since` where that is what the monitor refuses: a proxy, or too many clients, is waited for. */
  async #refused(address: URL): Promise<void> {
    const answer = await askWhy(address);
    if (answer?.status !== BAD_REQUEST) return this.#retry();
    this.#resume = false;
    await this.open();
  }

  #address(health: Health): URL {
    const address = socketAddress("events");
    address.searchParams.set("types", KINDS.join(","));
    if (!this.#resume) return address;
    const heard = this.#session.streams;
    // Those that go on come first, then the youngest.
    const names = [...health.streams.map(({ name }) => name), ...[...health.newest.keys()].reverse()];
    const since = [...new Set(names)].slice(0, MOST_STREAMS).map((name) => {
      const newest = health.newest.get(name) ?? 0n;
      return `${name}:${heard.get(name)?.last ?? (newest > HISTORY_EVENTS ? newest - HISTORY_EVENTS : 0n)}`;
    });
    if (since.length > 0) address.searchParams.set("since", since.join(","));
    return address;
  }

  #take(data: unknown): void {
    if (typeof data !== "string") return;
    const message = parseMessage(data);
    if (message?.event) this.#session.take(message.event, data);
    else if (message?.answer.type === "error") this.#session.setAnswer(TEXT.refused(message.answer.message));
  }

  #retry(): void {
    // Jitter, so that many pages do not come back at the same moment.
    setTimeout(() => void this.open(), this.#waitMs * (0.5 + Math.random() / 2));
    this.#waitMs = Math.min(2 * this.#waitMs, LONGEST_WAIT_MS);
  }
}

/** Where the monitor that served the page takes WebSockets. */
export function socketAddress(path: string): URL {
  const address = new URL(path, location.href);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  address.search = "";
  address.hash = "";
  return address;
}

/**
 * A browser does not tell why a handshake failed; asked without one, the monitor says so in its answer.
 *
 * Undefined where nothing answers.
 */
export async function askWhy(address: URL): Promise<Response | undefined> {
  const page = new URL(address);
  page.protocol = address.protocol === "wss:" ? "https:" : "http:";
  try {
    return await fetch(page);
  } catch {
    return undefined;
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

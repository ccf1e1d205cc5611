// A WebSocket whose other end is the test.

export class FakeSocket {
  static readonly OPEN = 1;
  static made: FakeSocket[] = [];
  static latest = (): FakeSocket => FakeSocket.made.at(-1)!;
  onopen: (() => void) | null = null;
  onmessage: ((message: { data: string }) => void) | null = null;
  onclose: ((close: { code: number; reason?: string }) => void) | null = null;
  sent: unknown[] = [];
  closed = false;
  readyState: number = FakeSocket.OPEN;

  constructor(readonly address: URL) {
    FakeSocket.made.push(this);
  }

  close(): void {
    this.closed = true;
  }

  send(message: unknown): void {
    this.sent.push(message);
  }
}

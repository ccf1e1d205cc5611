// Something that the page draws anew when it changes.

export class Observable {
  version = 0;
  readonly #listeners = new Set<() => void>();

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  protected changed(): void {
    this.version += 1;
    for (const listener of this.#listeners) listener();
  }
}

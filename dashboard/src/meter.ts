// How loud a stream is at the moment. It changes many times a second, and so is drawn apart from all else.

import type { Level } from "./events";
import { Observable } from "./observable";

export class Meter extends Observable {
  level: Level | undefined;

  show(level: Level | undefined): void {
    if (level === undefined && this.level === undefined) return;
    this.level = level;
    this.changed();
  }
}

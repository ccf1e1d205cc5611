// Lists that are in order, and places in them.

/** The first of `count` places that is reached, where all after it are, too. */
export function firstFrom(count: number, reached: (index: number) => boolean): number {
  let [low, high] = [0, count];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (reached(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Puts an entry behind those of the same time: the past comes stream by stream. */
export function insert<T extends { time: string }>(list: T[], entry: T): void {
  const place = firstFrom(list.length, (i) => list[i]!.time > entry.time);
  list.splice(place, 0, entry);
}

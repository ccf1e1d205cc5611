// What components share: following what changes, and settings that the browser keeps.

import { useEffect, useReducer, useState } from "preact/hooks";
import type { Observable } from "../observable";

/** Draws again after a change, once a frame at most. */
export function useChanges(observable: Observable): void {
  const [, draw] = useReducer((count: number) => count + 1, 0);
  useEffect(() => {
    let frame = 0;
    const leave = observable.subscribe(() => {
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        draw(undefined);
      });
    });
    draw(undefined);
    return () => {
      leave();
      cancelAnimationFrame(frame);
    };
  }, [observable]);
}

export function useMedia(query: string): boolean {
  const [matching, setMatching] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const media = matchMedia(query);
    const listen = () => setMatching(media.matches);
    media.addEventListener("change", listen);
    return () => media.removeEventListener("change", listen);
  }, [query]);
  return matching;
}

/** A setting that outlives the page, where the browser lets it. */
export function useKept(name: string, first: string): [string, (value: string) => void] {
  const [value, setValue] = useState(() => {
    try {
      return localStorage.getItem(`stser-${name}`) ?? first;
    } catch {
      return first;
    }
  });
  const keep = (next: string) => {
    setValue(next);
    try {
      localStorage.setItem(`stser-${name}`, next);
    } catch {
      // Not kept, then.
    }
  };
  return [value, keep];
}

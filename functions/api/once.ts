/** Returns a function that makes a value on its first call. A failure is forgotten, so that the next call tries again. */
export function once<V>(make: () => Promise<V>): () => Promise<V> {
  let made: Promise<V> | undefined;
  return () => {
    if (!made) {
      made = make();
      made.catch(() => made = undefined);
    }
    return made;
  };
}

/** Where data is kept after its deletion from the database. */
export interface Archive {
  /**
   * Stores the bytes under the path, or replaces what is there. Returns when they are stored for good; throws `archive_unavailable`
   * otherwise. A path has segments of `[A-Za-z0-9._@+=-]`, joined by `/`.
   */
  put(path: string, bytes: Uint8Array): Promise<void>;
}

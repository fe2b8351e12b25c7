// Log lines name extensions by their registry id; people know them by publisher and name.

let slugs = new Map();

export function learn({ installs }) {
  slugs = new Map(installs.map(({ registry_id, slug }) => [registry_id, slug]));
}

/** What to call the extension of a log line or a counter; "" when there is none. */
export function nameOf(extension) {
  return slugs.get(extension) ?? extension ?? "";
}

/** Modules that are loaded when they are needed. */

const failures = new Map();

/**
 * The module at a URL. Each try after one that failed uses another address: Firefox does not ask again for a module that
 * could not be loaded, as long as the page lives.
 */
export async function load({href}) {
  const failed = failures.get(href) ?? 0;
  try {
    return await import(failed ? `${href}?${failed}` : href);
  } catch (error) {
    failures.set(href, failed + 1);
    throw Object.assign(error, {name: "NotLoaded"});
  }
}

/** The component's core modules, by name: raw DEFLATE in base64. Made by scripts/build.mjs. */
export declare const modules: Record<string, string>;

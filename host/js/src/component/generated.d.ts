/** What the build makes of the components; see scripts/build.mjs. */
declare module '*.wasm' {
  const module: WebAssembly.Module;
  export default module;
}

/** Made by jco from the component; see scripts/build.mjs. */
export declare const instantiate: import('../component.js').Glue['instantiate'];

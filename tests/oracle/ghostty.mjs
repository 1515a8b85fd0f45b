// Ghostty's core, headless (ghostty-web), for the judges that feed one. Nothing it says of itself is printed.
import { readFileSync } from 'node:fs';

globalThis.self = globalThis;
const core = readFileSync(new URL('./node_modules/ghostty-web/ghostty-vt.wasm', import.meta.url));
globalThis.fetch = async () => ({ ok: true, arrayBuffer: async () => core });
const compiled = WebAssembly.compile(core);
WebAssembly.compile = () => compiled;
const { Ghostty } = await import('ghostty-web');
/** What a judge says on stdout. */
export const print = console.log;
console.log = console.warn = () => {};

/** Each in a memory of its own: one that is made where another was finds rests of it. */
export async function terminal(cols, rows) {
  const ghostty = await Ghostty.load('ghostty-vt.wasm');
  return ghostty.createTerminal(cols, rows, { scrollbackLimit: 1 << 22 });
}

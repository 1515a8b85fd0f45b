import { World, isLive, shows } from './world.mjs';
const world = await World.make();
try {
  const id = await world.create('dev', 'stty -echo; read go; yes "$(seq -s " " 40)" | head -c 50000000; echo; echo the end; exec cat');
  const page = await world.page(`/s/${id}`);
  await isLive(page);
  await page.evaluate(() => {
    globalThis.longest = 0; globalThis.log = [];
    let last = performance.now();
    const look = () => { const now = performance.now(); globalThis.longest = Math.max(globalThis.longest, now - last); last = now; setTimeout(look); };
    look();
    const t = globalThis.sessd.focused.terminal._core;
    const wrap = (o, n, l) => { const f = o[n].bind(o); o[n] = (...a) => { const b = performance.now(); const r = f(...a); const d = performance.now() - b; if (d > 15) globalThis.log.push(`${l} ${d.toFixed(0)}`); return r; }; };
    wrap(t._writeBuffer, '_innerWrite', 'parse');
    wrap(t._renderService, '_renderRows', 'render');
    wrap(globalThis.sessd.focused.view.core, 'handle', 'handle');
    new PerformanceObserver((l) => { for (const e of l.getEntries()) globalThis.log.push(`long ${e.duration} at ${e.startTime.toFixed(0)}`); }).observe({ type: 'longtask' });
  });
  await page.keyboard.press('Enter');
  const b = Date.now();
  await shows(page, 'the end', undefined, 100_000);
  console.log(Date.now() - b, await page.evaluate(() => [globalThis.longest, ...globalThis.log].join('\n')));
} finally { await world.end(); }

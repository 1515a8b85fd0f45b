// What the browser's tests have in common: one `World` for each of their files, left clean between tests.

import { mkdirSync } from 'node:fs';
import { after, afterEach, before, test as unbounded } from 'node:test';
import { PICTURES, World } from './world.mjs';

/** @type {World} */
export let world;
before(async () => {
  mkdirSync(PICTURES, { recursive: true });
  world = await World.make();
});
after(() => world?.end());
afterEach(() => world.clean());

export const test = (name, body) => unbounded(name, { timeout: 60_000 }, body);
export const PHONE = { viewport: { width: 390, height: 780 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2, colorScheme: 'dark' };
export const type = (page, text) => page.keyboard.type(text);
export const enter = async (page, line) => {
  await type(page, line);
  await page.keyboard.press('Enter');
};
export const info = (session) => world.json('info', session);
export const viewsOf = async (session) => (await info(session)).views.length;

/**
 * Which sessions are shown where: tabs, each a tree of panes. Pure: every change makes a new layout. A pane is a session, and no
 * session is in two of them.
 */

/**
 * @typedef {{ pane: string }} Leaf a session's id
 * @typedef {{ split: 'row' | 'column', ratio: number, first: Tree, second: Tree }} Split
 * @typedef {Leaf | Split} Tree
 * @typedef {{ id: string, tree: Tree, focus: string }} Tab
 * @typedef {{ tabs: Tab[], active: string | null }} Layout
 */

/** @type {Layout} */
export const EMPTY = { tabs: [], active: null };

/** The sessions of a tree, in the order in which they are read. @param {Tree} tree @returns {string[]} */
export const panesOf = (tree) => ('pane' in tree ? [tree.pane] : [...panesOf(tree.first), ...panesOf(tree.second)]);

/** @param {Layout} layout @param {string} session */
export const tabOf = (layout, session) => layout.tabs.find((tab) => panesOf(tab.tree).includes(session));

/** @param {Layout} layout */
export const activeTab = (layout) => layout.tabs.find((tab) => tab.id === layout.active);

/** @param {Layout} layout @param {Tab} tab @returns {Layout} */
const withTab = (layout, tab) => ({
  tabs: layout.tabs.map((one) => (one.id === tab.id ? tab : one)),
  active: tab.id,
});

/** A tab of its own; one that is shown already is gone to. @param {Layout} layout @param {string} session @returns {Layout} */
export function open(layout, session) {
  const there = tabOf(layout, session);
  if (there) return focus(layout, session);
  const tab = { id: session, tree: { pane: session }, focus: session };
  // A tab is called after the session it began with, which may be in another by now.
  if (layout.tabs.some((one) => one.id === tab.id)) tab.id = `${session}.${layout.tabs.length}`;
  return { tabs: [...layout.tabs, tab], active: tab.id };
}

/** @param {Layout} layout @param {string} session @returns {Layout} */
export function focus(layout, session) {
  const tab = tabOf(layout, session);
  return tab ? withTab(layout, { ...tab, focus: session }) : layout;
}

/** @param {Tree} tree @param {string} pane @param {(leaf: Leaf) => Tree} change @returns {Tree} */
function replaced(tree, pane, change) {
  if ('pane' in tree) return tree.pane === pane ? change(tree) : tree;
  return { ...tree, first: replaced(tree.first, pane, change), second: replaced(tree.second, pane, change) };
}

/**
 * A session beside, or below, another.
 * @param {Layout} layout @param {string} beside @param {string} session @param {'row' | 'column'} split @returns {Layout}
 */
export function splitWith(layout, beside, session, split) {
  if (tabOf(layout, session)) return focus(layout, session);
  const tab = tabOf(layout, beside);
  if (!tab) return open(layout, session);
  const tree = replaced(tab.tree, beside, (first) => ({ split, ratio: 0.5, first, second: { pane: session } }));
  return withTab(layout, { ...tab, tree, focus: session });
}

/** @param {Tree} tree @param {string} session @returns {Tree | null} */
function without(tree, session) {
  if ('pane' in tree) return tree.pane === session ? null : tree;
  const [first, second] = [without(tree.first, session), without(tree.second, session)];
  return first && second ? { ...tree, first, second } : (first ?? second);
}

/** A pane is closed, and its tab with the last one. @param {Layout} layout @param {string} session @returns {Layout} */
export function close(layout, session) {
  const tab = tabOf(layout, session);
  if (!tab) return layout;
  const tree = without(tab.tree, session);
  if (tree) {
    const panes = panesOf(tree);
    const next = panes.includes(tab.focus) ? tab.focus : /** @type {string} */ (panes[0]);
    return { ...withTab(layout, { ...tab, tree, focus: next }), active: layout.active };
  }
  const at = layout.tabs.indexOf(tab);
  const tabs = layout.tabs.filter((one) => one !== tab);
  const active = layout.active === tab.id ? ((tabs[at] ?? tabs[at - 1])?.id ?? null) : layout.active;
  return { tabs, active };
}

/** A tab goes to another place in the row. @param {Layout} layout @param {string} id @param {number} to @returns {Layout} */
export function moveTab(layout, id, to) {
  const tab = layout.tabs.find((one) => one.id === id);
  if (!tab) return layout;
  const tabs = layout.tabs.filter((one) => one !== tab);
  tabs.splice(Math.max(0, to), 0, tab);
  return { ...layout, tabs };
}

/** A divider is moved. `path`: which of both, from the top. @param {Tree} tree @param {('first' | 'second')[]} path @param {number} ratio @returns {Tree} */
export function resized(tree, path, ratio) {
  if ('pane' in tree) return tree;
  const [next, ...rest] = path;
  if (!next) return { ...tree, ratio: Math.min(0.9, Math.max(0.1, ratio)) };
  return { ...tree, [next]: resized(tree[next], rest, ratio) };
}

/** @param {Layout} layout @param {string} id @param {('first' | 'second')[]} path @param {number} ratio @returns {Layout} */
export function resizeIn(layout, id, path, ratio) {
  const tab = layout.tabs.find((one) => one.id === id);
  return tab ? { ...withTab(layout, { ...tab, tree: resized(tab.tree, path, ratio) }), active: layout.active } : layout;
}

/** Only what is known. @param {Layout} layout @param {(session: string) => boolean} isKnown @returns {Layout} */
export const pruned = (layout, isKnown) =>
  layout.tabs
    .flatMap((tab) => panesOf(tab.tree))
    .filter((session) => !isKnown(session))
    .reduce((left, session) => close(left, session), layout);

/** @param {any} value @returns {value is Tree} */
function isTree(value) {
  if (typeof value?.pane === 'string') return true;
  const isSplit = ['row', 'column'].includes(value?.split) && typeof value.ratio === 'number';
  return isSplit && isTree(value.first) && isTree(value.second);
}

/** What a browser kept, if it can be understood. @param {string | null} text @returns {Layout} */
export function read(text) {
  try {
    const { tabs, active } = JSON.parse(text ?? '');
    const whole = tabs.every((/** @type {any} */ tab) => typeof tab.id === 'string' && isTree(tab.tree));
    const all = whole ? tabs.flatMap((/** @type {Tab} */ tab) => panesOf(tab.tree)) : [];
    if (!whole || new Set(all).size !== all.length) return EMPTY;
    return { tabs, active: tabs.some((/** @type {Tab} */ tab) => tab.id === active) ? active : (tabs[0]?.id ?? null) };
  } catch {
    return EMPTY;
  }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
// Elements from data. Text goes in as text and never as markup, so nothing that somebody wrote becomes part of the page.

export const $ = (id) => document.getElementById(id);

/** An element with properties, attributes (`aria-...`, `data-...`) and children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes('-')) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

const SVG = 'http://www.w3.org/2000/svg';

/** The sign of a state: its shape says it as well as its colour. */
export function dot(state) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.append(document.createElementNS(SVG, 'use'));
  svg.setAttribute('class', 'dot');
  svg.setAttribute('aria-hidden', 'true');
  show(svg, state);
  return svg;
}

/** Makes a sign that of another state. */
export function show(svg, state) {
  svg.dataset.state = state ?? 'unknown';
  svg.querySelector('use').setAttribute('href', `#${state ?? 'unknown'}`);
}

const NAMES = {
  available: 'Available',
  away: 'Away',
  busy: 'Busy',
  'do-not-disturb': 'Do not disturb',
  unavailable: 'Offline',
};

/** A state in words, with the note that goes with it. */
export function words(state, note) {
  const name = state ? NAMES[state] ?? state : 'Waiting to hear';
  return note ? `${name} – ${note}` : name;
}

/** Changes a list to these items and no others, keeping the focus where it was. */
export function fill(list, items) {
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  list.replaceChildren(...items);
  if (focused) list.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

/** The time of day of milliseconds since 1970. */
export function clock(time) {
  return new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' }).format(new Date(time));
}
